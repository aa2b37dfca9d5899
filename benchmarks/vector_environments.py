"""Steps per second of gymnasium's own locomotion: `fast=true` against its vector environments, the same dynamics."""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np

from benchmarks.simulation import batch_rate, rate
from robo_reward.envs.task import make_task
from robo_reward.language.language import compile_program

NAMES = ("Hopper", "Ant")
WORLDS = 64


def measure_vector_environments(quick: bool) -> dict[str, Any]:
    """Returns the control steps per second of both, reward, observation and resets included, and the lowest ratio."""
    seconds, rows = 1.0 if quick else 4.0, {}
    for name in NAMES:
        task = make_task(f"gymnasium/{name}-v5", fast=True)
        reward = compile_program(task.expert_reward, task.spec, task.action.dim)
        ours = np.median([batch_rate(task, reward, WORLDS, seconds) for _ in range(3)])
        theirs = {mode: vector_rate(f"{name}-v5", mode, seconds) for mode in ("sync", "async")}
        label = name.lower()
        rows |= {f"{label}_fast_steps_per_s_{WORLDS}": float(ours)}
        rows |= {f"{label}_gymnasium_{mode}_steps_per_s_{WORLDS}": value for mode, value in theirs.items()}
        rows[f"{label}_fast_vs_gymnasium_vector"] = float(ours / max(theirs.values()))
        rows[f"{label}_physics_share_of_gymnasium"] = measure_physics_share(f"{name}-v5", 300 if quick else 1500)
    return {**rows, "fast_vs_gymnasium_vector": min(rows[f"{n.lower()}_fast_vs_gymnasium_vector"] for n in NAMES)}


def measure_physics_share(id: str, steps: int) -> float:
    """Returns the share of gymnasium's processor time per step that MuJoCo's own steps take.

    Nothing with the same dynamics can be faster on one core than one over this share; c cores at most c times that.
    """
    env: Any = gym.make(id)
    model, data, rng = env.unwrapped.model, env.unwrapped.data, np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (steps, model.nu)).astype(np.float32)
    seconds = {"all": 0.0, "physics": 0.0}
    env.reset(seed=0)
    for action in actions:
        begun = time.process_time()
        terminated = env.step(action)[2]
        seconds["all"] += time.process_time() - begun
        begun = time.process_time()
        mujoco.mj_step(model, data, env.unwrapped.frame_skip)
        seconds["physics"] += time.process_time() - begun
        if terminated:
            env.reset()
    return seconds["physics"] / seconds["all"]


def vector_rate(id: str, mode: str, seconds: float) -> float:
    """Returns the control steps per second of gymnasium's vector environment, in one process or in one for each world.

    Args:
        id: of the environment.
        mode: `sync` or `async`.
        seconds: how long to measure [s].
    """
    env = gym.make_vec(id, num_envs=WORLDS, vectorization_mode=mode)
    size = env.single_action_space.shape
    actions = np.random.default_rng(0).uniform(-1, 1, (64, WORLDS, *(size or ()))).astype(np.float32)
    count = iter(range(10**9))
    env.reset(seed=0)
    found = rate(lambda: env.step(actions[next(count) % 64]), WORLDS, seconds)
    env.close()
    return found
