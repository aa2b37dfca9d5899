"""Plug-ins of other packages: chosen under their names, with keys of their own, and broken ones harm nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from robo_reward.cli.app import compose_config, main
from robo_reward.cli.arguments.help import format_verb_help
from robo_reward.cli.training.search import create_executor
from robo_reward.envs.task import make_task
from robo_reward.errors import UnknownName
from robo_reward.registry import BrokenPlugin
from robo_reward.writers.writer import make_writer
from tests.cli.plugin_package import install, plugins

__all__ = ["plugins"]


def test_a_writer_is_chosen_by_name_and_has_keys_of_its_own(plugins: Path, tmp_path: Path) -> None:
    config = compose_config("search", ["writer=mine", "writer.style=a, b", "writer.tries=5"])
    options: Any = OmegaConf.to_container(config.writer)
    assert options == {"name": "mine", "style": "a, b", "tries": 5}
    writer: Any = make_writer(options, tmp_path)
    assert (writer.name, writer.style, writer.tries) == ("mine", "a, b", 5)
    with pytest.raises(UnknownName, match=r"'writer\.style'"):
        compose_config("search", ["writer=mine", "writer.stile=a"])


def test_a_task_and_an_executor_are_chosen_by_name(plugins: Path) -> None:
    config = compose_config("search", ["task=mylab/left", "task.options.control=joint_delta", "executor=mylocal"])
    task = make_task(config.task.id, **config.task.options)
    assert (task.id, task.action.kind) == ("mylab/left", "joint_delta")
    assert config.search.steps == config.task.steps > 0
    with create_executor(config) as executor:
        assert executor.queue == "short"


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("search writer=needy", "writer.model=... is missing"),
        ("search writer=mine writer.tries=many", "writer.tries=many: expected a whole number"),
        ("search writer=shattered", "No module named 'mylab.nowhere'"),
        ("search writer=min", "'mine'"),
        ("train task=mylab/lef", "'mylab/left'"),
        ("train task=mylab/fails", "ValueError: the [lab] is closed"),
    ],
)
def test_what_is_wrong_with_a_plugin_is_told_in_one_line(
    typed: str,
    message: str,
    plugins: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(typed.split()) in (1, 2)
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1


def test_help_shows_the_keys_of_the_chosen_option(plugins: Path) -> None:
    assert "mylab/left" in format_verb_help("train")
    assert 'writer.style: "plain"' in format_verb_help("search", ["writer=mine"])
    assert "writer.base_url" in format_verb_help("search", ["writer=openai"])
    assert "writer.base_url" not in format_verb_help("search")
    assert "policy.params.gamma" in format_verb_help("train")
    assert "FILE.py" in format_verb_help("train")


def test_a_broken_plugin_does_not_hide_the_other_tasks(plugins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BrokenPlugin, match="mylab"):
        make_task("mylab/broken")
    assert main(["tasks"]) == 0
    said = capsys.readouterr().out
    assert "mylab/left" in said
    assert "panda/lift" in said
    assert "left out: task 'mylab/broken'" in said
    assert "the [lab] is closed" in said
    assert "task 'mylab/aimless' has no goal, success_rule, spec" in said
    assert "SystemExit: the lab has moved" in said


@pytest.mark.slow
def test_a_search_with_plugins_for_everything(tmp_path: Path) -> None:
    site = install(tmp_path / "site")
    words = ["search", "task=panda/reach", "writer=mine", "executor=mylocal", "search.candidates=1", "search.rounds=1"]
    words += ["search.steps=2048", "search.final_seeds=1", "search.episodes=4", "videos=0", "run=it"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "robo_reward.cli", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "runs" / "it" / "policy").is_dir()
