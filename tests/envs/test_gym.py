"""The gymnasium front ends: real entropy without a seed, the same episode with one, new physics at every reset."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.vec_env import DummyVecEnv

from robo_reward.envs.batch import BatchSim
from robo_reward.envs.gym import TaskEnv, TaskVectorEnv
from robo_reward.envs.task import Task, make_task
from robo_reward.envs.vec import SB3VecEnv

RANGES: Any = {"mass": [0.5, 2.0], "delay": [0.0, 0.2]}


@pytest.fixture(scope="module")
def push() -> Task:
    return make_task("panda/push", ranges=RANGES)


def mass(sim: Any, world: int = 0) -> float:
    return float(sim.variants[world].model.body_mass[sim.task.model.body("puck").id])


def test_gymnasium_s_own_check_passes(push: Task) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of rendering, which this environment was not asked for
        check_env(TaskEnv(push), skip_render_check=True)


def test_unseeded_environments_differ(push: Task) -> None:
    envs = [TaskEnv(push) for _ in range(4)]
    starts = {tuple(env.reset()[0].tolist()) for env in envs}
    assert len(starts) == 4 and len({mass(env.sim) for env in envs}) == 4
    vector = gym.vector.SyncVectorEnv([lambda: TaskEnv(push)] * 4)
    assert len(np.unique(vector.reset()[0], axis=0)) == 4
    starts_of_sb3: Any = DummyVecEnv([lambda: TaskEnv(push)] * 4).reset()
    assert len(np.unique(starts_of_sb3, axis=0)) == 4
    batches = [TaskVectorEnv(push, 2) for _ in range(2)]
    assert len(np.unique(np.concatenate([env.reset()[0] for env in batches]), axis=0)) == 4


@pytest.mark.parametrize("vector", [False, True])
def test_physics_is_drawn_again_at_resets_and_a_seed_repeats_it(push: Task, vector: bool) -> None:
    env: Any = TaskVectorEnv(push, 3) if vector else TaskEnv(push)
    found = []
    for seed in (None, 1, 2, 1, None):
        observation, _ = env.reset(seed=seed)
        found.append((mass(env.sim), env.sim._delay.tolist(), observation.tolist()))
    assert found[1] == found[3]
    assert len({item[0] for item in found}) == 4
    other: Any = TaskVectorEnv(push, 3) if vector else TaskEnv(push)
    assert other.reset(seed=1)[0].tolist() == found[1][2]
    action = np.full((3, push.action.dim) if vector else push.action.dim, 0.7)
    env.reset(seed=1)
    for _ in range(20):
        np.testing.assert_array_equal(env.step(action)[0], other.step(action)[0])


def test_a_list_of_seeds_counts_whole(push: Task) -> None:
    env = TaskVectorEnv(push, 2)
    first, second, again = (env.reset(seed=seeds)[0] for seeds in ([1, 2], [1, 3], [1, 2]))
    np.testing.assert_array_equal(first, again)
    assert (first != second).any()


def test_training_meets_new_physics_in_every_episode_and_resumes_exactly(push: Task) -> None:
    sim = SB3VecEnv(BatchSim(push, 3, seed=5))
    rng = np.random.default_rng(0)
    moves = rng.uniform(-1, 1, (3 * push.horizon, 3, push.action.dim))
    seen = []
    for i, move in enumerate(moves[: 2 * push.horizon + 7]):
        if i % push.horizon == 0:
            seen.append(tuple(mass(sim.sim, world) for world in range(3)))
        sim.step_async(move)
        sim.step_wait()
    assert len({value for episode in seen for value in episode}) == 9
    other = SB3VecEnv(BatchSim(push, 3, seed=77, threads=1))
    other.restore(sim.snapshot())
    for move in moves[2 * push.horizon + 7 :]:
        for env in (sim, other):
            env.step_async(move)
        np.testing.assert_array_equal(sim.step_wait()[0], other.step_wait()[0])
    assert [mass(sim.sim, w) for w in range(3)] == [mass(other.sim, w) for w in range(3)]


def test_a_longer_delay_after_a_reset_is_remembered() -> None:
    task = make_task("panda/reach", ranges={"delay": [0.0, 0.3]})
    sim = BatchSim(task, 1, seed=0)
    depths, delays = set(), set()
    for _ in range(12):
        sim.reset()
        depths.add(sim._control_history.shape[1])
        delays.add(int(sim._delay[0]))
        assert sim._control_history.shape[1] > sim._delay[0] / task.substeps
        sim.step(np.ones((1, task.action.dim)))
    assert len(delays) > 6 and len(depths) > 1
