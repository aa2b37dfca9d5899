"""Whole episodes of anything that acts: experts, scripts, policies, noise."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np

from robo_reward.envs.batch import BatchSim
from robo_reward.envs.frames import Filmer, FrameSpec
from robo_reward.envs.state import State
from robo_reward.envs.task import Task
from robo_reward.episode import Episode

Actor = Callable[[State], np.ndarray]
"""States (N, D) to actions (N, A); a `task.expert`, a script, or a policy behind `task.observation`."""


def collect(
    task: Task,
    actor: Actor,
    episodes: int,
    seed: int = 0,
    frames: FrameSpec | None = None,
    meta: dict[str, Any] | None = None,
    threads: int | None = None,
) -> list[Episode]:
    """Runs whole episodes side by side.

    Args:
        task: where.
        actor: who acts; called once a step with the states of all worlds.
        episodes: how many, all at once: memory is episodes x horizon x frame.
        seed: of the initial conditions.
        frames: draw every state like this, or not at all.
        meta: kept with each episode; `seed`, `world`, `fps` and the frames' cameras are added.
        threads: of the simulator.
    """
    sim = BatchSim(task, episodes, seed, threads=threads)
    states, actions, success, pictures = [sim.state.array.copy()], [], [], []
    with Filmer(task, frames) if frames else nullcontext() as filmer:
        if filmer:
            pictures.append(filmer(sim.qpos, sim.mocap))
        for _ in range(task.horizon):
            result = sim.step(actor(sim.state))
            actions.append(result.transitions.action)
            success.append(result.success)
            states.append(result.transitions.state.array.copy())
            if filmer:
                pictures.append(filmer(result.qpos, result.mocap))
    sim.close()
    shown = {"cameras": list(frames.cameras)} if frames else {}
    return [
        Episode(
            state=np.stack([s[i] for s in states]),
            action=np.stack([a[i] for a in actions]),
            success=np.array([s[i] for s in success]),
            spec=task.spec,
            task_id=task.id,
            frames=np.stack([p[i] for p in pictures]) if frames else None,
            meta={**(meta or {}), "seed": seed, "world": i, "fps": 1 / task.control_dt, **shown},
        )
        for i in range(episodes)
    ]
