"""Reports of run folders that somebody else made, tampered with, or that a kill or a bad disk damaged."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robo_reward.cli.app import main
from robo_reward.errors import BadArtifact, RoboRewardError, UsageError
from robo_reward.report import RunReport, rebuild_report
from robo_reward.report.codec import BadReportFile
from robo_reward.report.runs import report_run
from tests.tampering import JSON, places, put

POINT = {"steps": 10, "success": 0.5, "episode_return": 1.0, "terms": {"reach": 0.1}, "seconds": 1.0}
EVALUATION = {"episodes": 4, "successes": 2, "success": 0.5, "low": 0.1, "high": 0.9, "held": 0.2, "mean_return": None}
TRAINING = {"task": "t", "steps": 10, "seconds": 1.0, "stopped": False, "points": [POINT], "evaluation": EVALUATION}
REFUSAL = {"stage": "language", "reason": "no such field", "remedy": "use another", "line": 3, "source": "# text"}
VIDEO = b"\0\0\0\x18ftypisom" + bytes(100)
CANDIDATES = [
    {"id": "1.1", "round": 0, "index": 0, "source": "# a\n", "parent": None, "status": "finished", "refusals": [],
     "warnings": [], "rungs": [TRAINING], "note": ""},
    {"id": "1.2", "round": 0, "index": 1, "source": "# b\n", "parent": "1.1", "status": "failed",
     "refusals": [REFUSAL], "warnings": [], "rungs": [], "note": "it crashed"},
]  # fmt: skip
SEARCH = {"candidates": CANDIDATES, "winner": "1.1", "policy": "p", "finals": [TRAINING]}
PROVENANCE = {
    "command": "robo-reward search 'goal=Lift it, gently.'",
    "created": "2026-01-02T03:04:05+00:00",
    "versions": {"numpy": "2"},
    "git": {"revision": "abc", "dirty": True},
    "machine": {"system": "Linux", "cores": "2", "executable": "/secret/place"},
}
CONFIG = {
    "task": {"id": "panda/reach", "options": {}},
    "goal": "Reach the goal.",
    "seed": 3,
    "search": {"steps": 100, "rungs": [0.5, 1.0]},
    "writer": {"name": "offline"},
    "policy": {"algorithm": "ppo"},
    "reward": {"kind": "program"},
}


@pytest.fixture
def search(tmp_path: Path) -> Path:
    return write_search(tmp_path / "run")


def write_search(folder: Path) -> Path:
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    (folder / "videos" / "0.mp4").write_bytes(VIDEO)
    for name, value in {
        "search.json": SEARCH,
        "evaluation.json": EVALUATION,
        "sittings.json": [1.0, 2.5],
        "provenance.json": PROVENANCE,
        "videos.json": [{"path": "videos/0.mp4", "success": True}],
    }.items():
        (folder / name).write_text(json.dumps(value))
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    return folder


@pytest.fixture
def training(tmp_path: Path) -> Path:
    folder = tmp_path / "train"
    (folder / "reward").mkdir(parents=True)
    (folder / "reward" / "reward.py").write_text("# the reward\n")
    (folder / "result.json").write_text(json.dumps(TRAINING))
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    return folder


def test_whole_folders_have_pages(search: Path, training: Path) -> None:
    page = report_run(search).read_text()
    assert base64.b64encode(VIDEO).decode() in page
    for text in (
        "Reach the goal.",
        "robo-reward search &#39;goal=Lift it, gently.&#39;",
        "sitting 2",
        "no such field",
        "it crashed",
    ):
        assert text in page
    assert "/secret/place" not in page
    assert "the reward" in report_run(training).read_text()


SECRET = "root:*:20228:0:99999:7:::"


@pytest.mark.parametrize(
    "path", ["../secret", "/SECRET", "videos/../../secret", "link.mp4", "linked/secret", "videos", "", "pipe", "a\0b"]
)
def test_no_file_outside_the_folder_reaches_a_page(search: Path, path: str) -> None:
    secret = search.parent / "secret"
    secret.write_text(SECRET)
    (search / "link.mp4").symlink_to(secret)
    (search / "linked").symlink_to(search.parent)
    os.mkfifo(search / "pipe")
    listed = [{"path": path.replace("/SECRET", str(secret)), "success": True}]
    (search / "videos.json").write_text(json.dumps(listed))
    page = report_run(search).read_text()
    assert base64.b64encode(SECRET.encode()).decode()[:20] not in page and SECRET not in page
    assert "could not be read" in page


def test_only_videos_are_embedded(search: Path) -> None:
    (search / "videos" / "0.mp4").write_text(SECRET)
    page = report_run(search).read_text()
    assert base64.b64encode(SECRET.encode()).decode()[:20] not in page
    assert "is not an mp4 video" in page
    with (search / "videos" / "0.mp4").open("wb") as file:
        file.truncate(10 << 30)
    assert "could not be read" in report_run(search).read_text()


def test_interpolations_in_settings_are_not_resolved(search: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET_KEY", "sk-TOPSECRET")
    goal = "${oc.env:MY_SECRET_KEY} ${seed} ${oc.decode:x} ${"
    (search / "config.yaml").write_text(yaml.safe_dump({**CONFIG, "goal": goal[:-2]}))
    page = report_run(search).read_text()
    assert "sk-TOPSECRET" not in page and "${oc.env:MY_SECRET_KEY}" in page
    (search / "config.yaml").write_text(yaml.safe_dump({**CONFIG, "goal": goal}))
    try:
        assert "sk-TOPSECRET" not in report_run(search).read_text()
    except BadArtifact as problem:
        assert "sk-TOPSECRET" not in str(problem)  # noqa: PT017


def test_links_to_files_elsewhere_are_not_read(search: Path, training: Path) -> None:
    secret = search.parent / "secret"
    secret.write_text("goal: " + SECRET)
    (training / "reward" / "reward.py").unlink()
    (training / "reward" / "reward.py").symlink_to(secret)
    assert SECRET not in report_run(training).read_text()
    shutil.rmtree(training / "reward")
    (training / "reward").symlink_to(search.parent)
    (search.parent / "reward.py").write_text(SECRET)
    assert SECRET not in report_run(training).read_text()
    for name in ("config.yaml", "search.json"):
        (search / name).rename(search / "kept")
        (search / name).symlink_to(secret)
        with pytest.raises(BadArtifact, match=name):
            report_run(search)
        (search / "kept").replace(search / name)


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"\xff{garbage"),
    "a list": lambda path: path.write_text("[[1]]"),
    "null": lambda path: path.write_text("null"),
    "deep": lambda path: path.write_text("[" * 100_000),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a sparse gigabyte": lambda path: os.truncate(path, 1 << 30),
}
NEEDED = ("search.json", "config.yaml")
SPARE = ("evaluation.json", "sittings.json", "provenance.json", "videos.json")


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_left_out_or_named(
    search: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], Any]
) -> None:
    for name in SPARE:
        damage(search / name)
    page = report_run(search).read_text()
    assert "1.1" in page
    for name in NEEDED:
        broken = Path(shutil.copytree(search, search.parent / name, ignore=lambda *_: list(SPARE)))
        damage(broken / name)
        with pytest.raises(BadArtifact, match=name):
            report_run(broken)


def test_the_command_says_it_in_a_sentence(search: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (search / "search.json").write_text('{"candidates": 5}')
    assert main(["report", f"folder={search}"]) == 1
    said = capsys.readouterr().err
    assert "search.json" in said and "candidates" in said and "Traceback" not in said


def test_a_folder_without_a_run_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no finished run"):
        report_run(tmp_path)


def test_yaml_that_expands_without_end_is_refused(search: Path) -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    (search / "config.yaml").write_text("\n".join(lines))
    with pytest.raises(BadArtifact, match="aliases"):
        report_run(search)
    (search / "config.yaml").write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(BadArtifact, match=r"config\.yaml"):
        report_run(search)


WHOLE = {
    "search.json": SEARCH,
    "evaluation.json": EVALUATION,
    "sittings.json": [1.0],
    "provenance.json": PROVENANCE,
    "videos.json": [{"path": "videos/0.mp4", "success": True}],
    "config.yaml": CONFIG,
}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_content_gives_a_page_or_one_error(tmp_path: Path, data: st.DataObject) -> None:
    folder = write_search(tmp_path / "run")
    name = data.draw(st.sampled_from([*WHOLE, "search.json"]))
    tampered = put(WHOLE[name], data.draw(st.sampled_from(places(WHOLE[name]))), data.draw(JSON))
    (folder / name).write_text(json.dumps(tampered))  # JSON is YAML
    try:
        page = report_run(folder)
    except BadArtifact as problem:
        assert problem.path.name in NEEDED  # type: ignore[union-attr]  # noqa: PT017
        return
    assert page.read_text().startswith("<!")
    RunReport.from_json((folder / "report.json").read_text())


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_report_file_gives_a_page_or_one_error(tmp_path: Path, data: st.DataObject) -> None:
    folder = tmp_path / "run"
    if not folder.exists():
        report_run(write_search(folder))
        shutil.copy(folder / "report.json", folder / "whole.json")
    whole = json.loads((folder / "whole.json").read_text())
    text = json.dumps(put(whole, data.draw(st.sampled_from(places(whole))), data.draw(JSON)))
    (folder / "report.json").write_text(data.draw(st.sampled_from([text, text[:50], "[" * 100_000, ""])))
    try:
        rebuild_report(folder)
    except RoboRewardError as error:
        assert isinstance(error, BadReportFile | BadArtifact), error  # noqa: PT017
