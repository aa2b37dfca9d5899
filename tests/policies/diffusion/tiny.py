"""A small task, demonstrations and policies for tests of cloning."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from robo_reward.data.cloning.demonstrations import DemonstrationSet
from robo_reward.data.collect import collect_episodes
from robo_reward.data.episode import Episode
from robo_reward.envs.task import Task, make_task
from robo_reward.policies.diffusion.model import create_model
from robo_reward.policies.diffusion.normaliser import MinMax
from robo_reward.policies.diffusion.policy import DiffusionPolicy
from robo_reward.policies.diffusion.settings import DiffusionSettings

SMALL = {("mlp", "cpu"): {"width": 32, "blocks": 1, "time_width": 8}}
"""For `SIZES`: a network whose checkpoints are written in no time."""


@cache
def reach() -> Task:
    """Returns panda/reach with short episodes."""
    task = make_task("panda/reach")
    task.horizon = 12
    return task


@cache
def few() -> DemonstrationSet:
    """Returns six demonstrations of panda/reach."""
    return make_set(tuple(collect_episodes(reach(), reach().expert, 6, threads=1)))


def make_set(episodes: tuple[Episode, ...]) -> DemonstrationSet:
    """Returns episodes as demonstrations."""
    return DemonstrationSet("few", episodes, tuple(str(number) for number in range(len(episodes))))


def make_policy(seed: int = 0, **settings: Any) -> DiffusionPolicy:
    """Returns a policy of panda/reach with random weights."""
    task = reach()
    seen, done = (MinMax(-torch.ones(size), torch.ones(size)) for size in (task.observation.dim, task.action.dim))
    model = create_model(DiffusionSettings(**settings), seen, done, seed)
    return DiffusionPolicy(model, task.observation, task.action, {"task": task.id})
