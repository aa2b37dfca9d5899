"""Faults, injected from another process, as an unmodified client sees them; and the service that injects them."""

import json
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from robo_reward.errors import RoboRewardError, UnknownName, UsageError
from robo_reward.hardware.emulator.emulator import Emulator
from robo_reward.hardware.emulator.tools.fault_server import CALLS, FAULT_PORT, FaultClient, FaultServer
from robo_reward.hardware.emulator.tools.faults import Faults
from robo_reward.hardware.emulator.wire.client_server import PortBusy
from robo_reward.hardware.emulator.wire.versions import RobotMode
from tests.hardware.emulator.serving import CLIENTS, drive, free_host, needs, serving

SEEN = {  # fault: exception, its words, mode afterwards, mode once the fault is gone
    "user_stop": ("ControlException", "User Stop pressed", "UserStopped", "Idle"),
    "drop_packets": ("ControlException", "communication_constraints_violation", "Reflex", "Reflex"),
    "delay": ("ControlException", "communication_constraints_violation", "Reflex", "Reflex"),
    "reflex": ("ControlException", "cartesian_reflex", "Reflex", "Reflex"),
    "guiding": ("ControlException", "command aborted", "Guiding", "Idle"),
    "stall": ("NetworkException", "Timeout", "RuntimeError", "Reflex"),
    "refuse_connections": ("NetworkException", "closed connection", "RuntimeError", "Reflex"),
}


ALIKE = ("delay", "guiding")  # take the same ways as `drop_packets` and `user_stop`


@pytest.mark.parametrize("fault", [pytest.param(f, marks=pytest.mark.slow) if f in ALIKE else f for f in SEEN])
def test_what_the_client_sees_and_how_it_goes_on(fault):
    needs("pylibfranka")
    kind, words, mode, after = SEEN[fault]
    with serving("fr3", fault_port=FAULT_PORT) as emulator:
        found = drive(emulator, "pylibfranka_faults", fault)
        log = emulator.log.cycles()
    assert found["kind"] == kind and words in found["said"]
    assert found["mode"] == mode
    assert found["after"] == after  # a reflex outlives its cause and the connection
    assert found["end"] == "Idle"
    assert (fault == "refuse_connections") == (found["again"] != "connected")
    # whatever happened, the arm came to rest within its limits, and soon
    begun = log[np.argmax(log["robot_mode"] == 2) :]
    stopped = begun[np.argmax(begun["robot_mode"] != 2) :]
    rest = stopped[: np.argmax(stopped["robot_mode"] == 2)]  # up to the motion after recovery
    moving = np.flatnonzero(np.abs(rest["dq_d"]).max(axis=1) > 0)
    assert len(moving) and moving[-1] < 150  # 0.31 rad/s at 10 rad/s² and a bit
    assert np.abs(np.diff(rest["dq_d"], axis=0)).max() <= 10e-3 + 1e-9


def test_a_client_of_another_version_is_told():
    needs("pylibfranka")
    with serving("fr3") as emulator:
        emulator.faults.version_mismatch(9)
        with pytest.raises(AssertionError, match=r"(?s)library version.*9|version: 9"):
            drive(emulator, "pylibfranka_examples", "echo_state")
        emulator.faults.version_mismatch(None)
        assert drive(emulator, "pylibfranka_examples", "echo_state")
    with serving("panda") as emulator, pytest.raises(AssertionError, match="5"):
        drive(emulator, "pylibfranka_examples", "echo_state")


def test_a_gripper_that_fails_says_so():
    needs("pylibfranka")
    with serving("fr3") as emulator:
        emulator.faults.gripper_failure(True)
        with pytest.raises(AssertionError, match="CommandException"):
            drive(emulator, "pylibfranka_examples", "gripper")


def test_faults_come_over_the_network_of_this_machine():
    faults, host = Faults(), free_host()
    server = FaultServer(faults, host)
    server.start()
    try:
        client = FaultClient(host)
        client.user_stop(True)
        client.drop_packets(3)
        client.delay(20)
        client.version_mismatch(9)
        client.gripper_failure(True)
        client.camera_freeze(True)
        client.refuse_connections(True)
        client.guiding(True)
        client.stall(100)
        client.reflex("joint_reflex")
        assert faults.user_stopped and faults.delay_ms == 20 and faults.claimed_version == 9 and faults.is_stalled
        assert faults.gripper_fails and faults.cameras_frozen and faults.refused and faults.guided
        assert [faults.take_drop() for _ in range(4)] == [True, True, True, False] and faults.dropped == 3
        assert (faults.take_reflex(), faults.take_reflex()) == ("joint_reflex", "")
        client.clear()
        assert not (faults.user_stopped or faults.delay_ms or faults.claimed_version or faults.is_stalled)
        assert not (faults.gripper_fails or faults.cameras_frozen or faults.refused or faults.guided)
        with pytest.raises(UsageError, match="Did you mean 'joint_reflex'"):
            client.reflex("joint_reflx")
        with pytest.raises(UsageError, match="expected 0 to 1000 ms"):
            client.delay(2000)
        with pytest.raises(UsageError, match="expected"):
            client.stall("long")
        with pytest.raises(UsageError, match="unknown fault"):
            client.call("__init__")
        with pytest.raises(AttributeError):
            client.explode()
        with socket.create_connection((host, FAULT_PORT), timeout=5) as raw:
            raw.sendall(b"noise\n" + json.dumps({"fault": "delay", "args": [5]}).encode() + b"\n")
            lines = raw.makefile("rb")
            assert json.loads(lines.readline())["ok"] is False
            assert json.loads(lines.readline())["ok"] is True
    finally:
        server.close()
    with pytest.raises(RoboRewardError, match="no emulator takes faults at"):
        client.clear()


def test_other_machines_may_not_inject():
    with pytest.raises(UsageError, match="this machine only"):
        FaultServer(Faults(), "0.0.0.0")


def test_every_call_is_a_method_with_a_docstring():
    for name in CALLS:
        assert getattr(Faults, name).__doc__


def test_a_busy_port_and_wrong_names_are_explained():
    with serving("fr3") as emulator, pytest.raises(PortBusy, match=r"1337 .*another emulator uses this address"):
        Emulator("fr3", emulator.host)
    with pytest.raises(PortBusy, match="every address 127"):
        Emulator("fr3", "192.0.2.1")  # reserved for documentation: not this machine
    with pytest.raises(UnknownName, match="Did you mean 'fr3'"):
        Emulator("fr4")
    with pytest.raises(UnknownName, match="'7'"):
        Emulator("fr3", version=7)


def test_a_client_that_is_killed_leaves_an_arm_that_stops():
    needs("pylibfranka")
    with serving("fr3") as emulator:
        command = [sys.executable, str(CLIENTS / "pylibfranka_examples.py"), emulator.host, "joint_position"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as client:
            until(lambda: np.abs(emulator.session.dq_d).max() > 0.3)
            client.kill()
        until(lambda: emulator.session.mode == RobotMode.REFLEX and not emulator.session.dq_d.any())
        log = emulator.log.cycles()
        assert emulator.log.errors() == ["communication_constraints_violation"]
    last = np.flatnonzero(log["received"])[-1]
    stopped = last + np.argmax(log["robot_mode"][last:] == RobotMode.REFLEX)
    assert stopped - last == 20
    still = stopped + np.argmin(np.abs(log["dq_d"][stopped:]).max(axis=1) > 0)
    speed = np.abs(log["dq_d"][stopped - 1]).max()
    assert still - stopped <= speed / 10e-3 + 2  # at the FR3's 10 rad/s²
    assert np.abs(log["dq"][still + 200 :]).max(initial=0) < 0.05


def until(true, patience=60.0):
    """Waits for something that will happen."""
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)
