import os
import pty
import time
from types import SimpleNamespace

import numpy as np
import pytest

from robo_reward.envs.task import make_task
from robo_reward.errors import UnknownName, UsageError
from robo_reward.hardware.policy.teleop import KeyboardTeleop, NoTeleop, SpaceMouseTeleop, make_teleop

ACTION = make_task("fr3/lift").action


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch):
    """A terminal whose keys the test presses."""
    master, slave = pty.openpty()
    with os.fdopen(slave, "r") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        yield lambda keys: (os.write(master, keys.encode()), time.sleep(0.05))
    os.close(master)


def test_keys_take_over_until_the_policy_is_given_the_controls_again(terminal) -> None:
    now = [0.0]
    keyboard = KeyboardTeleop(ACTION, speed=0.5, clock=lambda: now[0])
    try:
        assert keyboard.read().action is None
        terminal("w")
        np.testing.assert_array_equal(keyboard.read().action, (0.5, 0, 0, 1))
        now[0] = 1.0  # released: the hand rests, but the person still has the controls
        np.testing.assert_array_equal(keyboard.read().action, (0, 0, 0, 1))
        terminal(" ")
        np.testing.assert_array_equal(keyboard.read().action, (0, 0, 0, -1))
        terminal("\x1b[D")
        np.testing.assert_array_equal(keyboard.read().action, (0, 0.5, 0, -1))
        terminal("p")
        assert keyboard.read().action is None
        keyboard.reset()
        terminal(".")
        np.testing.assert_array_equal(keyboard.read().action, (0, 0, 0, 1))
    finally:
        keyboard.close()


@pytest.mark.parametrize(
    ("key", "event"), [("\n", "end"), ("y", "success"), ("n", "failure"), ("r", "discard"), ("x", "stop"), ("?", "")]
)
def test_keys_end_an_episode(terminal, key: str, event: str) -> None:
    keyboard = KeyboardTeleop(ACTION)
    try:
        terminal(key)
        assert keyboard.read().event == event
    finally:
        keyboard.close()


def mouse(**state: object) -> SimpleNamespace:
    rest = {"x": 0.0, "y": 0.0, "z": 0.0, "yaw": 0.0, "buttons": [0, 0], **state}
    return SimpleNamespace(read=lambda: SimpleNamespace(**rest), close=lambda: None, state=rest)


def test_whoever_moves_the_space_mouse_drives_and_whoever_lets_go_gives_back() -> None:
    device = mouse(y=0.6)
    teleop = SpaceMouseTeleop(ACTION, device=device)
    action = teleop.read().action
    assert action is not None
    np.testing.assert_allclose(action, (0.6, 0, 0, 1))
    device.read = lambda: SimpleNamespace(**{**device.state, "y": 0.01})
    np.testing.assert_array_equal(teleop.read().action, (0, 0, 0, 1))
    end = time.monotonic() + 5
    while teleop.read().action is not None and time.monotonic() < end:
        time.sleep(0.02)
    assert teleop.read().action is None


def test_the_mouses_buttons_grip_and_end() -> None:
    device = mouse(buttons=[1, 0])
    teleop = SpaceMouseTeleop(ACTION, device=device)
    action = teleop.read().action
    assert action is not None and action[-1] == -1
    again = teleop.read().action
    assert again is not None and again[-1] == -1  # held, not pressed again
    device.read = lambda: SimpleNamespace(**{**device.state, "buttons": [0, 1]})
    assert teleop.read().event == "end"
    assert teleop.read().event == ""


def test_devices_are_found_by_name_and_only_where_they_fit() -> None:
    assert isinstance(make_teleop("none", ACTION), NoTeleop)
    with pytest.raises(UnknownName, match="keyboard"):
        make_teleop("keybord", ACTION)
    with pytest.raises(UsageError, match="ee_delta"):
        SpaceMouseTeleop(make_task("fr3/lift", control="joint_delta").action, device=mouse())


@pytest.mark.parametrize(("key", "event"), [("y", ""), ("x", "stop")])
def test_keys_from_before_an_episode_mean_nothing_but_for_the_stop(terminal, key: str, event: str) -> None:
    keyboard = KeyboardTeleop(ACTION)
    try:
        terminal(key)
        keyboard.reset()
        assert keyboard.read().event == event
    finally:
        keyboard.close()
