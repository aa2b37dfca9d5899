"""The DeepMind Control Suite behind gymnasium's interface: same trajectories, tolerances of its own as success."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("dm_control", reason="needs the extra `dm_control`")

from robo_reward.envs.model.state import ModelState
from robo_reward.envs.suites import dm_control
from robo_reward.envs.suites.control_goals import GOALS, TOLERANCES
from tests.envs.suites.contract import check_source

NAMES = dm_control.list_names()
DOMAINS = sorted({name.partition("-")[0] for name in NAMES})
QUICK = [next(name for name in NAMES if name.startswith(f"{domain}-")) for domain in DOMAINS if "dog" not in domain]


def test_every_task_has_a_goal_and_where_it_defines_one_a_tolerance():
    assert set(GOALS) == set(NAMES) and set(TOLERANCES) <= set(NAMES)
    without = {name.partition("-")[0] for name in set(NAMES) - set(TOLERANCES)}
    assert without == {"fish", "lqr", "stacker"}


@pytest.mark.parametrize("name", ["finger-spin", "manipulator-bring_ball", "quadruped-escape", "reacher-easy"])
def test_a_task_is_named_and_repeatable(name: str):
    check_source(dm_control.describe(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_task_is_named_and_repeatable(name: str):
    check_source(dm_control.describe(name))


@pytest.mark.parametrize("name", ["finger-spin", "hopper-hop", "lqr-lqr_2_1"])
def test_trajectories_are_those_of_the_suite_itself(name: str):
    """Reading contact forces between steps changes nothing, nor does gymnasium's interface."""
    suite, (domain, _, task) = dm_control.import_control_suite(), name.partition("-")
    original = suite.load(domain, task, task_kwargs={"random": 0})
    env: Any = dm_control.make_environment(domain, task)
    original.task._random = np.random.RandomState(9)  # what `reset(seed=9)` sets
    original.reset()
    env.reset(seed=9)
    reader = ModelState(env.model)
    rng = np.random.default_rng(0)
    for _ in range(60):
        action = rng.uniform(env.action_space.low, env.action_space.high)
        expected = original.step(action)
        observed, reward, terminated, _, _ = env.step(action)
        np.testing.assert_array_equal(observed, np.concatenate([np.ravel(v) for v in expected.observation.values()]))
        assert reward == expected.reward and not terminated
        assert np.isfinite(reader.read_state(env.data)).all() and np.abs(reader.read_state(env.data)).max() < 1e5


@pytest.mark.parametrize("name", ["finger-spin", "finger-turn_easy", "reacher-easy", "ball_in_cup-catch"])
def test_where_the_reward_is_a_condition_success_is_that_condition(name: str):
    source = dm_control.describe(name)
    env: Any = source.make()
    assert source.success is not None
    rng, found = np.random.default_rng(1), set()
    for seed in range(12):
        env.reset(seed=seed)
        if name == "finger-spin" and seed % 2:
            env.physics.named.data.qvel["hinge"] = -40.0
        for _ in range(25):
            *_, info = env.step(rng.uniform(-1, 1, env.action_space.shape))
            reward = env.task.get_reward(env.physics)
            assert source.success(env, info) == (reward == 1.0)
            found.add(reward == 1.0)
    assert found == {True, False} or name == "ball_in_cup-catch"


def test_time_limits_and_terminations_are_told_apart():
    env = dm_control.make_environment("lqr", "lqr_2_1")
    env.reset(seed=0)
    env.physics.data.qpos[:], env.physics.data.qvel[:] = 0.0, 0.0
    env.physics.forward()
    assert env.step(np.zeros(1))[2:4] == (True, False)
    env = dm_control.make_environment("pendulum", "swingup")
    env.reset(seed=0)
    ends = [env.step(np.zeros(1))[2:4] for _ in range(env.horizon)]
    assert ends[-1] == (False, True) and set(ends[:-1]) == {(False, False)}


def test_success_of_a_standing_walker_needs_height():
    env = dm_control.make_environment("walker", "stand")
    env.reset(seed=0)
    rule = TOLERANCES["walker-stand"]
    for height, wanted in ((0.0, True), (-0.6, False)):
        env.physics.named.data.qpos[:] = 0.0
        env.physics.named.data.qpos["rootz"] = height
        env.physics.forward()
        assert bool(rule.holds(env.physics, env.task)) == wanted
