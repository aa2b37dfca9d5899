"""Gymnasium-Robotics: the Fetch tasks by their documented observation, the others by their models and goals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("gymnasium_robotics", reason="needs the extra `robotics`")

from robo_reward.envs.suites import robotics
from robo_reward.errors import UnknownName
from tests.envs.suites.contract import check_source, measure

FETCH = ("FetchReach-v4", "FetchPush-v4", "FetchSlide-v4", "FetchPickAndPlace-v4")
OTHERS = ("HandReach-v3", "HandManipulateBlock-v1", "AdroitHandDoor-v1", "PointMaze_UMaze-v3", "AntMaze_UMaze-v5")


def test_the_newest_version_of_each_is_listed():
    names = robotics.list_names()
    assert set(FETCH) | set(OTHERS) <= set(names)
    assert not {"FetchPush-v1", "AntMaze_UMaze-v3"} & set(names)
    with pytest.raises(UnknownName, match="FetchPush-v4"):
        robotics.describe("FetchPush-v1")


@pytest.mark.parametrize("name", [*FETCH, *OTHERS])
def test_an_environment_is_named_and_repeatable(name: str):
    check_source(robotics.describe(name))


def test_the_kitchen_is_complete_when_nothing_is_left_to_do():
    assert robotics.complete_kitchen(None, {"tasks_to_complete": []})  # pyright: ignore[reportArgumentType]
    assert not robotics.complete_kitchen(None, {"tasks_to_complete": ["kettle"]})  # pyright: ignore[reportArgumentType]
    assert not robotics.complete_kitchen(None, {})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", FETCH)
def test_fetch_quantities_are_those_of_the_model(name: str):
    source = robotics.describe(name)
    env: Any = source.make()
    env.reset(seed=2)
    for _ in range(3):
        env.step(np.array([0.5, -0.3, 0.2, 1.0], np.float32))
    values, inner = measure(source, env), env.unwrapped
    np.testing.assert_allclose(values["fingertips_position"], inner.data.site("robot0:grip").xpos)
    np.testing.assert_allclose(values["goal_position"], inner.goal)
    before = values["fingertips_position"]
    env.step(np.array([0.5, -0.3, 0.2, 1.0], np.float32))
    moved = (measure(source, env)["fingertips_position"] - before) / inner.dt
    assert np.linalg.norm(measure(source, env)["fingertips_velocity"] - moved) < 0.15
    if name == "FetchPickAndPlace-v4":
        assert 0.05 < measure(source, env)["gripper_opening"] < robotics.WIDEST + 0.001


@pytest.mark.parametrize(("name", "thing"), [("FetchPush-v4", "block"), ("FetchReach-v4", "fingertips")])
def test_fetch_succeeds_at_the_goal(name: str, thing: str):
    """A hand that is driven to the goal, and a block that is put there, succeed; one 10 cm away does not."""
    source = robotics.describe(name)
    assert source.success is not None
    env: Any = source.make()
    env.reset(seed=4)
    inner = env.unwrapped
    if thing == "block":
        found = {}
        for offset in (0.0, 0.1):
            place = inner._utils.get_joint_qpos(inner.model, inner.data, "object0:joint").copy()
            place[:3] = inner.goal + np.array([offset, 0, 0])
            inner._utils.set_joint_qpos(inner.model, inner.data, "object0:joint", place)
            info = env.step(np.zeros(4, np.float32))[-1]
            found[offset] = source.success(env, info)
        assert found == {0.0: True, 0.1: False}
        return
    for _ in range(50):
        values = measure(source, env)
        gap = values["goal_position"] - values["fingertips_position"]
        info = env.step(np.append(np.clip(gap / 0.05, -1, 1), 0).astype(np.float32))[-1]
        measured = measure(source, env)
        near = np.linalg.norm(measured["goal_position"] - measured["fingertips_position"]) < 0.05
        assert source.success(env, info) == near
    assert near
