"""Faults that a test, or another process, makes happen on the emulated arm."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from robo_reward.errors import UsageError
from robo_reward.hardware.emulator.reflex import error_named


class Faults:
    """What shall go wrong, set by any thread and read by the emulator's.

    Attributes:
        claimed_version: answer Connect with this version, as incompatible, or none.
        refused: close every new connection, and those that are open.
        gripper_fails: homing, moves and grasps fail.
        cameras_frozen: cameras repeat their last picture.
        user_stopped: the stop button is down.
        guided: somebody holds the guiding button.
        safety_function: a safety function of the robot is active, such as its Watchman's.
        brakes_closed: the brakes are locked, mode "Other".
        needs_manual_recovery: automatic recovery is refused.
        model_fails: the robot answers a request for its model with an error.
        start_singular: a motion is refused because the arm stands at a singular pose.
        dropped: how many commands got lost so far.
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
        """The next `n` commands of the client get lost on the way."""
        if n < 0:
            raise UsageError(f"drop_packets({n}): expected 0 or more")
        with self._lock:
            self._drop = int(n)

    def delay(self, ms: int) -> None:
        """Commands arrive so many milliseconds of robot time late, from now on; 0 ends it."""
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
        """The arm stops by this reflex, one of `reflex.ERRORS`.

        Raises:
            UnknownName: there is none of that name.
        """
        with self._lock:
            self._reflexes.append(error_named(name))

    def stall(self, seconds: float) -> None:
        """The network between client and robot is silent for so long, in both directions; the arm goes on."""
        if not 0 <= seconds <= 3600:
            raise UsageError(f"stall({seconds}): expected 0 to 3600 s")
        self._stalled_until = time.monotonic() + seconds

    def gripper_failure(self, on: bool = True) -> None:
        """Every homing, move and grasp of the gripper fails, or works again."""
        self.gripper_fails = bool(on)

    def version_mismatch(self, number: int | None) -> None:
        """The robot claims to speak another protocol version; none ends it."""
        self.claimed_version = None if number is None else int(number)

    def refuse_connections(self, on: bool = True) -> None:
        """The control interface is switched off: open connections end, new ones are closed at once."""
        self.refused = bool(on)
        if on:
            for callback in self._on_refuse:
                callback()

    def camera_freeze(self, on: bool = True) -> None:
        """Cameras go on, but always with the same picture."""
        self.cameras_frozen = bool(on)

    def activate_safety_function(self, on: bool = True) -> None:
        """A safety function, set up in the robot's Watchman, preempts the motion and refuses commands, or ends."""
        self.safety_function = bool(on)

    def close_brakes(self, on: bool = True) -> None:
        """The brakes are locked in Desk, or unlocked: mode "Other", no motion is taken."""
        self.brakes_closed = bool(on)

    def require_manual_recovery(self, on: bool = True) -> None:
        """Automatic recovery is refused: somebody must recover the arm by hand, in Desk; or has done so."""
        self.needs_manual_recovery = bool(on)

    def fail_robot_model(self, on: bool = True) -> None:
        """A request for the robot's model gets an answer of no meaning (version 10) or an error (version 5)."""
        self.model_fails = bool(on)

    def refuse_singular_start(self, on: bool = True) -> None:
        """A motion is refused because the arm stands at a singular pose, or may begin again."""
        self.start_singular = bool(on)

    def cut_robot_connection(self) -> None:
        """The TCP connection of the robot's client breaks, once; a new one is taken."""
        self._cut("robot")

    def cut_gripper_connection(self) -> None:
        """The TCP connection of the gripper's client breaks, once; a new one is taken."""
        self._cut("gripper")

    def cut_camera(self) -> None:
        """The connections of all cameras break, once; new ones are taken."""
        self._cut("camera")

    def clear(self) -> None:
        """Nothing goes wrong any more; a reflex that happened stays until the client recovers."""
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
        """Of commands, in robot time."""
        return self._delay

    @property
    def stalled(self) -> bool:
        """Whether the network is silent now."""
        return time.monotonic() < self._stalled_until

    def take_drop(self) -> bool:
        """Whether the command that just arrived gets lost; counts."""
        with self._lock:
            if not self._drop:
                return False
            self._drop -= 1
            self.dropped += 1
            return True

    def take_reflex(self) -> str:
        """The next reflex to happen, or nothing."""
        with self._lock:
            return self._reflexes.popleft() if self._reflexes else ""

    def on_refuse(self, callback: Callable[[], None]) -> None:
        """Calls back when connections are refused from now on."""
        self._on_refuse.append(callback)

    def on_cut(self, what: str, callback: Callable[[], None]) -> None:
        """Calls back when the connections of `robot`, `gripper` or `camera` are cut."""
        self._on_cut.setdefault(what, []).append(callback)

    def _cut(self, what: str) -> None:
        for callback in self._on_cut.get(what, ()):
            callback()
