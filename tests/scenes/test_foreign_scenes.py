"""The scenes of the benchmark: models of other packages, with rules that are not met at the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.foreign_scenes import SCENES, find_model, format_row, write_scene
from robo_reward.envs.batch import BatchSim
from robo_reward.envs.task import make_task
from robo_reward.writers.offline.plans.rule import parse_requirements

INSTALLED = [name for name, scene in SCENES.items() if scene.package == "gymnasium"]


@pytest.mark.parametrize("name", INSTALLED)
def test_a_shipped_model_is_a_task_whose_rule_has_to_be_learnt(name: str, tmp_path: Path) -> None:
    scene = SCENES[name]
    model = find_model(scene)
    assert model is not None
    before = model.read_bytes()
    task = make_task(str(write_scene(scene, model, tmp_path, name)), goal=scene.goal, success=scene.success)
    sim = BatchSim(task, 16, seed=0, threads=1)
    assert not task.success(sim.state).any()
    sim.close()
    assert len(parse_requirements(scene.success, task.spec)) == 1 + scene.success.count(" and ")
    assert model.read_bytes() == before


def test_packages_that_are_not_installed_are_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MENAGERIE_ROOT", raising=False)
    scene = SCENES["go2"]
    assert find_model(scene) is None and "not installed" in format_row("go2", scene, None)
    file = tmp_path / scene.path
    file.parent.mkdir()
    file.write_text("<mujoco/>")
    assert find_model(scene, menagerie=str(tmp_path)) == file.resolve()
