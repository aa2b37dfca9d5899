"""A server through which other processes inject faults: one JSON object per line over TCP, on this machine only."""

from __future__ import annotations

import json
import socket
from typing import Annotated, Any

import msgspec

from robo_reward.errors import BadArtifact, RoboRewardError, UnknownName, UsageError
from robo_reward.files import Count, Finite, convert_json, parse_json
from robo_reward.hardware.emulator.tools.faults import Faults
from robo_reward.hardware.emulator.wire.lines import LineServer

FAULT_PORT = 1339
Switch = Annotated[list[bool], msgspec.Meta(max_length=1)]
"""Arguments of a lasting fault: whether it is active; true if omitted."""
Nothing = Annotated[list[bool], msgspec.Meta(max_length=0)]
"""Arguments of a fault without arguments."""
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
"""Methods of `Faults` that a client may call, with the schema of their arguments."""
MAX_LINE_LENGTH = 4096
IDLE_TIMEOUT = 10.0
"""Time without a message after which a client is disconnected [s]."""


class FaultCall(msgspec.Struct):
    """A client's call of a fault.

    Attributes:
        fault: one of `CALLS`.
        args: the arguments of the method.
    """

    fault: Name
    args: list[Value] = []


def inject_fault(faults: Faults, name: str, args: list[Any]) -> None:
    """Injects a fault.

    Args:
        faults: the faults of the emulated arm.
        name: one of `CALLS`.
        args: the arguments of the method.

    Raises:
        UnknownName: no such fault, or no such reflex.
        UsageError: arguments that the fault does not take.
    """
    if name not in CALLS:
        raise UnknownName("fault", name, CALLS)
    try:
        given = convert_json(args, CALLS[name], name)
    except BadArtifact as error:
        raise UsageError(
            f"{name} with {str(args)[:200]}: {error.problem}; docs/emulator.md lists the expected arguments"
        ) from error
    getattr(faults, name)(*given)


class FaultServer(LineServer):
    """The server that `FaultClient` connects to.

    A request is `{"fault": NAME, "args": [...]}`, the answer `{"ok": true}` or `{"ok": false, "error": ...}`. Each
    client is served by a separate thread, so that a slow one does not delay the others.

    Args:
        faults: the faults to inject.
        host: the address to serve on, of the loopback network.
        port: the port to serve on.

    Raises:
        UsageError: an address that other machines reach, or one that is taken.
    """

    def __init__(self, faults: Faults, host: str, port: int = FAULT_PORT) -> None:
        if not host.startswith("127."):
            raise UsageError(f"faults can be injected on this machine only, 127.x.x.x; not on {host}")
        self._faults = faults
        super().__init__("faults", host, port, MAX_LINE_LENGTH, IDLE_TIMEOUT)

    def answer_line(self, line: bytes) -> bytes:
        """Returns the answer to a line as a line of JSON."""
        return json.dumps(self._answer_call(line)).encode() + b"\n"

    def _answer_call(self, line: bytes) -> dict[str, Any]:
        try:
            call = parse_json(line, FaultCall, "the line")
            inject_fault(self._faults, call.fault, call.args)
        except BadArtifact as error:
            return {"ok": False, "error": f'expected {{"fault": NAME, "args": [...]}}: {error.problem}'}
        except RoboRewardError as error:
            return {"ok": False, "error": str(error)}
        return {"ok": True}


class FaultClient:
    """A client with the methods of `Faults` for an emulator in another process: `FaultClient(host).user_stop(True)`.

    Args:
        host: the emulator's address.
        port: the port of its fault service.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = FAULT_PORT) -> None:
        self._address = (host, port)

    def call(self, name: str, *args: object) -> None:
        """Calls one of `CALLS`.

        Raises:
            RoboRewardError: no emulator answers there, or it refuses the call.
        """
        try:
            with socket.create_connection(self._address, timeout=5.0) as connection:
                connection.sendall(json.dumps({"fault": name, "args": list(args)}).encode() + b"\n")
                with connection.makefile("rb") as lines:
                    answer = json.loads(lines.readline(MAX_LINE_LENGTH))
        except (OSError, ValueError) as error:
            host, port = self._address
            raise RoboRewardError(f"no emulator takes faults at {host}:{port}: {error}") from error
        if not answer["ok"]:
            raise UsageError(answer["error"])

    def __getattr__(self, name: str) -> Any:
        if name not in CALLS:
            raise AttributeError(name)
        return lambda *args: self.call(name, *args)
