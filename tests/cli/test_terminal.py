"""Text of users is printed as it is: no markup, no emoji, no command to the terminal."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.table import Table

from robo_reward.cli.app import main
from robo_reward.cli.terminal import Terminal
from robo_reward.printable import to_printable

HOSTILE = ["it's, [x]", "a[/b]", "[bold]", ":smile:", "[link=http://x]y[/link]", "\\[x]", "a" * 300]


def printed(text: str, **options: bool) -> str:
    out = io.StringIO()
    Terminal(file=out, width=80, **options).print(text)
    return out.getvalue()


@pytest.mark.parametrize("text", HOSTILE)
def test_lines_and_cells_hold_the_text_itself(text: str) -> None:
    assert printed(text) == text + "\n"
    table = Table(box=None, pad_edge=False)
    table.add_column("name", overflow="fold")
    table.add_row(text)
    out = io.StringIO()
    Terminal(file=out, width=400).print(table, soft_wrap=False)
    assert out.getvalue().splitlines()[1].rstrip() == text


@given(st.text(max_size=20))
@settings(max_examples=40, deadline=None)
def test_no_character_commands_the_terminal(text: str) -> None:
    shown = printed(text, force_terminal=True)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    assert printed(to_printable(text)) == printed(text)


def test_escapes_are_shown() -> None:
    assert to_printable("a\x1b[31mb\u202ec\n\td") == "a\\x1b[31mb\\u202ec\n\td"


def test_no_verb_reads_text_as_markup() -> None:
    """Markup may be read nowhere: the console of the command line does not know it."""
    for path in (Path(__file__).parents[2] / "robo_reward" / "cli").glob("*.py"):
        source = path.read_text()
        assert "markup=True" not in source, path
        assert "[/]" not in source, path
        if path.name != "terminal.py":
            assert not re.search(r"\bConsole\(|import Console|from_markup", source), path


def test_a_run_with_a_hostile_name_and_goal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "task=panda/reach", "reward=sparse", "steps=128", "episodes=1", "videos=0", f"runs={tmp_path}"]
    assert main([*words, "run=it's, [x] [/b]", "policy.params.worlds=2", "policy.params.batch_size=32"]) == 0
    folder = tmp_path / "it's, [x] [/b]"
    assert (folder / "report.html").is_file()
    assert f"policy: {folder / 'policy'}\n" in capsys.readouterr().out
