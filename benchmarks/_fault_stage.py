"""An emulated arm and a deployment on it that can be disturbed, killed and restarted."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks._fault_list import SHAPE_FILE, SLOW_HAND
from robo_reward.configs.emulation import REPORTED
from robo_reward.data.episode import EpisodeStore
from robo_reward.envs.arm.model import get_arm_model
from robo_reward.hardware.emulator.emulator import Emulator
from robo_reward.hardware.emulator.tools.fault_server import FAULT_PORT, FaultClient
from robo_reward.hardware.emulator.wire.versions import RobotMode
from robo_reward.hardware.emulator.world.cameras import CameraServer
from robo_reward.hardware.emulator.world.plant import KinematicPlant

STREAMING = 1.2
"""Streaming time after which an episode counts as running [s]."""
PATIENCE = 60.0
"""Timeout for every wait [s]."""


class Stage:
    """Runs the emulator in this process and the deployment in a separate process group; a context manager.

    Args:
        robot: `fr3` or `panda`.
        host: where the emulator serves.
        situation: what the policy does.
        folder: for the episodes.

    Attributes:
        pids: of the deployment's processes.
        starts: how many deployments were started.
        cleared: when the faults were last cleared, by the robot's clock [ms].
    """

    def __init__(self, robot: str, host: str, situation: str, folder: Path) -> None:
        self.robot, self.host, self.situation, self.folder = robot, host, situation, folder
        plant = KinematicPlant(get_arm_model(robot), object_width=0.04 if situation in ("gripping", SLOW_HAND) else 0.0)
        hand = REPORTED if situation == SLOW_HAND else None
        self.emulator = Emulator(robot, host, plant, lockstep=True, speed=1.0, fault_port=FAULT_PORT, hand=hand)
        self._cameras = CameraServer(plant, host, faults=self.emulator.faults)
        self._bridge: subprocess.Popen[bytes] | None = None
        self.pids: dict[str, int] = {}
        self.starts = self.cleared = 0
        self._clear = self.emulator.faults.clear
        self.emulator.faults.clear = self._note_clearing

    def __enter__(self) -> Stage:
        self.emulator.start()
        self._cameras.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill_all()
        self._cameras.close()
        self.emulator.close()

    # The deployment

    @property
    def alive(self) -> bool:
        """True while the deployment runs."""
        return self._bridge is not None and self._bridge.poll() is None

    def begin(self) -> None:
        """Starts a new deployment in the same folder, without any fault."""
        self.kill_all()
        self.call("clear")
        self.starts += 1
        for name in ("pids", "waiting", "go", SHAPE_FILE):
            (self.folder / name).unlink(missing_ok=True)
        command = [sys.executable, "-m", "benchmarks._fault_bridge", str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            self._bridge = subprocess.Popen(
                [*command, self.robot, self.host, self.situation], stdout=log, stderr=log, start_new_session=True
            )
        until(lambda: (self.folder / "pids").exists() or not self.alive)
        with contextlib.suppress(OSError, ValueError):
            self.pids = json.loads((self.folder / "pids").read_text(encoding="utf-8"))

    def signal_all(self, number: signal.Signals) -> None:
        """Sends a signal to all its processes at once."""
        if self._bridge is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._bridge.pid, number)

    def kill_all(self) -> None:
        """Kills all its processes at once and waits until they have ended."""
        self.signal_all(signal.SIGKILL)
        if self._bridge is not None:
            self._bridge.wait()

    # Faults

    def call(self, name: str, *args: object) -> None:
        """Calls the public injection API once, over TCP."""
        FaultClient(self.host).call(name, *args)

    def _note_clearing(self) -> None:
        self.cleared = self.emulator.session.time
        self._clear()

    # Observations from outside the deployment

    def said(self) -> list[str]:
        """Returns the messages shown to the operator so far."""
        file = self.folder / "said"
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []

    def episodes(self) -> dict[str, Any]:
        """Returns the metadata of each stored episode, by key."""
        return {entry.key: entry.meta for entry in EpisodeStore(self.folder / "episodes").list_entries()}

    # Initial states of a row

    def ready(self) -> str:
        """Returns the key of an episode that has streamed for `STREAMING`; restarts a dead deployment up to twice."""
        for _ in range(3):
            if not self.alive:
                self.begin()
            if key := self._streaming():
                return key
        return ""

    def _streaming(self) -> str:
        found: list[str] = []

        def under_way() -> bool:
            for file in (self.folder / "live").glob("*/rows"):
                with contextlib.suppress(OSError):  # the episode was just stored
                    begun = (file.parent / "head.json").stat().st_mtime
                    moves = self.emulator.session.mode == RobotMode.MOVE
                    if moves and file.stat().st_size and time.time() - begun > STREAMING:
                        found.append(file.parent.name)
            return bool(found) or not self.alive

        until(under_way)
        return found[0] if found else ""

    def idle(self) -> bool:
        """Waits until a deployment waits for the first motion; restarts a dead one up to twice."""
        file = self.folder / "waiting"
        for _ in range(3):
            if not self.alive:
                self.begin()
            until(lambda: file.exists() or not self.alive)
            if file.exists():
                return True
        return False

    def whole_episode(self, before: set[str]) -> bool:
        """Confirms the first motion until an episode ends as it should."""
        for _ in range(3):
            if not self.idle():
                return False
            self._go()
            until(lambda: (self.folder / "waiting").exists() or not self.alive)
            new = [meta for key, meta in self.episodes().items() if key not in before]
            if any(meta.get("ending") == "horizon" for meta in new):
                return True
        return False

    def _go(self) -> None:
        """Confirms the first motion."""
        (self.folder / "waiting").unlink()
        (self.folder / "go").touch()


def until(true: Callable[[], Any], seconds: float = PATIENCE) -> bool:
    """Waits for a condition; returns whether it became true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.005)
    return False
