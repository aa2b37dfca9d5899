"""Each key of a verb has one home: its default fits its own type, and its comment is in the help."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from robo_reward.cli.app import compose_config, main
from robo_reward.cli.arguments.help import find_comment, format_verb_help
from robo_reward.cli.arguments.schema import parse_value
from robo_reward.cli.arguments.structured import STRUCTURED, Key, list_structured_keys, list_verb_keys, read_comments
from robo_reward.cli.robot.deploy import read_deploy_config
from robo_reward.cli.verbs import VERBS
from robo_reward.configs.deployment import DeployConfig
from robo_reward.policies.algorithms import ALGORITHMS

OPTIONS = [(group, option) for group, options in STRUCTURED.items() for option in options]


def check_keys(keys: tuple[Key, ...]) -> None:
    for key in keys:
        assert key.comment, key.name
        if not isinstance(key.default, dict) and "${" not in str(key.default) and key.default != "???":
            assert parse_value(key.name, key.default, key.type) == key.default


@pytest.mark.parametrize("verb", VERBS)
def test_the_keys_of_a_verb_have_comments_and_defaults_of_their_type(verb: str) -> None:
    check_keys(list_verb_keys(verb))
    text = format_verb_help(verb)
    for key in list_verb_keys(verb):
        assert f"{key.name.rpartition('.')[2]}:" in text
        assert f"# {key.comment}" in text
        assert find_comment(verb, key.name) == key.comment


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_the_keys_of_an_option_have_comments_and_defaults_of_their_type(group: str, option: str) -> None:
    check_keys(list_structured_keys(group, option))


def test_every_algorithm_is_an_option() -> None:
    assert set(STRUCTURED["policy"]) == set(ALGORITHMS)


def test_a_comment_is_the_entry_in_the_docstring_of_the_class_or_its_base() -> None:
    comments = read_comments(DeployConfig)
    assert comments["label_all"] == "ask even if the task can measure it"
    assert comments["workspace"].endswith("in the arm's base frame [m]; null: the task's box")


def test_deploy_reads_the_defaults_of_its_dataclass() -> None:
    config = compose_config("deploy", [])
    robot = OmegaConf.to_container(config.robot)
    assert isinstance(robot, dict)
    wanted = DeployConfig(robot={str(name): value for name, value in robot.items()}, cameras=[])
    assert read_deploy_config(config) == wanted


def test_a_file_of_ones_own_extends_an_option_and_keeps_its_types(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "robot").mkdir()
    (tmp_path / "robot" / "left.yaml").write_text("defaults: [fr3, _self_]\nhost: 172.16.0.9\n")
    config = compose_config("deploy", ["robot=left"], str(tmp_path))
    assert (config.robot.kind, config.robot.host, config.robot.force) == ("fr3", "172.16.0.9", 20.0)
    assert main(["deploy", "--config-dir", str(tmp_path), "robot=left", "robot.force=much"]) == 2
    assert "robot.force=much: expected a number" in capsys.readouterr().err


@pytest.mark.parametrize("typed", [[], ["robot=mujoco"]])
def test_a_file_with_the_name_of_an_option_is_refused(
    typed: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "robot").mkdir()
    (tmp_path / "robot" / "mujoco.yaml").write_text("kind: mujoco\n")
    assert main(["deploy", "--config-dir", str(tmp_path), *typed]) == 2
    assert "robo-reward has a robot=mujoco of its own; rename" in capsys.readouterr().err


def test_a_file_with_the_name_of_a_verb_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "deploy.yaml").write_text("episodes: 7\n")
    assert compose_config("deploy", [], str(tmp_path)) == compose_config("deploy", [])
