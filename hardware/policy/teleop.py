"""Teleoperation: keys in the terminal or a SpaceMouse, for demonstrations and to step in for a policy."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple, Protocol

import numpy as np

from robo_reward.data.keyboard import AGAIN, ARROWS, GRIP, KEEP, MOVES, KeyboardHand, raw_keys, read_key
from robo_reward.envs.task import ActionSpec
from robo_reward.errors import MissingExtra, UnknownName, UsageError

HELP = (
    "arrows or wasd, q/e: you drive · space: gripper · p: the policy continues · enter: end the episode "
    "· y/n: end it as success/failure · r: discard it · x: stop the arm (the red button is faster)"
)
STOP, POLICY, SUCCESS, FAILURE = "x", "p", "y", "n"
KEY_HOLD_TIME = 0.3
"""Time for which a key counts as held [s]: a terminal reports no releases, and repeated keys arrive with pauses."""
DEADZONE = 0.05
"""Share of the SpaceMouse's range below which a deflection is ignored, as from a resting hand."""
KINDS = ("none", "keyboard", "spacemouse")


class TeleopInput(NamedTuple):
    """Present input of a person.

    Attributes:
        action: (A,), or None while the policy acts.
        event: "", or one of `end`, `success`, `failure`, `discard`, `stop`.
    """

    action: np.ndarray | None = None
    event: str = ""


class Teleop(Protocol):
    """A person's input device."""

    def read(self) -> TeleopInput:
        """Returns the present input, without waiting."""
        ...

    def reset(self) -> None:
        """Prepares a new episode, with the gripper open."""
        ...

    def close(self) -> None:
        """Releases the device."""
        ...


class NoTeleop:
    """No device: the policy acts."""

    def read(self) -> TeleopInput:
        return TeleopInput()

    def reset(self) -> None:
        pass

    def close(self) -> None:
        pass


class KeyboardTeleop:
    """Teleoperation with the terminal's keys.

    The first key takes over from the policy and keeps the controls until `p` gives them back.

    Args:
        action: the task's convention, `ee_delta`.
        speed: share of a full step that a key moves the hand by.
        clock: returns the time [s].

    Raises:
        UsageError: standard input is no terminal, or the task's actions are no steps of the hand.
    """

    def __init__(self, action: ActionSpec, speed: float = 0.5, clock: Callable[[], float] = time.monotonic) -> None:
        self._spec, self._speed, self._clock = action, speed, clock
        self._hand = KeyboardHand(action)
        self._driving = self._stopped = False
        self._last, self._until = np.zeros(action.dim), 0.0
        self._terminal = ExitStack()
        self._terminal.enter_context(raw_keys())

    def read(self) -> TeleopInput:
        event = "stop" if self._stopped else ""
        while not event and select.select([sys.stdin], [], [], 0)[0]:
            key = read_key()
            if not key:
                return TeleopInput(None, "stop")  # the terminal was closed, so no person is in control
            event = self.handle_key(key)
        return TeleopInput(self._compute_action() if self._driving else None, event)

    def handle_key(self, key: str) -> str:
        """Handles one key and returns the event it means, or an empty string."""
        if key in KEEP:
            return "end"
        plain = ARROWS.get(key, key).lower()
        events = {AGAIN: "discard", STOP: "stop", SUCCESS: "success", FAILURE: "failure"}
        if plain in events:
            return events[plain]
        if plain == POLICY:
            self._driving = False
        elif plain in MOVES or plain == GRIP:
            action = self._hand.press_key(key)
            if action is not None:
                self._driving, self._last = True, action
                self._until = self._clock() + (KEY_HOLD_TIME if plain in MOVES else 0.0)
        return ""

    def reset(self) -> None:
        """Prepares a new episode: keys pressed before it are dropped, except for the one that stops."""
        self._hand.open, self._driving, self._stopped = True, False, False
        while select.select([sys.stdin], [], [], 0)[0]:
            key = read_key()
            self._stopped = self._stopped or key in ("", STOP)
            if not key:
                return

    def close(self) -> None:
        self._terminal.close()

    def _compute_action(self) -> np.ndarray:
        action = self._last.copy()
        action[:3] *= self._speed if self._clock() < self._until else 0.0
        return action


class SpaceMouseTeleop:
    """Teleoperation with a 3Dconnexion SpaceMouse.

    Moving it drives the hand; the left button toggles the gripper, the right button ends the episode.

    Args:
        action: the task's convention, `ee_delta`.
        speed: share of a full step at full deflection.
        device: object like `pyspacemouse`, for tests.

    Raises:
        MissingExtra: pyspacemouse is not installed.
        UsageError: no SpaceMouse is connected, or the task's actions are no steps of the hand.
    """

    def __init__(self, action: ActionSpec, speed: float = 1.0, device: Any = None) -> None:
        self._spec, self._speed = action, speed
        self._hand = KeyboardHand(action)
        self._device = device or _open_spacemouse()
        self._buttons: list[int] = [0, 0]
        self._driving_until = 0.0

    def read(self) -> TeleopInput:
        state = self._device.read()
        axes = np.array([state.y, -state.x, state.z], float)  # forward, left, up
        pressed = [int(b) for b in state.buttons[:2]]
        left, right = (now and not before for now, before in zip(pressed, self._buttons, strict=False))
        self._buttons = pressed
        if left:
            self._hand.open = not self._hand.open
        moving = float(np.linalg.norm(axes)) > DEADZONE
        if moving or left:
            self._driving_until = time.monotonic() + KEY_HOLD_TIME
        if time.monotonic() >= self._driving_until:
            return TeleopInput(None, "end" if right else "")
        action = self._hand.press_key(".")
        if action is None:
            return TeleopInput()
        action[:3] = np.clip(axes * self._speed, -1.0, 1.0) if moving else 0.0
        if "dyaw" in self._spec.names:
            action[self._spec.names.index("dyaw")] = float(np.clip(-state.yaw * self._speed, -1.0, 1.0))
        return TeleopInput(action, "end" if right else "")

    def reset(self) -> None:
        self._hand.open, self._driving_until = True, 0.0

    def close(self) -> None:
        self._device.close()


def _open_spacemouse() -> Any:
    try:
        import pyspacemouse
    except ImportError as error:
        raise MissingExtra("pyspacemouse", "spacemouse", "teleop=spacemouse", error) from error
    try:
        opened = pyspacemouse.open()
    except Exception as error:
        raise UsageError(
            f"no SpaceMouse can be opened ({error}); plug it in, and give your user access to it"
        ) from error
    if not opened:
        raise UsageError("no SpaceMouse is connected; plug it in, and give your user access to it")
    return opened if hasattr(opened, "read") else pyspacemouse


def make_teleop(kind: str, action: ActionSpec) -> Teleop:
    """Returns the device of that name.

    Raises:
        UnknownName: the name is not in `KINDS`.
    """
    if kind not in KINDS:
        raise UnknownName("teleop", kind, KINDS)
    makers: dict[str, Callable[[], Teleop]] = {
        "none": NoTeleop,
        "keyboard": lambda: KeyboardTeleop(action),
        "spacemouse": lambda: SpaceMouseTeleop(action),
    }
    return makers[kind]()
