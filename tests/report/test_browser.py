"""The page in a real browser: it stays on its own, plays, answers to the pointer and fits a phone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from robo_reward.report import write_report
from tests.report.sample import failed_report, png_size, sample_report, train_report
from tests.report.test_render import _evil_report

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
REPORTS = {"search": sample_report, "train": train_report, "failed": failed_report, "evil": _evil_report}


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    return {name: write_report(make(), folder / f"{name}.html") for name, make in REPORTS.items()}


@contextmanager
def opened(browser, path: Path, width: int = 1280, height: int = 900, **options) -> Iterator:
    """The page, which must finish without a console message and without a request beyond itself."""
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    page = context.new_page()
    noise: list[str] = []
    page.on("console", lambda message: noise.append(message.text))
    page.on("pageerror", lambda error: noise.append(str(error)))
    page.on("dialog", lambda dialog: (noise.append("dialog"), dialog.dismiss()))
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    try:
        page.goto(path.as_uri())
        yield page
    finally:
        context.close()
    assert noise == []
    assert [url[:80] for url in requests if not url.startswith(("data:", "blob:"))] == [path.as_uri()]


def wait_until(page, expression: str) -> None:
    """Not `page.wait_for_function`: it needs `eval`, which the page's own policy forbids."""
    for _ in range(200):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"never true: {expression}")


@pytest.mark.parametrize("name", REPORTS)
def test_page_is_quiet_and_fits_a_phone(browser, pages, name):
    with opened(browser, pages[name], 375, 812) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        assert page.locator("h1").is_visible()


def test_videos_play_in_a_loop_without_sound(browser, pages):
    with opened(browser, pages["search"]) as page:
        wait_until(page, "[...document.querySelectorAll('video')].every(v => v.readyState >= 2 && v.currentTime > 0)")
        facts = page.evaluate(
            "[...document.querySelectorAll('video')].map(v => [v.duration, v.paused, v.muted, v.loop])"
        )
    assert len(facts) == 3
    for duration, paused, muted, loop in facts:
        assert duration == pytest.approx(60 / 25, abs=0.1)
        assert (paused, muted, loop) == (False, True, True)


def test_reduced_motion_stops_the_videos(browser, pages):
    with opened(browser, pages["search"], reduced_motion="reduce") as page:
        wait_until(page, "document.querySelector('video').readyState >= 2")
        assert page.evaluate(
            "[...document.querySelectorAll('video')].every(v => v.paused && !v.autoplay && v.controls)"
        )


def test_a_browser_that_refuses_data_videos_gets_a_blob(browser, pages):
    with opened(browser, pages["train"]) as page:
        page.evaluate("document.querySelector('video').dispatchEvent(new Event('error'))")
        wait_until(page, "(v => v.src.startsWith('blob:') && v.readyState >= 2)(document.querySelector('video'))")


def test_pointer_and_keys_read_the_curve(browser, pages):
    with opened(browser, pages["search"]) as page:
        chart = page.locator("#success-chart")
        chart.scroll_into_view_if_needed()
        end = chart.locator("path.curve.winner").evaluate(
            "p => { const q = p.getPointAtLength(p.getTotalLength()).matrixTransform(p.getScreenCTM());"
            " return [q.x, q.y]; }"
        )
        page.mouse.move(*end)
        tip = chart.locator(".tip")
        assert tip.inner_text() == "staged-still\n97 % at 320 k steps"
        page.mouse.move(5, 5)
        assert tip.is_hidden()
        chart.locator("svg").focus()
        page.keyboard.press("ArrowRight")
        assert tip.inner_text() == "staged-still\n97 % at 320 k steps"
        first = tip.inner_text()
        page.keyboard.press("ArrowLeft")
        assert tip.inner_text() != first


def test_a_tap_reads_the_curve_until_the_next_tap_elsewhere(browser, pages):
    with opened(browser, pages["search"], 375, 812, has_touch=True, is_mobile=True) as page:
        chart = page.locator("#success-chart")
        chart.locator("svg").tap()
        assert chart.locator(".tip").is_visible()
        page.locator("#curves-title").tap()
        assert chart.locator(".tip").is_hidden()
        assert page.evaluate("document.documentElement.scrollWidth") <= 375


def test_legend_hides_curves_and_the_winner_stands_out(browser, pages):
    with opened(browser, pages["search"]) as page:
        curves = page.locator("#success-chart path.curve")
        assert curves.count() == len(sample_report().curves)
        width = "e => parseFloat(getComputedStyle(e).strokeWidth)"
        winner = page.locator("#success-chart path.curve.winner")
        assert winner.count() == 1
        assert winner.evaluate(width) > curves.first.evaluate(width)
        button = page.locator("#legend button", has_text="tanh-gap")
        button.click()
        assert button.get_attribute("aria-pressed") == "false"
        assert curves.count() == len(sample_report().curves) - 1
        button.click()
        page.locator("#legend button.all").click()
        assert curves.count() == 1


def test_columns_sort_both_ways(browser, pages):
    with opened(browser, pages["search"]) as page:
        head = page.locator("#candidates thead th", has_text="Success")
        cells = "[...document.querySelectorAll('#candidates tbody tr')].map(r => +r.cells[5].dataset.v)"
        for direction in ("descending", "ascending"):
            head.locator("button").click()
            assert head.get_attribute("aria-sort") == direction
            values = page.evaluate(cells)
            assert values == sorted(values, reverse=direction == "descending")
        page.locator("#candidates thead th", has_text="Name").locator("button").click()
        names = page.evaluate("[...document.querySelectorAll('#candidates tbody tr')].map(r => r.cells[1].dataset.v)")
        assert names == sorted(names)


def test_tabs_show_the_program_or_its_changes(browser, pages):
    with opened(browser, pages["search"]) as page:
        program, diff = page.locator("#panel-program"), page.locator("#panel-diff")
        assert program.is_visible()
        assert diff.is_hidden()
        page.locator("#tab-diff").click()
        assert diff.is_visible()
        assert program.is_hidden()
        page.keyboard.press("ArrowRight")
        assert program.is_visible()
        assert diff.is_hidden()
        page.emulate_media(media="print")
        assert program.is_visible()
        assert diff.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_in_both_schemes(browser, pages, scheme):
    with opened(browser, pages["search"], color_scheme=scheme) as page:
        assert page.evaluate(CONTRAST) == []


def test_dark_is_dark(browser, pages):
    backgrounds = []
    for scheme in ("light", "dark"):
        with opened(browser, pages["search"], color_scheme=scheme) as page:
            backgrounds.append(page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))
            assert png_size(page.screenshot()) == (1280, 900)
    light, dark = ([int(v) for v in text[4:-1].split(",")] for text in backgrounds)
    assert min(light) > 200
    assert max(dark) < 50


def test_everything_interactive_has_a_name(browser, pages):
    with opened(browser, pages["search"]) as page:
        unnamed = page.evaluate(
            "[...document.querySelectorAll('button, video, svg, [tabindex=\"0\"]')].filter(e =>"
            " !e.textContent.trim() && !e.getAttribute('aria-label')).map(e => e.outerHTML.slice(0, 80))"
        )
        assert unnamed == []
        assert page.evaluate("[...document.querySelectorAll('svg')].every(e => e.getAttribute('aria-label'))")


# Text below 4.5:1 (3:1 when large) against the nearest opaque background, by the WCAG 2 formula.
CONTRAST = """() => {
  const channels = (c) => c.match(/[\\d.]+/g).map(Number);
  const linear = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (c) => { const [r, g, b] = channels(c).map(linear);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if ((channels(c)[3] ?? 1) > 0.99) return c; } return "rgb(255,255,255)"; };
  const bad = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !e.offsetParent || e.closest("svg, script, video, [aria-hidden]")) continue;
    const style = getComputedStyle(e), size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.6 && +style.fontWeight >= 700);
    const [a, b] = [light(style.color), light(behind(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const text = walker.currentNode.data.trim().slice(0, 30);
    if (ratio < (large ? 3 : 4.5)) bad.push([text, style.color, behind(e), ratio.toFixed(2)]);
  }
  return bad;
}"""
