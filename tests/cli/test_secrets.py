"""Passwords and keys are in no file and in no message; commands can be pasted into a shell."""

from __future__ import annotations

import shlex
import stat
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from robo_reward.cli.app import main
from robo_reward.cli.arguments.secrets import mask_argument
from robo_reward.cli.folder import prepare_run_folder
from robo_reward.cli.provenance import format_command
from robo_reward.errors import RoboRewardError
from robo_reward.masking import find_secrets, mask_secrets, mask_value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://ann:SECRET@host/db", "postgresql://ann:***@host/db"),
        ("postgresql+psycopg://ann:SE@C/R:ET@host:5432/db?x=1", "postgresql+psycopg://ann:***@host:5432/db?x=1"),
        ("sqlite://ann:SECRET@/file.db", "sqlite://ann:***@/file.db"),
        ("http://SECRET@host/v1", "http://***@host/v1"),
        ("http://host/v1?api_key=SECRET&x=1", "http://host/v1?api_key=***&x=1"),
        ("postgresql://ann@host/db", "postgresql://ann@host/db"),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        ("Lift it @ 5 cm/s: gently", "Lift it @ 5 cm/s: gently"),
    ],
)
def test_urls_lose_their_passwords(text: str, expected: str) -> None:
    assert mask_secrets(text) == expected


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("writer.extra.api_key=SECRET", "writer.extra.api_key=***"),
        ("writer.extra={api_key: SECRET, top_p: 0.9}", "writer.extra={api_key: ***, top_p: 0.9}"),
        ("preferences=postgresql://a:SECRET@h/d", "preferences=postgresql://a:***@h/d"),
        ("reward.headers.X-Key=Bearer SECRET", "reward.headers.X-Key=***"),
        ("headers.Authorization=Bearer SECRET", "headers.Authorization=***"),
        ("reward.headers={Authorization: 'Bearer SECRET'}", "reward.headers=***"),
        ("reward.headers.X-Key=$KEY", "reward.headers.X-Key=$KEY"),
        ("writer.max_tokens=100", "writer.max_tokens=100"),
        ("writer.key_env=OPENAI_API_KEY", "writer.key_env=OPENAI_API_KEY"),
        ("goal=Type the password: hello", "goal=Type the password: hello"),
        ("run=token=abc", "run=token=abc"),
    ],
)
def test_arguments_lose_their_secrets(argument: str, expected: str) -> None:
    assert mask_argument(argument) == expected


def test_values_are_masked_by_the_name_of_their_key() -> None:
    given = {"extra": {"api_key": "SECRET", "top_p": 0.9, "user": {"password": "SECRET"}}, "max_tokens": 5, "token": ""}
    assert list(find_secrets(given)) == ["SECRET", "SECRET"]
    assert mask_value(given) == {
        "extra": {"api_key": "***", "top_p": 0.9, "user": {"password": "***"}},
        "max_tokens": 5,
        "token": "",
    }


def test_no_file_of_a_run_holds_the_password_and_the_same_command_goes_on(tmp_path: Path) -> None:
    def config(where: str):
        return OmegaConf.create({"preferences": where, "seed": 0, "run": "it", "runs": str(tmp_path)})

    folder = prepare_run_folder(config("postgresql://ann:SECRET@host/db"), "align", "x")
    text = (folder / "config.yaml").read_text()
    assert "SECRET" not in text
    assert "postgresql://ann:***@host/db" in text
    assert stat.S_IMODE((folder / "config.yaml").stat().st_mode) == 0o600
    assert prepare_run_folder(config("postgresql://ann:SECRET@host/db"), "align", "x") == folder
    with pytest.raises(RoboRewardError) as refused:
        prepare_run_folder(config("postgresql://bob:SECRET@host/db"), "align", "x")
    assert "SECRET" not in str(refused.value)


def test_messages_do_not_tell_passwords(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["align", "preferences=mysql://ann:SECRET@host/db"]) == 2
    assert "SECRET" not in capsys.readouterr().err
    assert main(["align", "preferences=x", "holdout=postgresql://ann:SECRET@host/db"]) == 2
    assert "SECRET" not in capsys.readouterr().err
    assert main(["check", "postgresql://ann:SECRET@host/db"]) == 2
    assert "SECRET" not in capsys.readouterr().err


def test_a_masked_password_is_asked_for_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["align", "preferences=postgresql://ann:***@host/db"]) == 2
    assert "the password is not stored" in capsys.readouterr().err


def test_the_command_of_a_run_can_be_pasted_into_a_shell() -> None:
    words = ["search", 'goal=Don\'t touch it; lift "it" & hold $HOME', "run=sp ace"]
    assert shlex.split(format_command(words)) == ["robo-reward", *words]
