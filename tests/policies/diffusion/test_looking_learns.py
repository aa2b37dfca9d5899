"""The networks for pictures learn where the goal is, from few demonstrations and on a small budget."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robo_reward.data.cloning.picture_stack import PictureStack
from robo_reward.data.collect import collect_episodes
from robo_reward.data.episode import Episode
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.policies.diffusion.looking import ObservationSettings, PictureWindows
from robo_reward.policies.diffusion.normaliser import MinMax
from robo_reward.policies.diffusion.settings import DiffusionSettings
from robo_reward.policies.diffusion.trainer import Trainer
from robo_reward.policies.diffusion.windows import cut_windows
from tests.policies.diffusion.test_looking import Seen
from tests.policies.diffusion.tiny import reach

SIZE = 64
FRAMES = FrameSpec(("front", "side"), SIZE)
LOOKING = ObservationSettings(FRAMES.cameras, SIZE, reuse=2, picture_share=1.0)
SETTINGS = DiffusionSettings(warmup=30)


@pytest.mark.slow
def test_features_of_pictures_never_seen_tell_where_the_goal_is() -> None:
    """The error of the auxiliary layer on other episodes, against the truth of the simulation."""
    episodes = collect_episodes(reach(), reach().expert, 80, frames=FRAMES, threads=1)
    pictures, _ = cut_pictures(episodes[:64])
    windows = cut_windows(episodes[:64], LOOKING.choose(reach())[0], 1, 8, 4)
    trainer = Trainer(windows, SETTINGS, 250, 128, 0, "", pictures)
    assert trainer.auxiliary is not None and pictures.targets is not None
    others, truth = cut_pictures(episodes[64:])
    before = measure(trainer, others, truth)
    for _ in range(250):
        trainer.update()
    after = measure(trainer, others, truth)
    spread = truth.std(0)
    assert (before > 0.8 * spread).all(), (before, spread)
    assert (after < 0.5 * spread).all(), (after, spread)


def cut_pictures(episodes: list[Episode]) -> tuple[PictureWindows, np.ndarray]:
    """Returns the pictures of all windows, and the way to the goal (M, 3) as the observation scales it."""
    wide = np.concatenate([episode.frames for episode in episodes if episode.frames is not None])
    seen = Seen(tuple(episodes), PictureStack({"front": wide[:, :, :SIZE], "side": wide[:, :, SIZE:]}))
    windows = cut_windows(episodes, LOOKING.choose(reach())[0], 1, 8, 4)
    pictures = PictureWindows(seen, windows, FRAMES, 1, LOOKING, reach())
    assert pictures.targets is not None
    return pictures, pictures.targets.numpy()[:, goal_columns()]


def goal_columns() -> slice:
    """Returns the columns of the way from the hand to the goal in the observation of the task."""
    begin = 0
    for part in reach().observation.parts:
        size = int(np.prod(reach().spec[part.field].shape))
        if part.field == "goal_position":
            return slice(begin, begin + size)
        begin += size
    raise AssertionError("the observation has no goal")


def measure(trainer: Trainer, pictures: PictureWindows, truth: np.ndarray) -> np.ndarray:
    """Returns the root mean square error (3,) of the way to the goal that the averaged weights find in pictures."""
    model, layer = trainer.average, trainer.auxiliary
    assert layer is not None and trainer.pictures is not None and trainer.pictures.targets is not None
    rows = torch.arange(len(pictures))
    with torch.no_grad():
        found = layer(model.encode(torch.zeros(len(rows), 1, 0), pictures.gather(rows)))
    scaled = MinMax.fit(trainer.pictures.targets).denormalise(found).numpy()[:, goal_columns()]
    return np.sqrt(((scaled - truth) ** 2).mean(0))
