"""The contract of a step reward as tests.

Inherit the mixin and say how to make yours; pytest runs the rest:

    class TestMine(StepRewardContract):
        def make_reward(self): return MyReward(...)
        def make_batch(self, n, seed): return ...
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from robo_reward.envs.state import Transitions
from robo_reward.rewards.contract import MAX_TERMS, RewardOutput, StepReward


class StepRewardContract:
    """The contract of `robo_reward.rewards.contract.StepReward` as tests.

    Attributes:
        tolerance: relative; sums may round differently in batches of another length.
    """

    tolerance = 1e-9

    def make_reward(self) -> StepReward:
        """A fresh reward."""
        raise NotImplementedError

    def make_batch(self, n: int, seed: int) -> Transitions:
        """n transitions that the reward understands."""
        raise NotImplementedError

    def rebuild(self, spec: dict[str, Any]) -> StepReward | None:
        """A reward from its spec, or None when this kind cannot be rebuilt."""
        return None

    def assert_same(self, got: RewardOutput, expected: RewardOutput) -> None:
        assert got.terms.keys() == expected.terms.keys()
        for a, b in zip([got.total, *got.terms.values()], [expected.total, *expected.terms.values()], strict=True):
            np.testing.assert_allclose(
                a, b, rtol=self.tolerance, atol=self.tolerance * (1.0 + np.abs(b).max(initial=0))
            )

    def test_numbers_are_finite_float64_one_for_each_transition(self) -> None:
        for n in (1, 2, 3, 17):
            output = self.make_reward()(self.make_batch(n, seed=n))
            assert len(output.terms) <= MAX_TERMS
            for values in (output.total, *output.terms.values()):
                assert values.shape == (n,)
                assert values.dtype == np.float64
                assert np.isfinite(values).all()

    def test_empty_batch(self) -> None:
        batch = self.make_batch(3, seed=0).rows(slice(0))
        assert self.make_reward()(batch).total.shape == (0,)

    def test_same_batch_same_numbers(self) -> None:
        reward, batch = self.make_reward(), self.make_batch(33, seed=1)
        first, second, other = reward(batch), reward(batch), self.make_reward()(batch)
        np.testing.assert_array_equal(first.total, second.total)
        np.testing.assert_array_equal(first.total, other.total)

    def test_order_of_the_batch_does_not_matter(self) -> None:
        reward, batch = self.make_reward(), self.make_batch(33, seed=2)
        order = np.random.default_rng(0).permutation(33)
        output = reward(batch)
        expected = RewardOutput(output.total[order], {k: v[order] for k, v in output.terms.items()})
        self.assert_same(reward(batch.rows(order)), expected)

    def test_company_in_the_batch_does_not_matter(self) -> None:
        reward, batch = self.make_reward(), self.make_batch(9, seed=3)
        output = reward(batch)
        for i in range(9):
            expected = RewardOutput(output.total[i : i + 1], {k: v[i : i + 1] for k, v in output.terms.items()})
            self.assert_same(reward(batch.rows(slice(i, i + 1))), expected)

    def test_inputs_are_unchanged_and_not_shared(self) -> None:
        reward, batch = self.make_reward(), self.make_batch(9, seed=4)
        arrays = (batch.previous.array, batch.action, batch.state.array)
        before = [array.copy() for array in arrays]
        output = reward(batch)
        for values in (output.total, *output.terms.values()):
            assert not any(np.shares_memory(values, array) for array in arrays)
            values[:] = -1.0
        for old, new in zip(before, arrays, strict=True):
            np.testing.assert_array_equal(old, new)

    def test_read_only_inputs_are_enough(self) -> None:
        batch = self.make_batch(9, seed=5)
        for array in (batch.previous.array, batch.action, batch.state.array):
            array.flags.writeable = False
        self.make_reward()(batch)

    def test_spec_is_json_and_rebuilds(self) -> None:
        reward, batch = self.make_reward(), self.make_batch(9, seed=6)
        spec = json.loads(json.dumps(reward.spec()))
        assert isinstance(spec["kind"], str)
        rebuilt = self.rebuild(spec)
        if rebuilt is not None:
            assert json.loads(json.dumps(rebuilt.spec())) == spec
            np.testing.assert_array_equal(rebuilt(batch).total, reward(batch).total)
