"""Faults from other processes: one JSON object per line over TCP, on this machine only."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
from typing import Any

from robo_reward.errors import RoboRewardError, UnknownName, UsageError
from robo_reward.hardware.emulator.faults import Faults
from robo_reward.hardware.emulator.server import accept, listen

log = logging.getLogger(__name__)

FAULT_PORT = 1339
CALLS = (
    "drop_packets",
    "delay",
    "user_stop",
    "guiding",
    "reflex",
    "stall",
    "gripper_failure",
    "version_mismatch",
    "refuse_connections",
    "camera_freeze",
    "activate_safety_function",
    "close_brakes",
    "require_manual_recovery",
    "fail_robot_model",
    "refuse_singular_start",
    "cut_robot_connection",
    "cut_gripper_connection",
    "cut_camera",
    "clear",
)
"""What can be asked for: the methods of `Faults`."""
LONGEST = 4096


class FaultServer:
    """Answers `{"fault": NAME, "args": [...]}` with `{"ok": true}` or `{"ok": false, "error": ...}`.

    Args:
        faults: what shall go wrong.
        host: the address to serve on, of the loopback network.
        port: to serve on.

    Raises:
        UsageError: an address that other machines reach.
        PortBusy: the address is taken.
    """

    def __init__(self, faults: Faults, host: str, port: int = FAULT_PORT) -> None:
        if not host.startswith("127."):
            raise UsageError(f"faults can be injected on this machine only, 127.x.x.x; not on {host}")
        self._faults, self._server, self._running = faults, listen(host, port), True
        self._client: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, name="faults", daemon=True)

    def start(self) -> None:
        """Begins to accept."""
        self._thread.start()

    def close(self) -> None:
        """Ends the service."""
        self._running = False
        self._server.close()
        client = self._client
        if client is not None:
            with contextlib.suppress(OSError):  # it may have left
                client.shutdown(socket.SHUT_RDWR)
        if self._thread.is_alive():
            self._thread.join(2.0)

    def _serve(self) -> None:
        while self._running:
            accepted = accept(self._server, lambda: self._running)
            if accepted is None:
                return
            with accepted[0] as connection:
                connection.settimeout(2.0)
                self._client = connection
                try:
                    with connection.makefile("rb") as lines:
                        for line in iter(lambda: lines.readline(LONGEST), b""):
                            connection.sendall(json.dumps(self._answer(line)).encode() + b"\n")
                except OSError as error:
                    log.debug("connection ended: %s", error)
                self._client = None

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            call = json.loads(line)
            name, args = call["fault"], call.get("args", [])
            if name not in CALLS:
                raise UnknownName("fault", str(name), CALLS)
            getattr(self._faults, name)(*args)
        except RoboRewardError as error:
            return {"ok": False, "error": str(error)}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return {"ok": False, "error": f'expected {{"fault": NAME, "args": [...]}}: {error}'}
        return {"ok": True}


class FaultClient:
    """The methods of `Faults`, on an emulator in another process: `FaultClient(host).user_stop(True)`.

    Args:
        host: of the emulator.
        port: of its fault service.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = FAULT_PORT) -> None:
        self._address = (host, port)

    def call(self, name: str, *args: object) -> None:
        """One of `CALLS`.

        Raises:
            RoboRewardError: the emulator is not there, or refuses.
        """
        try:
            with socket.create_connection(self._address, timeout=5.0) as connection:
                connection.sendall(json.dumps({"fault": name, "args": list(args)}).encode() + b"\n")
                with connection.makefile("rb") as lines:
                    answer = json.loads(lines.readline(LONGEST))
        except (OSError, ValueError) as error:
            host, port = self._address
            raise RoboRewardError(f"no emulator takes faults at {host}:{port}: {error}") from error
        if not answer["ok"]:
            raise UsageError(answer["error"])

    def __getattr__(self, name: str) -> Any:
        if name not in CALLS:
            raise AttributeError(name)
        return lambda *args: self.call(name, *args)
