"""Every task of the arms: the expert solves it, chance does not, its reward is a program."""

from __future__ import annotations

from functools import cache

import mujoco
import numpy as np
import pytest

from robo_reward.envs.arm.base import ArmTask
from robo_reward.envs.batch import BatchSim, StepResult
from robo_reward.envs.catalogue import ARM_TASKS, ARMS, MODE_TASKS
from robo_reward.envs.state import State, Transitions
from robo_reward.envs.task import Task, make_task, task_names
from robo_reward.errors import UsageError
from robo_reward.language.language import compile_program
from robo_reward.language.validation.probes import probe
from robo_reward.rewards.contract import RewardOutput

IDS = [f"{arm}/{name}" for arm, kinds in ARMS.items() for name in kinds if name not in MODE_TASKS]
"""The tasks with modes have tests of their own, in `test_modes.py`."""
EPISODES = 100
EVERY = pytest.mark.parametrize("name", IDS)


@cache
def task_of(name: str) -> ArmTask:
    task = make_task(name)
    assert isinstance(task, ArmTask)
    return task


def act(task: Task, policy: str, state: State, rng: np.random.Generator) -> np.ndarray:
    shape = (*state.array.shape[:-1], task.action.dim)
    if policy == "expert":
        return task.expert(state)
    return rng.uniform(-1, 1, shape) if policy == "random" else np.zeros(shape)


@cache
def episodes(name: str, policy: str) -> tuple[list[StepResult], np.ndarray]:
    """One episode in each of 100 worlds under the expert reward, and which worlds began successful."""
    task = task_of(name)
    program = compile_program(task.expert_reward, task.spec, task.action.dim)
    sim = BatchSim(task, EPISODES, seed=11, reward=program)
    begun, rng = task.success(sim.state), np.random.default_rng(0)
    steps = [sim.step(act(task, policy, sim.state, rng)) for _ in range(task.horizon)]
    sim.close()
    return steps, begun


def rewards(name: str, policy: str) -> list[RewardOutput]:
    return [step.reward for step in episodes(name, policy)[0] if step.reward is not None]


def expert_return(name: str, policy: str) -> float:
    return float(np.mean(np.sum([reward.total for reward in rewards(name, policy)], axis=0)))


def test_the_ids_are_registered() -> None:
    assert set(IDS) <= set(task_names())


@EVERY
def test_the_sensors_are_the_state(name: str) -> None:
    task = task_of(name)
    task.check()
    assert task.id == name
    assert task.horizon > 0 and task.control_dt == pytest.approx(0.04)
    for field in task.spec:
        assert field.description, field.name


@EVERY
def test_the_scripted_expert_succeeds(name: str) -> None:
    steps, _ = episodes(name, "expert")
    assert steps[-1].truncated.all()
    assert steps[-1].success.mean() >= 0.95


@EVERY
@pytest.mark.parametrize("policy", ["random", "zero"])
def test_chance_fails(name: str, policy: str) -> None:
    steps, begun = episodes(name, policy)
    assert not begun.any()
    assert steps[-1].success.mean() < 0.05


@EVERY
def test_the_expert_reward_is_a_sound_program(name: str) -> None:
    task = task_of(name)
    # A batch that holds solved and unsolved steps, for a bonus that is always off there would be a false alarm.
    parts = [step.transitions for policy in ("expert", "random") for step in episodes(name, policy)[0][::3]]
    batch = Transitions(
        State(task.spec, np.concatenate([part.previous.array for part in parts])),
        np.concatenate([part.action for part in parts]),
        State(task.spec, np.concatenate([part.state.array for part in parts])),
    )
    report = probe(compile_program(task.expert_reward, task.spec, task.action.dim), batch.rows(slice(None, None, 4)))
    assert not report.failures


@EVERY
def test_the_expert_reward_pays_the_expert(name: str) -> None:
    for reward in rewards(name, "expert") + rewards(name, "random"):
        assert np.isfinite(reward.total).all()
        assert all(np.isfinite(term).all() for term in reward.terms.values())
    assert expert_return(name, "expert") > 1.5 * expert_return(name, "random")


@EVERY
def test_the_same_seed_gives_the_same_start(name: str) -> None:
    task = task_of(name)
    first, again, other = (task.sample(np.random.default_rng(seed), 6) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.qpos, again.qpos)
    np.testing.assert_array_equal(first.mocap, again.mocap)
    assert not np.array_equal(first.qpos, other.qpos)
    assert len(np.unique(first.qpos, axis=0)) == 6


@EVERY
def test_starts_are_at_rest(name: str) -> None:
    task = task_of(name)
    sim = BatchSim(task, 20, seed=2)
    own = task.arm.joint_count + task.arm.finger_count
    things, hand = sim.qpos[:, own:].copy(), sim.state.hand_position.copy()
    sim.step(np.zeros((20, task.action.dim)))
    np.testing.assert_allclose(sim.qpos[:, own:], things, atol=2e-3)
    np.testing.assert_allclose(sim.state.hand_position, hand, atol=5e-3)


@EVERY
def test_typical_ranges_hold(name: str) -> None:
    task = task_of(name)
    seen = np.concatenate([step.transitions.state.array for step in episodes(name, "expert")[0]])
    for field in task.spec:
        low, high = field.typical
        middle = np.median(seen[:, task.spec.slice(field.name)], axis=0)
        assert (middle >= low - 1e-3).all() and (middle <= high + 1e-3).all(), field.name


@EVERY
def test_the_rule_names_a_unit(name: str) -> None:
    rule = task_of(name).success_rule
    assert any(f" {unit}" in rule for unit in ("cm", "mm", "m", "degrees", "rad"))
    assert task_of(name).goal.endswith(".")


def test_both_arms_have_the_same_state() -> None:
    for name in (*ARM_TASKS, *MODE_TASKS):
        assert task_of(f"panda/{name}").spec == task_of(f"fr3/{name}").spec


def heading(task: Task, qpos: np.ndarray) -> np.ndarray:
    """The hand's angle about the vertical in each world, from MuJoCo [rad]."""
    data = mujoco.MjData(task.model)
    angles = []
    for row in qpos:
        data.qpos[:] = row
        mujoco.mj_kinematics(task.model, data)
        x = data.site("tcp").xmat.reshape(3, 3)[:, 0]
        angles.append(np.arctan2(x[1], x[0]))
    return np.unwrap(angles)


def test_yaw_turns_the_hand_in_place() -> None:
    task = make_task("panda/lift", control="ee_delta_yaw")
    assert task.action.names == ("dx", "dy", "dz", "dyaw", "gripper")
    sim = BatchSim(task, 3, seed=0)
    where, angle = sim.state.hand_position.copy(), heading(task, sim.qpos)
    action = np.zeros((3, 5))
    action[:, 3] = (0.5, 0.0, -0.5)
    for _ in range(10):
        sim.step(action)
    for _ in range(5):
        sim.step(np.zeros((3, 5)))
    np.testing.assert_allclose(heading(task, sim.qpos) - angle, [0.5, 0.0, -0.5], atol=0.03)
    np.testing.assert_allclose(sim.state.hand_position, where, atol=5e-3)


def test_the_expert_also_solves_it_where_yaw_is_free() -> None:
    task = make_task("panda/lift", control="ee_delta_yaw")
    sim = BatchSim(task, 50, seed=1)
    assert [sim.step(task.expert(sim.state)) for _ in range(task.horizon)][-1].success.mean() >= 0.95


def test_the_expert_refuses_joint_steps() -> None:
    task = make_task("panda/lift", control="joint_delta")
    with pytest.raises(UsageError, match="control=ee_delta"):
        task.expert(State(task.spec, np.zeros((1, task.spec.dim))))


@pytest.mark.parametrize("options", [{"ranges": 5}, {"control": None}])
def test_wrong_values_of_options_are_one_error(options: dict) -> None:
    with pytest.raises(UsageError, match="cannot be made with the options"):
        make_task("panda/reach", **options)
