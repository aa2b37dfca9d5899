"""The contract of a task as tests.

Inherit the mixin and say how to make yours; pytest runs the rest:

    class TestMine(TaskContract):
        def make_task(self): return MyTask(...)
"""

from __future__ import annotations

import numpy as np

from robo_reward.envs.state import State
from robo_reward.envs.task import Task
from robo_reward.errors import UsageError
from robo_reward.language.language import compile_program


class TaskContract:
    """The contract of `robo_reward.envs.task.Task` as tests.

    Attributes:
        has_expert: whether the task has a scripted expert.
    """

    has_expert = True

    def make_task(self) -> Task:
        """Returns a new task."""
        raise NotImplementedError

    def test_the_sensors_are_the_state(self) -> None:
        task = self.make_task()
        task.check()
        assert task.goal and task.success_rule and task.horizon > 0 and task.substeps > 0

    def test_starts_follow_from_the_seed_and_fit_the_model(self) -> None:
        task = self.make_task()
        first, second = (task.sample(np.random.default_rng(3), 5) for _ in range(2))
        assert first.qpos.shape == (5, task.model.nq) and first.mocap.shape == (5, 7 * task.model.nmocap)
        np.testing.assert_array_equal(first.qpos, second.qpos)
        np.testing.assert_array_equal(first.mocap, second.mocap)
        other = task.sample(np.random.default_rng(4), 5)
        assert not (np.array_equal(first.qpos, other.qpos) and np.array_equal(first.mocap, other.mocap))

    def test_any_action_leaves_the_state_finite(self) -> None:
        task = self.make_task()
        rng = np.random.default_rng(0)
        sim = task.make_worlds(4, seed=0)
        try:
            sim.reset()
            for _ in range(min(task.horizon, 30)):
                result = sim.step(rng.uniform(-1.0, 1.0, (4, task.action.dim)))
                assert np.isfinite(result.qpos).all() and np.isfinite(sim.observation()).all()
                assert result.success.shape == (4,) and result.success.dtype == bool
                assert sim.observation().shape == (4, task.observation.dim)
        finally:
            sim.close()

    def test_success_is_one_bool_for_each_state(self) -> None:
        task = self.make_task()
        for shape in ((), (3,), (2, 3)):
            success = np.asarray(task.success(State(task.spec, np.zeros((*shape, task.spec.dim)))))
            assert success.shape == shape and success.dtype == bool

    def test_the_expert_acts_within_bounds(self) -> None:
        task = self.make_task()
        state = State(task.spec, np.zeros((4, task.spec.dim)))
        try:
            action = task.expert(state)
        except UsageError:
            assert not self.has_expert, "the task has no scripted expert: set has_expert = False"
            return
        assert self.has_expert, "the task has a scripted expert: leave has_expert = True"
        assert action.shape == (4, task.action.dim) and np.abs(action).max() <= 1.0

    def test_the_reward_program_compiles(self) -> None:
        task = self.make_task()
        compile_program(task.expert_reward, task.spec, task.action.dim)
