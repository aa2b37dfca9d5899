"""A small policy and episodes of two kinds: those that push to one side and those that push to the other."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from robo_reward.data.episode import Episode
from robo_reward.envs.task import Task, make_task
from robo_reward.labelling.comparisons import NO_ANCHOR, Comparisons
from robo_reward.policies.alignment.job import FinetuneJob, RankedEpisodes
from robo_reward.policies.diffusion.model import create_model
from robo_reward.policies.diffusion.normaliser import MinMax
from robo_reward.policies.diffusion.policy import DiffusionPolicy
from robo_reward.policies.diffusion.settings import DiffusionSettings

STEPS = 12


@cache
def reach() -> Task:
    """panda/reach, the cheapest task."""
    return make_task("panda/reach")


def make_episodes(count: int = 6, seed: int = 0) -> list[Episode]:
    """Returns episodes whose first action component is +0.6 where their number is even, else -0.6."""
    task, rng = reach(), np.random.default_rng(seed)
    sim = task.make_worlds(count, seed, threads=1)
    start = sim.state.array.copy()
    sim.close()
    found = []
    for number in range(count):
        state = start[number] + 0.01 * rng.normal(size=(STEPS + 1, task.spec.dim))
        action = 0.05 * rng.normal(size=(STEPS, task.action.dim))
        action[:, 0] += 0.6 if number % 2 == 0 else -0.6
        found.append(Episode(state, action, np.ones(STEPS, bool), task.spec, task.id))
    return found


def make_ranked(count: int = 6) -> RankedEpisodes:
    """Returns the episodes with even numbers as better than those with odd ones."""
    winner, loser = np.arange(0, count, 2), np.arange(1, count, 2)
    pairs = Comparisons(winner, loser, np.ones(count // 2), np.full(count // 2, NO_ANCHOR))
    return RankedEpisodes(make_episodes(count), pairs, np.where(np.arange(count) % 2 == 0, 0.75, 0.25))


def make_policy(objective: str = "ddpm", history: int = 1) -> DiffusionPolicy:
    """Returns a policy with random weights."""
    task = reach()
    settings = DiffusionSettings(
        objective=objective,  # type: ignore[arg-type]
        history=history,
        horizon=4,
        execute=2,
        sampling_steps=2,
    )
    low = -np.ones((1, task.observation.dim)) * 2, -np.ones((1, task.action.dim))
    bounds = [MinMax.fit(np.concatenate([side, -side])) for side in low]
    model = create_model(settings, bounds[0], bounds[1], 0)
    return DiffusionPolicy(model, task.observation, task.action, {"task": task.id, "options": {}})


def make_job(folder: Path, **more: object) -> FinetuneJob:
    """Returns a job that the tests give ranked episodes."""
    return FinetuneJob(task=reach(), policy=make_policy(), folder=folder, **more)  # type: ignore[arg-type]
