"""What each suite promises of its environments, measured on the environments themselves."""

from __future__ import annotations

from collections.abc import Mapping
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np

from robo_reward.envs.suites.source import EnvironmentSource


def check_source(source: EnvironmentSource) -> None:
    """Checks that an environment builds, is named, and depends on the seed of its reset alone."""
    assert source.goal.endswith(".") and len(source.goal.split()) >= 2
    assert bool(source.success) == bool(source.success_rule)
    assert len(ForkingPickler.dumps(source))  # as it goes to the processes that step environments
    env: Any = source.make()
    assert env.unwrapped.model.nq > 0
    first = run(source, env, seed=5)
    run(source, env, seed=3)
    again = run(source, env, seed=5)
    np.testing.assert_array_equal(first, again)
    env.close()


def run(source: EnvironmentSource, env: Any, seed: int, steps: int = 4) -> np.ndarray:
    """Returns positions, rewards and measured fields of a few steps after a reset."""
    low, high = env.action_space.low, env.action_space.high
    actions = np.random.default_rng(seed).uniform(low, high, (steps, *low.shape)).astype(env.action_space.dtype)
    env.reset(seed=seed)
    rows = [read(source, env)]
    for action in actions:
        reward, *_, info = env.step(action)[1:]
        rows.append(np.append(read(source, env), [float(reward), source.success(env, info) if source.success else 0]))
    return np.concatenate(rows)


def measure(source: EnvironmentSource, env: Any) -> Mapping[str, np.ndarray]:
    return source.measure(env) if source.measure else {}


def read(source: EnvironmentSource, env: Any) -> np.ndarray:
    values = measure(source, env)
    assert set(values) == {field.name for field in source.fields}
    for field in source.fields:
        assert np.shape(values[field.name]) == field.shape, field.name
        if field.unit == "quaternion":
            assert abs(np.linalg.norm(values[field.name]) - 1) < 1e-6, field.name
    return np.concatenate([env.unwrapped.data.qpos, *(np.ravel(values[field.name]) for field in source.fields)])
