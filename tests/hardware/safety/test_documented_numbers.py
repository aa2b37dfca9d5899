"""The numbers in docs/safety.md, docs/deploy.md and docs/faults.md are those of the code."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks import _fault_list
from robo_reward.configs.deployment import DeployConfig
from robo_reward.configs.robots import PandaConfig, RobotConfig
from robo_reward.hardware.deployment.time_scale import TimeScale
from robo_reward.hardware.drivers.franka import base
from robo_reward.hardware.drivers.isolated import HOLD_AFTER, STOP_AFTER
from robo_reward.hardware.safety.filter import SafetyFilter, SafetySettings
from robo_reward.hardware.safety.limits import policy_limits
from robo_reward.hardware.safety.watchdog import Watchdog
from tests.house.source import ROOT

SAFETY = (ROOT / "docs" / "safety.md").read_text(encoding="utf-8")
DEPLOY = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
FAULTS = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")


def default(function: Callable[..., Any], name: str) -> Any:
    return inspect.signature(function).parameters[name].default


def row(text: str, start: str) -> str:
    """The first line of a table that begins so."""
    found = [line for line in text.splitlines() if line.startswith(f"| {start}")]
    assert found, f"no row {start!r}"
    return found[0]


@pytest.mark.parametrize(
    ("start", "number"),
    [
        ("actions |", default(Watchdog, "silent")),
        ("actions |", default(Watchdog, "missed")),
        ("newest camera frame", default(Watchdog, "camera_age")),
        ("newest robot state", default(Watchdog, "state_age")),
        ("the arm follows", SafetySettings().tracking),
        ("slow start", TimeScale().first),
        ("slow start", TimeScale().ramp),
        ("joint speeds", default(policy_limits, "speed")),
        ("joint accelerations", default(policy_limits, "acceleration")),
        ("joint accelerations", DeployConfig.acceleration),
        ("orientation", default(SafetyFilter.from_task, "cone")),
        ("control loop hangs", HOLD_AFTER),
        ("control loop hangs", STOP_AFTER),
        ("policy late", default(Watchdog, "missed")),
        ("policy silent", default(Watchdog, "silent")),
        ("camera stands still", default(Watchdog, "camera_age")),
        ("states stop", default(Watchdog, "state_age")),
        ("arm is held", SafetySettings().tracking),
    ],
)
def test_rows_of_safety(start: str, number: float) -> None:
    assert re.search(rf"(?<![\d.]){re.escape(f'{number:g}')}(?![\d.]*\d)", row(SAFETY, start)), row(SAFETY, start)


@pytest.mark.parametrize(
    ("start", "number"),
    [
        ("`tempo`", RobotConfig.tempo),
        ("`tempo`", PandaConfig.tempo),
        ("`speed`", DeployConfig.speed),
        ("`speed`", DeployConfig.acceleration),
        ("`ramp`", DeployConfig.ramp),
        ("`table`", DeployConfig.table),
    ],
)
def test_rows_of_deploy(start: str, number: float) -> None:
    cell = row(DEPLOY, start).split("|")[2]
    assert re.search(rf"(?<![\d.]){re.escape(f'{number:g}')}(?![\d.]*\d)", cell), cell


def test_a_stop_in_safety() -> None:
    text = " ".join(SAFETY.split())
    assert f"faster than {base.AT_REST:g} rad/s for {base.REST_TIME:g} s, {base.BRAKE_PATIENCE:g} s longer" in text
    assert (
        f"holds the arm after {HOLD_AFTER:g} s without a call from the loop and stops it after {STOP_AFTER:g} s" in text
    )


def test_every_fault_and_its_stated_time_are_in_the_table() -> None:
    for fault in _fault_list.FAULTS:
        where = f" ({fault.only[0]})" if fault.only in (("idle",), (_fault_list.SLOW_HAND,)) else ""
        line = row(FAULTS, f"{fault.name}{where} |")
        if fault.within is not None:
            assert f"{fault.within:.2f}" in line, line
