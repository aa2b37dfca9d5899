"""gymnasium finds the tasks when it is told where to look."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robo_reward.cli.app import compose_config
from robo_reward.cli.arguments.help import format_verb_help
from robo_reward.cli.training.train import merge_parameters
from robo_reward.data.collect import collect_episodes
from robo_reward.envs.arm.base import ArmTask
from robo_reward.envs.gym import TaskEnv
from robo_reward.envs.magical.sweep import Sweep
from robo_reward.envs.state import State
from robo_reward.envs.task import Task, find_training_defaults, make_task, task_names, tasks
from robo_reward.errors import UnknownName, UsageError
from robo_reward.language.language import compile_program
from tests.house.source import ROOT


@pytest.mark.parametrize(
    ("before", "prefixes"),
    [
        ("", ("robo_reward:",)),
        ("", ("robo_reward.envs:",)),
        ("import robo_reward", ("robo_reward:", "", "robo_reward.envs:")),
    ],
)
def test_gymnasium_makes_a_task_by_name(before: str, prefixes: tuple[str, ...]) -> None:
    script = (
        f"{before}\nimport gymnasium\n"
        f"for prefix in {prefixes}:\n"
        "    environment = gymnasium.make(f'{prefix}RoboReward/PandaReach-v0', reward='sparse')\n"
        "    environment.reset(seed=0)\n"
        "    print(environment.spec.id)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["RoboReward/PandaReach-v0"] * len(prefixes)


TOUCH = '''
import numpy as np

from robo_reward.envs.arm.base import ArmTask


class Touch(ArmTask):
    """The hand low above the table."""

    name, horizon = "touch", 30
    goal, success_rule = "Touch the table.", "the hand is below 3 cm"
    training_steps, ppo_params = 50_000, {"gamma": 0.97}
    expert_reward = """
def compute_reward(state, action, previous):
    low = 1.0 - np.tanh(5.0 * state.hand_position[:, 2])
    return low, {"low": low}
"""

    def place(self, rng, qpos, mocap):
        pass

    def success(self, state):
        return state.hand_position[..., 2] < 0.03

    def expert(self, state):
        action = np.zeros((*state.hand_position.shape[:-1], self.action.dim))
        action[..., 2] = -1.0
        return action


class TouchFr3(Touch):
    """The same on the FR3."""

    def __init__(self, **options):
        super().__init__("fr3", **options)
'''


@pytest.fixture
def touch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A task in one file of another package, found by its entry point."""
    (tmp_path / "my_tasks.py").write_text(TOUCH)
    info = tmp_path / "my_tasks-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_tasks\nVersion: 1.0\n")
    points = "[robo_reward.tasks]\npanda/touch = my_tasks:Touch\nfr3/touch = my_tasks:TouchFr3\n"
    (info / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_task_of_another_package_is_one_file(touch: Path) -> None:
    assert make_task("panda/touch", control="joint_delta").options["control"] == "joint_delta"
    task = make_task("panda/touch")
    assert task.id == "panda/touch" and "panda/touch" in task_names()
    reward = compile_program(task.expert_reward, task.spec, task.action.dim)
    (episode,) = collect_episodes(task, task.expert, 1)
    assert episode.is_successful
    assert reward(episode.to_transitions()).total.shape == (len(episode),)


def test_the_command_line_takes_the_training_from_the_class(touch: Path) -> None:
    task = make_task("fr3/touch")
    assert isinstance(task, ArmTask) and task.arm.name == "fr3"
    for name in ("panda/touch", "fr3/touch"):
        config = compose_config("train", [f"task={name}", "task.params.ent_coef=0.01"])
        assert config.steps == config.task.steps == 50_000
        assert merge_parameters(config) == {"gamma": 0.97, "ent_coef": 0.01}
    assert "task.steps: 50000" in format_verb_help("train", ["task=panda/touch"])


def test_the_sticks_of_a_class_have_budgets_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sweep, "training_steps", {"short": 1, "long": 2})
    steps = [find_training_defaults(f"magical/sweep-{stick}").steps for stick in ("short", "medium", "long")]
    assert steps == [1, Task.training_steps, 2]


def test_what_is_wrong_with_a_task_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nameless(ArmTask):
        name, horizon = "nameless", 10
        goal = success_rule = "x"

        def place(self, rng: np.random.Generator, qpos: np.ndarray, mocap: np.ndarray) -> None: ...

        def success(self, state: State) -> np.ndarray:
            return state.hand_position[..., 2] < 0.0

    monkeypatch.setitem(tasks._factories, "mylab/nameless", Nameless)
    with pytest.raises(UsageError, match="Nameless has no `expert_reward`"):
        make_task("mylab/nameless")
    monkeypatch.setitem(tasks._factories, "mylab/nothing", lambda: None)
    with pytest.raises(UsageError, match="returns NoneType, expected a Task"):
        make_task("mylab/nothing")
    with pytest.raises(UnknownName, match="exprt"):
        TaskEnv("panda/reach", reward="exprt")


def test_gymnasium_and_training_know_it(touch: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{touch}{os.pathsep}{ROOT}"}
    script = (
        "import gymnasium\n"
        "environment = gymnasium.make('robo_reward:RoboReward/PandaTouch-v0', reward='expert')\n"
        "environment.reset(seed=0)\n"
        "import robo_reward as rr\n"
        "run = rr.train('panda/touch', steps=1024, episodes=2, videos=0)\n"
        "print(run.result['task'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, cwd=touch)
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "panda/touch", done.stderr
