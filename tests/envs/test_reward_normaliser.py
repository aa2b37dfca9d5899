"""Normalised rewards: statistics against numpy and Stable-Baselines3, scale, constants, snapshots."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.vec_env import VecNormalize

from robo_reward.envs.batch import BatchSim
from robo_reward.envs.reward_normaliser import RewardNormaliser
from robo_reward.envs.task import make_task
from robo_reward.envs.vec import SB3VecEnv
from robo_reward.rewards.contract import FunctionReward

TASK = make_task("panda/reach")
N, STEPS, GAMMA = 3, 40, 0.9  # an episode of 30 steps, and a part of the second


def make_env(scale: float = 1.0) -> SB3VecEnv:
    def near(state: Any, action: Any, previous: Any) -> Any:
        distance = np.linalg.norm(state.goal_position - state.hand_position, axis=-1)
        return scale * (1 - np.tanh(5 * distance)), {}

    return SB3VecEnv(BatchSim(TASK, N, seed=2, reward=FunctionReward(near), threads=1))


def play(env: Any, steps: int = STEPS, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns rewards and ends (T, N)."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(steps):
        env.step_async(rng.uniform(-1, 1, (N, TASK.action.dim)))
        found.append(env.step_wait()[1:3])
    rewards, ended = zip(*found, strict=True)
    return np.array(rewards), np.array(ended)


def start(env: Any) -> Any:
    env.reset()
    return env


@pytest.fixture(scope="module")
def raw() -> tuple[np.ndarray, np.ndarray]:
    """Rewards in their own units, float64, and ends."""
    env, rewards, ended = start(make_env()), [], []
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        env.step_async(rng.uniform(-1, 1, (N, TASK.action.dim)))
        ended.append(env.step_wait()[2])
        rewards.append(env.rewards)
    return np.array(rewards), np.array(ended)


@pytest.fixture(scope="module")
def normalised() -> np.ndarray:
    """The same rewards (T, N), normalised."""
    return play(start(RewardNormaliser(make_env(), GAMMA)))[0]


def test_rewards_are_divided_by_the_deviation_of_all_returns_so_far(
    raw: tuple[np.ndarray, np.ndarray], normalised: np.ndarray
) -> None:
    rewards, ended = raw
    running, seen = np.zeros(N), []
    for t in range(STEPS):
        running = GAMMA * running + rewards[t]
        seen.append(running)
        expected = np.clip(rewards[t] / np.std(seen), -10, 10)
        np.testing.assert_allclose(normalised[t], expected, rtol=1e-6)
        running = np.where(ended[t], 0.0, running)


def test_they_are_those_of_sb3_up_to_its_prior(normalised: np.ndarray) -> None:
    env = VecNormalize(make_env(), norm_obs=False, gamma=GAMMA)
    theirs, _ = play(start(env))
    np.testing.assert_allclose(normalised[5:], theirs[5:], rtol=1e-3)
    assert env.ret_rms.count == pytest.approx(N * STEPS, abs=1e-3)


@pytest.mark.parametrize("scale", [2.0**9, 0.01, 300.0, 1e-9])
def test_a_multiple_of_the_reward_gives_the_same_numbers(scale: float, raw: Any, normalised: np.ndarray) -> None:
    env = start(RewardNormaliser(make_env(scale), GAMMA))
    np.testing.assert_array_equal(play(env)[0], normalised)
    returns = env.return_std / scale
    assert returns == pytest.approx(raw[0][-1, 0] / normalised[-1, 0], rel=1e-6)


def test_infos_stay_in_the_units_of_the_reward() -> None:
    env = start(RewardNormaliser(make_env(100.0), GAMMA))
    rewards, infos = [], []
    for _ in range(TASK.horizon):
        env.step_async(np.zeros((N, TASK.action.dim)))
        infos = env.step_wait()[3]
        rewards.append(env.get_original_reward())
    np.testing.assert_allclose([info["episode"]["r"] for info in infos], np.sum(rewards, axis=0))


def test_returns_that_are_all_equal_pay_nothing() -> None:
    env = RewardNormaliser(make_env(), GAMMA)
    assert env.return_std == 0
    paid = env.normalise_rollout(np.full((1, N), 0.1), np.array([True]))
    np.testing.assert_array_equal(paid, np.zeros((1, N)))
    paid = env.normalise_rollout(np.array([[0.1, 0.1, 0.1 + 1e-15]]), np.array([True]))  # a difference of rounding
    np.testing.assert_array_equal(paid, np.zeros((1, N)))


def test_whole_episodes_are_normalised_as_their_steps(
    raw: tuple[np.ndarray, np.ndarray], normalised: np.ndarray
) -> None:
    rewards, ended = raw
    afterwards = RewardNormaliser(make_env(), GAMMA).normalise_rollout(rewards, ended[:, 0])
    np.testing.assert_array_equal(afterwards, normalised)


def test_a_snapshot_continues_bit_for_bit() -> None:
    env = start(RewardNormaliser(make_env(), GAMMA))
    play(env, 27)
    snapshot = env.snapshot()
    rest, _ = play(env, 10, seed=1)
    other = start(RewardNormaliser(make_env(), GAMMA))
    other.restore(snapshot)
    again, _ = play(other, 10, seed=1)
    np.testing.assert_array_equal(again, rest)
    assert other.return_std == env.return_std


def test_a_snapshot_of_the_other_kind_is_refused() -> None:
    plain, normalised = start(make_env()), start(RewardNormaliser(make_env(), GAMMA))
    play(normalised, 2)
    with pytest.raises(ValueError, match="normalise_reward=true"):
        plain.restore(normalised.snapshot())
    with pytest.raises(ValueError, match="normalise_reward=false"):
        normalised.restore(plain.snapshot())
    with pytest.raises(ValueError, match="statistics"):
        normalised.restore({**normalised.snapshot(), "discounted_returns": np.zeros(N + 1)})
