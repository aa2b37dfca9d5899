"""What a policy takes: a batch of observations, or one."""

from __future__ import annotations

import numpy as np
import pytest

from robo_reward.envs.task import make_task
from robo_reward.errors import UsageError, WrongShape
from robo_reward.policies.algorithms import ALGORITHMS, DEFAULTS, merge_settings
from robo_reward.policies.policy import MLPPolicy, require_finite


@pytest.fixture(scope="module")
def policy() -> MLPPolicy:
    task = make_task("panda/reach")
    rng = np.random.default_rng(0)
    weights = (rng.normal(size=(task.observation.dim, task.action.dim)).astype(np.float32),)
    biases = (np.zeros(task.action.dim, np.float32),)
    return MLPPolicy(weights, biases, "tanh", True, task.observation, task.action, {})


def test_one_observation_gives_one_action(policy: MLPPolicy) -> None:
    batch = np.random.default_rng(1).normal(size=(3, policy.observation.dim)).astype(np.float32)
    one = policy.act(batch[1])
    assert one.shape == (policy.action.dim,)
    np.testing.assert_allclose(one, policy.act(batch)[1], rtol=1e-5)
    for shape in ((policy.observation.dim + 1,), (2, policy.observation.dim + 1), (1, 1, policy.observation.dim)):
        with pytest.raises(WrongShape, match=r"or \(N, "):
            policy.act(np.zeros(shape, np.float32))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_our_own_defaults_have_the_right_types(algorithm: str) -> None:
    merge_settings(algorithm, DEFAULTS[algorithm])


@pytest.mark.parametrize(
    ("algorithm", "name", "value", "expected"),
    [
        ("ppo", "gamma", "high", "a number from 0 to 1"),
        ("ppo", "gamma", 2, "a number from 0 to 1"),
        ("ppo", "n_steps", 1.5, "a whole number from 1"),
        ("ppo", "normalize_advantage", 3, "true or false"),
        ("sac", "learning_rate", float("nan"), "a number from 0"),
        ("sac", "batch_size", None, "a whole number from 1"),
    ],
)
def test_a_setting_of_another_type_is_told(algorithm: str, name: str, value: object, expected: str) -> None:
    with pytest.raises(UsageError, match=f"setting {name} of {algorithm} is .*, expected {expected}"):
        merge_settings(algorithm, {name: value})


def test_settings_with_several_types_take_each() -> None:
    for value in ("auto", 0.1):
        assert merge_settings("sac", {"ent_coef": value})["ent_coef"] == value
    for value in (4, [1, "episode"]):
        assert merge_settings("sac", {"train_freq": value})["train_freq"] == value


@pytest.mark.parametrize("shape", [(4,), (2, 4), (3, 2, 4), (1, 0), (3, 2, 0)])
def test_finite_observations_of_any_shape_pass(shape: tuple[int, ...]) -> None:
    require_finite(np.zeros(shape))
    if shape[-1]:
        wrong = np.zeros(shape)
        wrong[..., 1] = np.inf
        with pytest.raises(UsageError, match="not finite in column 1"):
            require_finite(wrong)
