"""The labelling page as a person meets it, in a real Chromium."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from robo_reward.envs.video.files import write_video
from robo_reward.labelling.store import PreferenceStore
from robo_reward.web.server import listen
from tests.labelling.pages import command, served, write_clips
from tests.report.test_browser import ARGUMENTS, CONTRAST

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'robo-reward[label]'")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")

SHOWN = "document.querySelector('.clips.ready') !== null"
KEY = "[...document.querySelectorAll('.clips.ready .card')].map(c => c.dataset.key).join(' ')"


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("clips"), 24)


def another(page, before: str, seconds: float = 2) -> str:
    """The clips of a query other than `before`, if one is shown in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if page.evaluate(f"{SHOWN} && {KEY} !== {before!r}"):
            return page.evaluate(KEY)
        page.wait_for_timeout(15)
    return ""


@contextmanager
def opened(browser, url: str, who: str = "ann", quiet: bool = True, **options) -> Iterator:
    """The page of one person, which must not complain on the console."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, **options)
    page = context.new_page()
    noise: list[str] = []
    page.on("console", lambda message: noise.append(message.text))
    page.on("pageerror", lambda error: noise.append(str(error)))
    try:
        page.goto(f"{url}?annotator={who}" if who else url)
        yield page
    finally:
        context.close()
    assert not quiet or noise == []


def until(page, expression: str, seconds: float = 20) -> None:
    """Not `page.wait_for_function`: it needs `eval`, which the page's own policy forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"never true: {expression}"
        page.wait_for_timeout(15)


def saved(page, seconds: float = 20) -> None:
    until(page, "document.querySelector('#saved').textContent === 'All answers saved'", seconds)


def press(page, key: str, before: str = "") -> str:
    """Answers the query that is shown once it is another than `before`; returns its clips."""
    until(page, f"{SHOWN} && {KEY} !== {before!r}")
    shown = page.evaluate(KEY)
    page.keyboard.press(key)
    return shown


def test_pairs_by_keys_and_clicks(browser, clips: Path, tmp_path: Path) -> None:
    where = str(tmp_path / "p.db")
    with served(clips, where) as here, opened(browser, here.url) as page:
        said = []
        for key in ("ArrowLeft", "ArrowRight", "ArrowUp", "s"):
            said.append(press(page, key, said[-1] if said else "").split())
        until(page, f"{SHOWN} && {KEY} !== {' '.join(said[-1])!r}")
        clicked = page.evaluate(KEY).split()
        page.keyboard.press("c")
        page.keyboard.type("u s best")
        page.keyboard.press("Enter")
        page.locator(".card").nth(1).click()
        saved(page)
        answers = here.store.load_answers()
        assert [list(answer.clips) for answer in answers] == [*said, clicked]
        left, right, tie, skip, click = answers
        assert left.ranking == tuple((clip,) for clip in left.clips)
        assert right.ranking == tuple((clip,) for clip in right.clips[::-1])
        assert tie.ranking == (tie.clips,)
        assert skip.is_skipped
        assert (click.ranking[0], click.text) == ((clicked[1],), "u s best")
        assert all(0 <= answer.seconds < 60 for answer in answers)
        assert page.locator("#count").inner_text() == "5 of 276"
        page.keyboard.press("u")
        until(page, f"{KEY} === {' '.join(clicked)!r}")
        assert page.locator("#comment").input_value() == "u s best"
        page.locator("#comment").fill("")
        page.locator("#comment").blur()
        page.keyboard.press("ArrowLeft")
        saved(page)
        assert here.store.load_answers()[-1].ranking[0] == (clicked[0],)
        assert (len(here.store), len(here.store.load_history())) == (5, 7)


@pytest.mark.slow
def test_undo_reaches_back_before_a_reload(browser, clips: Path, tmp_path: Path) -> None:
    with served(clips, str(tmp_path / "p.db")) as here, opened(browser, here.url) as page:
        first = press(page, "ArrowLeft")
        second = press(page, "ArrowLeft", first)
        saved(page)
        page.reload()
        until(page, SHOWN)
        page.keyboard.press("u")
        until(page, f"{KEY} === {second!r}")
        page.keyboard.press("u")
        until(page, f"{KEY} === {first!r}")
        saved(page)
        assert len(here.store) == 0


def test_triplets_by_keys_drag_and_ties(browser, clips: Path, tmp_path: Path) -> None:
    with (
        served(clips, str(tmp_path / "p.db"), "triplet", 3) as here,
        opened(browser, here.url, color_scheme="dark") as page,
    ):
        until(page, SHOWN)
        for key in ("3", "1", "Enter"):
            page.keyboard.press(key)
        saved(page)
        clips_shown = here.store.load_answers()[-1].clips
        assert here.store.load_answers()[-1].ranking == tuple((clips_shown[i],) for i in (2, 0, 1))

        until(page, f"{SHOWN} && {KEY} !== {' '.join(clips_shown)!r}")
        assert page.locator("[data-verdict=send]").is_disabled()
        for card, place in ((1, 0), (0, 0), (2, 2)):  # the first two into one place: a tie
            start, end = (
                page.locator(".card").nth(card).bounding_box(),
                page.locator("#tray li").nth(place).bounding_box(),
            )
            page.mouse.move(start["x"] + 30, start["y"] + 60)
            page.mouse.down()
            page.mouse.move(end["x"] + 20, end["y"] + 10, steps=4)
            page.mouse.up()
        page.locator("[data-verdict=send]").click()
        saved(page)
        answer = here.store.load_answers()[-1]
        assert answer.ranking == ((answer.clips[1], answer.clips[0]), (answer.clips[2],))

        until(page, f"{SHOWN} && {KEY} !== {' '.join(answer.clips)!r}")
        for key in ("2", "Backspace", "1", "=", "2", "Enter"):
            page.keyboard.press(key)
        saved(page)
        answer = here.store.load_answers()[-1]
        assert answer.ranking == ((answer.clips[0], answer.clips[1]), (answer.clips[2],))
        press(page, "ArrowUp", " ".join(answer.clips))
        saved(page)
        assert here.store.load_answers()[-1].is_all_tied


@pytest.mark.slow
def test_clips_of_other_lengths_sizes_and_rates_run_in_step(browser, clips: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, fps, frames, size in (("long", 20, 40, 64), ("short", 10, 6, 96)):
        write_video(tmp_path / f"{name}.mp4", rng.integers(0, 255, (frames, size, 64, 3), np.uint8), fps)
    with served(tmp_path) as here, opened(browser, here.url) as page:
        until(page, SHOWN)
        times = "[...document.querySelectorAll('.card video')].map(v => [v.duration, v.currentTime])"
        until(page, f"{times}.every(([d, t]) => t > 0.2)")
        (d0, t0), (d1, t1) = page.evaluate(times)
        assert sorted((round(d0, 1), round(d1, 1))) == [0.6, 2.0]
        assert abs(t0 - t1) < 0.3
        until(page, f"{times}.every(([d, t]) => d > 1 ? t > 1 : t > d - 0.15)")  # the shorter one rests on its end
        page.keyboard.press("p")
        page.keyboard.press("+")
        until(page, "document.querySelector('#speed').textContent === '1.5×'")
        page.keyboard.press(" ")
        until(page, f"{times}.every(([d, t]) => t < 0.5)")
        for i in (0, 1):  # no part of a clip is cut off
            card, video = page.locator(".card").nth(i).bounding_box(), page.locator(".card video").nth(i).bounding_box()
            assert video == card
        boxes = [page.locator(".card").nth(i).bounding_box() for i in (0, 1)]
        assert boxes[0]["height"] == boxes[1]["height"] and boxes[0]["width"] == boxes[1]["width"]


def test_name_help_summary_and_the_end(browser, tmp_path: Path) -> None:
    write_clips(tmp_path, 4)
    (tmp_path / "broken.mp4").write_text("no video")
    with served(tmp_path, target=3) as here, opened(browser, here.url, who="") as page:
        until(page, "document.querySelector('#name-dialog').open")
        page.keyboard.press("ArrowLeft")
        page.locator("#name").fill(" Zoë <b> ")
        page.keyboard.press("Enter")
        until(page, SHOWN)
        page.keyboard.press("?")
        assert "broken.mp4" in page.locator("#help-dialog").inner_text()
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("Escape")
        saved(page)
        assert len(here.store) == 0, "keys do not answer behind a dialog"
        said = ""
        for _ in range(3):
            said = press(page, "ArrowLeft", said)
        until(page, "document.querySelector('#summary h1')?.textContent.startsWith('3 answers. Thank you, Zoë')")
        assert "Zoë <b>" in page.locator("#summary table").first.inner_text()
        assert {answer.annotator for answer in here.store.load_answers()} == {"Zoë <b>"}
        page.locator("#summary button.main").click()
        for _ in range(3):
            said = press(page, "ArrowRight", said)
        until(page, "(document.querySelector('#summary p')?.textContent ?? '').includes('compared all clips')")
        assert len(here.store) == 6
        page.reload()
        until(page, "(document.querySelector('#summary p')?.textContent ?? '').includes('compared all clips')")
        assert page.locator("#who").inner_text() == "Zoë <b>"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_reads_well_and_fits(browser, clips: Path, tmp_path: Path, scheme: str) -> None:
    with (
        served(clips, str(tmp_path / "p.db"), "rank", 4) as here,
        opened(browser, here.url, color_scheme=scheme) as page,
    ):
        until(page, SHOWN)
        page.keyboard.press("2")
        disabled = "[...document.querySelectorAll('button:disabled')].forEach(b => b.disabled = false)"
        page.evaluate(disabled)  # what cannot be pressed may be faint
        assert page.evaluate(CONTRAST) == []
        assert page.evaluate("document.documentElement.scrollHeight") <= 800, "a laptop needs no scrolling"
        background = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert (max if scheme == "dark" else min)(int(v) for v in background[4:-1].split(",")) in range(
            *((0, 60) if scheme == "dark" else (200, 256))
        )
        page.keyboard.press("?")
        assert page.evaluate(CONTRAST) == []
        page.keyboard.press("Escape")
        page.locator("#to-summary").click()
        until(page, "document.querySelector('.facts') !== null")
        assert page.evaluate(CONTRAST) == []
        unnamed = page.evaluate(
            "[...document.querySelectorAll('button, video, input, [tabindex=\"0\"]')].filter(e =>"
            " !e.textContent.trim() && !e.getAttribute('aria-label')).map(e => e.outerHTML.slice(0, 80))"
        )
        assert unnamed == []
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.slow
def test_a_clip_that_cannot_be_played_can_be_skipped(browser, clips: Path, tmp_path: Path) -> None:
    write_clips(tmp_path, 2)
    with served(tmp_path) as here, opened(browser, here.url, who="", quiet=False) as page:
        until(page, "document.querySelector('#name-dialog').open")
        (tmp_path / "clip00.mp4").write_text("overwritten meanwhile")
        page.locator("#name").fill("ann")
        page.keyboard.press("Enter")
        until(page, "document.querySelectorAll('.card.broken').length === 1")
        assert "clip00.mp4 cannot be played" in page.locator(".card.broken").inner_text()
        page.keyboard.press("s")
        saved(page)
        assert here.store.load_answers()[0].is_skipped


def label_at_speed(page, count: int) -> Counter[str]:
    """Presses as fast as queries come; returns what was pressed."""
    pressed: Counter[str] = Counter()
    said = ""
    for i in range(count):
        key = ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowRight", "s")[i % 5]
        said = press(page, key, said)
        pressed[key] += 1
    return pressed


@pytest.mark.slow
def test_two_hundred_labels_at_speed(browser, clips: Path, tmp_path: Path) -> None:
    with served(clips, str(tmp_path / "p.db")) as here, opened(browser, here.url) as page:
        pressed = label_at_speed(page, 200)
        saved(page)
        answers = here.store.load_answers()
        assert len(answers) == 200 == len({frozenset(answer.clips) for answer in answers})
        assert sum(answer.is_skipped for answer in answers) == pressed["s"]
        assert sum(answer.is_all_tied for answer in answers) == pressed["ArrowUp"]
        right = sum(answer.ranking[:1] == ((answer.clips[1],),) for answer in answers)
        assert right == pressed["ArrowRight"]


@pytest.mark.slow
def test_two_people_at_once(browser, clips: Path, tmp_path: Path) -> None:
    with (
        served(clips, str(tmp_path / "p.db"), shared=0.5) as here,
        opened(browser, here.url, "ann") as one,
        opened(browser, here.url, "bob") as other,
    ):
        last = {"ann": "", "bob": ""}
        for i in range(30):
            for page, who in ((one, "ann"), (other, "bob")):
                last[who] = press(page, "ArrowLeft" if i % 3 else "ArrowRight", last[who])
        saved(one)
        saved(other)
        assert [len(here.store.load_answers(who)) for who in ("ann", "bob")] == [30, 30]
        both = [{frozenset(a.clips) for a in here.store.load_answers(who)} for who in ("ann", "bob")]
        assert len(both[0] & both[1]) >= 15
        one.locator("#to-summary").click()
        until(one, "document.querySelector('.facts') !== null")
        assert "ann and bob" in one.locator("#summary").inner_text()


@pytest.mark.slow
def test_kill_9_and_restart_lose_nothing(browser, clips: Path, tmp_path: Path) -> None:
    where = tmp_path / "p.db"
    with listen("127.0.0.1", 0) as probe:
        port = probe.getsockname()[1]
    words = (f"port={port}", f"preferences={where}")
    with command(clips, *words) as (process, url), opened(browser, url, quiet=False) as page:
        said, alone = "", 0
        for _ in range(20):
            said = press(page, "ArrowLeft", said)
        until(page, f"{SHOWN} && {KEY} !== {said!r}")
        process.kill()
        process.wait()
        while alone < 3 and (shown := another(page, said)):  # what is loaded can be answered without a server
            page.keyboard.press("ArrowRight")
            said, alone = shown, alone + 1
        assert alone >= 1
        until(page, "document.querySelector('#saved').textContent.includes('kept in this browser')")
        with command(clips, *words) as (again, same):
            assert same == url
            saved(page)
            for _ in range(20):
                said = press(page, "ArrowLeft", said)
            until(page, f"{SHOWN} && {KEY} !== {said!r}")
            again.kill()
            again.wait()
            page.keyboard.press("ArrowUp")
        page.wait_for_timeout(200)
        with command(clips, *words):
            page.reload()  # what waits outlives the page too
            until(page, f"document.querySelector('#count').textContent === '{41 + alone} of 100'")
            saved(page)
    with PreferenceStore(where) as store:
        answers = store.load_answers()
        assert len(answers) == 41 + alone == len({frozenset(answer.clips) for answer in answers})
        assert sum(answer.is_all_tied for answer in answers) == 1
        assert sum(answer.ranking[0] == (answer.clips[1],) for answer in answers if not answer.is_all_tied) == alone
