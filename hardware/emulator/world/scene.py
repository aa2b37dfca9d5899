"""A server of the emulated scene's state for other processes on this machine: one JSON object per line over TCP.

A real setup has a tracker for this and a person who puts objects back; an emulator knows and does both.
"""

from __future__ import annotations

import json
from typing import Any, Literal, Protocol

import msgspec
import numpy as np

from robo_reward.envs.state import State
from robo_reward.errors import BadArtifact, UsageError
from robo_reward.files import Count, parse_json
from robo_reward.hardware.emulator.wire.lines import LineServer
from robo_reward.hardware.wire import SCENE_PORT


class SceneSource(Protocol):
    """A plant with a task's scene; `MujocoPlant` is one implementation.

    Attributes:
        rng: samples the start poses of objects.
    """

    rng: np.random.Generator

    def task_state(self) -> State:
        """Returns the task's state (D,)."""
        ...

    def rearrange(self) -> np.ndarray:
        """Samples new object poses; returns where the arm should begin (7,) [rad]."""
        ...

    def success(self) -> bool:
        """Returns whether the task is done now."""
        ...


class SceneQuery(msgspec.Struct):
    """A client's query.

    Attributes:
        ask: the kind of query.
        seed: the seed of a new arrangement.
    """

    ask: Literal["state", "rearrange", "success"]
    seed: Count | None = None


class SceneServer(LineServer):
    """The server that `EmulatorScene` connects to.

    Requests: `{"ask": "state"}`, `{"ask": "rearrange", "seed": 3}`, `{"ask": "success"}`.

    Args:
        table: the scene, which is queried from the server's threads.
        host: the emulated robot's address, on the loopback network.
        port: the port to serve on; 0 for any free one.

    Raises:
        UsageError: an address that other machines reach, or one that is taken.
    """

    def __init__(self, table: SceneSource, host: str = "127.0.0.1", port: int = SCENE_PORT) -> None:
        if not host.startswith("127."):
            raise UsageError(f"the scene is served on this machine only, 127.x.x.x; not on {host}")
        self._table = table
        super().__init__("scene", host, port)

    def answer_line(self, line: bytes) -> bytes:
        """Returns the answer to a line as a line of JSON."""
        return json.dumps(self._answer_query(line)).encode() + b"\n"

    def _answer_query(self, line: bytes) -> dict[str, Any]:
        try:
            return {"ok": True, **self._execute_query(parse_json(line, SceneQuery, "the line"))}
        except BadArtifact as error:
            return {"ok": False, "error": f'expected {{"ask": "state" | "rearrange" | "success"}}: {error.problem}'}

    def _execute_query(self, question: SceneQuery) -> dict[str, Any]:
        if question.ask == "state":
            state = self._table.task_state()
            return {"fields": {name: state[name].tolist() for name in state.spec.names}}
        if question.ask == "success":
            return {"success": self._table.success()}
        if question.seed is not None:
            self._table.rng = np.random.default_rng(question.seed)
        return {"start": self._table.rearrange().tolist()}
