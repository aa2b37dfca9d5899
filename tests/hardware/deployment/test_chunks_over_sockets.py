"""A policy that plans chunks from pictures, in a process of its own, on an emulated FR3 over real sockets."""

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from robo_reward.cli import main
from robo_reward.cli.robot import deploy
from robo_reward.data.episode import EpisodeStore
from robo_reward.hardware.emulator.wire.versions import ROBOT_PORT
from robo_reward.hardware.policy.process import PolicyProcess
from tests.hardware.emulator.serving import free_host
from tests.hardware.rigs import Person
from tests.policies import chunks

pytest.importorskip("franky")
pytestmark = pytest.mark.slow


@pytest.fixture
def host() -> Iterator[str]:
    """The address of an emulated FR3 with the scene and the cameras of its lift task."""
    host = free_host()
    words = ["emulate", "task=fr3/lift", f"host={host}", "view=false", "lockstep=true", "speed=1"]
    server = subprocess.Popen([sys.executable, "-m", "robo_reward.cli", *words], stdout=subprocess.DEVNULL)
    try:
        while server.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((host, ROBOT_PORT), 1):
                break
            time.sleep(0.2)
        time.sleep(2)  # gives the server time to drop the probe connection above
        yield host
    finally:
        server.terminate()
        server.wait()


def test_it_looks_through_the_arms_cameras_and_no_step_waits(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = Person()
    monkeypatch.setattr(
        deploy, "policy_source", lambda *where: PolicyProcess("fr3/lift front+side 32 2 8 4 gentle", chunks.load)
    )
    monkeypatch.setattr(deploy, "AtTerminal", lambda print_line: person)
    words = ["deploy", "robot=fr3", f"host={host}", "robot.realtime=ignore", "clock=robot", "label=false"]
    assert main([*words, "episodes=1", "horizon=30", "frames=exact", f"runs={tmp_path}", "run=r"]) == 0, person.messages
    result = json.loads((tmp_path / "r" / "result.json").read_text())
    assert result["episodes"] == 1 and result["faults"] == []
    (episode,) = EpisodeStore(tmp_path / "r" / "episodes", frames="exact")
    assert episode.frames is not None and episode.frames.shape == (31, 32, 64, 3)
    assert episode.meta["cameras"] == ["front", "side"]
    followed = episode.meta["verdicts"].count("follow")
    # Only the first steps, before the first reply, have no action.
    assert followed >= 26, episode.meta["verdicts"]
    asked = result["latency_ms"]["answer"]["count"]
    assert 30 / 8 <= asked <= 30 / 4 + 2
