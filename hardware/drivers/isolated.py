"""Runs an arm's library in a child process with a heartbeat, so that the arm rests if the deployment fails.

The rule. While targets are streamed, every call counts as a sign of life.
- No call for `hold_after` seconds: the arm holds its last target.
- No call for `stop_after` seconds: the arm is stopped gently, and the next call raises a fault that says so.
- The deployment's process is gone: the arm is stopped gently and released.
- The deployment dies during a slow motion (`move_to`): the motion is interrupted and brakes. One that is
  only frozen does not interrupt it.
- This process itself dies or freezes: the robot misses its commands and stops itself within 20 ms. The operator is
  informed within a second; a process that stays frozen is ended, so that it never wakes up with an old command.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np

from robo_reward.errors import RoboRewardError, UsageError
from robo_reward.hardware.arm import ArmDriver, ArmFault, ArmState, FaultKind, Mode, Target, describe_arm
from robo_reward.hardware.wire import pack_message, unpack_message

log = logging.getLogger(__name__)
HOLD_AFTER, STOP_AFTER = 0.15, 0.5
"""Time without a call from the deployment after which the arm holds, and after which it is stopped [s]."""
VECTORS = ("q", "dq", "tau_ext", "wrench", "hand_position", "hand_quat")
ANSWER_POLL = 0.05
"""Interval at which the parent, waiting for a slow motion, checks for a stop request [s]."""
CALL_POLL = 0.02
"""Interval at which the child checks for silence while no call arrives [s]."""
BEAT_PERIOD = 0.05
"""Period of the child's heartbeat [s]."""
FROZEN_AFTER = 0.6
"""Time without a heartbeat after which the operator is informed [s]."""
SLOW_CALLS = ("connect", "recover")
"""Calls in which a library may block the whole child on the network, so that a missing heartbeat has no meaning."""


class ArmProcess:
    """An `ArmDriver` whose library runs in a child process.

    Args:
        make: makes the arm in the child: a function of a module.
        options: its arguments.
        name: of the arm.
        hold_after: silence after which the arm holds [s].
        stop_after: silence after which it is stopped [s].
        patience: how long a call may take, slow motions included [s].
        thaw: how long a frozen child may stay frozen [s].

    Attributes:
        stop_asked: called while a slow motion lasts; true interrupts it.
        print_line: shows a line to the operator.

    Raises:
        UsageError: times that make no sense.
    """

    def __init__(
        self,
        make: Callable[..., ArmDriver],
        options: dict[str, Any],
        name: str,
        hold_after: float = HOLD_AFTER,
        stop_after: float = STOP_AFTER,
        patience: float = 180.0,
        thaw: float = 10.0,
    ) -> None:
        if not 0 < hold_after < stop_after:
            raise UsageError(f"hold_after={hold_after} stop_after={stop_after}: expected 0 < hold_after < stop_after")
        self.name, self._patience, self._thaw = name, patience, thaw
        self.stop_asked: Callable[[], bool] = lambda: False
        self.print_line: Callable[[str], None] = log.warning
        self._lost: ArmFault | None = None
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._beats = context.RawValue("Q", 0)
        given = (theirs, make, options, hold_after, stop_after, self._beats)
        self.process = context.Process(target=_run_child, args=given, name=f"arm-{name}", daemon=True)
        self.process.start()
        theirs.close()

    def connect(self) -> None:
        self._call("connect")

    def state(self) -> ArmState:
        head, arrays = self._call("state")
        vectors = {name: np.array(arrays[name]) for name in VECTORS}
        known = {**head, "mode": Mode(head["mode"]), "errors": tuple(head["errors"])}
        return ArmState(**vectors, **{name: value for name, value in known.items() if name != "to"})

    def start_streaming(self) -> None:
        self._call("start_streaming")

    def stream(self, target: Target) -> None:
        """Sends the next target; a fault that it causes is raised by the next call."""
        if self._has_answer(0):
            self._receive_answer()
        self._send_call("stream", {"gripper": float(target.gripper)}, {"joints": np.asarray(target.joints, float)})

    def hold(self) -> None:
        self._call("hold")

    def stop(self) -> None:
        self._call("stop")

    def recover(self) -> None:
        self._call("recover")

    def move_to(self, q: np.ndarray, speed_fraction: float = 0.1) -> None:
        """Moves slowly to joint angles (7,) [rad]; a request to stop interrupts the motion at once.

        Raises:
            KeyboardInterrupt: a stop was requested; the arm brakes, and then its process ends.
        """
        try:
            self._call("move_to", {"speed_fraction": speed_fraction}, {"q": np.asarray(q, float)})
        except KeyboardInterrupt:
            if self.process.pid and self.process.is_alive():
                os.kill(self.process.pid, signal.SIGUSR1)
                self.process.join(5)
            raise

    def gripper(self, width: float, speed: float, force: float | None = None) -> None:
        self._call("gripper", {"width": width, "speed": speed, "force": force})

    def about(self) -> dict[str, Any]:
        """Returns what the arm reports about itself; see `hardware.arm.describe_arm`."""
        return self._call("about")[0]["about"]

    def close(self) -> None:
        try:
            if self.process.is_alive() and self._lost is None:
                self._call("close")
        except ArmFault as fault:
            log.warning("while releasing the arm: %s", fault)
        finally:
            self._pipe.close()
            self.process.join(5)
            if self.process.is_alive():
                self.process.kill()
                self.process.join(2)

    def _call(
        self, name: str, given: dict[str, Any] | None = None, arrays: dict[str, np.ndarray] | None = None
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        if self._lost is not None:
            raise self._lost
        if name == "stop":
            self._drain_answers()
        self._send_call(name, given or {}, arrays or {})
        while True:
            self._await_answer(name)
            head, values = self._receive_answer(name)
            if head.get("to") == name:
                return head, values

    def _has_answer(self, timeout: float) -> bool:
        try:
            return self._pipe.poll(timeout)
        except OSError as error:
            raise self._lost or _make_process_fault(self._describe_exit()) from error

    def _await_answer(self, name: str) -> None:
        """Waits until the child has answered.

        Raises:
            ArmFault: no answer will come: the child ended, stays frozen, or takes too long.
        """
        begun = lively = time.monotonic()
        beats, is_reported = self._beats.value, False
        while not self._has_answer(ANSWER_POLL):
            now = time.monotonic()
            if name == "move_to" and self.stop_asked():
                raise KeyboardInterrupt
            if self._beats.value != beats or (name in SLOW_CALLS and not self._is_suspended()):
                beats, lively = self._beats.value, now
                if is_reported:
                    is_reported = False
                    self.print_line("the arm's control process answers again")
            if now - begun > self._patience:
                raise self._kill_child(f"it did not answer {name!r} within {self._patience:g} s")
            if now - lively > self._thaw:
                raise self._kill_child(f"it was frozen for {now - lively:.0f} s and was ended")
            if now - lively > FROZEN_AFTER and not is_reported:
                is_reported = True
                self.print_line(
                    f"the arm's control process has not responded for {now - lively:.1f} s: an arm under its "
                    f"control has stopped by itself. Waiting {self._thaw:g} s at most for it; something suspended "
                    f"process {self.process.pid} or keeps this computer busy"
                )

    def _is_suspended(self) -> bool:
        """Returns whether the system reports that a signal suspended the child."""
        try:
            with open(f"/proc/{self.process.pid}/stat", encoding="utf-8", errors="replace") as file:
                return file.read().rpartition(")")[2].split()[0] in "Tt"
        except (OSError, IndexError):
            return False

    def _kill_child(self, how: str) -> ArmFault:
        """Kills the child, so that it cannot move the arm when it wakes up; every later call fails at once."""
        self.process.kill()
        self.process.join(2)
        self._lost = _make_process_fault(how)
        return self._lost

    def _drain_answers(self) -> None:
        """Discards pending answers, so that an unread fault does not keep the arm from being stopped."""
        while self._has_answer(0):
            try:
                self._receive_answer()
            except RoboRewardError as error:
                log.warning("before stop: %s", error)
                if not self.process.is_alive():
                    return

    def _receive_answer(self, asked: str = "") -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        try:
            head, arrays = unpack_message(self._pipe.recv_bytes())
        except (EOFError, OSError) as error:
            raise _make_process_fault(self._describe_exit()) from error
        if head.get("kind") == "fault":
            errors = tuple(head["errors"])
            raise ArmFault(head["cause"], head["remedy"], head["recoverable"], FaultKind(head["fault"]), errors)
        if head.get("kind") == "error":
            raise (UsageError if head["usage"] else RoboRewardError)(head["text"])
        return head, arrays

    def _send_call(self, name: str, given: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        try:
            self._pipe.send_bytes(pack_message({"call": name, **given}, arrays))
        except OSError as error:
            raise _make_process_fault(self._describe_exit()) from error

    def _describe_exit(self) -> str:
        self.process.join(1)
        code = self.process.exitcode
        return (
            f"it was ended by {signal.Signals(-code).name}" if code is not None and code < 0 else f"it ended ({code})"
        )


def _make_process_fault(how: str) -> ArmFault:
    cause = f"the arm's control process is no longer running: {how}"
    remedy = "The robot has stopped by itself; look at it, then start the deployment again."
    return ArmFault(cause, remedy, False, FaultKind.COMMUNICATION)


class _ParentDied(BaseException):
    """Raised in the child when the deployment died during a slow motion."""


_parent_died = threading.Event()
"""Set together with raising `_ParentDied`, since a library that is interrupted may raise its own error instead."""


def _run_child(
    pipe: Connection, make: Callable[..., ArmDriver], options: dict[str, Any], hold: float, stop: float, beats: Any
) -> None:
    """Runs the child process: creates the arm and serves calls until the parent closes it or is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the parent decides; if it dies, this process ends too
    _watch_parent()
    threading.Thread(target=_count_beats, args=(beats,), name="beat", daemon=True).start()
    try:
        arm = make(**options)
    except Exception as error:  # noqa: BLE001  any error must be reported to the parent
        pipe.send_bytes(_pack_error(error))
        return
    _CallServer(pipe, arm, hold, stop).run()


def _count_beats(beats: Any) -> None:
    """Increments the heartbeat counter for as long as this process runs."""
    while True:
        beats.value += 1
        time.sleep(BEAT_PERIOD)


def _watch_parent() -> None:
    """Interrupts the main thread, wherever it waits, when the parent process is gone."""

    def raise_parent_died(*_: object) -> None:
        if not _parent_died.is_set():  # only once: releasing the arm must not be interrupted again
            _parent_died.set()
            raise _ParentDied

    signal.signal(signal.SIGUSR1, raise_parent_died)
    main, parent = threading.main_thread(), multiprocessing.parent_process()

    def wait_for_parent() -> None:
        if parent is not None:
            wait([parent.sentinel])
            signal.pthread_kill(main.ident or 0, signal.SIGUSR1)

    threading.Thread(target=wait_for_parent, name="parent", daemon=True).start()


class _CallServer:
    """Executes the parent's calls, and holds or stops the arm when none come."""

    def __init__(self, pipe: Connection, arm: ArmDriver, hold_after: float, stop_after: float) -> None:
        self._pipe, self._arm = pipe, arm
        self._hold_after, self._stop_after = hold_after, stop_after
        self._streaming = self._holding = self._closed = self._broken = False
        self._heard = time.monotonic()

    def run(self) -> None:
        try:
            try:
                while self._serve_call():
                    pass
            except (EOFError, OSError):
                pass
            finally:
                signal.signal(
                    signal.SIGUSR1, signal.SIG_IGN
                )  # may raise `_ParentDied`, whose signal comes with the end of the pipe
        except _ParentDied:
            pass
        finally:
            if not self._closed:
                self._release_arm()

    def _serve_call(self) -> bool:
        if not self._pipe.poll(CALL_POLL):
            self._handle_silence(time.monotonic() - self._heard)
            return True
        head, arrays = unpack_message(self._pipe.recv_bytes())
        self._heard, self._holding = time.monotonic(), False
        name = head.pop("call")
        try:
            answer = self._execute_call(name, head, arrays)
        except Exception as error:
            if _parent_died.is_set():
                raise _ParentDied from error
            if isinstance(error, ArmFault):
                self._end_broken_stream()
            self._pipe.send_bytes(_pack_error(error))
        else:
            if answer is not None:
                self._pipe.send_bytes(answer)
        self._heard = time.monotonic()
        return name != "close"

    def _execute_call(self, name: str, given: dict[str, Any], arrays: dict[str, np.ndarray]) -> bytes | None:
        if name == "stream":
            if self._broken:  # sent before the parent learned of the fault
                return None
            self._arm.stream(Target(arrays["joints"], given["gripper"]))
            return None
        if name == "state":
            state = self._arm.state()
            head = {k: v for k, v in asdict(state).items() if k not in VECTORS} | {"mode": state.mode.value}
            return pack_message({"to": name, **head}, {k: getattr(state, k) for k in VECTORS})
        if name == "about":
            return pack_message({"to": name, "about": describe_arm(self._arm)})
        getattr(self._arm, name)(**given, **arrays)
        self._broken = self._broken and name not in ("start_streaming", "stop", "recover")
        if name in ("start_streaming", "stop", "close"):
            self._streaming, self._closed = name == "start_streaming", name == "close"
        return pack_message({"to": name})

    def _handle_silence(self, silence: float) -> None:
        """Holds or stops a streaming arm after a time [s] without a call, by the rule of this module."""
        if not self._streaming or silence < self._hold_after:
            return
        try:
            if silence >= self._stop_after:
                self._streaming = False
                self._arm.stop()
                raise ArmFault(
                    f"the deployment sent nothing for {silence:.2f} s and the arm was stopped",
                    "Something delayed this computer; close other programs, then confirm.",
                    True,
                    FaultKind.CONTROL,
                )
            if not self._holding:
                self._holding = True
                self._arm.hold()
        except ArmFault as fault:
            self._end_broken_stream()
            self._broken = True
            self._pipe.send_bytes(_pack_error(fault))

    def _end_broken_stream(self) -> None:
        """Stops an arm that raised a fault while it streamed: the rule about silence holds for streams only."""
        if not self._streaming:
            return
        self._streaming, self._broken = False, True
        try:
            self._arm.stop()
        except Exception as error:
            if _parent_died.is_set():
                raise _ParentDied from error
            log.warning("the arm could not be stopped after a fault: %s", error)

    def _release_arm(self) -> None:
        try:
            self._arm.close()
        except Exception as error:  # noqa: BLE001  no one is left to report it to
            log.warning("the arm could not be closed: %s", error)
            os._exit(1)  # without commands, the robot stops itself


def _pack_error(error: Exception) -> bytes:
    """Returns an exception as a message for the parent."""
    if isinstance(error, ArmFault):
        about = {"cause": error.cause, "remedy": error.remedy, "recoverable": error.recoverable}
        return pack_message({"kind": "fault", **about, "fault": error.kind.value, "errors": list(error.errors)})
    known = isinstance(error, RoboRewardError)
    text = str(error) if known else f"{type(error).__name__}: {error}"
    return pack_message({"kind": "error", "usage": isinstance(error, UsageError), "text": text})
