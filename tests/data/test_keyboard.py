"""Keys mean what the help says."""

from __future__ import annotations

import numpy as np
import pytest

from robo_reward.data.keyboard import ARROWS, HELP, KeyboardHand, render_half_blocks
from robo_reward.envs.task import ActionSpec
from robo_reward.errors import UsageError

WITH = ActionSpec("ee_delta", ("dx", "dy", "dz", "gripper"), (0.02,) * 3 + (0.04,), ("m",) * 4, 25.0)
WITHOUT = ActionSpec("ee_delta", ("dx", "dy", "dz"), (0.02,) * 3, ("m",) * 3, 25.0)


def test_moves() -> None:
    hand = KeyboardHand(WITHOUT)
    for key, move in (("w", (1, 0, 0)), ("s", (-1, 0, 0)), ("a", (0, 1, 0)), ("d", (0, -1, 0)), ("Q", (0, 0, 1))):
        np.testing.assert_array_equal(hand.press_key(key), move)
    for arrow, letter in ARROWS.items():
        np.testing.assert_array_equal(hand.press_key(arrow), hand.press_key(letter))
    np.testing.assert_array_equal(hand.press_key("."), (0, 0, 0))
    for nothing in ("x", "\x1b", "é", " "):
        assert hand.press_key(nothing) is None


def test_space_toggles_the_gripper_which_stays_as_it_is() -> None:
    hand = KeyboardHand(WITH)
    assert [hand.press_key(key)[3] for key in "w  w "] == [1, -1, 1, 1, -1]  # type: ignore[index]
    np.testing.assert_array_equal(hand.press_key("d"), (0, -1, 0, -1))


def test_only_tasks_that_keys_can_drive() -> None:
    with pytest.raises(UsageError, match="ee_delta"):
        KeyboardHand(ActionSpec("joint_delta", ("q1",), (0.1,), ("rad",), 25.0))


def test_a_picture_in_blocks() -> None:
    frame = np.zeros((40, 60, 3), np.uint8)
    frame[:20] = (255, 0, 9)
    lines = render_half_blocks(frame, 30).split("\n")
    assert len(lines) == 10 and all(line.count("▀") == 30 for line in lines)
    assert "38;2;255;0;9m" in lines[0] and "38;2;0;0;0m" in lines[-1]
    assert all(line.endswith("\x1b[0m") for line in lines)


def test_the_help_names_the_keys() -> None:
    for word in ("arrows", "wasd", "q/e", "space", "enter", "Ctrl-C"):
        assert word in HELP
