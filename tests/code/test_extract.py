"""The program in an answer, in all the ways in which models wrap it."""

import re

import pytest

from robo_reward.code.extract import extract_program, without_reasoning

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
    assert without_reasoning("<think>a</think>b<THINKING>c</THINKING> d <think>e") == "b d"
    assert without_reasoning("plain") == "plain"


def test_a_long_rambling_answer_is_read_quickly() -> None:
    assert extract_program("def x(:\n" * 5000 + "def compute_reward(\n").source is None
