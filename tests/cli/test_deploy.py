"""`robo-reward deploy` on a simulated arm: what its exit code says, and what stands in the run folder."""

import json
from pathlib import Path

import pytest

from robo_reward.cli import main
from robo_reward.cli.robot import deploy
from robo_reward.errors import UsageError
from robo_reward.hardware.drivers.registry import resolve_task
from tests.hardware.rigs import Inline, Person


def deployed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, policy: str, *more: str, person: Person | None = None
) -> int:
    monkeypatch.setattr(deploy, "policy_source", lambda *where: Inline(f"fr3/lift {policy}"))
    monkeypatch.setattr(deploy, "AtTerminal", lambda print_line: person or Person())
    words = [
        "deploy",
        "robot=mujoco",
        "task=fr3/lift",
        "horizon=8",
        "tempo=1",
        "label=false",
        f"runs={folder}",
        "run=r",
    ]
    return main([*words, *more])


def result(folder: Path) -> dict[str, object]:
    return json.loads((folder / "r" / "result.json").read_text())


def test_a_whole_deployment_ends_with_0_and_says_with_what_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert deployed(tmp_path, monkeypatch, "steady", "episodes=2") == 0
    value = result(tmp_path)
    assert value["episodes"] == value["judged"] == value["made"] == 2
    provenance = json.loads((tmp_path / "r" / "provenance.json").read_text())
    assert {"ruckig", "franky-control", "franka-rs"} <= set(provenance["versions"]) and "robot" in provenance


def test_episodes_that_are_cut_short_again_and_again_end_with_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deployed(tmp_path, monkeypatch, "text", "episodes=1", "retries=1") == 3
    value, said = result(tmp_path), capsys.readouterr().out
    assert value["episodes"] == 0 and value["outcomes"] == {"faulted": 2} and value["success"] is None
    assert "cut short and not counted: 2 faulted" in said and "2 times in a row" in said
    assert deployed(tmp_path, monkeypatch, "steady", "episodes=1", "retries=2") == 0, "the same folder goes on"
    assert result(tmp_path)["outcomes"] == {"faulted": 2, "failure": 1}


def test_a_fault_that_nobody_confirms_ends_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert deployed(tmp_path, monkeypatch, "text", "confirm=false") == 1
    assert result(tmp_path)["episodes"] == 0


@pytest.mark.parametrize("words", ["workspace=[[0.6,0,0],[0.3,0.1,0.2]]", "table=3", "retries=-1", "episodes=0"])
def test_settings_that_make_no_sense_end_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    assert deployed(tmp_path, monkeypatch, "steady", words) == 2
    assert words.partition("=")[0] in capsys.readouterr().err


def test_a_policy_of_a_scene_is_for_no_arm() -> None:
    with pytest.raises(UsageError, match="scene/puck is not a task of a Franka arm"):
        resolve_task("mujoco", "", {}, "scene/puck")
