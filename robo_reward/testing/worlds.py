"""The contract of parallel worlds as tests.

Inherit the mixin and say how to make yours; pytest runs the rest:

    class TestMine(WorldsContract):
        def make_worlds(self, n, seed, threads): return MyTask().make_worlds(n, seed, threads=threads)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from robo_reward.envs.batch import StepResult
from robo_reward.envs.worlds import Worlds
from robo_reward.errors import UsageError, WrongShape


class WorldsContract:
    """The contract of `robo_reward.envs.worlds.Worlds` as tests.

    Attributes:
        steps: control steps of each test.
        threads: numbers of threads or processes that must give the same bits.
    """

    steps = 30
    threads = (1, 2)

    def make_worlds(self, n: int, seed: int, threads: int) -> Worlds:
        """Returns N new worlds."""
        raise NotImplementedError

    def run_steps(self, worlds: Worlds, steps: int, seed: int = 5) -> list[StepResult]:
        """Returns the results of steps with random actions that depend on the seed alone."""
        rng = np.random.default_rng(seed)
        return [worlds.step(rng.uniform(-1.2, 1.2, (worlds.n, worlds.task.action.dim))) for _ in range(steps)]

    def expect_error(self, kind: type[Exception], call: Callable[[], object]) -> None:
        """Fails unless a call raises an error of a kind."""
        try:
            call()
        except kind:
            return
        raise AssertionError(f"expected {kind.__name__}")

    def test_shapes(self) -> None:
        worlds = self.make_worlds(3, 0, 1)
        assert isinstance(worlds, Worlds)
        task, result = worlds.task, self.run_steps(worlds, 1)[0]
        assert result.transitions.state.array.shape == result.transitions.previous.array.shape == (3, task.spec.dim)
        assert worlds.observation().shape == (3, task.observation.dim)
        assert result.qpos.shape == worlds.qpos.shape == (3, task.model.nq)
        assert np.abs(result.transitions.action).max() <= 1.0
        for flags in (result.success, result.truncated, result.terminated):
            assert flags.shape == (3,) and flags.dtype == bool
        self.expect_error(WrongShape, lambda: worlds.step(np.zeros((2, task.action.dim))))
        worlds.close()
        worlds.close()
        self.expect_error(UsageError, lambda: self.make_worlds(0, 0, 1))

    def test_the_same_seed_gives_the_same_bits_with_any_number_of_threads(self) -> None:
        runs = []
        for seed, threads in (*((0, threads) for threads in self.threads), (1, 1)):
            worlds = self.make_worlds(3, seed, threads)
            runs.append(np.stack([r.transitions.state.array for r in self.run_steps(worlds, self.steps)]))
            worlds.reset(seed)
            again = np.stack([r.transitions.state.array for r in self.run_steps(worlds, self.steps)])
            np.testing.assert_array_equal(runs[-1], again)
            worlds.close()
        for run in runs[:-1]:
            np.testing.assert_array_equal(runs[0], run)
        assert not np.array_equal(runs[0], runs[-1])

    def test_a_result_keeps_its_numbers_when_the_worlds_go_on(self) -> None:
        worlds = self.make_worlds(2, 0, 1)
        result = self.run_steps(worlds, 1)[0]
        kept = result.transitions.state.array.copy(), result.qpos.copy(), result.mocap.copy()
        self.run_steps(worlds, self.steps)
        for before, after in zip(kept, (result.transitions.state.array, result.qpos, result.mocap), strict=True):
            np.testing.assert_array_equal(before, after)
        worlds.close()

    def test_an_ended_world_begins_again_and_the_others_go_on(self) -> None:
        worlds = self.make_worlds(3, 0, 1)
        ended = np.zeros(3, bool)
        for _ in range(3 * worlds.task.horizon):
            before, result = worlds.elapsed.copy(), self.run_steps(worlds, 1)[0]
            np.testing.assert_array_equal(worlds.elapsed, np.where(result.has_ended, 0, before + 1))
            assert not (result.terminated & result.truncated).any()
            kept = ~result.has_ended
            np.testing.assert_array_equal(worlds.state.array[kept], result.transitions.state.array[kept])
            ended |= result.has_ended
            if ended.all():
                break
        assert ended.all()
        worlds.close()

    def test_a_snapshot_continues_exactly_also_in_other_worlds(self) -> None:
        worlds = self.make_worlds(3, 0, 1)
        self.run_steps(worlds, self.steps)
        snapshot = {name: value.copy() for name, value in worlds.snapshot().items()}
        expected = [r.transitions.state.array for r in self.run_steps(worlds, self.steps, seed=6)]
        other = self.make_worlds(3, 9, 1)
        for fresh in (worlds, other):
            fresh.restore(snapshot)
            got = [r.transitions.state.array for r in self.run_steps(fresh, self.steps, seed=6)]
            np.testing.assert_array_equal(expected, got)
            fresh.close()
