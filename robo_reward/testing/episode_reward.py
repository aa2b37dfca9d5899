"""The contract of an episode reward as tests.

Inherit the mixin and say how to make yours; pytest runs the rest:

    class TestMine(EpisodeRewardContract):
        def make_reward(self): return MyReward(...)
        def make_episode(self, steps, seed): return ...
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from robo_reward.data.episode import Episode
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.rewards.artifact import load_reward, save_reward
from robo_reward.rewards.contract import MAX_TERMS, EpisodeReward, RewardOutput, digest_tensors, learnt_weights


class EpisodeRewardContract:
    """The contract of `robo_reward.rewards.contract.EpisodeReward` as tests.

    Attributes:
        tolerance: relative to the largest number; an encoder's sums may round differently in longer batches.
        saved: whether its kind can be rebuilt from what was saved.
    """

    tolerance = 1e-6
    saved = True

    def make_reward(self) -> EpisodeReward:
        """A fresh reward, always the same."""
        raise NotImplementedError

    def make_episode(self, steps: int, seed: int) -> Episode:
        """An episode that the reward understands."""
        raise NotImplementedError

    def assert_same(self, got: RewardOutput, expected: RewardOutput, tolerance: float = 0.0) -> None:
        assert got.terms.keys() == expected.terms.keys()
        for a, b in zip([got.total, *got.terms.values()], [expected.total, *expected.terms.values()], strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * (1e-12 + np.abs(b).max(initial=0)))

    def test_it_has_the_parts_of_an_episode_reward(self) -> None:
        reward = self.make_reward()
        assert isinstance(reward, EpisodeReward)
        assert reward.frames is None or isinstance(reward.frames, FrameSpec)

    def test_numbers_are_finite_float64_one_for_each_step(self) -> None:
        for steps in (1, 2, 17):
            output = self.make_reward()(self.make_episode(steps, seed=steps))
            assert len(output.terms) <= MAX_TERMS
            for values in (output.total, *output.terms.values()):
                assert values.shape == (steps,)
                assert values.dtype == np.float64
                assert np.isfinite(values).all()

    def test_several_at_once_get_what_each_gets_alone(self) -> None:
        episodes = [self.make_episode(steps, seed=steps) for steps in (9, 4, 9, 1)]
        together = self.make_reward().batch(episodes)
        assert len(together) == len(episodes)
        for episode, output in zip(episodes, together, strict=True):
            self.assert_same(output, self.make_reward()(episode), self.tolerance)

    def test_no_episodes_no_numbers(self) -> None:
        assert list(self.make_reward().batch([])) == []

    def test_same_episode_same_numbers(self) -> None:
        reward, episode = self.make_reward(), self.make_episode(12, seed=1)
        first = reward(episode)
        self.assert_same(reward(episode), first)
        self.assert_same(self.make_reward()(episode), first)

    def test_the_episode_is_unchanged_and_not_shared(self) -> None:
        reward, episode = self.make_reward(), self.make_episode(8, seed=2)
        arrays = [a for a in (episode.state, episode.action, episode.success, episode.frames) if a is not None]
        before = [array.copy() for array in arrays]
        output = reward(episode)
        for values in (output.total, *output.terms.values()):
            assert not any(np.shares_memory(values, array) for array in arrays)
            values[:] = -1.0
        for old, new in zip(before, arrays, strict=True):
            np.testing.assert_array_equal(old, new)

    def test_read_only_episodes_are_enough(self) -> None:
        episode = self.make_episode(8, seed=3)
        for array in (episode.state, episode.action, episode.success, episode.frames):
            if array is not None:
                array.flags.writeable = False
        self.make_reward()(episode)

    def test_what_it_learnt_is_named_by_its_digest(self) -> None:
        weights = learnt_weights(self.make_reward())
        for name, tensors in weights.items():
            assert digest_tensors(tensors) == name
        text = json.dumps(self.make_reward().spec())
        assert all(name in text for name in weights)

    def test_saved_and_loaded_it_says_the_same_bit_for_bit(self, tmp_path: Path) -> None:
        if not self.saved:
            return
        reward, episode = self.make_reward(), self.make_episode(11, seed=4)
        loaded = load_reward(save_reward(reward, tmp_path / "reward"))
        assert loaded.spec() == json.loads(json.dumps(reward.spec()))
        self.assert_same(loaded(episode), reward(episode))
