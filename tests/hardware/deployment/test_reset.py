"""Between episodes: with a hand that did not open, nothing moves."""

import dataclasses
import os
import signal
import time
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robo_reward.cli.app import compose_config
from robo_reward.cli.interrupt import stop_on_signals
from robo_reward.cli.robot.deploy import read_deploy_config
from robo_reward.envs.arm.base import ArmTask
from robo_reward.envs.arm.kinematics import compute_forward_kinematics, solve_position
from robo_reward.envs.arm.model import FR3
from robo_reward.envs.task import make_task
from robo_reward.errors import UsageError
from robo_reward.hardware.arm import ArmFault, ArmState, FaultKind
from robo_reward.hardware.deployment.build import build_deployment, make_workspace
from robo_reward.hardware.deployment.reset import ResetProcedure, solve_joints_or_keep
from robo_reward.hardware.safety.filter import SLACK, SafetyFilter
from tests.hardware.paper_arm import PaperArm
from tests.hardware.rigs import Inline


class Handed(PaperArm):
    """An arm that stands at joints `q`, whose fingers stop at a width; a hand that fails says so at the next call."""

    q = solve_joints_or_keep(FR3, np.array((0.45, 0.1, 0.2)), np.array(FR3.home))

    def __init__(self, log: Path, widest: float, problem: ArmFault | None = None) -> None:
        super().__init__(str(log))
        self.width, self.widest, self.problem, self.moved = 0.02, widest, problem, 0

    def state(self) -> ArmState:
        place = compute_forward_kinematics(FR3, self.q[None]).position[:, 0]
        return dataclasses.replace(super().state(), q=self.q, hand_position=place, gripper_width=self.width)

    def gripper(self, width: float, speed: float, force: float | None = None) -> None:
        if self.width != 0.02 and self.problem:
            raise self.problem
        self.width = min(width, self.widest)

    def move_to(self, q: np.ndarray, speed_fraction: float = 0.1) -> None:
        self.moved += 1


def reset_of(arm: PaperArm, settle: float = 0.12, hand: bool = True) -> ResetProcedure:
    task = make_task("fr3/lift")
    assert isinstance(task, ArmTask)
    return ResetProcedure(task, arm, lambda episode: np.array(task.arm.home), settle=settle, hand=hand)


@pytest.mark.parametrize("widest", [0.0, 0.03, 0.07])
def test_nothing_moves_with_a_hand_that_did_not_open(tmp_path: Path, widest: float) -> None:
    arm = Handed(tmp_path / "log", widest)
    with pytest.raises(ArmFault, match=rf"did not open: {widest * 1e3:.0f} mm of 80 mm.*home it in Desk") as caught:
        reset_of(arm)(0)
    assert arm.moved == 0 and caught.value.kind is FaultKind.GRIPPER


def test_a_hand_that_says_why_is_believed(tmp_path: Path) -> None:
    arm = Handed(tmp_path / "log", 0.01, ArmFault("it is jammed", "Free it.", True, FaultKind.GRIPPER))
    with pytest.raises(ArmFault, match="it is jammed"):
        reset_of(arm)(0)
    assert arm.moved == 0


def test_nothing_moves_before_the_command_to_open_has_ended(tmp_path: Path) -> None:
    """Open fingers say nothing of a command that is under way and may fail."""
    arm = Handed(tmp_path / "log", 0.08)
    idle = arm.state
    arm.state = lambda: replace(idle(), gripper_busy=True)
    with pytest.raises(ArmFault, match="did not open"):
        reset_of(arm)(0)
    assert arm.moved == 0


def test_an_open_hand_or_none_of_ours_lets_the_arm_move(tmp_path: Path) -> None:
    arm = Handed(tmp_path / "log", 0.078)
    reset_of(arm)(0)
    bare = Handed(tmp_path / "log", 0.0)
    reset_of(bare, hand=False)(0)
    assert arm.moved and bare.moved and bare.width == 0.02


def test_whoever_says_not_ready_keeps_the_arm_where_it_is(tmp_path: Path) -> None:
    arm = Handed(tmp_path / "log", 0.08)
    reset = reset_of(arm)
    looks: list[int] = []

    def blind() -> None:
        looks.append(arm.moved)
        if arm.moved:
            raise ArmFault("blind", "Look.", True, FaultKind.CONTROL)

    reset.ready = blind
    with pytest.raises(ArmFault, match="blind"):
        reset(0)
    assert arm.moved == 1 and looks[-1] == 1, "the camera is looked at before each motion"


def test_the_hand_stays_in_a_space_that_somebody_gave(tmp_path: Path) -> None:
    """Home is 0.487 m high: under a shelf at 0.4 m the arm goes to the start without it."""
    task = make_task("fr3/lift")
    assert isinstance(task, ArmTask)
    low, high = np.array((0.3, -0.2, 0.0)), np.array((0.7, 0.2, 0.4))
    above = np.array(task.arm.home)
    inside = solve_joints_or_keep(task.arm, np.array((0.5, 0.0, 0.2)), above)
    for start, moves in ((inside, 1), (above, 0)):
        arm = Handed(tmp_path / "log", 0.08)
        went: list[np.ndarray] = []
        arm.move_to = lambda q, speed_fraction=0.1, went=went: went.append(q)
        reset = ResetProcedure(task, arm, lambda episode, start=start: start, settle=0.1, low=low, high=high)
        if moves:
            reset(0)
            np.testing.assert_array_equal(went[-1], inside)
        else:
            with pytest.raises(UsageError, match="outside the workspace"):
                reset(0)
        assert not any(np.array_equal(q, above) for q in went)


@pytest.mark.parametrize(
    ("box", "table", "words"),
    [
        ([[0.3, -0.3, 0.0], [0.2, 0.3, 0.4]], 0.0, "its x goes from 0.3 to 0.2 m"),
        ([[0.3, -0.3, 0.0], [0.7, 0.3, 0.0]], 0.0, "its z"),
        ([[0.3, 0.1, 0.0], [0.7, 0.3, 0.4]], 0.0, "does not contain the start poses"),
        ([[0.3, -0.3], [0.7, 0.3]], 0.0, "two corners"),
        ([[0.3, -0.3, 0.0], [0.7, 0.3, float("nan")]], 0.0, "two corners"),
        ([1, 2], 0.0, "two corners"),
        (None, 0.2, "does not contain the start poses"),
        (None, float("inf"), "table=inf"),
        (None, 5.0, "-1 to 1 m"),
    ],
)
def test_a_workspace_that_cannot_be_meant_is_refused(box: Any, table: float, words: str) -> None:
    task = make_task("fr3/lift")
    assert isinstance(task, ArmTask)
    with pytest.raises(UsageError, match=words):
        make_workspace(task, box, table)


@pytest.mark.parametrize("name", ["fr3/lift", "fr3/push", "panda/reach", "panda/door", "fr3/drawer", "fr3/stack"])
def test_the_workspace_is_the_tasks_own_or_the_users_above_the_table(name: str) -> None:
    task = make_task(name)
    assert isinstance(task, ArmTask)
    own, before = make_workspace(task, None, 0.0), SafetyFilter.from_task(task).workspace
    np.testing.assert_array_equal((own.low, own.high), (before.low, before.high))
    given = make_workspace(task, [[0.1, -0.5, -0.2], [0.8, 0.5, 0.9]], -0.1)
    assert given.table == -0.1 and given.low[2] == pytest.approx(-0.1) and given.high[2] > 0.9


def test_workspace_and_table_reach_the_safety_filter() -> None:
    words = ["robot=mujoco", "task=fr3/lift", "workspace=[[0.25,-0.2,0.0],[0.6,0.2,0.4]]", "table=0.005"]
    deploy_config, task = (
        read_deploy_config(compose_config("deploy", [*words, "teleop=keyboard"])),
        make_task("fr3/lift"),
    )
    assert isinstance(task, ArmTask)
    with ExitStack() as stack:
        parts = build_deployment(
            replace(deploy_config, teleop="none"), task, Inline("fr3/lift steady"), bool, bool, stack
        )
        space = parts.rig.filter.planner.checker.workspace
    assert space.table == 0.005 and space.low[2] == 0.005 and space.high[0] == pytest.approx(0.6, abs=0.003)


def test_nothing_opens_after_a_request_to_stop(tmp_path: Path) -> None:
    arm = Handed(tmp_path / "log", 0.08)
    reset, calls = reset_of(arm), []

    def ready() -> None:
        calls.append(arm.width)
        if len(calls) == 2:
            raise UsageError("it was asked to stop")

    reset.ready = ready
    with pytest.raises(UsageError, match="asked to stop"):
        reset(0)
    assert arm.width == 0.02 and arm.moved == 0


def test_a_signal_interrupts_a_slow_motion_of_a_library_in_this_process(tmp_path: Path) -> None:
    arm = Handed(tmp_path / "log", 0.08)

    def move_to(q: np.ndarray, speed_fraction: float = 0.1) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)
        arm.moved += 1

    arm.move_to = move_to
    with stop_on_signals() as stop, pytest.raises(KeyboardInterrupt):
        reset_of(arm)(0)
    assert stop() and arm.moved == 0


def bounded(arm: PaperArm, low: tuple[float, ...], high: tuple[float, ...], start: np.ndarray) -> ResetProcedure:
    task = make_task("fr3/lift")
    assert isinstance(task, ArmTask)
    return ResetProcedure(task, arm, lambda episode: start, settle=0.1, low=np.array(low), high=np.array(high))


def standing(folder: Path, *place: float) -> tuple[Handed, list[np.ndarray]]:
    """An arm with its hand at a place [m], and where it goes."""
    arm, went = Handed(folder / "log", 0.08), []
    arm.q = solve_position(FR3, np.array([place]))[0]

    def move_to(q: np.ndarray, speed_fraction: float = 0.1) -> None:
        went.append(q)
        arm.q = q

    arm.move_to = move_to
    return arm, went


def test_a_way_that_leaves_the_workspace_between_its_ends_is_refused(tmp_path: Path) -> None:
    """Joint 1 leads the hand on an arc of 0.54 m around the base, beyond x = 0.47 m."""
    arm, went = standing(tmp_path, 0.45, -0.3, 0.2)
    goal = solve_position(FR3, np.array([(0.45, 0.3, 0.2)]))[0]
    with pytest.raises(ArmFault, match=r"leave the workspace.*Guide the arm") as caught:
        bounded(arm, (0.2, -0.35, 0.0), (0.47, 0.35, 0.25), goal).move_through(goal)
    assert went == [] and caught.value.recoverable
    bounded(arm, (0.2, -0.35, 0.0), (0.6, 0.35, 0.25), goal).move_through(goal)
    assert len(went) == 1


def test_a_retreat_that_cannot_be_is_refused(tmp_path: Path) -> None:
    arm, went = standing(tmp_path, 0.55, 0.0, 0.2)
    with pytest.raises(ArmFault, match="cannot go up"):
        bounded(arm, (0.9, -0.1, 0.3), (1.2, 0.1, 0.6), arm.q).retreat_home()
    assert went == []


def test_where_the_straight_way_dips_below_the_floor_the_hand_goes_over_a_raised_point(tmp_path: Path) -> None:
    arm, went = standing(tmp_path, 0.5, 0.0, 0.2)
    arm.q = begin = np.array((0.671, 0.814, -1.099, -2.096, 0.436, 2.284, -0.402))  # as after guiding it by hand
    goal, floor = solve_position(FR3, np.array([(0.423, 0.075, 0.128)]))[0], 0.1

    def lowest(*joints: np.ndarray) -> float:
        ways = [np.linspace(a, b, 300) for a, b in pairwise(joints)]
        return float(compute_forward_kinematics(FR3, np.concatenate(ways)).position[2].min())

    assert lowest(begin, goal) < floor - 0.05
    bounded(arm, (0.25, -0.4, floor), (0.75, 0.4, 0.5), goal).move_through(goal)
    assert len(went) == 2 and lowest(begin, *went) >= floor - SLACK - 1e-3
    np.testing.assert_array_equal(went[-1], goal)
