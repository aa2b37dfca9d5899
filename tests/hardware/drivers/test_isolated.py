import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from robo_reward.errors import UsageError
from robo_reward.hardware.arm import ArmFault, FaultKind, Mode, Target
from robo_reward.hardware.drivers import isolated
from robo_reward.hardware.drivers.isolated import ArmProcess
from robo_reward.hardware.wire import pack_message
from tests.hardware import paper_arm
from tests.hardware.patience import eventually, repeated


def calls(log: Path) -> list[str]:
    return [json.loads(line)["call"] for line in log.read_text().splitlines()] if log.exists() else []


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "calls"


def arm_of(log: Path, **more: float) -> ArmProcess:
    return ArmProcess(paper_arm.make, {"log": str(log)}, "paper", **more)


def test_every_call_arrives_and_every_answer_comes_back(log: Path) -> None:
    arm = arm_of(log)
    try:
        arm.connect()
        state = arm.state()
        np.testing.assert_array_equal(state.q, np.arange(7.0))
        assert state.mode is Mode.IDLE and state.gripper_width == 0.07 and state.errors == ("nothing",)
        arm.start_streaming()
        arm.stream(Target(joints=np.ones(7), gripper=0.05))
        arm.hold()
        arm.stop()
        arm.move_to(np.zeros(7), 0.2)
        arm.gripper(0.03, 0.1, 20.0)
        arm.recover()
    finally:
        arm.close()
    assert [c for c in calls(log) if c != "state"] == [
        "connect", "start_streaming", "stream", "hold", "stop", "move_to", "gripper", "recover", "close",
    ]  # fmt: skip
    assert not arm.process.is_alive()


def test_a_fault_crosses_the_process_whole_and_one_of_the_stream_is_told_by_the_next_call(log: Path) -> None:
    arm = arm_of(log)
    try:
        arm.connect()
        with pytest.raises(ArmFault) as caught:
            arm.move_to(np.full(7, 9.0))
        fault = caught.value
        assert (fault.cause, fault.remedy, fault.kind) == ("too far", "Come back.", FaultKind.REFLEX)
        assert fault.recoverable and fault.errors == ("joint_reflex",)
        arm.start_streaming()
        arm.stream(Target(joints=np.full(7, 9.0)))
        with pytest.raises(ArmFault, match="too far"):
            repeated(lambda: arm.stream(Target(joints=np.zeros(7))))
        with pytest.raises(UsageError, match="bad width"):
            arm.gripper(9.0, 0.1)
    finally:
        arm.close()


def test_targets_that_were_under_way_when_the_stream_broke_are_no_errors_of_their_own(log: Path) -> None:
    """They follow each other faster than the fault comes back; the deployment must see the fault, and nothing else."""
    arm = arm_of(log)
    try:
        arm.connect()
        for _ in range(3):
            arm.start_streaming()
            arm._send_call("stream", {"gripper": 0.0}, {"joints": np.full(7, 9.0)})
            for _ in range(5):
                arm._send_call("stream", {"gripper": 0.0}, {"joints": np.zeros(7)})
            with pytest.raises(ArmFault, match="too far"):
                arm.state()
            arm.stop()
            assert arm.state().mode is Mode.IDLE
        arm.stream(Target(joints=np.zeros(7)))
        with pytest.raises(UsageError, match="start_streaming"):
            arm.state()
    finally:
        arm.close()


@pytest.mark.parametrize("by", ["a request", "ctrl-c"])
def test_a_slow_motion_is_interrupted_at_once(log: Path, by: str) -> None:
    """By the first Ctrl-C, which is a request, and by the second, which raises."""
    arm = arm_of(log)
    arm.connect()
    begun = time.monotonic()

    def asked() -> bool:
        if time.monotonic() - begun < 0.3:
            return False
        if by == "ctrl-c":
            raise KeyboardInterrupt
        return True

    arm.stop_asked = asked
    with pytest.raises(KeyboardInterrupt):
        arm.move_to(np.full(7, 5.0))
    assert time.monotonic() - begun < 5.0
    assert calls(log)[-2:] == ["interrupted", "close"] and "arrived" not in calls(log)
    arm.close()


def test_silence_holds_the_arm_and_then_stops_it(log: Path) -> None:
    arm = arm_of(log, hold_after=0.1, stop_after=0.4)
    try:
        arm.connect()
        arm.start_streaming()
        arm.stream(Target(joints=np.zeros(7)))
        assert eventually(lambda: "stop" in calls(log))
        assert [c for c in calls(log) if c in ("hold", "stop")] == ["hold", "stop"]
        with pytest.raises(ArmFault, match="sent nothing for"):
            arm.stream(Target(joints=np.zeros(7)))
        arm.start_streaming()
        arm.stream(Target(joints=np.zeros(7)))
    finally:
        arm.close()


def test_an_arm_that_does_not_stream_may_be_left_alone_for_long(log: Path) -> None:
    arm = arm_of(log, hold_after=0.05, stop_after=0.1)
    try:
        arm.connect()
        time.sleep(0.4)
        assert arm.state().mode is Mode.IDLE
        assert "stop" not in calls(log)
    finally:
        arm.close()


def test_its_own_death_is_a_fault_that_says_so(log: Path) -> None:
    arm = arm_of(log)
    arm.connect()
    os.kill(arm.process.pid or 0, signal.SIGKILL)
    with pytest.raises(ArmFault, match="control process is no longer running: it was ended by SIGKILL") as caught:
        repeated(arm.state)
    assert caught.value.kind is FaultKind.COMMUNICATION and not caught.value.recoverable
    arm.close()


def frozen(arm: ArmProcess) -> None:
    os.kill(arm.process.pid or 0, signal.SIGSTOP)
    assert eventually(arm._is_suspended)


@pytest.mark.parametrize("call", ["state", "stop", "hold", "recover", "move_to"])
def test_a_frozen_process_is_told_and_ended_whatever_was_asked(log: Path, call: str) -> None:
    arm, lines = arm_of(log, thaw=0.8), []
    arm.print_line = lines.append
    arm.connect()
    arm.start_streaming()
    frozen(arm)
    with pytest.raises(
        ArmFault, match="control process is no longer running: it was frozen for 1 s and was ended"
    ) as fault:
        getattr(arm, call)(*((np.zeros(7),) if call == "move_to" else ()))
    assert len(lines) == 1 and "has not responded for 0." in lines[0] and str(arm.process.pid) in lines[0]
    assert fault.value.kind is FaultKind.COMMUNICATION and not fault.value.recoverable
    assert not arm.process.is_alive(), "what woke up later could move the arm"
    begun = time.monotonic()
    for again in (arm.state, arm.stop, arm.hold):
        with pytest.raises(ArmFault, match="frozen"):
            again()
    arm.close()
    assert time.monotonic() - begun < 1.0


def test_a_process_that_wakes_up_in_time_goes_on(log: Path) -> None:
    arm, lines = arm_of(log, thaw=30.0), []
    arm.print_line = lines.append
    try:
        arm.connect()
        frozen(arm)
        threading.Timer(0.9, os.kill, (arm.process.pid, signal.SIGCONT)).start()
        assert arm.state().mode is Mode.IDLE
        assert len(lines) >= 1 and "has not responded" in lines[0]
    finally:
        arm.close()


def test_a_slow_motion_is_no_frozen_process(log: Path) -> None:
    arm, lines = arm_of(log, thaw=0.5), []
    arm.print_line = lines.append
    arm.connect()
    begun = time.monotonic()
    arm.stop_asked = lambda: time.monotonic() - begun > 0.9
    with pytest.raises(KeyboardInterrupt):
        arm.move_to(np.full(7, 5.0))
    assert lines == []
    arm.close()


def test_the_end_of_the_terminal_does_not_end_it(log: Path) -> None:
    arm = arm_of(log)
    try:
        arm.connect()
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            os.kill(arm.process.pid or 0, number)
        assert arm.state().mode is Mode.IDLE
    finally:
        arm.close()


BRIDGE = """
import sys, time
import numpy as np
from robo_reward.hardware.drivers.isolated import ArmProcess
from robo_reward.hardware.arm import Target
from tests.hardware import paper_arm

if __name__ == "__main__":
    arm = ArmProcess(paper_arm.make, {"log": sys.argv[1]}, "paper", hold_after=5.0, stop_after=20.0)
    arm.connect()
    print(arm.process.pid, flush=True)
    if sys.argv[2] == "move_to":
        arm.move_to(np.full(7, 5.0))
    arm.start_streaming()
    while True:
        arm.stream(Target(joints=np.zeros(7)))
        print("streaming", flush=True)
        time.sleep(0.01)
"""


@pytest.mark.parametrize("what", ["stream", "move_to"])
def test_killing_the_deployment_with_9_stops_the_arm_and_leaves_no_process(
    log: Path, tmp_path: Path, what: str
) -> None:
    script = tmp_path / "bridge.py"
    script.write_text(BRIDGE)
    root = str(Path(__file__).parents[3])
    bridge = subprocess.Popen(
        [sys.executable, str(script), str(log), what],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert bridge.stdout is not None
    try:
        child = int(bridge.stdout.readline())
        if what == "stream":
            assert bridge.stdout.readline() == "streaming\n"
        else:
            assert eventually(lambda: "move_to" in calls(log))
    finally:  # the child goes with its parent
        bridge.kill()
        bridge.wait()
        bridge.stdout.close()
    assert eventually(lambda: not psutil.pid_exists(child))
    assert calls(log)[-1] == "close"
    if what == "move_to":
        assert "interrupted" in calls(log) and "arrived" not in calls(log)


class Pipe:
    """Of a servant: messages, then the end."""

    def __init__(self, *messages: bytes) -> None:
        self.messages, self.sent = list(messages), []

    def poll(self, timeout: float) -> bool:
        return True

    def recv_bytes(self) -> bytes:
        if not self.messages:
            raise EOFError
        return self.messages.pop(0)

    def send_bytes(self, message: bytes) -> None:
        self.sent.append(message)


def served(log: Path, pipe: Any) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    try:
        isolated._CallServer(pipe, paper_arm.make(str(log)), 0.1, 0.4).run()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_fault_while_streaming_stops_the_arm_at_once_though_nobody_asks(log: Path) -> None:
    start, far = (
        pack_message({"call": "start_streaming"}),
        pack_message({"call": "stream", "gripper": 0.0}, {"joints": np.full(7, 9.0)}),
    )
    pipe = Pipe(start, far, pack_message({"call": "state"}))
    served(log, pipe)
    assert calls(log) == ["start_streaming", "stream", "stop", "state", "close"]
    assert len(pipe.sent) == 3  # the answers of two calls, and the fault


def test_the_end_of_the_pipe_and_the_signal_at_the_same_time_let_the_arm_go(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = signal.signal

    def signalled(number: int, handler: Any) -> Any:
        if number == signal.SIGUSR1 and handler is signal.SIG_IGN:
            raise isolated._ParentDied
        return real(number, handler)

    monkeypatch.setattr(signal, "signal", signalled)
    served(log, Pipe())
    assert calls(log) == ["close"]
