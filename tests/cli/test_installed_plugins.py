"""Plug-ins of a package that an installer put into an environment, normally or editable, in every command."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.installed_packages import create_environment, install_packages

pytestmark = pytest.mark.slow
Run = Callable[..., str]
TINY_SEARCH = "search.candidates=1 search.rounds=1 search.steps=1024 search.final_seeds=1 search.episodes=2 videos=0"


@pytest.fixture(scope="module", params=["normal", "editable"])
def python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the packages."""
    folder = tmp_path_factory.mktemp(request.param)
    python = create_environment(folder / "environment")
    install_packages(python, folder / "sources", editable=request.param == "editable")
    return python


@pytest.fixture
def run(python: Path, tmp_path: Path) -> Run:
    """Runs a command in that environment and returns what it printed."""

    def run_command(words: str, expected: int = 0) -> str:
        command = [str(python), "-m", "robo_reward.cli", *words.split()]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == expected, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run_command


def test_the_task_is_listed_and_a_broken_one_hides_no_other(run: Run) -> None:
    said = run("tasks")
    assert "my/touch" in said
    assert "panda/lift" in said
    assert "left out: task 'my/broken', the plug-in 'my_lab.nowhere:Task' of my-lab" in " ".join(said.split())
    assert "my/touch  Touch the table." in run("tasks name=my/touch")


def test_gymnasium_knows_the_task(python: Path, tmp_path: Path) -> None:
    script = (
        "import gymnasium\n"
        "environment = gymnasium.make('robo_reward:RoboReward/MyTouch-v0', reward='expert')\n"
        "environment.reset(seed=0)\n"
        "print(environment.unwrapped.task.id)\n"
    )
    done = subprocess.run([str(python), "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stdout.strip() == "my/touch", done.stderr


def test_train_and_evaluate_take_the_task(run: Run, tmp_path: Path) -> None:
    assert "my/touch: ppo" in run("train task=my/touch steps=256 policy.params.n_steps=32 episodes=2 videos=0 run=it")
    assert "my/touch: success" in run("evaluate run=runs/it episodes=2 json=found.json")
    assert json.loads((tmp_path / "found.json").read_text())["task"] == "my/touch"


def test_search_takes_task_and_writer_in_its_confined_workers(run: Run, tmp_path: Path) -> None:
    said = run(f"search task=my/touch writer=mine writer.slope=4 {TINY_SEARCH} run=it")
    assert "winner: candidate 1.1" in said
    assert "np.tanh(4" in (tmp_path / "runs" / "it" / "search.json").read_text()
    assert "my/touch: success" in run("evaluate run=runs/it episodes=2")


def test_the_encoder_learns_a_reward_that_trains_and_that_a_confined_worker_loads(
    run: Run, python: Path, tmp_path: Path
) -> None:
    run("record task=my/touch episodes=3 speed=1 rest=4 size=32 to=demos")
    run("discover demos=demos encoder=mean_colour encoder.grid=3 steps=2 size=32 run=steps")
    saved = json.loads((tmp_path / "runs" / "steps" / "reward" / "reward.json").read_text())
    assert '"mean_colour"' in json.dumps(saved)
    train = "train task=my/touch reward=runs/steps/reward steps=64 policy.params.n_steps=8"
    assert "my/touch: ppo" in run(f"{train} episodes=2 videos=0 run=trained")
    script = (
        "from robo_reward.jobs.job import Job\n"
        "from robo_reward.jobs.runner import run_job\n"
        f"reward = {str(tmp_path / 'runs' / 'steps' / 'reward')!r}\n"
        "spec = {'entry': 'my_lab.encoder:encode_in_job', 'reward': reward}\n"
        "print(run_job(Job.create('job', spec).folder, read=[reward], timeout=60)['shape'])\n"
    )
    done = subprocess.run([str(python), "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stdout.strip() == "[2, 27]", done.stderr


def test_a_plugin_that_the_sandbox_refuses_is_told_so(run: Run) -> None:
    said = run(f"search task=my/versioned writer=mine {TINY_SEARCH} run=it", expected=1)
    assert "plug-in 'my_lab.versioned:Versioned' of my-lab, fails: PermissionError" in " ".join(said.split())
    assert "The job's sandbox may have refused this" in " ".join(said.split())
