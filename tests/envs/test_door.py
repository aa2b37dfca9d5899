"""The door's bolt: it holds the leaf until the handle is turned by 30 degrees."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from robo_reward.envs.arm.tasks.door import Door
from robo_reward.envs.batch import BatchSim

PUSH = 30.0  # about the hinge [N m]: 100 N at the handle


@pytest.fixture(scope="module")
def door() -> Door:
    return Door()


def pushed_open(door: Door, handle: float) -> float:
    """The angle [rad] that the leaf reaches in 1.5 s under `PUSH` while the handle is held at an angle [rad]."""
    model = door.model
    data = mujoco.MjData(model)
    start = door.sample(np.random.default_rng(0), 1)
    data.qpos[:], data.mocap_pos[:] = start.qpos[0], start.mocap[0, :3]
    data.ctrl[:] = door.controller.start(start.qpos)[0]
    lever, leaf = model.joint("lever"), model.joint("door")
    for _ in range(300):
        data.qpos[lever.qposadr[0]], data.qvel[lever.dofadr[0]] = handle, 0.0
        data.qfrc_applied[leaf.dofadr[0]] = PUSH
        mujoco.mj_step(model, data)
    return float(data.qpos[leaf.qposadr[0]])


@pytest.mark.parametrize("degrees", [0, 15, 28])
def test_the_bolt_holds(door: Door, degrees: float) -> None:
    assert pushed_open(door, np.radians(degrees)) < 0.02


@pytest.mark.parametrize("degrees", [32, 40, 50])
def test_a_turned_handle_frees_the_bolt(door: Door, degrees: float) -> None:
    assert pushed_open(door, np.radians(degrees)) > 1.0


def test_the_handle_springs_back(door: Door) -> None:
    sim = BatchSim(door, 2, seed=0)
    sim.qpos[:, door.model.joint("lever").qposadr[0]] = 0.8
    for _ in range(20):
        sim.step(np.zeros((2, 3)))
    assert (np.abs(sim.state.handle_angle) < 0.02).all()


@pytest.mark.parametrize("height", [-0.12, -0.06, 0.02])
def test_pushing_alone_does_not_open(door: Door, height: float) -> None:
    sim = BatchSim(door, 8, seed=1)
    for step in range(door.horizon):
        before = sim.state.handle_position + np.array((-0.08, 0.0, height))
        go = door.compute_action_toward(sim.state, before)
        sim.step(go if step < 30 else np.tile((1.0, 0.0, 0.0), (8, 1)))
        assert (sim.state.door_angle < 0.05).all()
