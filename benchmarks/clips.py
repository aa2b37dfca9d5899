"""Clips for `benchmarks.rapl`: scripted pushers of every quality and rollouts from many stages of RL training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robo_reward.data.collect import Actor, collect_episodes
from robo_reward.envs.arm.pushers import behaviours, pusher
from robo_reward.envs.arm.tasks.group import Group
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.state import State
from robo_reward.envs.task import make_task
from robo_reward.language.language import compile_program
from robo_reward.policies.policy import MLPPolicy, load_policy
from robo_reward.policies.sb3 import train_policy

SHOWN = FrameSpec(("third",), 112)
STAGES = (4_096, 10_240, 16_384, 22_528, 30_720, 40_960, 61_440, 120_000)
"""Environment steps after which a policy in training is filmed; the last one solves `panda/group`."""
IDLE = ("hover", "miss", "noise", "still", "sweep_sideways")
"""Behaviours that barely move the cubes towards the strip; a few clips of them are enough."""


@dataclass(frozen=True)
class Clips:
    """Many clips of one task.

    Args:
        frames: (n, T + 1, H, W, 3) uint8.
        truth: (n, T), the ground-truth reward of each step.
        strip: (n, T), -max_i |x_i - x_goal| after each step [m].
        success: (n,) bool, at the end.
        source: (n,) who acted.
    """

    frames: np.ndarray
    truth: np.ndarray
    strip: np.ndarray
    success: np.ndarray
    source: np.ndarray

    @property
    def returns(self) -> np.ndarray:
        """The ground-truth returns (n,), by which the simulated annotator ranks."""
        return self.truth.sum(axis=1)


def trained_stages(task: Group, folder: Path) -> list[MLPPolicy]:
    """Returns policies from several stages of one PPO run on the ground truth; cached in `folder`."""
    reward = compile_program(task.truth_reward, task.spec, task.action.dim)
    policies = []
    for steps in STAGES:
        path = folder / f"policy_{steps}"
        if not path.exists():
            train_policy(task, reward, folder, steps=STAGES[-1], until=steps, threads=2, episodes=1).policy.save(path)
        policies.append(load_policy(path))
    return policies


def noisy(task: Group, policy: MLPPolicy, deviation: float, seed: int) -> Actor:
    """Returns a policy that acts as during training: with Gaussian noise on its actions."""
    rng = np.random.default_rng(seed)

    def act(state: State) -> np.ndarray:
        action = policy.act(task.observation(state))
        return action + deviation * rng.standard_normal(action.shape)

    return act


def clips(task_id: str, folder: Path, each: int, seed: int, report: Callable[[str], None] = lambda line: None) -> Clips:
    """Returns clips of one task by all actors.

    Args:
        task_id: `panda/group` or a similar task.
        folder: cache of the trained stages.
        each: clips per active behaviour; idle ones get a third, each stage of training a quarter more.
        seed: of starts, scripts and noise.
        report: called with a line per actor.
    """
    task = make_task(task_id)
    assert isinstance(task, Group)
    truth = compile_program(task.truth_reward, task.spec, task.action.dim)
    actors: list[tuple[str, Actor, int]] = [
        (name, pusher(task, name, seed * 1000 + i), max(each // 3, 1) if name in IDLE else each)
        for i, name in enumerate(behaviours(task))
    ]
    actors += [
        (f"rl_{steps}", noisy(task, policy, 0.4, seed * 1000 + i), each + each // 4)
        for i, (steps, policy) in enumerate(zip(STAGES, trained_stages(task, folder), strict=True))
    ]
    found: dict[str, list[np.ndarray]] = {"frames": [], "truth": [], "strip": [], "success": [], "source": []}
    for index, (name, actor, count) in enumerate(actors):
        report(f"{task_id}: filming {count} clips of {name}")
        for episode in collect_episodes(task, actor, count, seed * 1000 + index, SHOWN):
            assert episode.frames is not None
            found["frames"].append(episode.frames)
            found["truth"].append(truth(episode.to_transitions()).total)
            found["strip"].append(task.true_preference(episode.states)[1:])
            found["success"].append(np.array(episode.is_successful))
            found["source"].append(np.array(name))
    return Clips(**{key: np.stack(values) for key, values in found.items()})
