"""Meta-World: 50 tasks whose named states, goals and success are those of the environments themselves."""

from __future__ import annotations

import re
from typing import Any

import mujoco
import numpy as np
import pytest

pytest.importorskip("metaworld", reason="needs the extra `metaworld`")

from robo_reward.envs.suites import metaworld
from robo_reward.envs.suites.metaworld_scenes import SCENES
from robo_reward.envs.task import make_task
from robo_reward.errors import UnknownName, UsageError
from tests.envs.suites.contract import check_source, measure

pytestmark = pytest.mark.filterwarnings("ignore:Constant")  # of Meta-World's scripted policies, about themselves
NAMES = metaworld.list_names()
FREE = {"nut": "RoundNut", "block": "obj", "puck": "obj", "mug": "obj", "stick": "stick", "hammer": "hammer"}
"""Object to the body of the model that its rotation is of."""


def test_there_are_fifty_scenes():
    assert len(NAMES) == 50 and set(NAMES) == set(SCENES)
    with pytest.raises(UnknownName, match="drawer-open-v3"):
        metaworld.describe("drawer-opn-v3")


@pytest.mark.parametrize("name", NAMES)
def test_a_goal_names_its_object(name: str):
    """By a word of the name that its field has."""
    scene = SCENES[name]
    words = set(re.findall(r"\w+", scene.goal.lower()))
    named = [item for item in scene.objects if words & set(item.name.split("_"))]
    assert named or "fingertips" in words
    assert "goal" in words


@pytest.mark.parametrize("name", ["drawer-open-v3", "hammer-v3", "coffee-pull-v3"])
def test_an_environment_is_named_and_repeatable(name: str):
    check_source(metaworld.describe(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_environment_is_named_and_repeatable(name: str):
    check_source(metaworld.describe(name))


def test_the_first_state_of_an_episode_is_that_of_the_episode():
    """The environment itself returns the drawer's place of before the reset."""
    source = metaworld.describe("drawer-open-v3")
    env: Any = source.make()
    for seed in range(3):
        observed, _ = env.reset(seed=seed)
        values = measure(source, env)
        inner = env.unwrapped
        # Independent: the drawer's body stands where the episode put it, its handle 16 cm in front and 9 cm above.
        place = inner.model.body("drawer").pos
        np.testing.assert_allclose(values["drawer_handle_position"], place + np.array([0.0, -0.17, 0.09]), atol=1e-3)
        np.testing.assert_allclose(values["goal_position"], inner.model.site("goal").pos, atol=1e-9)
        np.testing.assert_array_equal(observed[:18], observed[18:36])
        assert not values["hand_velocity"].any()


@pytest.mark.parametrize("name", ["pick-place-v3", "hammer-v3", "assembly-v3", "coffee-pull-v3", "stick-push-v3"])
def test_named_quantities_are_those_of_the_model(name: str):
    source = metaworld.describe(name)
    env: Any = source.make()
    env.reset(seed=1)
    rng, before = np.random.default_rng(0), measure(source, env)
    for _ in range(5):
        env.step(rng.uniform(-1, 1, 4))
    values, data = measure(source, env), env.unwrapped.data
    item = SCENES[name].objects[0]
    fingers = (data.site("rightEndEffector").xpos + data.site("leftEndEffector").xpos) / 2
    np.testing.assert_allclose(values["fingertips_position"], fingers)
    np.testing.assert_allclose(values["hand_position"], data.body("hand").xpos)
    assert 0 <= values["gripper_opening"] <= 0.1
    rotation, true = values[f"{item.name}_rotation"], np.empty(4)
    mujoco.mju_mat2Quat(true, data.body(FREE[item.name]).xmat)
    assert abs(rotation @ true) == pytest.approx(1.0, abs=0.02)  # q and -q; some are of a geom of the body
    speed = (values["hand_position"] - before["hand_position"]) / (5 * metaworld.CONTROL_DT)
    assert np.linalg.norm(values["hand_velocity"] - speed) < 1.0


@pytest.mark.parametrize("name", ["drawer-open-v3", pytest.param("push-v3", marks=pytest.mark.slow)])
def test_a_scripted_policy_succeeds_in_the_worlds_of_a_task(name: str):
    from metaworld.policies import ENV_POLICY_MAP

    task, policy = make_task(f"metaworld/{name}"), ENV_POLICY_MAP[name]()
    assert task.horizon == 500 and task.action.dim == 4 and SCENES[name].objects[0].name + "_position" in task.spec
    worlds, found, own = task.make_worlds(1, seed=0, threads=1), [], []
    for _ in range(150):
        action = policy.get_action(worlds.state["environment_observation"][0])
        result = worlds.step(np.clip(action, -1, 1)[None])
        found.append(bool(result.success[0]))
        own.append(float(result.transitions.state["environment_reward"][0]))
    worlds.close()
    assert not found[0] and any(found)
    assert own[found.index(True)] > 2 * own[0] > 0  # the benchmark's reward is at most 10


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("soccer-v3", "stick-pull-v3")])
def test_scripted_policies_succeed(name: str):
    """But two whose policies, in two of three episodes or so, do not."""
    assert count_successes(name) == 1


def count_successes(name: str) -> int:
    """Returns 1 if the benchmark's own policy reaches success, and checks the words of the rule in each step."""
    from metaworld.policies import ENV_POLICY_MAP

    source, policy = metaworld.describe(name), ENV_POLICY_MAP[name]()
    env: Any = source.make()
    observed, _ = env.reset(seed=0)
    assert source.success is not None
    for _ in range(metaworld.HORIZON):
        observed, _, _, truncated, info = env.step(np.clip(policy.get_action(observed), -1, 1))
        success = source.success(env, info)
        if (said := apply_rule(source.success_rule, measure(source, env), SCENES[name])) is not None:
            assert success == said
        if success:
            return 1
    assert truncated
    return 0


@pytest.mark.parametrize(
    ("rules", "message"),
    [({}, "success is what its own code reports"), ({"success": "hand_height > 1"}, "2 actuators from actions of 4")],
)
def test_fast_is_refused_with_the_reason(rules, message):
    with pytest.raises(UsageError, match=message):
        make_task("metaworld/reach-v3", fast=True, **rules)


def apply_rule(rule: str, values: Any, scene: Any) -> bool | None:
    """Returns whether `the X is within N cm of the goal (along A)` holds; None for other rules."""
    match = re.fullmatch(r"the (\w+) (?:is|are) within ([\d.]+) cm of the goal(?: along ([xyz]))?", rule)
    if match is None:
        return None
    name = "fingertips" if match[1] == "fingertips" else scene.objects[0].name
    gap = values[f"{name}_position"] - values["goal_position"]
    distance = abs(gap["xyz".index(match[3])]) if match[3] else np.linalg.norm(gap)
    return bool(distance <= float(match[2]) / 100)
