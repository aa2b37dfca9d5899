"""A step of `NoiseVecEnv` is a chunk of steps of the simulator: compared with the same steps done by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from robo_reward.envs.task import make_task
from robo_reward.policies.dsrl.noise_env import NoiseVecEnv, expand_noise
from robo_reward.rewards.contract import FunctionReward
from tests.policies.dsrl.mode_policy import make_mode_policy, near

TASK = make_task("panda/reach")
WORLDS, GAMMA = 3, 0.9


def make_env(execute: int, shared: bool = False) -> NoiseVecEnv:
    policy = make_mode_policy(TASK, execute=execute)
    sim = TASK.make_worlds(WORLDS, 5, FunctionReward(near), 1)
    return NoiseVecEnv(sim, policy, 1.5, shared, GAMMA)


def test_the_noise_of_an_action_is_scaled_and_shared_by_the_rows() -> None:
    np.testing.assert_array_equal(expand_noise(np.array([[1.0, -1.0]]), (3, 2), 1.5), [[[1.5, -1.5]] * 3])
    own = expand_noise(np.arange(6.0)[None], (3, 2), 2.0)
    np.testing.assert_array_equal(own, [[[0, 2], [4, 6], [8, 10]]])
    assert own.dtype == np.float32


@pytest.mark.parametrize("shared", [True, False])
def test_a_step_is_a_chunk_with_its_discounted_reward(shared: bool) -> None:
    env = make_env(3, shared)
    sim = TASK.make_worlds(WORLDS, 5, FunctionReward(near), 1)
    policy = make_mode_policy(TASK)
    sim.reset()  # draws again, as SB3's reset does
    np.testing.assert_array_equal(env.reset(), sim.observation())
    rng = np.random.default_rng(0)
    for _ in range(3):
        u = rng.uniform(-1, 1, (WORLDS, 3 if shared else 12)).astype(np.float32)
        noise = np.repeat(1.5 * u[:, None], 4, axis=1) if shared else 1.5 * u.reshape(WORLDS, 4, 3)
        chunk = policy.act(sim.observation(), noise)
        rewards = []
        for row in range(3):
            result = sim.step(chunk[:, row])
            assert result.reward is not None
            rewards.append(result.reward.total)
        observation, reward, ended, infos = env.step(u)
        np.testing.assert_array_equal(observation, sim.observation())
        np.testing.assert_allclose(reward, rewards[0] + GAMMA * rewards[1] + GAMMA**2 * rewards[2], rtol=1e-6)
        assert not ended.any() and not any(infos)


def test_a_chunk_is_cut_at_the_time_limit_and_the_history_begins_anew() -> None:
    env = make_env(4)  # 30 = 7 * 4 + 2
    env.reset()
    action = np.zeros((WORLDS, 12), np.float32)
    results: list[Any] = [env.step(action) for _ in range(8)]
    assert [bool(result[2].all()) for result in results] == [False] * 7 + [True]
    observation, _, _, infos = results[-1]
    assert all(info["TimeLimit.truncated"] and info["episode"]["l"] == 30 for info in infos)
    assert not env.sim.elapsed.any()
    env.step(action)
    seen = env.policy.seen[-1]  # type: ignore[attr-defined]
    np.testing.assert_array_equal(seen, np.repeat(observation[:, None], 2, axis=1))


def test_the_history_holds_consecutive_observations() -> None:
    env = make_env(3)
    env.reset()
    observation: Any = env.step(np.zeros((WORLDS, 12), np.float32))[0]
    env.step(np.zeros((WORLDS, 12), np.float32))
    sim = TASK.make_worlds(WORLDS, 5, FunctionReward(near), 1)
    sim.reset()
    chunk = make_mode_policy(TASK).act(sim.observation(), np.zeros((WORLDS, 4, 3)))
    for row in range(2):
        sim.step(chunk[:, row])
    seen = env.policy.seen[-1]  # type: ignore[attr-defined]
    np.testing.assert_array_equal(seen, np.stack([sim.observation(), observation], axis=1))


def test_nothing_of_the_next_episode_is_rewarded_after_an_early_end() -> None:
    """Failure ends an episode here at once, and the chunk of all worlds is cut there."""
    task = make_task("panda/reach", failure="hand_height > -1")
    policy = make_mode_policy(task, execute=3)
    sim = task.make_worlds(WORLDS, 5, FunctionReward(lambda state, action, previous: (np.ones(len(state)), {})), 1)
    env = NoiseVecEnv(sim, policy, 1.5)
    env.reset()
    observation, reward, ended, infos = env.step(np.ones((WORLDS, 12), np.float32))
    assert ended.all() and (reward == 1).all()  # of the first step alone
    assert all(info["episode"]["l"] == 1 and not info["TimeLimit.truncated"] for info in infos)
    np.testing.assert_array_equal(observation, env.sim.observation())
    assert not env.sim.elapsed.any()


def test_a_snapshot_goes_on_bit_for_bit() -> None:
    env, other = make_env(3), make_env(3)
    for each in (env, other):
        each.reset()
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (6, WORLDS, 12)).astype(np.float32)
    for action in actions[:3]:
        env.step(action)
    other.restore({name: array.copy() for name, array in env.snapshot().items()})
    for action in actions[3:]:
        for one, two in zip(env.step(action)[:3], other.step(action)[:3], strict=True):
            np.testing.assert_array_equal(one, two)
