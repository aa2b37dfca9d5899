"""Algorithms of the user, by `module:Class`, in every verb that trains."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robo_reward.cli import main
from robo_reward.envs.task import make_task
from robo_reward.policies.algorithms import DEFAULTS, find_base_algorithm, merge_settings
from robo_reward.policies.policy import load_policy
from robo_reward.policies.sb3 import train_policy

CODE = """
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO, SAC

from my_lab_algorithms.rates import RATE


class MyPPO(PPO):
    def __init__(self, policy, env, boost: float = 0.0, **options):
        super().__init__(policy, env, ent_coef=boost, **{**options, "learning_rate": RATE})


class Narrow(SAC):
    def __init__(self, policy, env, seed=None, device="cpu", verbose=0, batch_size: int = 16):
        super().__init__(policy, env, seed=seed, device=device, batch_size=batch_size, learning_starts=80)


class WithMemory(RecurrentPPO):
    pass


class NoAlgorithm:
    pass
"""
SMALL = [
    "task=panda/reach",
    "videos=0",
    *(f"policy.params.{text}" for text in ("worlds=4", "n_steps=15", "batch_size=30")),
]
MINE = "my_lab_algorithms.classes:MyPPO"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, which holds a package with algorithms that is not installed."""
    package = tmp_path / "work" / "my_lab_algorithms"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "rates.py").write_text("RATE = 1e-3\n")
    (package / "classes.py").write_text(CODE)
    (package.parent / "my_broken_algorithms.py").write_text("import nothing_of_that_name\n")
    monkeypatch.chdir(package.parent)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield package.parent
    for name in [name for name in sys.modules if name.startswith("my_lab_algorithms")]:
        del sys.modules[name]


def test_train_and_evaluate(folder: Path) -> None:
    words = ["train", *SMALL, "steps=180", "episodes=2", f"policy={MINE}", "policy.params.boost=0.01"]
    assert main(words) == 0
    (run,) = (folder / "runs").iterdir()
    about = json.loads((run / "policy" / "policy.json").read_text())
    assert about["meta"]["algorithm"] == MINE
    shutil.rmtree(folder / "my_lab_algorithms")  # a policy is numbers alone: evaluation needs no algorithm
    assert main(["evaluate", str(run), "episodes=2"]) == 0


def test_a_changed_source_is_another_run(folder: Path) -> None:
    words = ["train", *SMALL, "steps=60", "episodes=1", f"policy.algorithm={MINE}"]
    assert main(words) == 0 and main(words) == 0
    assert len(list((folder / "runs").iterdir())) == 1
    (folder / "my_lab_algorithms" / "rates.py").write_text("RATE = 2e-3\n")
    assert main(words) == 0
    assert len(list((folder / "runs").iterdir())) == 2


def test_a_resumed_training_gives_the_same_bits(folder: Path) -> None:
    task = make_task("panda/reach")
    params: dict[str, Any] = {"worlds": 4, "n_steps": 15, "batch_size": 30}
    whole = train_policy(task, None, folder / "a", MINE, 240, 0, params, episodes=1)
    train_policy(task, None, folder / "b", MINE, 240, 0, params, until=120, episodes=1)
    resumed = train_policy(task, None, folder / "b", MINE, 240, 0, params, episodes=1)
    for one, other in zip(whole.policy.weights, resumed.policy.weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_a_search_trains_with_it_in_confined_jobs(folder: Path) -> None:
    small = ["search.steps=120", "search.rounds=1", "search.candidates=1", "search.rungs=[1.0]", "search.final_seeds=0"]
    words = ["search", *SMALL, *small, "search.episodes=1", "run=it", f"policy={MINE}"]
    assert main(words) == 0
    run = folder / "runs" / "it"
    assert load_policy(run).meta["algorithm"] == MINE
    (spec,) = [json.loads(path.read_text()) for path in run.glob("jobs/*/spec.json")]
    assert spec["algorithm_sources"] == {"my_lab_algorithms": str(folder / "my_lab_algorithms")}


def test_settings_follow_the_class_and_its_bases(folder: Path) -> None:
    assert find_base_algorithm(MINE) == "ppo"
    assert merge_settings(MINE, {"boost": 0.1}) == {**DEFAULTS["ppo"], "boost": 0.1}
    narrow = "my_lab_algorithms.classes:Narrow"
    assert merge_settings(narrow, {}) == {"batch_size": 512, "worlds": 32}  # the defaults of SAC that it takes


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (
            "policy=my_lab_algorithms.classes:MyPP",
            "unknown algorithm in my_lab_algorithms.classes 'MyPP'.",
        ),
        ("policy=my_lab_algorithms.classes:NoAlgorithm", "is no algorithm of Stable-Baselines3"),
        ("policy=my_lab_algorithms.classes:WithMemory", "trains a recurrent policy"),
        ("policy=my_lab_algorithms.clases:MyPPO", "cannot be imported: ModuleNotFoundError"),
        ("policy=my_broken_algorithms:MyPPO", "cannot be imported: ModuleNotFoundError: No module named 'nothing_of"),
        (
            "policy=my_labb:MyPPO",
            "no module 'my_labb'; install its package, or start robo-reward in the folder",
        ),
        ("policy=os:path", "is no algorithm of Stable-Baselines3"),
        ("policy=sys:PPO", "unknown algorithm in sys 'PPO'"),
        ("policy=__main__:PPO", "there is no module '__main__'"),
        ("policy=my-lab:MyPPO", "write an own algorithm as package.module:Class"),
        (f"policy={MINE} policy.params.bost=1", "Did you mean 'boost'?"),
        (
            f"policy={MINE} policy.params.boost=high",
            "classes:MyPPO is 'high', expected a number",
        ),
        (
            f"policy={MINE} policy.params.gamma=high",
            "classes:MyPPO is 'high', expected a number from 0 to 1",
        ),
        ("policy=recurrentppo", "trains a recurrent policy, which policy.json cannot store. Use ppo"),
        ("policy.algorithm=recurrentppo", "trains a recurrent policy, which policy.json cannot store. Use ppo"),
        ("policy.algorithm=sacc", "Did you mean 'sac'"),
        ("policy.params.gamma=high", "setting gamma of ppo is 'high', expected a number from 0 to 1"),
        ("policy=ars policy.params.n_delta=0.5", "setting n_delta of ars is 0.5, expected a whole number"),
        ("policy=crossq policy.params.gama=0.9", "unknown setting of crossq 'gama'. Did you mean 'gamma'"),
    ],
)
@pytest.mark.parametrize("verb", ["train", "search"])
def test_what_is_wrong_is_told_before_anything_is_made(
    verb: str, typed: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, "task=panda/reach", *typed.split()]) == 2
    assert message in capsys.readouterr().err
    assert not (folder / "runs").exists()


def test_a_class_that_cannot_be_made_is_told_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "task=panda/reach", "policy=stable_baselines3:DQN", "policy.params.worlds=2"]) == 2
    said = capsys.readouterr().err
    assert "policy=stable_baselines3:DQN cannot be made for this task: AssertionError: The algorithm only" in said


def test_policy_algorithm_is_the_same_as_policy(folder: Path) -> None:
    from robo_reward.cli.app import compose_config

    assert compose_config("train", ["policy.algorithm=sac"]) == compose_config("train", ["policy=sac"])
