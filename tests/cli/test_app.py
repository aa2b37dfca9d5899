"""The command line as a person meets it: exit codes, messages, and one real training run through all verbs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from robo_reward.cli.app import compose_config, main
from robo_reward.cli.arguments.help import format_overview, format_verb_help, list_group_options, list_keys
from robo_reward.cli.verbs import VERBS
from robo_reward.envs.task import task_names


def test_help_names_every_verb_and_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out.strip() == format_overview()
    for verb in VERBS:
        assert verb in format_overview()
        assert main([verb, "--help"]) == 0
        assert VERBS[verb].example in capsys.readouterr().out
    assert "candidates: 4  # programs per round" in format_verb_help("search")
    assert "search.candidates" in list_keys("search")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serch"], "Did you mean 'search'"),
        (["search", "taks=panda/lift"], "Did you mean 'task'"),
        (["search", "task=panda/pusch"], "'panda/push'"),
        (["search", "search.candidats=3"], "'search.candidates'"),
        (["search", "search.candidates=0"], "search.candidates=0: expected a whole number from 1"),
        (["search", "search.rungs=[0.5]"], "end with 1.0"),
        (["search", "writer=opnai"], "'openai'"),
        (["search", "camera=frnt"], "'front'"),
        (["search", "policy=pppo"], "'ppo'"),
        (["search", "policy.params.n_epoch=3"], "'n_epochs'"),
        (["search", "task.options.contrl=1"], "'control'"),
        (["search", "steps"], "key=value"),
        (["search", "--mutlirun"], "--multirun"),
        (["train", "reward=./nowhere.py"], "no reward program"),
        (["evaluate", "./nowhere"], "no policy"),
        (["report", "./nowhere"], "no finished run"),
        (["tasks", "name=panda/lfit"], "'panda/lift'"),
    ],
)
def test_wrong_usage_exits_with_2_and_the_nearest_choice(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not list(tmp_path.glob("runs/*/search.json"))


def test_every_task_has_a_configuration_and_the_other_way_round() -> None:
    assert set(list_group_options("task")) == set(task_names())
    for name in task_names():
        assert compose_config("train", [f"task={name}"]).task.id == name


def test_tasks_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks"]) == 0
    assert "panda/drawer" in capsys.readouterr().out
    assert main(["tasks", "name=fr3/push"]) == 0
    assert "state.hand_position" in capsys.readouterr().out


def test_train_evaluate_and_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "task=panda/reach", "steps=60000", f"runs={tmp_path}", "run=it", "videos=1", "threads=1"]
    assert main(command) == 0
    assert "report.html" in capsys.readouterr().out
    run = tmp_path / "it"
    assert {p.name for p in (run / "policy").iterdir()} == {"policy.json", "policy.safetensors"}
    assert "compute_reward" in (run / "reward" / "reward.py").read_text()
    summary = tmp_path / "numbers.json"
    assert main(["evaluate", str(run), "episodes=50", "seeds=[1,2]", "min_success=0.8", f"json={summary}"]) == 0
    assert json.loads(summary.read_text())["episodes"] == 100
    assert main(["evaluate", str(run), "episodes=20", "min_success=1.01"]) == 1
    (run / "report.html").unlink()
    assert main(["report", str(run)]) == 0
    page = (run / "report.html").read_text()
    assert "Move the hand to the green goal." in page
    assert "data:video/mp4" in page
    again = ["train", "task=panda/reach", "steps=50000", f"runs={tmp_path}", "run=it"]
    assert main(again) == 1
    assert "steps was 60000, now 50000" in capsys.readouterr().err


def test_a_reward_artifact_trains(tmp_path: Path) -> None:
    command = ["train", "task=panda/reach", "steps=2048", f"runs={tmp_path}", "run=first", "videos=0", "episodes=5"]
    assert main(command) == 0
    again = ["train", "task=panda/reach", f"reward={tmp_path / 'first'}", "steps=2048", "videos=0", "episodes=5"]
    assert main([*again, f"runs={tmp_path}", "run=second", "policy=a2c"]) == 0
    assert (tmp_path / "second" / "report.html").is_file()
