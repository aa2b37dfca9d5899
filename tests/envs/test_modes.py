"""Tasks with several ways to succeed: every mode's expert succeeds in its mode, the mean of the experts fails."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import mujoco
import numpy as np
import pytest

from robo_reward.envs.arm.base import ArmTask
from robo_reward.envs.batch import BatchSim
from robo_reward.envs.catalogue import MODE_TASKS
from robo_reward.envs.d3il.avoid import OBSTACLES
from robo_reward.envs.d3il.rod import RADIUS
from robo_reward.envs.state import State, Transitions
from robo_reward.envs.task import Task, make_task
from robo_reward.errors import UnknownName, UsageError
from robo_reward.language.language import compile_program
from robo_reward.language.validation.probes import probe
from robo_reward.testing.task import TaskContract

GRIPS = [f"panda/{name}" for name in MODE_TASKS]
NOISE = 0.1
"""Standard deviation of the noise on the experts' actions."""
EVERY = pytest.mark.parametrize("name", GRIPS)


class Rollout(NamedTuple):
    """Episodes of n worlds, of equal length: states (n, T + 1, D), actions (n, T, A), last success (n,) and qpos."""

    states: State
    actions: np.ndarray
    success: np.ndarray
    qpos: np.ndarray


@cache
def task_of(name: str) -> Task:
    return make_task(name)


@cache
def roll_all(name: str, n: int, *others: str) -> dict[str, Rollout]:
    """Episodes of each mode's expert and of others: `mean`, the mean of all experts, or `random` actions; n each."""
    task, rng = task_of(name), np.random.default_rng(0)
    groups = {actor: slice(k * n, (k + 1) * n) for k, actor in enumerate((*task.modes, *others))}
    sim = BatchSim(task, n * len(groups), seed=5)
    states, actions, result = [sim.state.array.copy()], [], None
    for _ in range(task.horizon):
        action = rng.uniform(-1, 1, (sim.n, task.action.dim))
        for actor, worlds in groups.items():
            if actor != "random":
                modes = task.modes if actor == "mean" else (actor,)
                experts = [task.expert_of_mode(sim.state.rows(worlds), mode) for mode in modes]
                action[worlds] = np.mean(experts, axis=0) + NOISE * rng.standard_normal(action[worlds].shape)
        result = sim.step(action)
        states.append(result.transitions.state.array.copy())
        actions.append(result.transitions.action)
    sim.close()
    assert result is not None
    state, moves, qpos = np.stack(states, axis=1), np.stack(actions, axis=1), result.qpos
    return {
        actor: Rollout(State(task.spec, state[k]), moves[k], result.success[k], qpos[k]) for actor, k in groups.items()
    }


def roll(name: str, actor: str) -> Rollout:
    return roll_all(name, 6, "mean", "random")[actor]


def transitions(rollout: Rollout, every: int = 1) -> Transitions:
    spec, flat = rollout.states.spec, rollout.states.array
    previous, after = flat[:, :-1:every], flat[:, 1::every]
    action = rollout.actions[:, ::every]
    return Transitions(
        State(spec, previous.reshape(-1, spec.dim)),
        action.reshape(-1, action.shape[-1]),
        State(spec, after.reshape(-1, spec.dim)),
    )


@EVERY
def test_each_expert_succeeds_in_its_mode(name: str) -> None:
    task = task_of(name)
    for index, mode in enumerate(task.modes):
        rollout = roll(name, mode)
        assert rollout.success.all(), mode
        assert [task.mode_of(row) for row in rollout.states.array] == [index] * 6


@EVERY
def test_neither_the_mean_of_the_modes_nor_chance_succeeds(name: str) -> None:
    task = task_of(name)
    for actor in ("mean", "random"):
        assert not roll(name, actor).success.any(), actor
    assert not task.success(State(task.spec, roll(name, "random").states.array[:, 0])).any()
    assert task.mode_of(roll(name, "random").states.array[0][:1]) == -1


@pytest.mark.slow
@pytest.mark.parametrize("name", [*GRIPS, *(name.replace("panda", "fr3") for name in GRIPS)])
def test_each_expert_succeeds_from_many_starts(name: str) -> None:
    task, starts = task_of(name), 200 if name.startswith("panda") else 40
    for index, mode in enumerate(task.modes):
        rollout = roll_all(name, starts)[mode]
        assert rollout.success.mean() >= 0.97, mode
        assert np.mean([task.mode_of(row) == index for row in rollout.states.array]) >= 0.97


@pytest.mark.parametrize("name", ["panda/cup", "panda/bag"])
def test_the_fingers_touch_the_object_where_the_mode_says(name: str) -> None:
    """Contacts of MuJoCo at the end, which `mode_of` does not read: near this mode's site, far from the other's."""
    task = task_of(name)
    data, pads = mujoco.MjData(task.model), {task.model.geom(pad).id for pad in ("pad1", "pad2")}
    for index, mode in enumerate(task.modes):
        data.qpos[:] = roll(name, mode).qpos[0]
        mujoco.mj_forward(task.model, data)
        touched = [c for c in data.contact if pads & {c.geom1, c.geom2}]
        assert {c.geom1 for c in touched} | {c.geom2 for c in touched} >= pads
        sites = [data.site(site).xpos for site in (mode, task.modes[1 - index])]
        distance = np.array([[np.linalg.norm(c.pos - site) for site in sites] for c in touched])
        assert distance[:, 0].max() < 0.04 < distance[:, 1].min()


@EVERY
def test_objects_are_at_rest_at_the_start(name: str) -> None:
    task = task_of(name)
    sim = BatchSim(task, 10, seed=2)
    start = sim.qpos.copy()
    for _ in range(5):
        sim.step(np.zeros((10, task.action.dim)))
    np.testing.assert_allclose(sim.qpos[:, -7:], start[:, -7:], atol=3e-3)
    sim.close()


@EVERY
def test_the_expert_reward_is_sound_and_pays_every_mode(name: str) -> None:
    task = task_of(name)
    program = compile_program(task.expert_reward, task.spec, task.action.dim)
    parts = [transitions(roll(name, actor), 6) for actor in (*task.modes, "random")]
    batch = Transitions(
        State(task.spec, np.concatenate([part.previous.array for part in parts])),
        np.concatenate([part.action for part in parts]),
        State(task.spec, np.concatenate([part.state.array for part in parts])),
    )
    assert not probe(program, batch).failures
    chance = program(transitions(roll(name, "random"))).total.mean()
    returns = [program(transitions(roll(name, mode))).total.mean() for mode in task.modes]
    assert min(returns) > 1.5 * chance
    assert max(returns) < 1.25 * min(returns)  # it prefers no mode


@EVERY
def test_typical_ranges_and_descriptions(name: str) -> None:
    task = task_of(name)
    seen = roll(name, task.modes[0]).states
    for field in task.spec:
        low, high = field.typical
        middle = np.median(seen.array[..., task.spec.slice(field.name)], axis=(0, 1))
        assert (middle >= low - 1e-3).all() and (middle <= high + 1e-3).all(), field.name
        assert field.description
    assert " cm" in task.success_rule and task.goal.endswith(".")


def test_unknown_modes_and_tasks_without_modes() -> None:
    cup, lift = task_of("panda/cup"), task_of("panda/lift")
    state = State(cup.spec, np.zeros((1, cup.spec.dim)))
    for task in (cup, task_of("d3il/avoid")):
        with pytest.raises(UnknownName, match=task.modes[0]):
            task.expert_of_mode(State(task.spec, np.zeros((1, task.spec.dim))), "hanle")
    np.testing.assert_array_equal(cup.expert(state), cup.expert_of_mode(state, "handle"))
    assert lift.modes == () and lift.mode_of(np.zeros((3, lift.spec.dim))) == -1
    with pytest.raises(UsageError, match="no modes"):
        lift.expert_of_mode(State(lift.spec, np.zeros((1, lift.spec.dim))), "handle")


def test_no_policy_and_no_reward_sees_the_mode() -> None:
    for name in GRIPS:
        task = task_of(name)
        assert isinstance(task, ArmTask)
        assert not any("mode" in field.name for field in task.spec)


class TestCup(TaskContract):
    def make_task(self) -> Task:
        return make_task("fr3/cup")


class TestAvoid(TaskContract):
    def make_task(self) -> Task:
        return make_task("d3il/avoid")


def test_avoid_has_the_published_form() -> None:
    task = task_of("d3il/avoid")
    assert (task.observation.dim, task.action.dim, task.horizon, len(set(task.modes))) == (4, 2, 100, 24)
    assert task.control_dt == pytest.approx(0.035)
    start = task.sample(np.random.default_rng(0), 50).qpos
    assert np.abs(start - (0.525, -0.28, 0.525, -0.28)).max() <= 0.01


def test_avoid_is_solved_in_24_ways_from_the_same_starts() -> None:
    task = task_of("d3il/avoid")
    worlds = np.arange(24)
    sim = BatchSim(task, len(worlds), seed=1)
    rng, states, ended = np.random.default_rng(0), [sim.state.array.copy()], np.full(len(worlds), -1)
    succeeded = np.zeros(len(worlds), bool)
    for step in range(task.horizon):
        every = np.stack([task.expert_of_mode(sim.state.rows(worlds == k), task.modes[k]) for k in range(24)])
        action = every.reshape(len(worlds), 2) + 0.1 * rng.standard_normal((len(worlds), 2))
        result = sim.step(action)
        states.append(result.transitions.state.array.copy())
        new = result.has_ended & (ended < 0)
        ended[new], succeeded[new] = step + 1, result.success[new]
    assert succeeded.all()
    found = [task.mode_of(np.stack(states)[: ended[k] + 1, k]) for k in range(len(worlds))]
    np.testing.assert_array_equal(found, worlds)


def test_the_mean_of_the_24_ways_stops_at_the_first_obstacle() -> None:
    task = task_of("d3il/avoid")
    sim = BatchSim(task, 3, seed=1)
    for _ in range(task.horizon):
        result = sim.step(np.mean([task.expert_of_mode(sim.state, mode) for mode in task.modes], axis=0))
        assert not result.success.any()
    assert result.truncated.all() and (result.transitions.state.rod_position[:, 1] < -0.1).all()
    assert task.mode_of(result.transitions.state) == -1


def test_a_collision_of_avoid_is_a_contact_of_mujoco() -> None:
    task = task_of("d3il/avoid")
    data = mujoco.MjData(task.model)
    rng = np.random.default_rng(0)
    touching = 0
    for _ in range(300):
        x, y, radius = OBSTACLES[rng.integers(6)]
        angle, gap = rng.uniform(0, 2 * np.pi), rng.choice((-0.002, 0.0005, 0.003))
        rod = np.array((x, y)) + (radius + RADIUS + gap) * np.array((np.cos(angle), np.sin(angle)))
        data.qpos[:] = (*rod, *rod)
        mujoco.mj_forward(task.model, data)
        state = State(task.spec, data.sensordata[None].copy())
        failed = task.failure(state)
        assert failed is not None and failed[0] == (gap < 0.001)
        assert (data.ncon > 0) == (gap < 0)
        touching += data.ncon > 0
    assert touching > 50


def test_the_reward_of_avoid_is_sound_and_does_not_prefer_a_gap() -> None:
    task = task_of("d3il/avoid")
    program = compile_program(task.expert_reward, task.spec, 2)
    returns = []
    for mode in ("2-2-2", "1-1-2", "random"):
        sim, rng, total, alive = BatchSim(task, 4, seed=0), np.random.default_rng(0), 0.0, np.ones(4, bool)
        for _ in range(task.horizon):
            action = rng.uniform(-1, 1, (4, 2)) if mode == "random" else task.expert_of_mode(sim.state, mode)
            result = sim.step(action)
            total += np.where(alive, program(result.transitions).total, 0.0)
            alive &= ~result.has_ended
        returns.append(float(np.mean(total)))
    assert min(returns[:2]) > 10.0 > returns[2] and abs(returns[0] - returns[1]) < 1.0
