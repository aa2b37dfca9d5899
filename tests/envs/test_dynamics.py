"""Identified arms and ranges reach the simulated worlds, and through the command line the trainer and its jobs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest

from robo_reward.cli.app import compose_config
from robo_reward.cli.training.search import _filter_job_options
from robo_reward.envs.arm.dynamics import Dynamics, RandomisationRanges
from robo_reward.envs.batch import BatchSim
from robo_reward.envs.task import Variant, make_task
from robo_reward.errors import UnknownName, UsageError

FOUND = Dynamics(0.08, np.linspace(400.0, 100.0, 7), np.linspace(1.0, 2.0, 7), tempo=0.5)
RANGES = {"damping": [0.5, 1.5], "friction": [0.0, 1.0], "delay": [0.0, 0.1], "mass": [0.5, 2.0], "slide": [0.8, 1.2]}


@pytest.fixture
def found(tmp_path: Path) -> str:
    FOUND.save(tmp_path / "dynamics.json")
    return str(tmp_path / "dynamics.json")


def by_hand(task: Any, sim: BatchSim, variant: Variant, world: int, moves: np.ndarray) -> np.ndarray:
    """States (T, D) of one world: every command waits in a queue of physics steps, then `mj_step`."""
    data = mujoco.MjData(variant.model)
    data.qpos[:] = sim.qpos[world]
    ctrl = task.controller.start(sim.qpos[world : world + 1])
    waiting = [ctrl[0].copy()] * round(variant.delay / 0.005)
    states = []
    for move in moves:
        ctrl = task.controller.advance(ctrl, data.qpos[None], move[None])
        data.qacc_warmstart[:] = 0
        for _ in range(task.substeps):
            waiting.append(ctrl[0].copy())
            data.ctrl[:] = waiting.pop(0)
            mujoco.mj_step(variant.model, data)
        states.append(data.sensordata.copy())
    return np.stack(states)


def test_every_world_has_its_own_arm_things_and_delay() -> None:
    task = make_task("fr3/lift", ranges=RANGES)
    sim = BatchSim(task, 4, seed=3)
    variants = list(sim.variants)
    assert len({round(v.delay / 0.005) for v in variants}) > 2
    cube = task.model.body("cube").id
    assert len({float(v.model.body_mass[cube]) for v in variants}) == 4
    moves = np.random.default_rng(0).uniform(-1, 1, (20, 4, 4))
    expected = [by_hand(task, sim, variants[w], w, moves[:, w]) for w in range(4)]
    got = np.stack([sim.step(move).transitions.state.array for move in moves], axis=1)
    np.testing.assert_allclose(got, np.stack(expected), rtol=1e-6, atol=1e-8)


def test_late_worlds_go_on_bit_for_bit_and_start_afresh() -> None:
    task = make_task("fr3/lift", ranges=RANGES)
    one, other = BatchSim(task, 3, seed=1), BatchSim(task, 3, seed=1, threads=1)
    moves = np.random.default_rng(0).uniform(-1, 1, (task.horizon + 20, 3, 4))
    for move in moves[:30]:
        one.step(move)
    other.restore(one.snapshot())
    for move in moves[30:]:  # across a reset: no command of the last episode acts in the next
        np.testing.assert_array_equal(one.step(move).transitions.state.array, other.step(move).transitions.state.array)


def test_an_identified_arm_is_the_task_s(found: str) -> None:
    task: Any = make_task("panda/reach", dynamics=found)
    assert -task.model.actuator_biasprm[:7, 2] == pytest.approx(FOUND.damping / 2), "half the tempo, half the damping"
    assert task.model.dof_frictionloss[:7] == pytest.approx(FOUND.friction)
    assert {v.delay for v in task.variants(np.random.default_rng(0), 3)} == {0.04}
    around: Any = make_task("panda/reach", dynamics=found, ranges={"damping": [0.9, 1.1]})
    for variant in around.variants(np.random.default_rng(0), 5):
        ratio = -variant.model.actuator_biasprm[:7, 2] / (FOUND.damping / 2)
        assert (abs(ratio - 1) <= 0.1).all() and np.ptp(ratio) > 0 and variant.delay == 0.04
    assert make_task("panda/reach").model.dof_frictionloss[0] == 0.0


def test_the_command_line_carries_them_to_the_jobs_of_a_search(found: str) -> None:
    overrides = [f"++task.options.dynamics={found}", "++task.options.ranges.damping=[0.8,1.2]"]
    config = compose_config("search", ["task=fr3/lift", *overrides])
    task: Any = make_task(config.task.id, **config.task.options)
    from omegaconf import OmegaConf

    options: Any = OmegaConf.to_container(config.task.options)
    sent = json.loads(json.dumps(_filter_job_options(task, {**options, "assets": "primitive"})))
    Path(found).unlink()  # a job reads no files
    there: Any = make_task("fr3/lift", **sent)
    assert there.ranges == RandomisationRanges(damping=(0.8, 1.2))
    np.testing.assert_array_equal(there.model.actuator_biasprm, task.model.actuator_biasprm)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"ranges": {"dampng": [1, 2]}}, UnknownName, "Did you mean 'damping'"),
        ({"ranges": {"damping": [2, 1]}}, UsageError, r"expected \[low, high\] within 0.1 to 10"),
        ({"ranges": {"mass": 3}}, UsageError, "two numbers"),
        ({"dynamics": "nowhere.json"}, UsageError, "robo-reward identify"),
        ({"dynamics": {"delay": 0, "damping": [1], "friction": [0]}}, UsageError, "7 joints"),
        ({"dynamics": {"delay": 9, "damping": [1] * 7, "friction": [0] * 7}}, UsageError, "delay of 0 to"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make_task("panda/reach", **options)


def test_other_arms_have_no_ranges() -> None:
    with pytest.raises(UsageError, match="7 joints"):
        make_task("ur5e/group", ranges={"damping": [0.9, 1.1]})
