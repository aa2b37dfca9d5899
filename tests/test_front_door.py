"""`import robo_reward as rr`: the names a script begins with."""

import ast
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import robo_reward as rr
from robo_reward.api import format_settings, run_verb
from robo_reward.cli.arguments.overrides import prepare_overrides
from robo_reward.cli.verbs import VERBS
from tests.house.source import ROOT

SOURCE = (
    "def compute_reward(state, action, previous):\n"
    "    near = 1.0 - np.tanh(5.0 * np.linalg.norm(state.goal_position - state.hand_position, axis=-1))\n"
    '    return near, {"near": near}\n'
)


@pytest.mark.parametrize("name", rr.__all__)
def test_every_public_name_is_there_and_explained(name: str) -> None:
    assert getattr(rr, name).__doc__


def test_the_names_for_type_checkers_are_those_at_run_time() -> None:
    tree = ast.parse((ROOT / "robo_reward" / "__init__.py").read_text(encoding="utf-8"))
    typed = {
        (alias.name, node.module)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("robo_reward.")
        for alias in node.names
    }
    assert sorted(rr.__all__) == sorted(rr._MODULES)
    assert typed == {(name, f"robo_reward.{module}") for name, module in rr._MODULES.items()}


def test_a_wrong_name_and_a_former_one() -> None:
    with pytest.raises(AttributeError, match="trian"):
        rr.trian  # noqa: B018
    assert rr.ProgramRefused is rr.ProgramError


def test_packages_do_not_take_the_place_of_functions() -> None:
    """A package `robo_reward.search` would replace the function of that name as soon as it is imported."""
    packages = {path.name.removesuffix(".py") for path in (ROOT / "robo_reward").iterdir()}
    assert not packages & set(rr._MODULES)


def test_a_policy_is_trained_on_an_own_program_and_acts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    task = rr.make_task("panda/reach")
    program = rr.compile_program(SOURCE, task.spec, task.action.dim)
    run = rr.train("panda/reach", program, steps=2_048, episodes=4, videos=0, run="mine")
    assert run.folder == Path("runs/mine") and run.result["task"] == "panda/reach" and run.report.is_file()
    assert run.load_reward().canonical == program.canonical

    policy = rr.load_policy("runs/mine")
    action = policy.act(np.zeros(policy.observation.dim))
    assert action.shape == (task.action.dim,)
    assert rr.evaluate("runs/mine", episodes=4).episodes == 4
    found = rr.compare(run, "runs/mine", episodes=4)
    assert found["difference"] == 0.0 and found["low"] <= 0.0 <= found["high"], found
    with pytest.raises(rr.RoboRewardError, match="steps was 2048, now 4096"):
        rr.train("panda/reach", program, steps=4_096, episodes=4, videos=0, run="mine")
    again = rr.train("panda/reach", "runs/mine/reward", steps=2_048, episodes=4, videos=0)
    assert again.folder != run.folder and again.load_reward().canonical == program.canonical


def test_settings_that_do_not_fit_are_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(rr.UsageError, match="Did you mean 'steps'"):
        rr.train("panda/reach", step=10)
    with pytest.raises(rr.UsageError, match="steps"):
        rr.train("panda/reach", steps="many")
    with pytest.raises(rr.UsageError, match="unknown"):
        rr.search("panda/raech")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("goal", ["Don't push it (10 cm), lift it.", "a=b, {c}: $d", "it's 'quoted' \\", "グリッパー"])
def test_text_arrives_as_it_was_given(goal: str) -> None:
    prepared = prepare_overrides("search", list(format_settings({"goal": goal})))
    assert prepared.build_config().goal == goal


def test_values_of_every_kind() -> None:
    given = {"videos": np.int64(0), "policy": {"params": {"gamma": 0.95}}, "run": "x", "resume": True, "none": None}
    assert list(format_settings(given)) == [
        "videos=0", "policy.params.gamma=0.95", "run=x", "resume=true", "none=null",
    ]  # fmt: skip
    prepared = prepare_overrides("record", list(format_settings({"cameras": ["frönt", "a\\b", "it's"]})))
    assert list(prepared.build_config().cameras) == ["frönt", "a\\b", "it's"]
    with pytest.raises(rr.UsageError, match="seed=<object"):
        list(format_settings({"seed": object()}))
    assert set(VERBS) >= {"search", "train", "record", "align", "discover", "check"}


@pytest.mark.parametrize("reward", [None, 3])
def test_what_is_no_reward_is_refused(reward: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(rr.UsageError, match="cannot be saved as a reward"):
        rr.train("panda/reach", reward)
    assert not list(tmp_path.iterdir())


def test_a_policy_of_another_kind_needs_a_task() -> None:
    class Still:
        def act(self, observation: np.ndarray) -> np.ndarray:
            return np.zeros((len(observation), 3))

    with pytest.raises(rr.UsageError, match="give task="):
        rr.evaluate(Still())
    assert rr.evaluate(Still(), "panda/push", episodes=2).episodes == 2


def test_demonstrations_are_recorded_where_they_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = rr.record(settings={"task": "panda/reach"}, episodes=1, to="", size=32)
    assert len(store) == 1 and store.folder == Path("demos/panda-reach")
    task = rr.make_task("panda/reach")
    found = rr.score(store.folder, rr.compile_program(SOURCE, task.spec, task.action.dim), pictures=0)
    assert found["episodes"] == found["successes"] == len(found["scores"]) == 1
    with pytest.raises(rr.UsageError, match="unknown verb"):
        run_verb("recrod", {})


def test_a_verb_runs_in_another_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signals are handled in the main thread alone; elsewhere nothing asks to stop."""
    monkeypatch.chdir(tmp_path)
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(rr.train, "panda/reach", "sparse", steps=1_024, episodes=2, videos=0).result()
    assert run.load_policy().meta["task"] == "panda/reach"


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_example(path: Path, tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)}
    command = [sys.executable, "-W", "error::DeprecationWarning:__main__", str(path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
