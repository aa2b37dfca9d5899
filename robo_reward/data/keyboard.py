"""Teleoperation from a terminal: the key map, reading single keys, and a picture made of characters."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np

from robo_reward.envs.task import ActionSpec
from robo_reward.errors import UsageError

HELP = (
    "arrows or wasd: hand away, back, left, right · q/e: up, down · space: open or close the gripper · .: wait a step\n"
    "enter: keep the episode and continue · r: discard it and start again · Ctrl-C: stop; kept episodes stay"
)
MOVES = {
    "w": (1.0, 0.0, 0.0),
    "s": (-1.0, 0.0, 0.0),
    "a": (0.0, 1.0, 0.0),
    "d": (0.0, -1.0, 0.0),
    "q": (0.0, 0.0, 1.0),
    "e": (0.0, 0.0, -1.0),
    ".": (0.0, 0.0, 0.0),
}
"""Key -> direction of motion (x away from the robot, y to its left, z up)."""

ARROWS = {
    "\x1b[A": "w",
    "\x1b[B": "s",
    "\x1b[D": "a",
    "\x1b[C": "d",
    "\x1bOA": "w",
    "\x1bOB": "s",
    "\x1bOD": "a",
    "\x1bOC": "d",
}
KEEP, AGAIN, GRIP = ("\r", "\n"), "r", " "
ESCAPE_TAIL = 0.05  # longest wait for the rest of an arrow key's escape sequence [s]


@dataclass
class KeyboardHand:
    """Maps keys to actions and remembers the state of the gripper.

    Args:
        action: the task's convention; `ee_delta` only.
        open: whether the gripper is open, or opening.
    """

    action: ActionSpec
    open: bool = True

    def __post_init__(self) -> None:
        if self.action.kind != "ee_delta" or self.action.names[:3] != ("dx", "dy", "dz"):
            raise UsageError(f"the keyboard drives tasks with control=ee_delta, not {self.action.kind!r}")

    def press_key(self, key: str) -> np.ndarray | None:
        """Returns the action (A,) of one key, or None when the key means no motion.

        The environment does not advance between keys.
        """
        key = ARROWS.get(key, key).lower()
        if key == GRIP and "gripper" in self.action.names:
            self.open = not self.open
        elif key not in MOVES:
            return None
        action = np.zeros(self.action.dim)
        action[:3] = MOVES.get(key, (0.0, 0.0, 0.0))
        if "gripper" in self.action.names:
            action[self.action.names.index("gripper")] = 1.0 if self.open else -1.0
        return action


@contextmanager
def raw_keys() -> Iterator[None]:
    """Switches the terminal to unbuffered input without echo for the block; Ctrl-C still interrupts.

    Raises:
        UsageError: the standard input is no terminal.
    """
    if not sys.stdin.isatty():
        raise UsageError(
            "recording by keyboard needs a terminal to read keys from; standard input is not one. "
            "The scripted expert needs none"
        )
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def read_key() -> str:
    """Waits for one key and returns it.

    An arrow key comes as its whole escape sequence, the end of input as an empty string.
    """
    descriptor = sys.stdin.fileno()
    key = os.read(descriptor, 1)
    while key.startswith(b"\x1b") and len(key) < 3 and select.select([descriptor], [], [], ESCAPE_TAIL)[0]:
        key += os.read(descriptor, 1)
    while key and key[0] >= 0xC0 and len(key) < 4 and select.select([descriptor], [], [], 0)[0]:
        key += os.read(descriptor, 1)  # the rest of a multi-byte character
    return key.decode(errors="replace")


def render_half_blocks(frame: np.ndarray, columns: int) -> str:
    """Returns a frame as lines of half blocks in 24-bit colour, two pixels per character.

    Args:
        frame: (H, W, 3) uint8.
        columns: width [characters].
    """
    rows = max(2, round(columns * frame.shape[0] / frame.shape[1]) // 2 * 2)
    small = cv2.resize(frame, (columns, rows), interpolation=cv2.INTER_AREA).astype(int)
    lines = []
    for upper, lower in zip(small[::2], small[1::2], strict=True):
        cells = (
            f"\x1b[38;2;{u[0]};{u[1]};{u[2]}m\x1b[48;2;{d[0]};{d[1]};{d[2]}m▀"
            for u, d in zip(upper, lower, strict=True)
        )
        lines.append("".join(cells) + "\x1b[0m")
    return "\n".join(lines)
