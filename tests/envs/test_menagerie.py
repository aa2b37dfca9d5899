"""The menagerie's look, put on from a donor of the same make: one mesh per link, in the same frames."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from robo_reward.envs.arm import menagerie
from robo_reward.envs.arm.mjcf import scene_xml
from robo_reward.envs.arm.model import get_arm_model
from robo_reward.envs.task import make_task
from robo_reward.errors import UnknownName, UsageError


def donor(arm: str) -> mujoco.MjModel:
    """Our own arm with a lopsided pyramid on every link, called and grouped as in the menagerie."""
    spec = mujoco.MjSpec.from_string(scene_xml(get_arm_model(arm), "", ""))
    points = np.array([0, 0, 0, 0.1, 0, 0, 0, 0.05, 0, 0.02, 0.01, 0.03])
    spec.add_mesh(name="pyramid", uservert=points, userface=np.array([0, 2, 1, 0, 1, 3, 1, 2, 3, 2, 0, 3]))
    mesh = mujoco.mjtGeom.mjGEOM_MESH
    for i in range(1, 8):
        spec.body(f"link{i}").add_geom(type=mesh, meshname="pyramid", pos=(0, 0, 0.01 * i), group=2, mass=0)
    return spec.compile()


def points(model: mujoco.MjModel) -> np.ndarray:
    """World positions (P, 3) of the points of all mesh geoms, in the ready pose."""
    data = mujoco.MjData(model)
    data.qpos[:7] = get_arm_model("panda").home
    mujoco.mj_forward(model, data)
    found = []
    for g in np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_MESH):
        m = model.geom_dataid[g]
        own = model.mesh_vert[model.mesh_vertadr[m] :][: model.mesh_vertnum[m]]
        found.append(own @ data.geom_xmat[g].reshape(3, 3).T + data.geom_xpos[g])
    return np.concatenate(found)


def test_meshes_lie_where_the_donors_do_and_nothing_else_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robo_reward.envs.arm.base.menagerie_model", donor)
    plain, dressed = make_task("panda/lift").model, make_task("panda/lift", assets="menagerie").model
    np.testing.assert_allclose(points(dressed), points(donor("panda")), atol=1e-6)
    np.testing.assert_array_equal(dressed.body_mass, plain.body_mass)
    np.testing.assert_array_equal(dressed.body_inertia, plain.body_inertia)
    solid = [model.geom_contype[model.geom_contype > 0] for model in (plain, dressed)]
    np.testing.assert_array_equal(*solid)
    a, b = mujoco.MjData(plain), mujoco.MjData(dressed)
    for model, data in ((plain, a), (dressed, b)):
        mujoco.mj_step(model, data, 200)
    np.testing.assert_allclose(b.qpos, a.qpos, atol=1e-9)


def test_a_missing_menagerie_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("MENAGERIE_ROOT", str(tmp_path))
    with pytest.raises(UsageError, match=r"robo-reward\[menagerie\]|assets=primitive"):
        menagerie.menagerie_model("panda")


def test_unknown_assets_are_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="menagerie"):
        make_task("panda/reach", assets="menagery")
