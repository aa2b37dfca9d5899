"""The program in an answer, in all the ways in which models wrap it."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robo_reward.language.characters import strip_hidden_characters
from robo_reward.language.grammar import MAX_SOURCE
from robo_reward.writers import extract
from robo_reward.writers.extract import extract_program, strip_reasoning

PROGRAM = "def compute_reward(state, action, previous):\n    reach = state.x\n    return reach, {'reach': reach}\n"
OTHER = PROGRAM.replace("reach", "draft")


@pytest.mark.parametrize(
    "text",
    [
        f"```python\n{PROGRAM}```",
        f"Here it is:\n\n```py\n{PROGRAM}```\nGood luck!",
        f"~~~\n{PROGRAM}~~~",
        f"````python\n{PROGRAM}````",
        f"```python\r\n{PROGRAM.replace(chr(10), chr(13) + chr(10))}```",
        f"<think>maybe\n```python\n{OTHER}```\nno</think>\n```python\n{PROGRAM}```",
        f"the prompt opened it\n```python\n{OTHER}```\n</think>\n```python\n{PROGRAM}```",
        f"```python\n{OTHER}```\nBetter:\n```python\n{PROGRAM}```",
        f"```python\n{PROGRAM}```\nUse it so:\n```python\nreward = compute_reward(s, a, p)\n```",
        f"```\nsome text\n```\n```\n{PROGRAM}```",
        f"1. First\n   ```python\n{PROGRAM.replace('def', '   def').replace('    r', '       r')}   ```",
        f"```python\n{PROGRAM}",
        PROGRAM,
        f"Sure, here is the program:\n\n{PROGRAM}\nIt rewards reaching, isn't that nice?",
    ],
)
def test_the_program_is_found(text: str) -> None:
    assert extract_program(text).source == PROGRAM
    assert extract_program(text).error is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("<think>so many thoughts", "nothing but reasoning"),
        ("I am sorry, I cannot do that.", "no code block.*I am sorry"),
        ("```python\nprint(1)\n```", "none of the 1 code block"),
        ("```python\ndef compute_reward(state, action, previous):\n    return np.where(", "cut off"),
        ("def compute_reward(state, action", "no code block"),
        ("\x00\ufffd" * 50, "no code block"),
    ],
)
def test_no_program_is_explained(text: str, reason: str) -> None:
    source, error = extract_program(text)
    assert source is None
    assert error is not None
    assert re.search(reason, error, re.DOTALL)


def test_helpers_stay_with_the_function() -> None:
    whole = "def gap(a, b):\n    return a - b\n\n\n" + PROGRAM
    assert extract_program(f"```python\n{whole}```").source == whole
    assert extract_program("The program:\n" + whole).source == whole


def test_reasoning_is_cut_out() -> None:
    assert strip_reasoning("<think>a</think>b<THINKING>c</THINKING> d <think>e") == "b d"
    assert strip_reasoning("plain") == "plain"


def test_a_long_rambling_answer_is_read_quickly() -> None:
    assert extract_program("def x(:\n" * 5000 + "def compute_reward(\n").source is None


def test_a_helper_in_another_block_comes_along() -> None:
    near, far = "def near(x):\n    return far(x)", "def far(x):\n    return -x"
    unused, old = "def unused(x):\n    return x", "def near(x):\n    return 0.0"
    program = PROGRAM.replace("state.x", "near(state.x)")
    answer = (
        f"```python\n{old}\n```\nor\n```python\n{far}\n\n{unused}\n```\n```py\n{near}\n```\n```python\n{program}```"
    )
    assert extract_program(answer).source == f"{far}\n\n\n{near}\n\n\n{program}"
    own = f"{far}\n{PROGRAM.replace('state.x', 'far(state.x)')}"
    assert extract_program(f"```\n{far.replace('-x', '0.0')}\n```\n```\n{own}```").source == own


def test_hidden_characters_are_removed() -> None:
    spoiled = PROGRAM.replace("reach =", "reach\u200b =").replace("state.x", "state.x  # \u202e\x1b[2J\ud800")
    assert extract_program(f"```python\n{spoiled}```").source == PROGRAM.replace("state.x", "state.x  # [2J")


@pytest.mark.parametrize(
    "text",
    [
        "#\n" + "@a\n" * 4000,
        "#\n" * 50 + "@a\n" * 1000,
        "#\n" * 50 + "def compute_reward(a):\n    return 1\n" + "@a\n" * 4000,
        "```" + " " * 100_000 + "`\n",
        "~" * 100_000 + "`\n",
        "<think>" * 50_000,
        ("```\n" + "def f(x):\n    return (\n" * 300 + "```\n") * 100 + f"```\n{PROGRAM}```",
        "```python\ndef compute_reward(s):\n    return " + "(" * 90_000 + "\n```",
        "def compute_reward(s):\n    return " + "-" * 18_000 + "1\n",
    ],
    ids=["decorators", "headings", "definition", "spaces", "tildes", "think", "blocks", "brackets", "minus"],
)
def test_the_work_on_an_answer_is_bounded(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []
    parse = extract.parse
    monkeypatch.setattr(extract, "parse", lambda source: (parsed.append(len(source)), parse(source))[1])
    extract_program(text)
    assert len(parsed) <= 2 * extract.MAX_PARSES + 1
    assert max(parsed, default=0) <= MAX_SOURCE


def test_a_giant_answer_is_refused_unread() -> None:
    source, error = extract_program("x" * (extract.MAX_ANSWER + 1))
    assert source is None
    assert error is not None and "more than 1048576 characters" in error


def test_odd_literals_print_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    extract_program("def compute_reward(s):\n    return '\\d' is 1\n")
    assert not recwarn.list


WORDS = '``` ~~~ python return f(1) <think> </think> ( """ \' # @a \\ \x00 \u202e \ud800 é 0xff state.x'
PIECES = st.sampled_from(WORDS.split(" "))
LINES = st.sampled_from(("\n", "    ", "\r", "def compute_reward(s):", "def f(x):", "import numpy as np"))


@settings(max_examples=60)
@given(st.one_of(st.text(max_size=200), st.lists(PIECES | LINES, max_size=60).map("".join)))
def test_any_text_gives_a_program_or_a_reason(text: str) -> None:
    source, error = extract_program(text)
    assert (source is None) != (error is None)
    if source is not None:
        assert "compute_reward" in source
        assert source == strip_hidden_characters(source)
        assert not re.search(r"[\ud800-\udfff\x1b\u202e]", source)
