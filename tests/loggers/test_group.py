"""Loggers of a run: chosen by name, given each point once, and harmless when they fail."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from robo_reward.cli.app import main
from robo_reward.errors import MissingExtra, UnknownName
from robo_reward.loggers.group import check_loggers, open_loggers
from robo_reward.registry import BrokenPlugin
from tests.loggers.recorder import read_records

pytestmark = pytest.mark.usefixtures("recorder_plugin")


def point(steps: int, success: float = 0.5) -> dict[str, Any]:
    return {"steps": steps, "success": success, "episode_return": 2.0, "terms": {"reach": 1.5}, "seconds": 3.0}


def test_points_arrive_once_over_all_sittings(tmp_path: Path) -> None:
    for sitting in range(2):
        with open_loggers(tmp_path, "recorder", {}, {"seed": 3}) as loggers:
            for steps in (10, 20) if sitting == 0 else (10, 20, 30):
                loggers.log_point(point(steps), "1.1")
            loggers.log_point(point(10), "1.2")
            if sitting:
                loggers.finish({"success": 0.9})
    path = tmp_path / "recorded.jsonl"
    points = [(entry["curve"], entry["step"]) for entry in read_records(path, "point")]
    assert points == [("1.1", 10), ("1.1", 20), ("1.2", 10), ("1.1", 30)]
    values = {"success": 0.5, "return": 2.0, "seconds": 3.0, "terms/reach": 1.5}
    assert read_records(path, "point")[0]["values"] == values
    first, second = read_records(path, "start")
    assert first["id"] == second["id"] and (first["sitting"], second["sitting"]) == (1, 2)
    assert [end["result"] for end in read_records(path, "finish")] == [{}, {"success": 0.9}]


def test_a_logger_that_fails_is_told_once_and_the_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.WARNING),
        open_loggers(tmp_path, ["recorder"], {"recorder": {"fails": True}}, {}) as group,
    ):
        group.log_point(point(10))
        group.log_point(point(20))
        group.finish({"success": 1.0})
    assert [record.getMessage() for record in caplog.records] == [
        "logger=recorder failed and gets nothing more of this run: ConnectionError: the server is gone"
    ]
    assert [entry["kind"] for entry in read_records(tmp_path / "recorded.jsonl")] == ["start"]


def test_secrets_are_masked_before_a_logger_sees_them(tmp_path: Path) -> None:
    config = {"writer": {"api_key": "sk-1234", "base_url": "http://me:hunter2@host/v1"}, "goal": "Lift."}
    with open_loggers(tmp_path, "recorder", {}, config):
        pass
    (start,) = read_records(tmp_path / "recorded.jsonl", "start")
    assert start["config"]["goal"] == "Lift." and start["config"]["writer"]["api_key"] == "***"
    assert "hunter2" not in (tmp_path / "recorded.jsonl").read_text()


def test_wrong_names_are_answered_with_the_closest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'wandb'"):
        check_loggers("wnadb", {})
    with pytest.raises(UnknownName, match="Did you mean 'project'"):
        check_loggers(["wandb"], {"wandb": {"projekt": "x"}})
    with pytest.raises(UnknownName, match="Choose it with logger=rerun"):
        check_loggers("tensorboard", {"rerun": {}})
    assert check_loggers(["tensorboard", "recorder"], {}) == {"recorder": {}}


@pytest.mark.parametrize(("name", "module"), [("wandb", "wandb"), ("trackio", "trackio"), ("rerun", "rerun")])
def test_a_missing_package_is_answered_with_its_extra(
    name: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    message = rf"needs '{module}', which is not installed: pip install 'robo-reward\[{name}\]'"
    with pytest.raises(MissingExtra, match=message), open_loggers(tmp_path, name, {}, {}):
        pytest.fail("it was opened")
    with pytest.raises(MissingExtra, match=message):  # as `train` and `search` do before there is a run folder
        check_loggers(name, {})


def test_a_broken_logger_of_another_package_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(BrokenPlugin, match="recorder"),
        open_loggers(tmp_path / "missing", "recorder", {"recorder": {"file": "a"}}, {}),
    ):
        pytest.fail("it was opened")


def test_train_logs_its_curve_its_films_and_its_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["policy.params.worlds=4", "policy.params.n_steps=15", "policy.params.batch_size=30"]
    words = ["train", "task=panda/reach", "steps=360", "episodes=2", "videos=0", f"runs={tmp_path}", "run=it", *small]
    assert main([*words, "logger=[tensorboard,recorder]", "logger_options.recorder.file=log.jsonl"]) == 0
    path = tmp_path / "it" / "log.jsonl"
    points = read_records(path, "point")
    assert points and [p["step"] for p in points] == sorted({p["step"] for p in points})
    rows = [line.split(",") for line in (tmp_path / "it" / "curve.csv").read_text().splitlines()]
    assert [[p["step"], p["values"]["return"]] for p in points] == [[int(r[0]), float(r[2])] for r in rows[1:]]
    (end,) = read_records(path, "finish")
    assert end["result"]["evaluation"]["episodes"] == 2 and "points" not in end["result"]
    assert read_records(path, "start")[0]["config"]["steps"] == 360
    assert list((tmp_path / "it" / "log").glob("events*")), "TensorBoard files are always written"
    assert main([*words, "logger=nowhere"]) == 2
    assert "unknown logger 'nowhere'" in capsys.readouterr().err
