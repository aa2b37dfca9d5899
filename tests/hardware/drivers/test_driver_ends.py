"""However a stop or a slow motion goes wrong, the library's loop is told to end; with stand-ins of the libraries."""

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from robo_reward.hardware.arm import ArmFault, ArmState, FaultKind, Mode, Target
from robo_reward.hardware.drivers.franka.base import FrankaArm
from robo_reward.hardware.drivers.franka.fr3 import FrankyArm
from robo_reward.hardware.drivers.franka.panda import PandaArm

HERE = np.array((0.0, -0.7, 0.0, -2.3, 0.0, 1.6, 0.7))
ENDLESS = np.full(7, np.nan)


class Library:
    """Of both robots: a loop that runs until it is told to end, and what it was told."""

    def __init__(self) -> None:
        self.commands: list[Any] = []
        self.running, self.mode, self.q, self.dq = True, Mode.MOVING, HERE, np.full(7, 0.1)
        self.time = 0.0
        self.thresholds = 0
        self.ends = True

    # franky
    JointImpedanceTracker = SimpleNamespace
    RelativeDynamicsFactor = staticmethod(lambda *_: None)
    TorqueStopMotion = staticmethod(lambda: "torque stop")
    JointStopMotion = staticmethod(lambda: "joint stop")
    JointMotion = staticmethod(lambda q, relative_dynamics_factor: "slow motion")

    @property
    def is_in_control(self) -> bool:
        return self.running

    def move(self, motion: str, asynchronous: bool) -> None:
        self.commands.append(motion)

    def join_motion(self, timeout: float) -> bool:
        if "stop" in str(self.commands[-1]) and self.ends:
            self.running = False
        return not self.running

    def poll_motion(self) -> None:
        pass

    def set_collision_behavior(self, torque: Any, force: Any) -> None:
        self.thresholds += 1

    def recover_from_errors(self) -> None:
        pass

    # franka-rs
    def joint_targets(self, **_: Any) -> Any:
        return contextlib.nullcontext(self)

    def move_to(self, q: np.ndarray) -> None:
        self.commands.append(np.array(q))

    def stop(self) -> None:
        self.commands.append("stop")
        self.running = False

    def state(self) -> Any:
        return SimpleNamespace(q=self.q, dq=self.dq, q_d=self.q)

    def set_collision_behavior_simple(self, *_: Any) -> None:
        self.thresholds += 1

    automatic_error_recovery = recover_from_errors

    def set_target(self, q: np.ndarray) -> None:
        self.commands.append(np.array(q))


@pytest.fixture
def library() -> Library:
    return Library()


@pytest.fixture(params=[FrankyArm, PandaArm])
def arm(request: pytest.FixtureRequest, library: Library, monkeypatch: pytest.MonkeyPatch) -> Iterator[FrankaArm]:
    """A driver that streams."""
    arm = request.param("nowhere", realtime="ignore", gripper=False)
    arm._library = arm._robot = library

    def read() -> ArmState:
        library.time += 0.02
        if isinstance(arm, PandaArm) and np.isfinite(library.q).all():
            arm._last_q = library.q
        return ArmState(0.0, library.time, library.q, library.dq, HERE, HERE[:6], HERE[:3], HERE[:4], 0.0, library.mode)

    monkeypatch.setattr(arm, "_read", read)
    arm._follower = SimpleNamespace(set_target=library.set_target) if isinstance(arm, FrankyArm) else library
    arm._streaming = True
    arm.stream(Target(joints=HERE + 0.3))
    yield arm
    arm._streaming = False


def ends(library: Library) -> list[str]:
    return [command for command in library.commands if isinstance(command, str)]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("when", ["at once", "later"])
def test_a_stop_whose_braking_breaks_off_ends_the_loop_all_the_same(
    arm: FrankaArm, library: Library, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], when: str
) -> None:
    arm.state()
    read = arm._read

    def breaks() -> ArmState:
        if when == "at once" or library.time > 0.2:
            raise error("read")
        return read()

    monkeypatch.setattr(arm, "_read", breaks)
    with pytest.raises(ArmFault if error is RuntimeError else error):
        arm.stop()
    assert not library.running and ends(library) == ["torque stop" if isinstance(arm, FrankyArm) else "stop"]
    targets = [command for command in library.commands if not isinstance(command, str)]
    damped = isinstance(arm, FrankyArm) and when == "at once"  # which needs no target
    assert damped or np.abs(targets[-1] - HERE).max() < 0.1, "the loop ended at the last streamed target"
    arm.stop()
    assert len(ends(library)) == 1


@pytest.mark.parametrize("what", ["q", "dq"])
def test_a_stop_without_a_finite_state_ends_the_loop_where_the_arm_was_last_seen(
    arm: FrankaArm, library: Library, what: str
) -> None:
    arm.state()
    setattr(library, what, ENDLESS)
    with pytest.raises(ArmFault, match="not finite"):
        arm.stop()
    assert not library.running
    if isinstance(arm, PandaArm):
        np.testing.assert_array_equal(library.commands[-2], HERE)
    else:
        assert ends(library) == ["torque stop"]
    assert all(np.isfinite(command).all() for command in library.commands if not isinstance(command, str))


def test_a_stop_motion_that_does_not_end_is_followed_by_the_robots_own(
    arm: FrankaArm, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isinstance(arm, PandaArm):
        pytest.skip("its loop ends by the library's own stop")
    monkeypatch.setattr("robo_reward.hardware.drivers.franka.fr3.STOP_PATIENCE", 0.0)
    library.ends, library.dq = False, np.zeros(7)
    with pytest.raises(ArmFault):
        arm.stop()
    assert ends(library) == ["torque stop", "stop"] and not library.running and not arm._streaming


@pytest.mark.parametrize("call", ["state", "stream"])
def test_a_fault_ends_the_stream_only_if_the_loop_has_ended(
    arm: FrankaArm, library: Library, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("read")

    calls: dict[str, Callable[[], Any]] = {"state": arm.state, "stream": lambda: arm.stream(Target(joints=HERE))}
    with monkeypatch.context() as broken:
        broken.setattr(arm, "_read" if call == "state" else "_send", fails)
        with pytest.raises(ArmFault):
            calls[call]()
    arm.stop()
    assert not library.running and ends(library), "the stop after a fault did nothing"
    assert not arm._streaming


def test_collision_thresholds_that_could_not_be_set_on_connect_are_set_before_the_first_motion(
    arm: FrankaArm, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arm, "_import_library", lambda: library)
    monkeypatch.setattr(arm, "_open", lambda: library)
    monkeypatch.setattr(arm, "_check_robot", lambda: None)
    monkeypatch.setattr(arm, "_follow", lambda: library)
    monkeypatch.setattr(arm, "_go", lambda q, speed: None)
    arm.stop()
    for moves in (lambda: arm.move_to(HERE), arm.start_streaming):
        library.thresholds, library.mode, library.running = 0, Mode.USER_STOPPED, True
        arm._disconnect_all()
        arm.connect()
        assert library.thresholds == 0
        library.mode = Mode.IDLE
        moves()
        moves()
        assert library.thresholds == 1


def test_an_arm_that_still_moves_is_not_recovered(
    arm: FrankaArm, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robo_reward.hardware.drivers.franka.base.wait_for_motion_end", lambda mode: mode())
    library.dq, library.ends = np.zeros(7), True
    with pytest.raises(ArmFault, match="still moves"):
        arm.recover()
    library.mode = Mode.IDLE
    arm.recover()
    assert ends(library)[0] in ("torque stop", "stop")


@pytest.mark.parametrize("error", [TimeoutError, KeyboardInterrupt])
@pytest.mark.parametrize("running", [True, False])
def test_a_slow_motion_that_breaks_off_is_interrupted_if_the_robot_is_in_control(
    arm: FrankaArm, library: Library, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], running: bool
) -> None:
    arm._streaming, arm._thresholds_set, library.mode, library.commands[:] = False, True, Mode.IDLE, []

    def breaks(*_: Any) -> None:
        library.running = running
        raise error("broken off")

    if isinstance(arm, FrankyArm):
        joined = library.join_motion
        monkeypatch.setattr(
            library, "join_motion", lambda t: joined(t) if "joint stop" in library.commands else breaks()
        )
    else:
        move_to = library.move_to  # the signal comes just behind the call
        monkeypatch.setattr(
            library, "move_to", lambda q: (move_to(q), breaks() if len(library.commands) == 1 else None)
        )
    with pytest.raises(ArmFault if error is TimeoutError else error):
        arm.move_to(HERE + 1.0)
    interrupted = (
        "joint stop" in library.commands
        if isinstance(arm, FrankyArm)
        else len(library.commands) == 2 and np.abs(library.commands[1] - HERE).max().item() < 0.2
    )
    assert interrupted is running


def test_the_cause_is_told_where_a_loop_ended_between_two_calls() -> None:
    """franka-rs then says no more than that the loop has ended; `stop` raises what ended it."""

    class Ended:
        running = False

        def stop(self) -> None:
            raise RuntimeError("TCP connection got lost: Net Exception")

    arm = PandaArm("127.0.0.1")
    arm._follower = Ended()
    fault = arm._handle_error(RuntimeError("the control loop has ended; stop() returns its result."))
    assert fault.kind is FaultKind.COMMUNICATION and fault.recoverable
