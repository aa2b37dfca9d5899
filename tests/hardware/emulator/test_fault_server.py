"""The emulator's services of lines under anything that may be sent to them."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robo_reward.envs.arm.model import FR3
from robo_reward.errors import RoboRewardError, UsageError
from robo_reward.hardware.emulator.tools.fault_server import (
    CALLS,
    MAX_LINE_LENGTH,
    FaultClient,
    FaultServer,
    inject_fault,
)
from robo_reward.hardware.emulator.tools.faults import Faults
from robo_reward.hardware.emulator.wire.lines import MAX_CLIENTS, LineServer
from robo_reward.hardware.emulator.world.cameras import CameraServer
from robo_reward.hardware.emulator.world.plant import KinematicPlant
from robo_reward.hardware.emulator.world.scene import SceneServer
from tests.hardware.patience import eventually

HOST = "127.0.43.71"
DEEP = b"[" * 4000
NUMBERS = (b"1e999", b"-1e999", b"1" + b"0" * 3000, b"1e-999", b"-1", b"NaN", b"Infinity", b"true", b"null", b'"x"')
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
calls = st.fixed_dictionaries(
    {"fault": st.sampled_from([*CALLS, "__init__", "take_drop"]) | values}, optional={"args": values}
)


class Table:
    """A scene whose questions all have answers."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def rearrange(self) -> np.ndarray:
        return self.rng.random(7)

    def success(self) -> bool:
        return False

    def task_state(self) -> Any:
        raise AssertionError("not asked here")


@pytest.fixture(scope="module")
def served() -> Iterator[FaultServer]:
    with FaultServer(Faults(), HOST, 0) as server:
        yield server


@given(st.binary(max_size=200) | calls.map(lambda call: json.dumps(call).encode()))
@settings(max_examples=60, deadline=None)
def test_every_line_gets_an_answer_and_no_fault_gets_wrong_values(line: bytes) -> None:
    faults = Faults()
    with FaultServerWithoutSocket(faults) as server:
        answer = json.loads(server.answer_line(line))
    assert answer["ok"] is True or answer["error"]
    switches = [value for value in vars(faults).values() if isinstance(value, bool)]
    assert len(switches) >= 9 and 0 <= faults.delay_ms <= 1000
    assert faults.claimed_version is None or 0 <= faults.claimed_version < 2**54


class FaultServerWithoutSocket(FaultServer):
    """Only what answers."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def __enter__(self) -> "FaultServerWithoutSocket":
        return self

    def __exit__(self, *exception: object) -> None:
        pass


@pytest.mark.parametrize("name", CALLS)
def test_numbers_that_are_none_or_too_large_are_refused_by_every_fault(name: str) -> None:
    server = FaultServerWithoutSocket(Faults())
    for number in NUMBERS:
        answer = json.loads(server.answer_line(b'{"fault": "%s", "args": [%s]}' % (name.encode(), number)))
        fine = {b"true"} | ({b"1e-999"} if name == "stall" else {b"null"} if name == "version_mismatch" else set())
        assert not answer["ok"] or number in fine
    with pytest.raises(UsageError):
        inject_fault(Faults(), name, [float("inf")])


@pytest.mark.parametrize("line", [DEEP, b'{"fault": "drop_packets", "args": [1e999]}', b"\xff\xfe", b"", b"x" * 9000])
def test_no_line_ends_the_service(served: FaultServer, line: bytes) -> None:
    with socket.create_connection((HOST, served.port), timeout=10) as client, client.makefile("rb") as answers:
        client.sendall(line + b"\n")
        assert json.loads(answers.readline())["ok"] is False
    client = FaultClient(HOST, served.port)
    client.camera_freeze(True)
    client.clear()


def is_answered(port: int) -> bool:
    try:
        FaultClient(HOST, port).clear()
    except RoboRewardError:
        return False
    return True


def test_a_slow_client_keeps_nobody_waiting_and_too_many_are_turned_away(served: FaultServer) -> None:
    slow = [socket.create_connection((HOST, served.port), timeout=10) for _ in range(MAX_CLIENTS + 5)]
    try:
        for connection in slow[:3]:
            connection.sendall(b"{")  # and no more
        turned_away = 0
        for connection in slow[MAX_CLIENTS:]:
            turned_away += connection.recv(1) == b""
        assert turned_away == 5
        slow.pop(0).close()
        assert eventually(lambda: is_answered(served.port))  # once it was noticed that one has left
    finally:
        for connection in slow:
            connection.close()


def test_scene_and_cameras_answer_anything_too() -> None:
    services: list[LineServer] = [SceneServer(Table(), HOST, 0), CameraServer(KinematicPlant(FR3), HOST, 0)]
    lines = [DEEP, b'{"ask": "rearrange", "seed": 1e999}', b'{"ask": []}', b'{"ask": "rearrange", "seed": -1}']
    lines += [b'{"camera": "front", "size": 1e999}', b'{"camera": [], "size": 32}', b"\xff", b"x" * MAX_LINE_LENGTH]
    for service in services:
        with service:
            for line in lines:
                assert service.answer_line(line)
    assert json.loads(SceneServer.answer_line(services[0], b'{"ask": "rearrange", "seed": 3}'))["ok"]  # type: ignore[arg-type]
