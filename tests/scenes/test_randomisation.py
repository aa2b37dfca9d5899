"""Domain randomisation of scenes."""

from __future__ import annotations

import json
from pathlib import Path

import mujoco
import numpy as np
import pytest

from robo_reward.envs.batch import BatchSim
from robo_reward.envs.task import Variant, make_task
from robo_reward.errors import BadArtifact, UnknownName, UsageError
from robo_reward.scenes.randomisation import QUANTITIES
from tests.scenes.test_scene_task import PUCK, SCENE


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    (tmp_path / "puck.xml").write_text(PUCK.replace('name="push"', 'name="push" forcerange="-9 9" forcelimited="true"'))
    return tmp_path / "scene.yaml"


def make_variants(scene: Path, ranges: str, n: int = 200):
    scene.write_text(f"{SCENE}ranges: {ranges}\n")
    task = make_task(str(scene))
    return task, task.variants(np.random.default_rng(0), n)


def test_each_quantity_is_drawn_from_its_range(scene: Path) -> None:
    task, drawn = make_variants(
        scene,
        '{"geom/puck/friction": [0.5, 1.5], "body/*/mass": [0.8, 1.2], "joint/slider/damping": [2, 3], '
        '"joint/slider/friction": [0.1, 0.2], "actuator/push/gain": [0.9, 1.1], "actuator/pu*/strength": [0.5, 1.0], '
        "gravity: [0.9, 1.0], delay: [0.0, 0.04]}",
    )
    base, models = task.model, [v.model for v in drawn]
    puck, cart = base.body("puck").id, base.body("cart").id
    geom, slider = int(np.flatnonzero(base.geom_bodyid == puck)[0]), int(base.joint("slider").dofadr[0])

    def spread(read, low: float, high: float) -> np.ndarray:
        values = np.array([read(m) for m in models])
        assert low <= values.min() < low + 0.1 * (high - low) and high - 0.1 * (high - low) < values.max() <= high
        return values

    friction = float(base.geom_friction[geom, 0])
    spread(lambda m: m.geom_friction[geom, 0], 0.5 * friction, 1.5 * friction)
    assert all((m.geom_friction[0] == base.geom_friction[0]).all() for m in models)  # the floor stays
    first = spread(lambda m: m.body_mass[puck], 0.08, 0.12)
    second = spread(lambda m: m.body_mass[cart], 0.8, 1.2)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.3  # each body draws its own
    np.testing.assert_allclose([m.body_inertia[puck, 2] / m.body_mass[puck] for m in models], 0.05**2 / 2)
    np.testing.assert_allclose([m.body_subtreemass[0] for m in models], [m.body_mass.sum() for m in models])
    spread(lambda m: m.dof_damping[slider], 2, 3)
    spread(lambda m: m.dof_frictionloss[slider], 0.1, 0.2)
    spread(lambda m: m.actuator_gainprm[0, 0], 0.9, 1.1)
    spread(lambda m: m.actuator_forcerange[0, 1], 4.5, 9)
    spread(lambda m: -m.opt.gravity[2], 0.9 * 9.81, 9.81)
    delays = [v.delay for v in drawn]
    assert 0 <= min(delays) < 0.004 and 0.036 < max(delays) <= 0.04
    assert base.body_mass[puck] == 0.1 and -base.opt.gravity[2] == 9.81  # the task's own model is as it was


def test_worlds_move_as_their_own_models(scene: Path) -> None:
    task, _ = make_variants(scene, '{"body/cart/mass": [0.3, 3], "joint/*/damping": [0.5, 2]}', 1)
    sim = BatchSim(task, 5, seed=0)
    first, models = sim.qpos.copy(), [variant.model for variant in sim.variants]
    result = sim.step(np.ones((5, 1)))
    for world, model in enumerate(models):
        data = mujoco.MjData(model)
        data.qpos[:], data.ctrl[:], data.mocap_pos[:] = first[world], 1.0, sim.mocap[world, :3]
        mujoco.mj_step(model, data, task.substeps)
        np.testing.assert_allclose(result.qpos[world], data.qpos, atol=1e-9)
    assert len({float(q[0] - p[0]) for q, p in zip(result.qpos, first, strict=True)}) == 5
    sim.close()


def test_the_next_episode_is_drawn_into_the_same_model(scene: Path) -> None:
    ranges = {
        "geom/puck/friction": [0.5, 1.5], "body/*/mass": [0.3, 3], "joint/slider/damping": [2, 3],
        "joint/slider/friction": [0.1, 0.2], "joint/*/armature": [0.5, 2], "joint/slider/stiffness": [0.5, 2],
        "actuator/push/gain": [0.9, 1.1], "actuator/push/strength": [0.5, 1.0], "gravity": [0.9, 1.0],
    }  # fmt: skip
    assert {key.split("/")[-1] for key in ranges} - {"gravity"} == {q for k in QUANTITIES.values() for q in k}
    task, _ = make_variants(scene, json.dumps(ranges), 1)
    used = task.redraw_variant(Variant(task.model), np.random.default_rng(1))
    assert used.model is not task.model
    again = task.redraw_variant(used, np.random.default_rng(2))
    assert again.model is used.model
    size = mujoco.mj_sizeModel(task.model)
    fresh, reused = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    mujoco.mj_saveModel(task.variants(np.random.default_rng(2), 1)[0].model, None, fresh)
    mujoco.mj_saveModel(again.model, None, reused)
    assert np.array_equal(fresh, reused)  # each bit, so that a resumed run goes on exactly


@pytest.mark.parametrize(
    ("ranges", "error", "words"),
    [
        ('{"body/pack/mass": [0.5, 1]}', UnknownName, "range 'body/pack/mass'. Did you mean 'body/puck/mass'"),
        ('{"body/puck/friction": [0.5, 1]}', UnknownName, "range 'body/puck/friction'"),
        ("{gravty: [1, 1]}", UnknownName, "Did you mean 'gravity'"),
        ('{"body/puck/mass": [1.5, 0.5]}', UsageError, "LOWEST, HIGHEST. factors within 0.01 to 100"),
        ('{"body/puck/mass": [-1, 1]}', UsageError, "factors within"),
        ("{delay: [0, 2]}", UsageError, "seconds within 0 to 0.5"),
        ("{delay: 2}", BadArtifact, "ranges"),
    ],
)
def test_mistakes_are_named(scene: Path, ranges: str, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        make_variants(scene, ranges)


def test_strength_needs_a_limit(scene: Path) -> None:
    scene.with_name("puck.xml").write_text(PUCK)
    with pytest.raises(UsageError, match="push has no force limit"):
        make_variants(scene, '{"actuator/*/strength": [0.5, 1]}')
