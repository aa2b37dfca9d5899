"""What lies on the emulated table, for other processes on this machine: one JSON object per line over TCP.

A real robot has a tracker for this and a person who puts things back; an emulator knows and does both.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
from typing import Any, Protocol

import numpy as np

from robo_reward.envs.state import State
from robo_reward.errors import UsageError

log = logging.getLogger(__name__)
SCENE_PORT = 1341
"""Where an emulator tells of its scene."""
LONGEST = 4096


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


class SceneServer:
    """Answers `EmulatorScene`. Use it in a `with` statement, or call `start` and `close`.

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
        try:
            self._listening = socket.create_server((host, port))
        except OSError as error:
            raise UsageError(f"the scene cannot be served at {host}:{port} ({error.strerror or error})") from error
        self._connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, name="scene", daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._listening.getsockname()[1]

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def close(self) -> None:
        """Hangs up; closing twice is harmless."""
        for connection in (self._listening, *tuple(self._connections)):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError as error:
                log.debug("hung up already: %s", error)
            connection.close()
        if self._thread.is_alive():
            self._thread.join(2)

    def __enter__(self) -> SceneServer:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), name="scene", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection, connection.makefile("rb") as lines:
                while line := lines.readline(LONGEST):
                    connection.sendall(json.dumps(self._answer(line)).encode() + b"\n")
        except OSError as error:
            log.debug("connection ended: %s", error)
        finally:
            self._connections.discard(connection)

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            asked = json.loads(line)
            return {"ok": True, **self._told(str(asked["ask"]), asked.get("seed"))}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return {"ok": False, "error": f'expected {{"ask": "state" | "rearrange" | "success"}}: {error}'}

    def _told(self, asked: str, seed: int | None) -> dict[str, Any]:
        if asked == "state":
            state = self._table.task_state()
            return {"fields": {name: state[name].tolist() for name in state.spec.names}}
        if asked == "rearrange":
            if seed is not None:
                self._table.rng = np.random.default_rng(int(seed))
            return {"start": self._table.rearrange().tolist()}
        if asked == "success":
            return {"success": self._table.success()}
        raise ValueError(f"nothing is known of {asked!r}")
