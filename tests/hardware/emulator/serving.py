"""Emulators on addresses of their own, and real clients in processes of their own."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from robo_reward.hardware.emulator.emulator import Emulator
from robo_reward.hardware.emulator.wire.versions import GRIPPER_PORT, ROBOT_PORT

CLIENTS = Path(__file__).parent / "clients"
PATIENT = 0.9
"""Lock-step waits nearly as long as libfranka itself: other processes may have the machine [s]."""


def free_host() -> str:
    """A loopback address at which nobody serves: test runs beside this one have other process ids."""
    for last in range(1, 255):
        host = f"127.{16 + os.getpid() // 256 % 200}.{os.getpid() % 256}.{last}"
        with contextlib.ExitStack() as stack:
            try:
                for port in (ROBOT_PORT, GRIPPER_PORT):
                    probe = stack.enter_context(socket.socket())
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((host, port))
            except OSError:
                continue
            return host
    raise RuntimeError("no free loopback address")


@contextlib.contextmanager
def serving(robot: str = "fr3", lockstep: bool = True, **more: Any) -> Iterator[Emulator]:
    """An emulator, in lock-step unless told otherwise."""
    with Emulator(robot, free_host(), lockstep=lockstep, patience=PATIENT, **more) as emulator:
        yield emulator


def needs(module: str) -> None:
    """Skips the test where a client is not installed; looks without importing it."""
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")


def drive(emulator: Emulator, script: str, *words: str, timeout: float = 120) -> dict[str, Any]:
    """Runs a client script against the emulator; its last line is JSON."""
    command = [sys.executable, str(CLIENTS / f"{script}.py"), emulator.host, *words]
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, env=here)
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    return json.loads(ended.stdout.strip().splitlines()[-1])
