"""Evaluation happens in the task that was trained on, in worlds that training has not seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robo_reward.cli.app import main
from robo_reward.envs import batch as module
from robo_reward.envs.arm.dynamics import Dynamics
from robo_reward.envs.batch import BatchSim
from robo_reward.envs.task import make_task
from robo_reward.policies.evaluate import evaluate_policy
from robo_reward.policies.policy import load_policy
from robo_reward.seeds import EVALUATION_SEEDS

QUICK = ["steps=120", "episodes=2", "videos=0", "policy.params.worlds=2", "policy.params.batch_size=64"]
ARM = Dynamics(0.16, np.full(7, 300.0), np.full(7, 0.5))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short training with every option, whose file of dynamics is gone."""
    folder = tmp_path_factory.mktemp("runs")
    ARM.save(folder / "arm.json")
    options = ["control=joint_delta", f"dynamics={folder / 'arm.json'}", "ranges.damping=[0.5,2.0]"]
    words = [f"task.options.{option}" for option in options]
    assert main(["train", "task=panda/reach", *words, *QUICK, f"runs={folder}", "run=it"]) == 0
    (folder / "arm.json").unlink()
    return folder / "it"


def summary(run: Path, *words: str) -> dict[str, Any]:
    path = run / "numbers.json"
    assert main(["evaluate", str(run), "episodes=3", f"json={path}", *words]) == 0
    return json.loads(path.read_text())


def test_the_run_s_own_options_are_simulated(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulated: list[Any] = []

    class Spy(BatchSim):
        def __init__(self, task: Any, *rest: Any) -> None:
            super().__init__(task, *rest)
            simulated.append(self)

    monkeypatch.setattr(module, "BatchSim", Spy)
    said = summary(run)
    assert said["options"]["control"] == "joint_delta" and said["options"]["dynamics"]["delay"] == 0.16
    (sim,) = simulated
    assert sim.task.action.kind == "joint_delta"
    damping = np.array([-v.model.actuator_biasprm[:7, 2] / 300.0 for v in sim.variants])
    assert (damping >= 0.5).all() and (damping <= 2.0).all() and np.ptp(damping) > 0.1
    assert {v.delay for v in sim.variants} == {0.16}
    # A policy folder on its own says it too, and the same call in Python gives the same numbers.
    policy = load_policy(run / "policy")
    task = make_task("panda/reach", **policy.meta["options"])
    held = evaluate_policy(task, policy, 3, EVALUATION_SEEDS).held
    assert summary(run / "policy")["seeds"][0]["held"] == held == said["seeds"][0]["held"]


def test_options_can_be_changed_and_the_task_too(run: Path) -> None:
    nominal = summary(run, "task.options.dynamics=null", "task.options.ranges={}")
    assert nominal["options"] == {"control": "joint_delta"}
    elsewhere = summary(run, "task=fr3/reach")
    assert elsewhere["task"] == "fr3/reach" and elsewhere["options"] == {"control": "joint_delta"}
    late = summary(run, "task=fr3/reach", "task.options.ranges.delay=[0.1,0.1]")
    assert late["options"]["ranges"]["delay"] == [0.1, 0.1]


def test_a_policy_without_options_asks_its_run_folder(run: Path) -> None:
    path = run / "policy" / "policy.json"
    text = path.read_text()
    value = json.loads(text)
    del value["meta"]["options"]
    config = run / "config.yaml"
    kept = config.read_text()
    try:
        path.write_text(json.dumps(value))
        config.write_text("\n".join(line for line in kept.splitlines() if "arm.json" not in line))
        assert summary(run)["options"] == {"control": "joint_delta", "ranges": {**unit_ranges(), "damping": [0.5, 2.0]}}
    finally:
        path.write_text(text)
        config.write_text(kept)


def unit_ranges() -> dict[str, list[float]]:
    return {"delay": [0, 0], "damping": [1, 1], "friction": [0, 0], "mass": [1, 1], "slide": [1, 1]}


def test_min_success_asks_for_the_lower_end_of_the_interval(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(type(make_task("panda/reach")), "success", lambda self, state: np.ones(len(state.array), bool))
    # 20 of 20 successes are an interval from .839 (Wilson): enough for .8, not for .9.
    assert main(["evaluate", str(run), "episodes=20", "min_success=0.8"]) == 0
    assert main(["evaluate", str(run), "episodes=20", "min_success=0.9"]) == 1
    assert "lower end 0.839" in capsys.readouterr().out


def test_worlds_of_evaluation_are_not_those_of_training() -> None:
    task = make_task("panda/push", ranges={"mass": [0.5, 2.0]})
    puck = task.model.body("puck").id
    trained, judged = BatchSim(task, 64, 0), BatchSim(task, 100, EVALUATION_SEEDS)
    for of in (
        lambda sim, i: float(sim.variants[i].model.body_mass[puck]),
        lambda sim, i: float(sim.state.array[i, 0]),
    ):
        seen = {of(trained, i) for i in range(64)}
        assert len(seen) == 64 and not seen & {of(judged, i) for i in range(100)}
