"""What lies on the emulated table, for other processes on this machine: one JSON object per line over TCP.

A real robot has a tracker for this and a person who puts things back; an emulator knows and does both.
"""

from __future__ import annotations

import json
from typing import Any, Literal, Protocol

import msgspec
import numpy as np

from robo_reward.envs.state import State
from robo_reward.errors import BadArtifact, UsageError
from robo_reward.files import Count, parse_json
from robo_reward.hardware.emulator.lines import LineServer

SCENE_PORT = 1341
"""Where an emulator tells of its scene."""


class Table(Protocol):
    """A body with a task's scene; `MujocoPlant` is one."""

    rng: np.random.Generator

    def task_state(self) -> State:
        """The task's state (D,)."""
        ...

    def rearrange(self) -> np.ndarray:
        """Puts the things to a new start; returns where the arm should begin (7,) [rad]."""
        ...

    def success(self) -> bool:
        """Whether the task is done now."""
        ...


class Question(msgspec.Struct):
    """A line of a client.

    Attributes:
        ask: what is wanted.
        seed: of a new arrangement.
    """

    ask: Literal["state", "rearrange", "success"]
    seed: Count | None = None


class SceneServer(LineServer):
    """Answers `EmulatorScene`.

    Requests: `{"ask": "state"}`, `{"ask": "rearrange", "seed": 3}`, `{"ask": "success"}`.

    Args:
        table: asked from the server's threads.
        host: the emulated robot's address, on the loopback network.
        port: 0 for any that is free.

    Raises:
        UsageError: an address that other machines reach, or one that is taken.
    """

    def __init__(self, table: Table, host: str = "127.0.0.1", port: int = SCENE_PORT) -> None:
        if not host.startswith("127."):
            raise UsageError(f"the scene is told on this machine only, 127.x.x.x; not on {host}")
        self._table = table
        super().__init__("scene", host, port)

    def answer(self, line: bytes) -> bytes:
        """A line of JSON."""
        return json.dumps(self._answer(line)).encode() + b"\n"

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            return {"ok": True, **self._told(parse_json(line, Question, "the line"))}
        except BadArtifact as error:
            return {"ok": False, "error": f'expected {{"ask": "state" | "rearrange" | "success"}}: {error.problem}'}

    def _told(self, question: Question) -> dict[str, Any]:
        if question.ask == "state":
            state = self._table.task_state()
            return {"fields": {name: state[name].tolist() for name in state.spec.names}}
        if question.ask == "success":
            return {"success": self._table.success()}
        if question.seed is not None:
            self._table.rng = np.random.default_rng(question.seed)
        return {"start": self._table.rearrange().tolist()}
