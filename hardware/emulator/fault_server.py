"""Faults from other processes: one JSON object per line over TCP, on this machine only."""

from __future__ import annotations

import json
import socket
from typing import Annotated, Any

import msgspec

from robo_reward.errors import BadArtifact, RoboRewardError, UnknownName, UsageError
from robo_reward.files import Count, Finite, check, parse_json
from robo_reward.hardware.emulator.faults import Faults
from robo_reward.hardware.emulator.lines import LineServer

FAULT_PORT = 1339
Switch = Annotated[list[bool], msgspec.Meta(max_length=1)]
"""Arguments of a fault that lasts: on, unless told otherwise."""
Nothing = Annotated[list[bool], msgspec.Meta(max_length=0)]
"""Arguments of a fault that takes none."""
Name = Annotated[str, msgspec.Meta(max_length=200)]
Value = bool | Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)] | Finite | Name | None
CALLS: dict[str, Any] = {
    "drop_packets": tuple[Count],
    "delay": tuple[Count],
    "user_stop": Switch,
    "guiding": Switch,
    "reflex": tuple[Name],
    "stall": tuple[Finite],
    "gripper_failure": Switch,
    "version_mismatch": tuple[Count | None],
    "refuse_connections": Switch,
    "camera_freeze": Switch,
    "activate_safety_function": Switch,
    "close_brakes": Switch,
    "require_manual_recovery": Switch,
    "fail_robot_model": Switch,
    "refuse_singular_start": Switch,
    "cut_robot_connection": Nothing,
    "cut_gripper_connection": Nothing,
    "cut_camera": Nothing,
    "clear": Nothing,
}
"""What can be asked for: the methods of `Faults`, and the schema of their arguments."""
LONGEST = 4096
DEADLINE = 10.0
"""A client that sends nothing for so long is left [s]."""


class Call(msgspec.Struct):
    """A line of a client.

    Attributes:
        fault: one of `CALLS`.
        args: of the method.
    """

    fault: Name
    args: list[Value] = []


def inject(faults: Faults, name: str, args: list[Any]) -> None:
    """Makes something go wrong.

    Args:
        faults: where.
        name: one of `CALLS`.
        args: of the method.

    Raises:
        UnknownName: no such fault, or no such reflex.
        UsageError: arguments that do not go with it.
    """
    if name not in CALLS:
        raise UnknownName("fault", name, CALLS)
    try:
        given = check(args, CALLS[name], name)
    except BadArtifact as error:
        raise UsageError(
            f"{name} with {str(args)[:200]}: {error.problem}; what is expected stands in docs/emulator.md"
        ) from error
    getattr(faults, name)(*given)


class FaultServer(LineServer):
    """Answers `{"fault": NAME, "args": [...]}` with `{"ok": true}` or `{"ok": false, "error": ...}`.

    Each client has a thread of its own, so that a slow one keeps no other waiting.

    Args:
        faults: what shall go wrong.
        host: the address to serve on, of the loopback network.
        port: to serve on.

    Raises:
        UsageError: an address that other machines reach, or one that is taken.
    """

    def __init__(self, faults: Faults, host: str, port: int = FAULT_PORT) -> None:
        if not host.startswith("127."):
            raise UsageError(f"faults can be injected on this machine only, 127.x.x.x; not on {host}")
        self._faults = faults
        super().__init__("faults", host, port, LONGEST, DEADLINE)

    def answer(self, line: bytes) -> bytes:
        """A line of JSON."""
        return json.dumps(self._answer(line)).encode() + b"\n"

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            call = parse_json(line, Call, "the line")
            inject(self._faults, call.fault, call.args)
        except BadArtifact as error:
            return {"ok": False, "error": f'expected {{"fault": NAME, "args": [...]}}: {error.problem}'}
        except RoboRewardError as error:
            return {"ok": False, "error": str(error)}
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
