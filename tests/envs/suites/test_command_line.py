"""Environments of other packages on the command line, with the real workers."""

import json
import shutil
from pathlib import Path

import pytest

from robo_reward.cli.app import main
from robo_reward.cli.arguments.help import format_verb_help
from robo_reward.cli.arguments.overrides import prepare_overrides
from robo_reward.data.episode import EpisodeStore
from robo_reward.policies.policy import load_policy
from tests.envs.suites import own_environment

PENDULUM = "task=gymnasium/InvertedPendulum-v5"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a module `cart` on the paths of this process and of jobs."""
    shutil.copy(own_environment.__file__, tmp_path / "cart.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_train_on_the_environments_own_reward_and_evaluate(folder, capsys):
    words = ["train", PENDULUM, "failure=abs(slider_displacement) > 0.9", "steps=2048", "episodes=4", "threads=1"]
    assert main([*words, "run=a", "videos=0"]) == 0
    meta = load_policy(folder / "runs" / "a").meta
    assert meta["task"] == "gymnasium/InvertedPendulum-v5"
    assert meta["options"] == {"failure": "abs(slider_displacement) > 0.9"}
    assert main(["evaluate", "runs/a", "episodes=4", "json=e.json"]) == 0
    assert json.loads(Path("e.json").read_text())["episodes"] == 4
    capsys.readouterr()


def test_fast_is_short_for_an_option_of_the_task():
    for key in ("fast", "task.options.fast"):
        assert prepare_overrides("train", [PENDULUM, f"{key}=true"]).build_config().task.options.fast is True


def test_help_shows_the_keys_of_an_environment():
    assert "task.steps: 60000" in format_verb_help("train", [PENDULUM])


def test_mistakes_are_told_before_work(folder, capsys):
    for words, text in (
        (["task=gymnasium/InvertedPendlum-v5"], "Did you mean 'InvertedPendulum-v5'"),
        (["task=gymnasium/CartPole-v1"], "no MuJoCo simulation inside"),
        (["task=gymnasium/cart:Cart-v0"], "has no goal"),
        (
            ["task=gymnasium/cart:CartSilent-v0", "goal=Reach the target."],
            "cart_contact; success=propose asks the writer for a rule",
        ),  # no hidden field is listed
        ([PENDULUM, "fast=maybe"], "fast='maybe': expected true or false"),
        ([PENDULUM, "success=hinge_angel < 0.1"], "Did you mean 'hinge_angle'"),
        ([PENDULUM, "task.options.horizn=3"], "Did you mean 'horizon'"),
        (["task=panda/lift", "fast=true"], "unknown option of panda/lift 'fast'"),
    ):
        assert main(["train", *words]) == 2
        assert text in capsys.readouterr().err.replace("\n", " ")
    assert not (folder / "runs").exists()


def test_tasks_shows_an_environment_and_lists_them(folder, capsys):
    assert main(["tasks", "name=gymnasium/cart:Cart-v0"]) == 0
    shown = capsys.readouterr().out
    assert "desired_goal" in shown and "kwargs, horizon, fast" in shown and "environment_reward" not in shown


@pytest.mark.slow
@pytest.mark.parametrize("task", [PENDULUM, "task=gymnasium/cart:Cart-v0"])
def test_search_in_confined_jobs(folder, task):
    words = [
        "search",
        task,
        "task.options.horizon=20",
        "goal=Bring the cart to the target.",
        "run=s",
        "videos=0",
        "search.rounds=1",
        "search.restarts=1",
    ]
    words += ["success=abs(hinge_angle) < 0.1"] if task == PENDULUM else []
    assert main([*words, "search.candidates=1", "search.steps=1024", "search.episodes=4"]) == 0
    found = json.loads((folder / "runs" / "s" / "result.json").read_text())
    assert found["evaluation"]["episodes"] == 4
    assert (folder / "runs" / "s" / "report.html").is_file()


@pytest.mark.slow
def test_episodes_of_a_policy_are_recorded_and_scored(folder):
    task = ["task=gymnasium/cart:Cart-v0", "goal=Reach the target."]
    assert main(["train", *task, "steps=2048", "episodes=2", "run=a", "threads=1", "videos=1"]) == 0
    assert main(["record", *task, "by=runs/a", "episodes=2", "to=demos", "cameras=[overview]"]) == 0
    assert len(EpisodeStore(folder / "demos")) == 2
    Path("mine.py").write_text(
        "def compute_reward(state, action, previous):\n"
        "    near = -np.abs(state.rail_displacement - state.target_position[:, 0])\n"
        '    return near, {"near": near}\n'
    )
    assert main(["score", "demos", "reward=mine.py", "json=scores.json"]) == 0
    assert len(json.loads(Path("scores.json").read_text())["scores"]) == 2
