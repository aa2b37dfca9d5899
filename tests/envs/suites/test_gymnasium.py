"""Which environments become tasks, what is refused and how, and gymnasium's own at the speed of the batch simulator."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from robo_reward.envs.suites.gymnasium import KNOWN, list_names
from robo_reward.envs.task import make_task
from robo_reward.errors import UnknownName, UsageError
from robo_reward.language.language import compile_program
from robo_reward.reward_search.propose import ProgramValidator, sample_random_rollout
from robo_reward.writers.writer import Completion

PACKAGE = "gymnasium/tests.envs.suites.own_environment"
FAST = sorted(f"{name}-v5" for name in KNOWN)
LARGE = ("Ant-v5", "Humanoid-v5", "HumanoidStandup-v5", "Pusher-v5", "Walker2d-v5")
"""Environments whose tests take long."""


def mark_large(names):
    return [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in names]


def test_every_environment_of_gymnasium_has_a_goal_and_a_rule():
    assert list_names() == FAST
    for name in ("Swimmer-v5", "Pusher-v5"):
        task = make_task(f"gymnasium/{name}")
        assert task.goal and task.success_rule and task.horizon == gym.spec(name).max_episode_steps


@pytest.mark.parametrize(
    ("id", "error", "words"),
    [
        ("gymnasium/Hoper-v5", UnknownName, "Did you mean 'Hopper-v5'"),
        ("gymnasium/Hopper-v55", UnknownName, "'Hopper-v5'"),
        ("gymnasium/no_such_package:Mine-v0", UsageError, "'no_such_package' cannot be imported"),
        (f"{PACKAGE}:Kart-v0", UnknownName, "Did you mean 'Cart-v0'"),
        ("gymnasium/Pendulum-v1", UsageError, "no MuJoCo simulation inside"),
        (f"{PACKAGE}:CartDiscrete-v0", UsageError, r"action space Discrete\(2\), expected a Box"),
        (f"{PACKAGE}:CartUnbounded-v0", UsageError, "expected finite ranges"),
        (f"{PACKAGE}:CartPictures-v0", UsageError, "observes the state, not pictures"),
        (f"{PACKAGE}:CartMake-v0", UsageError, r"no such mesh: arm.stl. Installed: gymnasium \d.*mujoco \d"),
        (f"{PACKAGE}:CartPackage-v0", UsageError, "No module named 'no_such_package'.*: pip install no_such_package"),
        (f"{PACKAGE}:Cart-v0", UsageError, "has no goal: give goal="),
    ],
)
def test_an_environment_that_cannot_be_a_task_says_why(id, error, words):
    with pytest.raises(error, match=words):
        make_task(id)


def test_an_environment_that_does_not_tell_success_needs_a_rule():
    with pytest.raises(UsageError, match=r"no success rule.* Fields: .*rail_displacement") as refused:
        make_task(f"{PACKAGE}:CartSilent-v0", goal="Reach the target.")
    assert "environment_" not in str(refused.value)
    task = make_task(f"{PACKAGE}:CartSilent-v0", goal="Reach the target.", success="abs(rail_displacement) > 0.3")
    assert task.options == {"goal": task.goal, "success": task.success_rule}
    again = make_task(task.id, **task.options)
    assert again.spec == task.spec and again.observation.to_json() == task.observation.to_json()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"horizn": 3}, "Did you mean 'horizon'"),
        ({"horizon": 0}, "expected a whole number from 1"),
        ({"kwargs": 3}, "expected a mapping"),
        ({"kwargs": {"frame_skp": 2}}, "unexpected keyword argument 'frame_skp'"),
        ({"success": "torso_z > 1 and foo > 2"}, "unknown state field"),
    ],
)
def test_a_wrong_option_is_told(options, words):
    with pytest.raises(UsageError, match=words):
        make_task("gymnasium/Hopper-v5", **options)


def test_arguments_reach_the_environment():
    task = make_task("gymnasium/Hopper-v5", kwargs={"terminate_when_unhealthy": False, "frame_skip": 8})
    assert task.substeps == 8 and task.control_dt == pytest.approx(0.016)
    worlds = task.make_worlds(1, 0, threads=1)
    assert not any(worlds.step(np.ones((1, 3))).terminated[0] for _ in range(100))


def test_a_written_program_may_not_read_what_the_environment_computes():
    task = make_task("gymnasium/InvertedPendulum-v5")
    validator = ProgramValidator(task, sample_random_rollout(task, worlds=2, steps=3))
    for field, accepted in (("environment_reward", False), ("hinge_angle", True)):
        source = f"def compute_reward(state, action, previous):\n    x = state.{field}\n    return x, {{'x': x}}\n"
        program, problems, _ = validator.validate(Completion(text=source, source=source))
        assert (program is not None) == accepted
        assert accepted or "its own code" in problems[0].reason or "own code computes" in problems[0].reason


@pytest.mark.parametrize("name", mark_large(FAST))
def test_fast_dynamics_equal_those_of_gymnasium_step_by_step(name):
    """Each control step begins with a cold contact solver in `BatchSim`, so gymnasium's is made cold as well."""
    task = make_task(f"gymnasium/{name}", fast=True)
    env: Any = gym.make(name).unwrapped
    rng = np.random.default_rng(2)
    env.reset(seed=0)
    worlds: Any = task.make_worlds(2, 4, threads=1)
    for step in range(30):
        before = worlds._physics[0].copy()
        env.data.qpos[:], env.data.qvel[:] = np.split(before[1 : 1 + env.model.nq + env.model.nv], [env.model.nq])
        env.data.qacc_warmstart[:] = 0
        own = (rng.uniform(-1, 1, (2, task.action.dim)) * env.action_space.high).astype(np.float32)
        result = worlds.step(own / env.model.actuator_ctrlrange[:, 1])
        env.step(own[0])
        after = worlds._physics[0] if not result.has_ended[0] else None
        np.testing.assert_allclose(result.qpos[0], env.data.qpos, rtol=0, atol=1e-9, err_msg=f"step {step}")
        if after is not None:
            got = after[1 + env.model.nq : 1 + env.model.nq + env.model.nv]
            np.testing.assert_allclose(got, env.data.qvel, rtol=0, atol=1e-8)
    worlds.close()


@pytest.mark.parametrize("name", mark_large(["Hopper-v5", "Ant-v5", "Reacher-v5", "Pusher-v5"]))
def test_fast_starts_are_those_of_gymnasium(name):
    task: Any = make_task(f"gymnasium/{name}", fast=True)
    env: Any = gym.make(name).unwrapped
    starts = task.sample(np.random.default_rng(7), 400)
    env.reset(seed=1)
    qpos, qvel = [], []
    for _ in range(400):
        env.reset()
        qpos.append(env.data.qpos.copy())
        qvel.append(env.data.qvel.copy())
    for mine, theirs in ((starts.qpos, np.array(qpos)), (starts.qvel, np.array(qvel))):
        spread = theirs.std(axis=0)
        assert (np.abs(mine.mean(axis=0) - theirs.mean(axis=0)) <= 5 * spread / 20 + 1e-12).all()
        assert (np.abs(mine.std(axis=0) - spread) <= 0.25 * spread + 1e-12).all()


@pytest.mark.parametrize("name", mark_large(["Hopper-v5", "Walker2d-v5", "Ant-v5", "InvertedPendulum-v5"]))
def test_fast_episodes_end_where_those_of_gymnasium_end(name):
    """The state is measured one physics step earlier than gymnasium looks, so an end may come one step later."""
    task, rng, ends = make_task(f"gymnasium/{name}", fast=True), np.random.default_rng(3), []
    worlds: Any = task.make_worlds(1, 1, threads=1)
    env: Any = gym.make(name, disable_env_checker=True)
    env.reset(seed=0)
    for _ in range(400):
        state = worlds._physics[0][1 : 1 + task.model.nq + task.model.nv]
        env.unwrapped.set_state(*np.split(state, [task.model.nq]))
        action = rng.uniform(-1, 1, (1, task.action.dim)).astype(np.float32)
        ends.append(env.step(action[0] * env.unwrapped.action_space.high)[2])
        if worlds.step(action).terminated[0]:
            break
    assert len(ends) < 400 and any(ends[-2:]) and not any(ends[:-2])


@pytest.mark.parametrize("name", mark_large([name for name in FAST if name[:3] not in ("Ant", "Hum")]))
def test_fast_expert_reward_is_that_of_gymnasium(name):
    task = make_task(f"gymnasium/{name}", fast=True)
    slow = make_task(f"gymnasium/{name}")
    reward = compile_program(task.expert_reward, task.spec, task.action.dim)
    worlds: Any = task.make_worlds(1, 0, reward, threads=1)
    env: Any = gym.make(name)
    rng = np.random.default_rng(0)
    assert "environment_reward" in slow.expert_reward and "own" in task.expert_reward
    env.reset(seed=0)
    env.unwrapped.set_state(*np.split(worlds._physics[0][1 : 1 + task.model.nq + task.model.nv], [task.model.nq]))
    pairs = []
    for _ in range(12):
        action = 0.3 * rng.uniform(-1, 1, (1, task.action.dim)).astype(np.float32)
        result, own = worlds.step(action), env.step(action[0] * env.action_space.high)
        if result.has_ended[0] or own[2]:
            break
        pairs.append((result.reward.total[0], own[1]))
    mine, theirs = np.array(pairs).T
    assert np.abs(mine - theirs)[1:].mean() < 0.1 * max(1.0, np.abs(theirs).max())


def test_fast_is_refused_where_the_environment_does_more_than_hold_its_action():
    with pytest.raises(UsageError, match="fast=true: expected an environment of gymnasium's MujocoEnv"):
        make_task(f"{PACKAGE}:Cart-v0", fast=True, goal="Reach the target.")


def test_other_weights_of_the_reward_are_not_taken_for_the_usual_ones():
    usual, changed = (
        make_task("gymnasium/Hopper-v5", fast=True, kwargs=kwargs)
        for kwargs in ({"frame_skip": 2}, {"ctrl_cost_weight": 1.0})
    )
    assert "effort" in usual.expert_reward
    assert "effort" not in changed.expert_reward and "torso_velocity" in changed.expert_reward
