"""A policy that looks learns to see where the goal is, from few demonstrations and on a small budget."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from robo_reward.data.cloning.picture_stack import PictureStack
from robo_reward.data.collect import collect_episodes
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.task import make_task
from robo_reward.policies.diffusion.looking import ObservationSettings
from robo_reward.policies.diffusion.settings import DiffusionSettings
from robo_reward.policies.diffusion.train import clone_policy
from tests.policies.diffusion.test_looking import Seen

SIZE = 64


@pytest.mark.slow
def test_pictures_of_two_cameras_and_the_hand_suffice_to_reach(tmp_path: Path) -> None:
    """The state holds no goal: the policy succeeds as far as it has learnt to see. An untrained one fails."""
    task = make_task("panda/reach")
    frames = FrameSpec(("front", "side"), SIZE)
    episodes = collect_episodes(task, task.expert, 40, frames=frames, threads=1)
    wide = np.concatenate([episode.frames for episode in episodes if episode.frames is not None])
    seen = Seen(tuple(episodes), PictureStack({"front": wide[:, :, :SIZE], "side": wide[:, :, SIZE:]}))
    looking = ObservationSettings(("front", "side", "hand_position"), SIZE, picture_share=0.5)
    settings = DiffusionSettings(warmup=50)

    def measure(steps: int) -> float:
        found = clone_policy(
            task,
            seen,
            tmp_path / str(steps),
            settings,
            steps=steps,
            batch=256,
            looking=looking,
            evaluate_every=steps,
            episodes=25,
        )
        assert found.evaluation is not None
        return found.evaluation.success

    untrained, trained = measure(1), measure(600)
    assert untrained < 0.1
    assert trained > 0.5
