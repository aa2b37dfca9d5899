"""The labelling page's server: what it records, and whom it refuses."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robo_reward.cli.app import main
from robo_reward.data.episode import Episode, EpisodeStore
from robo_reward.envs.state import Field, StateSpec
from robo_reward.envs.video.files import write_video
from robo_reward.errors import UsageError
from robo_reward.labelling.answers import new_uuid
from robo_reward.labelling.clips import find_clips
from robo_reward.labelling.page.app import STATIC
from robo_reward.labelling.page.session import clips_per_query, load_or_create_token
from robo_reward.web.guard import host_names
from robo_reward.web.server import PortTaken, listen
from tests.house.source import ROOT
from tests.labelling.pages import Served, call, served, write_clips

pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'robo-reward[label]'")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("clips"), 6)


@pytest.fixture
def page(clips: Path, tmp_path: Path) -> Iterator[Served]:
    with served(clips, str(tmp_path / "p.db")) as one:
        yield one


def ask(page: Served, who: str = "ann", tab: str = "t", count: int = 1, exclude: str = "") -> list[dict[str, Any]]:
    path = f"{page.path}api/queries?annotator={who}&tab={tab}&count={count}&exclude={exclude}"
    return call(page.port, "GET", path).json


def event(query: dict[str, Any], who: str = "ann", **changes: Any) -> dict[str, Any]:
    ids = [clip["id"] for clip in query["clips"]]
    said = {"uuid": new_uuid(), "annotator": who, "clips": ids, "ranking": [[clip] for clip in ids], "text": ""}
    return {**said, "seconds": 1.5, "source": query["source"], **changes}


def post(page: Served, value: Any, **headers: str) -> Any:
    return call(page.port, "POST", f"{page.path}api/events", value, **headers)


def test_an_answer_is_stored_with_its_provenance(page: Served) -> None:
    (query,) = ask(page)
    sent = event(query, text="smooth", speed=2, replays=1)
    assert post(page, sent).status == 200
    (answer,) = page.store.load_answers()
    assert (answer.uuid, answer.annotator, answer.seconds, answer.text) == (sent["uuid"], "ann", 1.5, "smooth")
    assert answer.ranking == tuple((clip,) for clip in sent["clips"])
    assert answer.provenance["query"] == "random"
    assert answer.provenance["speed"] == "2"
    assert {"session", "page", "mode"} <= set(answer.provenance)
    assert set(sent["clips"]) <= page.store.load_clips().keys()


def test_a_retried_answer_counts_once_and_an_undo_takes_it_back(page: Served) -> None:
    sent = event(ask(page)[0])
    with ThreadPoolExecutor(4) as pool:
        assert {reply.status for reply in pool.map(lambda _: post(page, sent), range(8))} == {200}
    assert len(page.store) == 1
    undo = {"uuid": new_uuid(), "undoes": sent["uuid"], "annotator": "ann"}
    assert [post(page, undo).status for _ in range(2)] == [200, 200]
    assert len(page.store) == 0
    assert len(page.store.load_history()) == 2


def test_queries_are_not_repeated_and_tabs_do_not_collide(page: Served) -> None:
    first, second = ask(page, tab="one", count=3), ask(page, tab="two", count=3)
    assert len({query["key"] for query in first + second}) == 6
    assert ask(page, tab="one", count=3) == first, "a tab that is loaded anew goes on with its own"
    assert ask(page, tab="one", exclude=first[0]["key"])[0]["key"] == first[1]["key"]
    for query in first:
        post(page, event(query))
    left = ask(page, tab="one", count=20)
    assert not {query["key"] for query in left} & {query["key"] for query in first + second}
    assert len(left) == 15 - 6
    assert len(ask(page, who="bob", count=20)) == 15
    state = call(page.port, "GET", f"{page.path}api/state?annotator=ann").json
    assert (state["done"], state["target"], state["k"], state["people"]) == (3, 15, 2, ["ann"])
    assert [one["query"]["key"] for one in state["recent"]] == [query["key"] for query in first]


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"clips": ["x", "y"], "ranking": []}, 422, "not those shown here"),
        ({"ranking": [["x"]]}, 422, "once"),
        ({"ranking": [5]}, 400, "not a valid answer"),
        ({"ranking": None}, 400, "not a valid answer"),
        ({"annotator": ""}, 422, "annotator"),
        ({"annotator": ["ann"]}, 400, "annotator"),
        ({"annotator": "half \ud83d"}, 422, "annotator"),
        ({"seconds": -4}, 422, "seconds"),
        ({"seconds": "now"}, 400, "seconds"),
        ({"seconds": 10**400}, 400, "seconds"),
        ({"seconds": float("inf")}, 400, "seconds"),
        ({"seconds": float("nan")}, 400, "seconds"),
        ({"seconds": True}, 400, "seconds"),
        ({"text": "x" * 20_000}, 422, "text"),
        ({"undoes": "nothing"}, 422, "no answer"),
        ({"undoes": None}, 400, "undoes"),
    ],
)
def test_what_is_no_answer_is_refused_for_good(
    page: Served, changes: dict[str, Any], status: int, message: str
) -> None:
    reply = post(page, event(ask(page)[0], **changes))
    assert reply.status == status
    assert message in reply.json["error"]
    assert page.store.load_history() == []


def test_bodies_that_are_no_json_object(page: Served) -> None:
    assert post(page, b"nonsense").status == 400
    assert post(page, b"[" * 60_000).status == 400
    assert post(page, [1]).status == 400
    assert post(page, {}).status == 400
    assert post(page, b'{"seconds": 1' + b"0" * 5000 + b"}").status == 400
    assert post(page, b"x" * 100_000).status == 413
    assert post(page, b"{}", content_type="text/plain").status == 415
    assert call(page.port, "GET", f"{page.path}api/queries?annotator=&count=1").status == 400
    for count in ("9999", "0", "-1", "1.5", "%C2%B2", "%D9%A1", ""):  # a superscript two, and an Arabic one
        assert call(page.port, "GET", f"{page.path}api/queries?annotator=a&count={count}").status == 400
    assert call(page.port, "GET", f"{page.path}api/events").status == 405


def test_a_database_that_is_away_means_try_again(page: Served) -> None:
    sent = event(ask(page)[0])
    with page.store._engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE preference_answers RENAME TO hidden")
    assert post(page, sent).status == 503
    with page.store._engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE hidden RENAME TO preference_answers")
    assert post(page, sent).status == 200


def test_only_those_who_know_the_token(page: Served) -> None:
    token = page.path.strip("/")
    for path in ("/", "/api/state", "/style.css", f"/{token[:-1]}/", f"/{token}x/api/state", f"//{token}", "/%00/"):
        assert call(page.port, "GET", path).status in (307, 404)
    assert call(page.port, "GET", f"/{token}").headers["location"] == page.path
    reply = call(page.port, "GET", page.path)
    assert reply.status == 200
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert call(page.port, "GET", f"{page.path}page.json").status == 404
    assert call(page.port, "GET", f"{page.path}clips/..%2f..%2fetc%2fpasswd").status == 404


def test_other_pages_and_other_names_are_refused(page: Served) -> None:
    for host in ("localhost:9999", "127.0.0.1", "LOCALHOST:1", "[::1]:80"):
        assert call(page.port, "GET", page.path, host=host).status == 200, "an SSH port-forward has any port"
    for host in ("evil.example", "127.0.0.1.evil.example:80", "", "[::1", "192.168.0.1"):
        assert call(page.port, "GET", page.path, host=host).status == 403
    sent = event(ask(page)[0])
    for origin in ("http://evil.example", "null", f"http://localhost:{page.port}"):
        assert post(page, sent, origin=origin).status == 403
    assert len(page.store) == 0
    assert post(page, sent, origin=f"http://127.0.0.1:{page.port}").status == 200
    assert post(page, sent, host="localhost:7", origin="http://localhost:7").status == 200
    assert socket.gethostname().lower() in host_names("0.0.0.0")


def test_videos_come_whole_and_in_ranges(page: Served) -> None:
    clip = ask(page)[0]["clips"][0]
    video = page.session.find_video(clip["id"])
    assert video is not None
    content = video.path.read_bytes()
    whole = call(page.port, "GET", f"{page.path}clips/{clip['id']}")
    assert (whole.status, whole.body, whole.headers["content-type"]) == (200, content, "video/mp4")
    part = call(page.port, "GET", f"{page.path}clips/{clip['id']}", range="bytes=10-19")
    assert (part.status, part.body) == (206, content[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(content)}"
    assert call(page.port, "GET", f"{page.path}clips/nothing").status == 404
    assert call(page.port, "HEAD", f"{page.path}clips/{clip['id']}").headers["content-length"] == str(len(content))


def test_summary_and_export(page: Served) -> None:
    for who in ("ann", "bob"):
        for query in ask(page, who, count=15):
            post(page, event(query, who, ranking=[sorted(clip["id"] for clip in query["clips"])]))
    summary = call(page.port, "GET", f"{page.path}api/summary").json
    assert (summary["answers"], summary["shared"], summary["share"], summary["ties"]) == (30, 15, 1, 1)
    assert summary["fleiss"] is None
    assert "Every comparison is a tie" in summary["warnings"][0]
    assert [one["name"] for one in summary["people"]] == ["ann", "bob"]
    lines = call(page.port, "GET", f"{page.path}preferences.jsonl").body.decode().splitlines()
    assert len([line for line in lines if json.loads(line)["row"] == "event"]) == 30


def test_every_static_file_is_served(page: Served) -> None:
    folder = ROOT / "robo_reward" / "labelling" / "page" / "static"
    assert {path.name for path in folder.iterdir()} == set(STATIC)
    for name, kind in STATIC.items():
        reply = call(page.port, "GET", f"{page.path}{name}")
        assert (reply.status, reply.headers["content-type"].split(";")[0]) == (200, kind)


def test_two_pages_on_one_store(clips: Path, tmp_path: Path) -> None:
    where = str(tmp_path / "p.db")
    with served(clips, where) as one, served(clips, where) as other:
        assert one.path == other.path, "one folder, one token"
        query = ask(one)[0]
        post(one, event(query))
        assert query["key"] not in {q["key"] for q in ask(other, count=20)}
        post(other, event(ask(other)[0]))
        assert len(one.store) == 2


def test_triplets(clips: Path, tmp_path: Path) -> None:
    with served(clips, str(tmp_path / "p.db"), "triplet", 3) as page:
        (query,) = ask(page)
        assert post(page, event(query)).status == 200
        assert page.store.load_answers()[0].kind == "triplet"


def test_modes() -> None:
    assert [
        clips_per_query("pair"),
        clips_per_query("triplet", 3),
        clips_per_query("rank"),
        clips_per_query("rank", 7),
    ] == [
        2,
        3,
        4,
        7,
    ]
    for mode, k in (("pair", 3), ("rank", 10), ("rank", 1), ("pear", 2)):
        with pytest.raises(UsageError):
            clips_per_query(mode, k)


def test_the_token_is_private_and_stays(tmp_path: Path) -> None:
    token = load_or_create_token(tmp_path)
    assert load_or_create_token(tmp_path) == token
    assert (tmp_path / "page.json").stat().st_mode & 0o077 == 0
    (tmp_path / "page.json").write_text('{"token": ""}')
    with pytest.raises(UsageError, match="delete it"):
        load_or_create_token(tmp_path)


# ---- sources of clips, and the verb


def test_broken_videos_are_named_and_the_others_used(tmp_path: Path) -> None:
    write_clips(tmp_path, 3)
    write_video(tmp_path / "deep" / "odd.mp4", np.zeros((9, 50, 30, 3), np.uint8), fps=7)
    whole = write_video(tmp_path / "long.mp4", np.random.default_rng(0).integers(0, 255, (40, 64, 64, 3), np.uint8), 10)
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "same.mp4").write_bytes((tmp_path / "clip00.mp4").read_bytes())
    (tmp_path / "notes.txt").write_text("hello")
    found = find_clips(tmp_path, tmp_path / "labels")
    assert {video.name for video in found.videos} == {
        "clip00.mp4",
        "clip01.mp4",
        "clip02.mp4",
        "deep/odd.mp4",
        "long.mp4",
    }
    reasons = {one.name: one.reason for one in found.refused}
    assert reasons.keys() == {"cut.mp4", "empty.mp4", "text.mp4", "same.mp4"}
    assert "empty" in reasons["empty.mp4"]
    assert "breaks off" in reasons["cut.mp4"]
    assert "same as clip00.mp4" in reasons["same.mp4"]
    odd = next(video for video in found.videos if video.name == "deep/odd.mp4")
    assert (odd.fps, odd.size, round(odd.seconds, 2)) == (7, (30, 50), round(9 / 7, 2))


def episode(value: int, frames: bool = True) -> Episode:
    spec = StateSpec([Field("x", (1,), "m", "a number", "object")])
    pictures = np.full((4, 32, 32, 3), value, np.uint8) if frames else None
    return Episode(np.full((4, 1), value), np.zeros((3, 2)), np.zeros(3, bool), spec, "panda/lift", frames=pictures)


@pytest.mark.parametrize("keep", ["mp4", "exact"])
def test_an_episode_store_gives_its_keys(tmp_path: Path, keep: Any) -> None:
    store = EpisodeStore(tmp_path / "episodes", frames=keep)
    for i in range(3):
        store.append(episode(60 * i), f"e{i}")
    store.append(episode(9, frames=False), "blind")
    found = find_clips(tmp_path, tmp_path / "labels")
    assert [video.id for video in found.videos] == ["e0", "e1", "e2"]
    assert [one.name for one in found.refused] == ["blind"]
    assert found.goal == "Pick up the red cube and lift it 10 cm above the table."
    assert found.store[0].path == str(tmp_path / "episodes")
    assert found.store[0].meta["steps"] == 3


@pytest.mark.parametrize("known", [True, False])
def test_unknown_success_is_not_a_failure(tmp_path: Path, known: bool) -> None:
    store = EpisodeStore(tmp_path / "episodes")
    for i in range(2):
        store.append(replace(episode(60 * i), meta={} if known else {"success_known": False}), f"e{i}")
    found = find_clips(tmp_path, tmp_path / "labels").videos
    assert [video.meta.get("success") for video in found] == ([False] * 2 if known else [None] * 2)


def test_a_run_gives_its_videos(tmp_path: Path) -> None:
    write_clips(tmp_path / "videos", 2)
    write_clips(tmp_path / "jobs", 2, size=(64, 64))
    assert len(find_clips(tmp_path, tmp_path / "labels").videos) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["label", "{empty}"], "0 usable videos; comparing needs two"),
        (["label", "{broken}"], "bad.mp4: it is not a video"),
        (["label", "{nowhere}"], "no folder"),
        (["label", "{clips}", "mode=pear"], "Did you mean 'pair'"),
        (["label", "{clips}", "mode=pair", "k=3"], "a pair shows 2 clips"),
        (["label", "{clips}", "mode=rank", "k=7"], "6 clips are too few to show 7"),
        (["label", "{clips}", "query=disagreement"], "needs scores=FILE"),
        (["label", "{clips}", "query=best"], "random"),
        (["label", "{clips}", "target=0"], "target=0"),
        (["label", "{clips}", "preferences={broken}/no/p.db"], "no folder"),
        (["label", "{clips}", "preferences={clips}/clip00.mp4"], "not a database"),
        (["label", "{clips}", "port=99999"], "port=99999"),
        (["label", "{clips}", "host=256.1.1.1"], "cannot be served"),
    ],
)
def test_wrong_usage(
    clips: Path, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = {"clips": clips, "nowhere": tmp_path / "nowhere", "empty": tmp_path / "empty", "broken": tmp_path / "b"}
    for name in ("empty", "broken"):
        folders[name].mkdir()
    (folders["broken"] / "bad.mp4").write_text("nonsense")
    assert main([word.format(**folders) for word in arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_busy_port_names_the_next_free_one(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert main(["label", str(clips), f"port={port}"]) == 2
        assert f"port {port} is in use by another program; port=" in capsys.readouterr().err
        with pytest.raises(PortTaken) as caught:
            listen("127.0.0.1", port)
        listen("127.0.0.1", int(str(caught.value).split("port=")[1].split()[0])).close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clips(tmp_path, 2)
    tmp_path.chmod(0o500)
    assert main(["label", str(tmp_path)]) == 2
    assert "cannot be made" in capsys.readouterr().err
