"""The network for the pictures of the wrist's camera learns where the cube is, on a small budget."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from robo_reward.data.cloning.picture_stack import PictureStack
from robo_reward.data.collect import collect_episodes
from robo_reward.data.episode import Episode
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.task import Task, make_task
from robo_reward.policies.diffusion.looking import ObservationSettings, PictureWindows
from robo_reward.policies.diffusion.normaliser import MinMax
from robo_reward.policies.diffusion.settings import DiffusionSettings
from robo_reward.policies.diffusion.trainer import Trainer
from robo_reward.policies.diffusion.windows import cut_windows
from tests.policies.diffusion.test_looking import Seen

FRAMES = FrameSpec(("wrist",), 64)
LOOKING = ObservationSettings(FRAMES.cameras, FRAMES.size, reuse=2, picture_share=1.0)
UPDATES = 300
LEARNT, OTHERS = 32, 8  # episodes


@cache
def lift() -> Task:
    """Returns panda/lift, cut off before the cube is lifted."""
    task = make_task("panda/lift")
    task.horizon = 25
    return task


@pytest.mark.slow
def test_features_of_pictures_never_seen_tell_where_the_cube_is() -> None:
    """The error of the auxiliary layer on other episodes, against the truth of the simulation."""
    episodes = collect_episodes(lift(), lift().expert, LEARNT + OTHERS, frames=FRAMES, threads=1)
    windows = cut_windows(episodes[:LEARNT], LOOKING.choose(lift())[0], 1, 8, 4)
    trainer = Trainer(windows, DiffusionSettings(warmup=30), UPDATES, 128, 0, "", cut_pictures(episodes[:LEARNT]))
    others = cut_pictures(episodes[LEARNT:])
    assert others.targets is not None
    spread = others.targets[:, find_columns()].numpy().std(0)
    before = measure(trainer, others)
    for _ in range(UPDATES):
        trainer.update()
    after = measure(trainer, others)
    assert (before > 0.8 * spread).all(), before / spread
    assert (after < 0.6 * spread).all(), after / spread


def cut_pictures(episodes: list[Episode]) -> PictureWindows:
    """Returns the pictures of all windows of some episodes."""
    frames = np.concatenate([episode.frames for episode in episodes if episode.frames is not None])
    seen = Seen(tuple(episodes), PictureStack({"wrist": frames}))
    windows = cut_windows(episodes, LOOKING.choose(lift())[0], 1, 8, 4)
    return PictureWindows(seen, windows, FRAMES, 1, LOOKING, lift())


def find_columns() -> slice:
    """Returns the columns x and y of the way from the hand to the cube in the observation of the task."""
    begin = 0
    for part in lift().observation.parts:
        if (part.field, part.minus) == ("cube_position", "hand_position"):
            return slice(begin, begin + 2)
        begin += int(np.prod(lift().spec[part.field].shape))
    raise AssertionError("the observation has no cube")


def measure(trainer: Trainer, pictures: PictureWindows) -> np.ndarray:
    """Returns the root mean square error (2,) of the way to the cube that the averaged weights find in pictures."""
    layer, learnt = trainer.auxiliary, trainer.pictures
    assert layer is not None and learnt is not None and learnt.targets is not None and pictures.targets is not None
    rows = torch.arange(len(pictures))
    with torch.no_grad():
        found = layer(trainer.average.encode(torch.zeros(len(rows), 1, 0), pictures.gather(rows)))
    errors = MinMax.fit(learnt.targets).denormalise(found) - pictures.targets
    return errors[:, find_columns()].square().mean(0).sqrt().numpy()
