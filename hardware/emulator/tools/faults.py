"""Faults that a test, or another process, makes happen on the emulated arm."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from robo_reward.errors import UsageError
from robo_reward.hardware.emulator.robot.reflex import check_error_name


class Faults:
    """The faults of the emulated arm, set by any thread and read by the emulator's threads.

    Attributes:
        claimed_version: answer Connect with this version, as incompatible, or None.
        refused: close every new connection, and those that are open.
        gripper_fails: homing, moves and grasps fail.
        cameras_frozen: cameras repeat their last picture.
        user_stopped: the stop button is down.
        guided: the guiding button is held.
        safety_function: a safety function of the robot is active, such as its Watchman's.
        brakes_closed: the brakes are locked, mode "Other".
        needs_manual_recovery: automatic recovery is refused.
        model_fails: the robot answers a request for its model with an error.
        start_singular: a motion is refused because the arm is at a singular pose.
        dropped: the number of commands lost so far.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._drop = 0
        self.dropped = 0
        self._delay = 0
        self._stalled_until = 0.0
        self._reflexes: deque[str] = deque()
        self._on_refuse: list[Callable[[], None]] = []
        self._on_cut: dict[str, list[Callable[[], None]]] = {}
        self.claimed_version: int | None = None
        self.refused = False
        self.gripper_fails = False
        self.cameras_frozen = False
        self.user_stopped = False
        self.guided = False
        self.safety_function = False
        self.brakes_closed = False
        self.needs_manual_recovery = False
        self.model_fails = False
        self.start_singular = False

    def drop_packets(self, n: int) -> None:
        """Drops the next `n` commands of the client.

        Raises:
            UsageError: a negative number.
        """
        if n < 0:
            raise UsageError(f"drop_packets({n}): expected 0 or more")
        with self._lock:
            self._drop = int(n)

    def delay(self, ms: int) -> None:
        """Delays all commands by `ms` milliseconds of robot time from now on; 0 ends it.

        Raises:
            UsageError: not 0 to 1000 ms.
        """
        if not 0 <= ms <= 1000:
            raise UsageError(f"delay({ms}): expected 0 to 1000 ms")
        self._delay = int(ms)

    def user_stop(self, on: bool = True) -> None:
        """Presses or releases the user stop."""
        self.user_stopped = bool(on)

    def guiding(self, on: bool = True) -> None:
        """Presses or releases the guiding button: the arm can be moved by hand, and takes no motion."""
        self.guided = bool(on)

    def reflex(self, name: str) -> None:
        """Stops the arm by a reflex, one of `reflex.ERRORS`.

        Raises:
            UnknownName: no such reflex.
        """
        with self._lock:
            self._reflexes.append(check_error_name(name))

    def stall(self, seconds: float) -> None:
        """Silences the network between client and robot in both directions for `seconds`; the arm goes on.

        Raises:
            UsageError: not 0 to 3600 s.
        """
        if not 0 <= seconds <= 3600:
            raise UsageError(f"stall({seconds}): expected 0 to 3600 s")
        self._stalled_until = time.monotonic() + seconds

    def gripper_failure(self, on: bool = True) -> None:
        """Makes every homing, move and grasp of the gripper fail, or work again."""
        self.gripper_fails = bool(on)

    def version_mismatch(self, number: int | None) -> None:
        """Makes the robot claim another protocol version; None ends it."""
        self.claimed_version = None if number is None else int(number)

    def refuse_connections(self, on: bool = True) -> None:
        """Switches the control interface off or on: open connections end, new ones are closed at once."""
        self.refused = bool(on)
        if on:
            for callback in self._on_refuse:
                callback()

    def camera_freeze(self, on: bool = True) -> None:
        """Freezes all cameras, which go on with their last picture, or thaws them."""
        self.cameras_frozen = bool(on)

    def activate_safety_function(self, on: bool = True) -> None:
        """Activates or ends a safety function of the Watchman, which preempts the motion and refuses commands."""
        self.safety_function = bool(on)

    def close_brakes(self, on: bool = True) -> None:
        """Locks or unlocks the brakes as Desk does: mode "Other", motions are refused."""
        self.brakes_closed = bool(on)

    def require_manual_recovery(self, on: bool = True) -> None:
        """Refuses automatic recovery until the arm is recovered manually in Desk; `False` recovers it."""
        self.needs_manual_recovery = bool(on)

    def fail_robot_model(self, on: bool = True) -> None:
        """Makes a request for the robot's model get a meaningless answer (version 10) or an error (version 5)."""
        self.model_fails = bool(on)

    def refuse_singular_start(self, on: bool = True) -> None:
        """Refuses motions as if the arm were at a singular pose, or accepts them again."""
        self.start_singular = bool(on)

    def cut_robot_connection(self) -> None:
        """Breaks the TCP connection of the robot's client, once; a new one is accepted."""
        self._run_cut_callbacks("robot")

    def cut_gripper_connection(self) -> None:
        """Breaks the TCP connection of the gripper's client, once; a new one is accepted."""
        self._run_cut_callbacks("gripper")

    def cut_camera(self) -> None:
        """Breaks the connections of all cameras, once; new ones are accepted."""
        self._run_cut_callbacks("camera")

    def clear(self) -> None:
        """Ends all faults; a reflex that happened stays until the client recovers."""
        self.drop_packets(0)
        self.delay(0)
        self.stall(0)
        self.user_stop(False)
        self.guiding(False)
        self.gripper_failure(False)
        self.version_mismatch(None)
        self.refuse_connections(False)
        self.camera_freeze(False)
        self.activate_safety_function(False)
        self.close_brakes(False)
        self.require_manual_recovery(False)
        self.fail_robot_model(False)
        self.refuse_singular_start(False)

    @property
    def delay_ms(self) -> int:
        """The delay of commands, in robot time [ms]."""
        return self._delay

    @property
    def is_stalled(self) -> bool:
        """True if the network is silent now."""
        return time.monotonic() < self._stalled_until

    def take_drop(self) -> bool:
        """Returns whether the command that just arrived gets lost, and counts it if so."""
        with self._lock:
            if not self._drop:
                return False
            self._drop -= 1
            self.dropped += 1
            return True

    def take_reflex(self) -> str:
        """Removes and returns the next injected reflex, or an empty string."""
        with self._lock:
            return self._reflexes.popleft() if self._reflexes else ""

    def on_refuse(self, callback: Callable[[], None]) -> None:
        """Registers a callback for the moment when connections are refused."""
        self._on_refuse.append(callback)

    def on_cut(self, what: str, callback: Callable[[], None]) -> None:
        """Registers a callback for the moment when the connections of `robot`, `gripper` or `camera` are cut."""
        self._on_cut.setdefault(what, []).append(callback)

    def _run_cut_callbacks(self, what: str) -> None:
        for callback in self._on_cut.get(what, ()):
            callback()
