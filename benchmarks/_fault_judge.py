"""Evaluates a row of `benchmarks.faults` from the emulator's log and the recorded streams.

Every number of `used` is the largest share of an official limit; above 1 the limit was violated. The checks:

* `torque`, `torque_rate`: torques as the emulator received them, cycle by cycle (the deployment's stream is followed
  in torque control by both client libraries). The rate is taken from one received command to the next of one motion.
* `planned_*`: joint positions as the emulator received them (slow motions between episodes): range, and differences
  over commands of consecutive cycles, which is what the robot itself checks.
* `stream_*`: the joint targets that the deployment streamed at 200 Hz, as its journal recorded them, by the checker in
  `tests/hardware/wild.py`, which shares no code with the safety filter. Journals keep 1e-6 rad: accelerations are known
  to 0.08 rad/s², 1 % of the limit.
* `measured_*`: the measured motion of the arm.

`rest_from` returns where the arm stopped after a stop request: an arm that brakes at once travels no farther than its
braking distance, computed here from the measured speed and the limits alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from robo_reward.envs.arm.kinematics import compute_forward_kinematics
from robo_reward.envs.arm.model import ArmModel, get_arm_model
from robo_reward.envs.task import make_task
from robo_reward.hardware.emulator.robot.limit_checks import TORQUE_RATE
from robo_reward.hardware.emulator.robot.reflex import ERRORS
from robo_reward.hardware.emulator.wire.versions import ControllerMode, GeneratorMode, RobotMode
from robo_reward.hardware.emulator.world.plant import DT
from tests.hardware import wild

AT_REST = 0.02
"""Joint speed below which the arm counts as stopped [rad/s]."""
OWN = {RobotMode.USER_STOPPED: "user stop", RobotMode.GUIDING: "guiding", RobotMode.REFLEX: "reflex"}
"""Robot modes that the robot enters on its own, and their names in the table."""


SHARE = 0.3
"""Default share of the acceleration limits that a deployment uses."""
TOLERANCE = 5e-3
"""Tolerance of the stopping position beyond the braking distance [m]."""


class Rest(NamedTuple):
    """The place where the arm stopped.

    Attributes:
        distance: of the hand, from its measured pose at the request to the final one [m].
        bound: the braking distance at the measured speed, and `TOLERANCE` [m].
        farthest: largest distance of the hand from its pose at the request meanwhile [m].
    """

    distance: float
    bound: float
    farthest: float


def rest_from(cycles: np.ndarray, arm: ArmModel, request: int, share: float = SHARE) -> Rest:
    """Returns where the arm stopped before the next motion began.

    Args:
        cycles: of the emulator's log.
        arm: whose kinematics and limits hold.
        request: index in `cycles` of the cycle with the stop request.
        share: of the limits of acceleration that may be used.
    """
    after = cycles[request:]
    moves = after["robot_mode"] == RobotMode.MOVE
    again = moves & ~np.concatenate([[True], moves[:-1]])
    after = after[: int(np.argmax(again)) if again.any() else len(after)]
    hand = compute_forward_kinematics(arm, after["q"]).position.T
    away = np.linalg.norm(hand - hand[0], axis=1)
    bound = braking_distance(arm, after["q"][0], after["dq"][0], share) + TOLERANCE
    return Rest(float(away[-1]), bound, float(away.max()))


def braking_distance(arm: ArmModel, q: np.ndarray, dq: np.ndarray, share: float) -> float:
    """Returns the hand's braking distance [m] if all joints decelerate evenly in the time set by the tightest limit."""
    small = 1e-5
    pose = compute_forward_kinematics(arm, np.stack([q, q + small * dq]))
    axes = np.stack([pose.x, pose.y, pose.z])
    moved = float(np.linalg.norm(pose.position[:, 1] - pose.position[:, 0]))
    turned = float(np.linalg.norm(axes[..., 1] - axes[..., 0])) / np.sqrt(2)
    time = max(
        float((np.abs(dq) / np.array(arm.ddq_max)).max()),
        moved / small / arm.max_translation[1],
        turned / small / arm.max_rotation[1],
    )
    ends = compute_forward_kinematics(arm, np.stack([q, q + dq * time / share / 2])).position
    return float(np.linalg.norm(ends[:, 1] - ends[:, 0]))


class Stop(NamedTuple):
    """How the arm stopped.

    Attributes:
        reaction: the robot's own reaction, `bridge` if the bridge stopped it, or `goes on`.
        seconds: from the fault until it stopped for good (until the next motion began); None if it did not stop. By
            the robot's clock if it stopped itself, else by the wall clock, delays of the emulator included.
        late: how far the emulator's clock fell behind the wall clock meanwhile [s].
    """

    reaction: str
    seconds: float | None
    late: float


def stop_of(cycles: np.ndarray, when: int) -> Stop:
    """Returns how the motion in progress at robot time `when` [ms], or the standstill, continued.

    Args:
        cycles: of the emulator's log.
        when: time of the fault.
    """
    after = cycles[cycles["message_id"] >= when]
    moves = after["robot_mode"] == RobotMode.MOVE
    if moves.all():
        return Stop("goes on", None, 0.0)
    ended = int(np.argmin(moves))
    again = moves[ended:]
    rest = after[: ended + int(np.argmax(again)) if again.any() else len(after)]
    fast = np.flatnonzero(np.abs(rest["dq"]).max(axis=1) > AT_REST)
    last, reaction = (int(fast[-1]) if len(fast) else 0), _reaction(rest, bool(ended))
    wall, robot = float(rest["wall"][last] - rest["wall"][0]), DT * last
    return Stop(reaction, round(wall if reaction == "bridge" else robot, 3), round(wall - robot, 3))


def _reaction(rest: np.ndarray, moved: bool) -> str:
    for mode, words in OWN.items():
        if (rest["robot_mode"] == mode).any():
            first = rest["errors"][np.argmax(rest["errors"].any(axis=1))]
            names = [name for name, on in zip(ERRORS, first, strict=True) if on]
            return " ".join((words, *names)) if mode == RobotMode.REFLEX else words
    return "bridge" if moved else "stands"


def used(cycles: np.ndarray, robot: str, streams: list[Any]) -> dict[str, float]:
    """Returns the largest share of each limit that was used.

    Args:
        cycles: of the emulator's log.
        robot: `fr3` or `panda`.
        streams: joint commands (K, 7) [rad] of each episode.
    """
    arm = get_arm_model(robot)
    found = {**_torques(cycles, arm), **_planned(cycles, arm)}
    low, high = np.array(arm.q_min), np.array(arm.q_max)
    found["measured_position"] = _range(cycles["q"], low, high)
    found["measured_speed"] = _most(cycles["dq"] / np.array(arm.dq_max))
    judge = wild.Judge(make_task(f"{robot}/lift"), 1.0, 200.0)
    for stream in streams:
        for rule, share in judge(np.array(stream, float)).items():
            found[f"stream_{rule}"] = max(found.get(f"stream_{rule}", 0.0), share)
    return {rule: round(share, 4) for rule, share in found.items()}


def _torques(cycles: np.ndarray, arm: ArmModel) -> dict[str, float]:
    """Returns the shares used by the torque commands as received."""
    external = (cycles["controller_mode"] == ControllerMode.EXTERNAL) & (cycles["robot_mode"] == RobotMode.MOVE)
    motion = np.cumsum(np.diff(external, prepend=False))
    mine = cycles["received"] & external
    tau, number, which = cycles["tau_c"][mine], cycles["command_id"][mine].astype(int), motion[mine]
    since = np.diff(number)
    next_one = (np.diff(which) == 0) & (since > 0)
    rate = np.abs(np.diff(tau, axis=0))[next_one] / (TORQUE_RATE * DT * since[next_one, None])
    return {"torque": _most(tau / np.array(arm.tau_max)), "torque_rate": _most(rate)}


def _planned(cycles: np.ndarray, arm: ArmModel) -> dict[str, float]:
    """Returns the shares used by the joint positions as received."""
    by_torque = cycles["controller_mode"] == ControllerMode.EXTERNAL
    mine = cycles["received"] & (cycles["motion_generator_mode"] == GeneratorMode.JOINT_POSITION) & ~by_torque
    q, number = cycles["q_c"][mine], cycles["command_id"][mine].astype(int)
    found = {"planned_position": _range(q, np.array(arm.q_min), np.array(arm.q_max))}
    limits = {"speed": arm.dq_max, "acceleration": arm.ddq_max, "jerk": arm.dddq_max}
    for order, (name, limit) in enumerate(limits.items(), start=1):
        whole = number[order:] - number[:-order] == order if len(number) > order else np.zeros(0, bool)
        rates = np.diff(q, order, axis=0)[: len(whole)][whole] / DT**order
        found[f"planned_{name}"] = _most(rates / np.array(limit))
    return found


def _range(q: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    return _most((q - (low + high) / 2) / ((high - low) / 2))


def _most(shares: np.ndarray) -> float:
    return float(np.abs(shares).max(initial=0.0))
