"""Slow, trembling experts still do the task; recordings end a moment after it is done."""

from __future__ import annotations

import numpy as np
import pytest

from robo_reward.data.collect import collect_episodes
from robo_reward.data.script import make_demonstrator, trim_episode
from robo_reward.envs.task import make_task
from robo_reward.errors import UsageError
from tests.rewards.perceptual.scenes import episode


def test_the_expert_still_succeeds_slowly() -> None:
    task = make_task("panda/reach")
    usual = task.horizon
    task.horizon = 3 * usual
    quick = collect_episodes(task, task.expert, 6, seed=0)
    slow = collect_episodes(task, make_demonstrator(task, 0.3, 0.02, np.random.default_rng(0)), 6, seed=0)
    assert all(e.success.any() for e in slow)
    lengths = [[len(trim_episode(e, 0)) for e in group] for group in (quick, slow)]
    assert np.mean(lengths[1]) > 1.2 * np.mean(lengths[0])
    assert all(np.abs(e.action).max() <= 1 for e in slow)


def test_the_same_generator_trembles_the_same() -> None:
    task = make_task("panda/reach")
    task.horizon = 5
    first, again, other = (
        collect_episodes(task, make_demonstrator(task, 0.5, 0.2, np.random.default_rng(seed)), 2, seed=0)[0].action
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_trimming_keeps_a_rest() -> None:
    whole = episode((8, 6, 10), 0)
    object.__setattr__(whole, "success", np.arange(23) >= 12)
    short = trim_episode(whole, 4)
    assert len(short) == 17 and short.frames is not None and len(short.frames) == 18
    np.testing.assert_array_equal(short.state, whole.state[:18])
    assert len(trim_episode(whole, 100)) == 23
    object.__setattr__(whole, "success", np.zeros(23, bool))
    assert trim_episode(whole, 4) is whole


@pytest.mark.parametrize(("speed", "noise"), [(0.0, 0.1), (1.5, 0.1), (0.5, -1.0)])
def test_wrong_settings_are_named(speed: float, noise: float) -> None:
    with pytest.raises(UsageError, match="speed"):
        make_demonstrator(make_task("panda/reach"), speed, noise, np.random.default_rng(0))
