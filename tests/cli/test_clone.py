"""`robo-reward clone`: bad input before any work, and a whole run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from robo_reward.cli.app import main
from robo_reward.data.collect import collect_episodes
from robo_reward.data.episode import EpisodeStore
from robo_reward.envs.task import make_task
from robo_reward.policies.policy import load_policy


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demos") / "reach"
    task, demos = make_task("panda/reach"), EpisodeStore(folder)
    task.horizon = 12
    for episode in collect_episodes(task, task.expert, 4, threads=1):
        demos.append(episode)
    return folder


WRONG = [
    ("policy=difusion", "Did you mean 'diffusion'"),
    ("policy=ppo", "unknown value of policy 'ppo'"),
    ("network=lstm", "Available: mlp, transformer, unet"),
    ("execute=9", "execute=9 actions of a chunk of 8"),
    ("sampling_steps=200", "sampling_steps=200 is more than train_steps=100"),
    ("warm_start=1", "a number from 0 to 0.99"),
    ("horizon=200 failures=true", "too short for"),
    ("camera=moon", "unknown camera 'moon'"),
    ("task=panda/push failures=true", "push"),
]


@pytest.mark.parametrize(("given", "message"), WRONG, ids=[given for given, _ in WRONG])
def test_bad_input_is_refused_before_training(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str, message: str
) -> None:
    task = [] if "task=" in given else ["task=panda/reach"]
    assert main(["clone", f"data={store}", *task, f"runs={tmp_path}", *given.split()]) in (1, 2)
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())  # not even a run folder


def test_data_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clone", f"data={tmp_path / 'none'}", "task=panda/reach", f"runs={tmp_path}"]) == 2
    assert "none" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["diffusion", "flow", "regression"])
def test_a_run_leaves_a_policy_that_other_verbs_take(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], policy: str
) -> None:
    keys = ["task=panda/reach", f"policy={policy}", "steps=4", "batch=8", "evaluate_episodes=2", "episodes=2"]
    command = ["clone", f"data={store}", *keys, "videos=0", "failures=true", f"runs={tmp_path}", "run=one", "threads=1"]
    assert main(command) == 0
    folder = tmp_path / "one"
    result = json.loads((folder / "result.json").read_text())
    assert result["verb"] == "clone" and result["steps"] == 4 and result["evaluation"]["episodes"] == 2
    page = (folder / "report.html").read_text()
    assert "policy from demonstrations" in page
    assert "updates of the network" in page
    loaded = load_policy(folder)
    assert loaded.act(np.zeros((2, loaded.observation.dim))).shape == (2, 8, loaded.action.dim)
    assert loaded.meta["data"] == str(store)
    assert main(command) == 0  # nothing is left to do
    assert main(["report", str(folder)]) == 0
    assert main(["evaluate", str(folder), "episodes=2"]) == 0
    assert main([*command, "batch=9"]) == 1
    assert "other settings" in capsys.readouterr().err
