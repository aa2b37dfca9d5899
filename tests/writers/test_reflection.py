"""Training statistics in words."""

import numpy as np
import pytest

from robo_reward.writers.reflection import find_warning_signs, format_curve_row, format_number, sample_evenly
from robo_reward.writers.writer import ScoredProgram


@pytest.mark.parametrize("length", [0, 1, 2, 9, 10, 11, 57, 1000])
def test_snapshots_are_few_and_hold_both_ends(length: int) -> None:
    values = list(np.arange(length, dtype=float))
    shown = sample_evenly(values)
    assert len(shown) == min(length, 10)
    assert shown == sorted(set(shown))
    if length:
        assert (shown[0], shown[-1]) == (0.0, length - 1.0)


def test_a_row_counts_all_values_not_only_those_shown() -> None:
    values = [0.0] * 100
    values[50] = 7.0
    assert format_curve_row("x", values).endswith("max 7, mean 0.07, min 0")
    assert format_curve_row("x", []) == "x: nothing was recorded"


def program(terms: dict[str, list[float]], curve: list[float], success: float = 0.5) -> ScoredProgram:
    return ScoredProgram("1.1", "", success, (), 100.0, terms, curve)


def test_signs() -> None:
    assert find_warning_signs(program({"a": [0.1, 0.5], "b": [0.3, 0.2]}, [0.0, 0.4])) == []
    assert find_warning_signs(program({}, [], 0.0)) == ["the success rate stayed near zero"]
    assert find_warning_signs(program({"a": [2.0, 2.0], "b": [1.0, 3.0]}, [0.5])) == ["a is constant, about 2"]
    assert find_warning_signs(program({"a": [200.0, -300.0], "b": [1.0, 3.0]}, [0.5])) == [
        "a is more than 10 times larger than every other term"
    ]
    assert find_warning_signs(program({"a": [0.0, 0.0]}, [0.5])) == ["a is constant, about 0"]


def test_numbers_are_short() -> None:
    assert [format_number(v) for v in (0.123456, 1234.5, -0.0, 1e-9)] == ["0.123", "1.23e+03", "0", "1e-09"]
