"""Scene files and rules on the command line, with the real workers."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from robo_reward.cli.app import compose_config, main
from robo_reward.cli.arguments.overrides import prepare_overrides
from robo_reward.cli.task import make_configured_task
from robo_reward.policies.policy import load_policy
from tests.scenes.test_scene_task import PUCK, SCENE

RULE = "norm(puck_position - goal_position) < 0.1"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "puck.xml").write_text(PUCK)
    (tmp_path / "scene.yaml").write_text(SCENE + "steps: 500\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_train_and_evaluate_a_scene_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["train", "task=scene.yaml", "failure=puck_height < -0.1", "run=a", "videos=1", "episodes=2"]
    assert main(words) == 0
    meta = load_policy(folder / "runs" / "a").meta
    assert meta["task"] == "scene/scene" and meta["options"]["failure"] == "puck_height < -0.1"
    assert (folder / "runs" / "a" / "videos").is_dir()
    monkeypatch.chdir("/")  # the scene is found from anywhere
    assert main(["evaluate", str(folder / "runs" / "a"), "episodes=4", f"json={folder / 'e.json'}"]) == 0
    assert json.loads((folder / "e.json").read_text())["episodes"] == 4


@pytest.mark.slow
def test_search_with_a_bare_model_in_confined_jobs(folder: Path) -> None:
    words = ["search", "task=puck.xml", "goal=Push the puck to the goal.", f"success={RULE}", "run=s", "videos=1"]
    assert main([*words, "search.rounds=1", "search.candidates=1", "search.steps=3000", "search.episodes=10"]) == 0
    found = json.loads((folder / "runs" / "s" / "result.json").read_text())
    assert found["evaluation"]["episodes"] == 10
    page = (folder / "runs" / "s" / "report.html").read_text()
    assert "Push the puck to the goal." in page


def test_rules_are_taken_literally_and_checked_before_work(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = prepare_overrides("train", ["task=panda/lift", "success=norm(cube_position) < 0.1, [1]"]).build_config()
    assert config.success == "norm(cube_position) < 0.1, [1]"
    for words, text in (
        (["task=puck.xml"], "puck.xml has no goal"),
        (["task=puck.xml", "goal=Throw."], "success="),
        (["task=pock.xml"], "no such file"),
        (["task=puck.xml", "goal=Push.", "success=pack_x > 1"], "Did you mean 'puck_x'"),
        (["success=cube_hight > 0.1"], "cube_hight"),
    ):
        assert main(["train", *words]) == 2
        assert text in capsys.readouterr().err.replace("\n", " ")
    assert not (folder / "runs").exists()


def test_a_goal_without_a_rule_is_refused_before_work(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "task=panda/reach", "goal=Wave."]) == 2
    assert "not understood: 'wave'" in " ".join(capsys.readouterr().err.split())
    assert not (folder / "runs").exists()


def test_tasks_shows_a_scene_file_and_checks_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", "name=scene.yaml"]) == 0
    shown = capsys.readouterr().out
    assert "puck_position" in shown and "success at the start" in shown and "actuators" in shown
    assert main(["tasks", "name=scene.yaml", "success=puck_x > 0"]) == 1
    assert "make the rule stricter" in " ".join(capsys.readouterr().out.split())


def test_task_check_draws_the_cameras_and_needs_no_goal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["task", "puck.xml"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "no goal yet" in shown and "success='norm(puck_position - goal_position) < 0.05'" in shown
    assert "state.puck_velocity" in shown and not (folder / "checks").exists()
    assert main(["task", "puck.xml", "--check", "out=seen"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "extreme actions" in shown and "seen/scene-puck/overview.png" in shown
    frame = cv2.imread(str(folder / "seen" / "scene-puck" / "overview.png"))
    assert frame is not None and frame.shape == (480, 640, 3) and frame.std() > 5
    assert main(["task"]) == 2
    assert main(["task", "scene.yaml", "--chek"]) == 2


def test_a_rule_that_is_true_at_the_start_is_told_before_training(
    folder: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    make_configured_task(compose_config("train", ["task=scene.yaml"]))
    assert "starts" not in caplog.text
    for rule in ("cube_height > -1", "held(cube_height > -1, 0.5)"):
        make_configured_task(compose_config("train", ["task=panda/lift", f"success={rule}", "goal=Stay."]))
        assert f"'{rule}' holds in 100 % of the starts" in caplog.text
    for words in (["task=scene.yaml", "failure=puck_x > 0"], ["task=panda/lift", "failure=cube_height < 1"]):
        assert main(["train", *words]) == 2
        assert "holds in 100 % of the starts, so that episodes end at once" in " ".join(capsys.readouterr().err.split())
    assert not (folder / "runs").exists()
