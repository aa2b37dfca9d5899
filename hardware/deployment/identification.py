"""System identification: delay, damping and friction of the arm's joints from episodes recorded on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import mujoco
import numpy as np

from robo_reward.data.episode import Episode
from robo_reward.envs.arm.base import ArmTask
from robo_reward.envs.arm.dynamics import Dynamics
from robo_reward.errors import UsageError

MAX_DELAY = 0.2
"""Largest delay in the search [s]."""
ROUNDS = 4


@dataclass(frozen=True, eq=False)
class JointRecording:
    """Commanded and measured joint angles, each with times of their own.

    Args:
        command_time: when each command was sent (K,) [s].
        command: joint angles (K, 7) [rad].
        time: of each measurement (M,) [s], by the same clock.
        q: measured joint angles (M, 7) [rad].
    """

    command_time: np.ndarray
    command: np.ndarray
    time: np.ndarray
    q: np.ndarray

    @classmethod
    def from_episode(cls, episode: Episode) -> JointRecording:
        """Returns the recording in an episode of `deploy`, on the robot's own clock.

        Simulated and lock-step robots have a time of their own; commands are stamped by the computer's clock,
        which the measurements, stamped by both, translate.

        Raises:
            UsageError: the episode holds none, as those from simulation.
        """
        meta = episode.meta
        if "commands" not in meta or "measured" not in meta:
            raise UsageError(
                f"the episode of {episode.task_id!r} holds no commands and measurements: give one recorded by deploy"
            )
        commands, measured = meta["commands"], meta["measured"]
        joints = np.array(commands["joints"], float)
        good = np.isfinite(joints).all(axis=1) if joints.size else np.zeros(0, bool)
        if good.sum() < 10 or len(measured["q"]) < 5:
            raise UsageError(f"the episode of {episode.task_id!r} is too short: {good.sum()} commands")
        sent, stamp = np.array(commands["time"], float)[good], np.array(measured["stamp"], float)
        q, own = np.array(measured["q"], float), np.array(measured["robot_time"], float)
        new = np.concatenate([[True], (np.diff(own) > 0) & (np.diff(stamp) > 0)])  # drop repeated states
        if new.sum() < 5:
            raise UsageError(
                f"the episode of {episode.task_id!r} holds {new.sum()} different states, expected 5 or more"
            )
        times = _translate_times(sent, stamp[new], own[new])
        during = own[new] <= times[-1] + MAX_DELAY  # the last state may have been read after the stop
        return cls(times, joints[good], own[new][during], q[new][during])


def _translate_times(times: np.ndarray, theirs: np.ndarray, ours: np.ndarray) -> np.ndarray:
    """Returns times by one clock as those of another, from moments (M,) stamped by both; extrapolated linearly."""
    inside = np.interp(times, theirs, ours)
    rate = (ours[-1] - ours[0]) / (theirs[-1] - theirs[0])
    return inside + rate * (np.minimum(times - theirs[0], 0.0) + np.maximum(times - theirs[-1], 0.0))


def replay_commands(task: ArmTask, recording: JointRecording, dynamics: Dynamics) -> np.ndarray:
    """Simulates the recorded commands alone and returns the joint angles (M, 7) [rad] of the task's arm.

    Contacts are switched off: what the arm touched is not in the recording.
    """
    model = dynamics.apply_to(task.model)
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONTACT.value
    data = mujoco.MjData(model)
    begin, step = float(recording.time[0]), float(model.opt.timestep)
    count = int(np.ceil((recording.time[-1] - begin) / step)) + 1
    times = begin + step * np.arange(count + 1)
    sent = np.searchsorted(recording.command_time, times - dynamics.delay, side="right") - 1
    first = recording.q[0]
    held = np.where((sent >= 0)[:, None], recording.command[np.maximum(sent, 0)], first)
    data.qpos[:7], data.ctrl[:7] = first, first
    path = np.empty((count + 1, 7))
    path[0] = first
    for k in range(count):
        data.ctrl[:7] = held[k]
        mujoco.mj_step(model, data)
        path[k + 1] = data.qpos[:7]
    return np.stack([np.interp(recording.time, times, joint) for joint in path.T], axis=1)


def compute_replay_error(task: ArmTask, recordings: Sequence[JointRecording], dynamics: Dynamics) -> np.ndarray:
    """Computes the root mean square (7,) [rad] of the difference between measured and replayed joint angles."""
    errors = np.concatenate([replay_commands(task, r, dynamics) - r.q for r in recordings])
    return np.sqrt((errors**2).mean(axis=0))


def identify_dynamics(task: ArmTask, recordings: Sequence[JointRecording]) -> Dynamics:
    """Returns the dynamics with the smallest replay error.

    In turn: the delay, by search over the steps of the physics; then damping and friction of every joint by
    Gauss-Newton steps. A joint's error is taken to depend on its own two numbers only, so that one replay gives
    the derivatives of all seven.

    Raises:
        UsageError: nothing was recorded.
    """
    if not recordings:
        raise UsageError("identification needs at least one recorded episode")
    found = Dynamics.from_task(task)
    for _ in range(ROUNDS):
        found = _search_delay(task, recordings, found)
        for _ in range(3):
            found = _refine_dynamics(task, recordings, found)
    return _search_delay(task, recordings, found)


def _compute_score(task: ArmTask, recordings: Sequence[JointRecording], dynamics: Dynamics) -> float:
    return float(np.square(compute_replay_error(task, recordings, dynamics)).sum())


def _search_delay(task: ArmTask, recordings: Sequence[JointRecording], dynamics: Dynamics) -> Dynamics:
    """Returns the dynamics with the delay of the smallest replay error, on a grid that is refined once."""
    step = float(task.model.opt.timestep)
    low, high, width = 0.0, MAX_DELAY, 4 * step
    best = dynamics
    # First a coarse grid of four physics steps, then single steps around the best delay.
    for _ in range(2):
        grid = np.arange(low, high + width / 2, width)
        scores = [_compute_score(task, recordings, replace(dynamics, delay=float(delay))) for delay in grid]
        best = replace(dynamics, delay=float(grid[int(np.argmin(scores))]))
        low, high, width = max(0.0, best.delay - width), best.delay + width, step
    return best


def _refine_dynamics(task: ArmTask, recordings: Sequence[JointRecording], dynamics: Dynamics) -> Dynamics:
    """Performs one damped Gauss-Newton step in the damping's logarithm and the friction of each joint."""
    base = _compute_errors(task, recordings, dynamics)  # (S, 7)
    more_damping = replace(dynamics, damping=dynamics.damping * 1.02)
    more_friction = replace(dynamics, friction=dynamics.friction + 0.1)
    slopes = np.stack(
        [
            (_compute_errors(task, recordings, more_damping) - base) / np.log(1.02),
            (_compute_errors(task, recordings, more_friction) - base) / 0.1,
        ]
    )  # (2, S, 7)
    damping, friction = dynamics.damping.copy(), dynamics.friction.copy()
    for joint in range(7):
        # Joints are treated as independent: a 2 x 2 system of damping and friction each.
        jac = slopes[:, :, joint].T
        gram = jac.T @ jac
        step = -np.linalg.solve(gram + 1e-6 * np.diag(np.diag(gram)) + 1e-15 * np.eye(2), jac.T @ base[:, joint])
        damping[joint] *= np.exp(np.clip(step[0], -0.5, 0.5))
        friction[joint] = np.clip(friction[joint] + np.clip(step[1], -2.0, 2.0), 0.0, 20.0)
    tried = replace(dynamics, damping=np.clip(damping, 1.0, 5000.0), friction=friction)
    before, after = (np.square(e).sum(axis=0) for e in (base, _compute_errors(task, recordings, tried)))
    better = after < before
    return replace(
        dynamics,
        damping=np.where(better, tried.damping, dynamics.damping),
        friction=np.where(better, tried.friction, dynamics.friction),
    )


def _compute_errors(task: ArmTask, recordings: Sequence[JointRecording], dynamics: Dynamics) -> np.ndarray:
    return np.concatenate([replay_commands(task, r, dynamics) - r.q for r in recordings])


def plot_replay(task: ArmTask, recording: JointRecording, dynamics: Dynamics) -> str:
    """Returns an SVG of seven joints over time: commanded (grey), measured (black) and replayed (red).

    The replay uses `dynamics`. The number beside each joint is the root mean square of measured less replayed
    [mrad].
    """
    replayed = replay_commands(task, recording, dynamics)
    start, end = recording.time[0], recording.time[-1]
    rows = []
    for joint in range(7):
        curves = (
            ("#bbb", recording.command_time, recording.command[:, joint]),
            ("#000", recording.time, recording.q[:, joint]),
            ("#c33", recording.time, replayed[:, joint]),
        )
        low = min(values.min() for _, _, values in curves)
        span = max(max(values.max() for _, _, values in curves) - low, 1e-3)
        lines = "".join(
            f'<polyline fill="none" stroke="{colour}" points="'
            + " ".join(
                f"{70 + 700 * (t - start) / (end - start):.1f},{100 * joint + 90 - 80 * (v - low) / span:.1f}"
                for t, v in zip(times, values, strict=True)
                if start <= t <= end
            )
            + '"/>'
            for colour, times, values in curves
        )
        rms = 1e3 * float(np.sqrt(np.mean((replayed[:, joint] - recording.q[:, joint]) ** 2)))
        label = f'<text x="4" y="{100 * joint + 40}">joint {joint + 1}</text>'
        rows.append(f'{label}<text x="4" y="{100 * joint + 58}">{rms:.2f} mrad</text>{lines}')
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 780 700" font-family="sans-serif" font-size="12">'
    return f'{head}<rect width="780" height="700" fill="#fff"/>{"".join(rows)}</svg>'


def extract_recordings(episodes: Sequence[Any]) -> list[JointRecording]:
    """Returns the recordings of those episodes that hold one.

    Raises:
        UsageError: no episode holds one.
    """
    found = [JointRecording.from_episode(e) for e in episodes if "commands" in e.meta and "measured" in e.meta]
    if not found:
        raise UsageError("no episode holds commands and measurements: record some with deploy")
    return found
