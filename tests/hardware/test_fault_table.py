"""What `benchmarks.faults` is made of; the whole table takes half an hour."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks._fault_judge import SHARE, TOLERANCE, Rest, rest_from, stop_of, used
from benchmarks._fault_list import FAULTS, LOST, SLOW_HAND, faults_in
from benchmarks._fault_stage import Stage
from benchmarks.faults import SITUATIONS, requests, worst_rest
from robo_reward.envs.arm.kinematics import compute_forward_kinematics
from robo_reward.envs.arm.model import PANDA
from robo_reward.hardware.emulator.robot.limit_checks import LOST_IN_A_ROW
from robo_reward.hardware.emulator.robot.reflex import error_flags
from robo_reward.hardware.emulator.tools.cycle_log import CYCLE
from robo_reward.hardware.emulator.tools.fault_server import CALLS
from robo_reward.hardware.emulator.wire.versions import ControllerMode, RobotMode
from tests.hardware.emulator.serving import free_host, needs
from tests.hardware.patience import eventually
from tests.hardware.rigs import Person, closed, simulated

REFLEX = "communication_constraints_violation"
PANDA_HAND = compute_forward_kinematics(PANDA, np.array(PANDA.home)[None]).position[:, 0]


def test_every_fault_of_the_injection_api_is_in_the_table() -> None:
    assert {call for fault in FAULTS for call in fault.calls} == set(CALLS) - {"clear"}
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


def cycles_of(mode: Sequence[int], speed: list[float]) -> np.ndarray:
    cycles = np.zeros(len(mode), CYCLE)
    cycles["message_id"], cycles["robot_mode"] = np.arange(len(mode)), mode
    cycles["wall"], cycles["dq"][:, 3] = np.arange(len(mode)) * 1e-3, speed
    return cycles


def test_a_stop_counts_from_the_fault_until_the_arm_stands_for_good() -> None:
    move, idle = RobotMode.MOVE, RobotMode.IDLE
    cycles = cycles_of([move] * 30 + [RobotMode.REFLEX] * 40 + [move] * 30, [0.2] * 50 + [0.0] * 20 + [0.3] * 30)
    cycles["errors"][30:70] = error_flags([REFLEX])
    assert stop_of(cycles, 10) == (f"reflex {REFLEX}", 0.039, 0.0)
    assert stop_of(cycles_of([move] * 50 + [idle] * 50, [0.0] * 40 + [0.1] * 20 + [0.0] * 40), 10)[:2] == (
        "bridge",
        0.049,
    )
    assert stop_of(cycles_of([move] * 50, [0.1] * 50), 10)[:2] == ("goes on", None)
    assert stop_of(cycles_of([idle] * 50, [0.0] * 50), 10)[:2] == ("stands", 0.0)


def test_every_fault_is_tried_in_some_situation() -> None:
    assert {f.name for situation in SITUATIONS for f in faults_in(situation)} == {f.name for f in FAULTS}
    assert 3 <= len(faults_in(SLOW_HAND)) < len(faults_in("idle"))


def braking(back: float) -> tuple[np.ndarray, Rest]:
    """Joint 1 at 0.6 rad/s, braked from cycle 100 on at the limit, and then led back by so much [rad]."""
    slowing = SHARE * PANDA.ddq_max[0]
    speed = np.clip(0.6 - slowing * 1e-3 * np.maximum(np.arange(1000) - 100, 0), 0.0, None)
    speed[400:800] = -back / 0.4
    cycles = cycles_of([RobotMode.MOVE] * 900 + [RobotMode.IDLE] * 100, [0.0] * 1000)
    cycles["dq"][:, 0], cycles["dq"][:, 3] = speed, 0.0
    cycles["q"] = np.array(PANDA.home)
    cycles["q"][:, 0] += np.cumsum(speed) * 1e-3
    return cycles, rest_from(cycles, PANDA, 100)


def test_an_arm_that_brakes_rests_where_it_was_and_one_that_turns_back_does_not() -> None:
    cycles, rest = braking(0.0)
    way = 0.6**2 / (2 * SHARE * PANDA.ddq_max[0])  # v² / 2a [rad]
    reach = float(np.hypot(*PANDA_HAND[:2]))
    assert rest.distance == pytest.approx(reach * way, rel=0.02)
    assert rest.bound == pytest.approx(reach * way + TOLERANCE, rel=0.02)
    assert rest.farthest == pytest.approx(rest.distance)
    _, turned = braking(0.3)
    assert turned.distance > turned.bound == pytest.approx(rest.bound)
    assert worst_rest(cycles, "panda", [100, 950]) == rest
    assert worst_rest(cycles, "panda", []) is None


def test_a_rest_ends_where_the_next_motion_begins() -> None:
    cycles, rest = braking(0.0)
    cycles["robot_mode"][350:600], cycles["robot_mode"][600:] = RobotMode.IDLE, RobotMode.MOVE
    cycles["q"][650:, 0] += 1.0
    assert rest_from(cycles, PANDA, 100).distance == pytest.approx(rest.distance)


def test_a_stop_is_asked_for_by_the_bridge_by_the_robot_or_by_nobody_who_could_tell() -> None:
    cycles, _ = braking(0.0)
    assert requests(cycles, 0, None, [0.1, None, 5.0]) == [100]
    assert requests(cycles, 100, 0.02, []) == [120]
    cycles["robot_mode"][300:350] = RobotMode.REFLEX
    assert requests(cycles, 0, None, []) == [300]


def test_a_jump_of_received_torques_is_seen_but_not_across_motions() -> None:
    cycles = cycles_of([RobotMode.MOVE] * 20, [0.0] * 20)
    cycles["controller_mode"], cycles["received"], cycles["command_id"] = ControllerMode.EXTERNAL, True, np.arange(20)
    cycles["tau_c"][:, 2] = 0.5 * np.arange(20)
    assert used(cycles, "fr3", [])["torque_rate"] == pytest.approx(0.5)
    cycles["tau_c"][12:, 2] += 3.0
    assert used(cycles, "fr3", [])["torque_rate"] == pytest.approx(3.5)
    cycles["controller_mode"][11] = ControllerMode.OTHER
    assert used(cycles, "fr3", [])["torque_rate"] == pytest.approx(0.5)


def killed(stage: Stage) -> None:
    """An episode is under way, then all processes of its deployment die at once; the arm must stop by itself."""
    key = stage.ready()
    since = stage.emulator.session.time
    stage.kill_all()
    assert eventually(lambda: stage.emulator.session.mode == RobotMode.REFLEX)
    assert eventually(lambda: not stage.emulator.session.dq_d.any())
    cycles = stage.emulator.log.cycles(since - 100)
    assert stage.emulator.log.errors()[-1] == REFLEX
    reflex = int(np.argmax(cycles["errors"].any(axis=1)))
    assert reflex - np.flatnonzero(cycles["received"][:reflex])[-1] >= LOST_IN_A_ROW
    stop = stop_of(cycles, since)
    assert stop.reaction == f"reflex {REFLEX}"
    assert stop.seconds is not None and stop.seconds <= LOST + stop.late
    assert (stage.folder / "live" / key / "head.json").exists()


def test_killing_all_processes_in_mid_motion_ends_in_the_robots_own_reflex_and_costs_no_episode(tmp_path: Path) -> None:
    needs("franky")
    with Stage("fr3", free_host(), "moving", tmp_path) as stage:
        killed(stage)
    before = len(stage.episodes())
    person = Person()
    next_one = simulated(tmp_path, episodes=before + 2, person=person)  # takes one up, makes another
    try:
        value = next_one.run().to_json()
    finally:
        closed(next_one)
    assert any("an earlier run left behind" in text for text in person.messages)
    assert value["episodes"] == before + 2 and value["each"][before]["reason"] == "cut off"
    assert value["each"][before]["steps"] >= 1
    assert not list((tmp_path / "live").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("robot", ["fr3", "panda"])
def test_a_new_deployment_goes_on_where_a_killed_one_was(robot: str, tmp_path: Path) -> None:
    needs({"fr3": "franky", "panda": "franka"}[robot])
    with Stage(robot, free_host(), "moving", tmp_path) as stage:
        killed(stage)
        before = set(stage.episodes())
        assert stage.ready() and stage.starts <= 3
        assert len(stage.episodes()) > len(before)
        assert any("an earlier run left behind" in text for text in stage.said())
