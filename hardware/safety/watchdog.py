"""Watchdog of policy, cameras, robot and other processes: makes the arm hold, then stop, when one is silent."""

from __future__ import annotations

import mmap
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from robo_reward.errors import UsageError
from robo_reward.hardware.safety.filter import Verdict


class Alarm(NamedTuple):
    """Result of a watchdog check.

    Attributes:
        verdict: go on (`FOLLOW`), hold or stop.
        cause: why; empty if all is well.
        remedy: what to do about it.
    """

    verdict: Verdict
    cause: str = ""
    remedy: str = ""


REMEDIES = {
    "policy": "See whether its process is alive and how long it thinks (latency histogram); use a smaller model, "
    "longer chunks of actions or a slower tempo",
    "camera": "See whether the camera is plugged in and lit; it is opened again by itself as soon as it is there",
    "robot": "See whether the cable is plugged in and whether this computer is overloaded (`robo-reward doctor`)",
    "heartbeat": "See whether that process is alive, and its log",
}


class Watchdog:
    """Decides from times alone; nothing in it sleeps. All methods may be called from any thread.

    A STOP stays until `start`: a source that was silent for that long must not move the arm by coming back.

    Args:
        missed: number of control steps in a row without an action that hold the arm.
        silent: time without an action that stops the arm [s].
        camera_age: a newest frame older than this holds the arm [s], and stops it after `silent` more.
        state_age: a robot state older than this stops the arm [s].
        heartbeat_age: another process silent for this long holds the arm [s], and stops it after `silent` more.
        clock: [s]; frames and states are stamped by the same.

    Raises:
        UsageError: numbers that make no sense.
    """

    def __init__(
        self,
        missed: int = 3,
        silent: float = 0.75,
        camera_age: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
        *,
        state_age: float = 0.2,
        heartbeat_age: float = 0.25,
    ) -> None:
        if missed < 1 or not all(limit > 0 for limit in (silent, camera_age, state_age, heartbeat_age)):
            raise UsageError(
                f"missed={missed} silent={silent} camera_age={camera_age} state_age={state_age} "
                f"heartbeat_age={heartbeat_age}: expected positive numbers"
            )
        self._most, self._silent, self._clock = missed, silent, clock
        self._camera_age, self._state_age, self._heartbeat_age = camera_age, state_age, heartbeat_age
        self._lock = threading.Lock()
        self.start()

    @property
    def camera_age(self) -> float:
        """The greatest allowed age of the newest frame [s]."""
        return self._camera_age

    def start(self) -> None:
        """Starts an episode: nothing is overdue, and an old alarm is forgotten."""
        with self._lock:
            self._missed, self._answered, self._late = 0, self._clock(), 0
            self._frame: float | None = None
            self._state: float | None = None
            self._beats: dict[str, float] = {}
            self._stopped: Alarm | None = None

    def record_action(self) -> None:
        """Records that an action for this control step is available."""
        with self._lock:
            self._missed, self._answered, self._late = 0, self._clock(), 0

    def record_late_action(self) -> None:
        """Records that an action came after the control steps that it was meant for."""
        with self._lock:
            self._late += 1

    def record_missed_step(self) -> None:
        """Records that a control step passed without an action."""
        with self._lock:
            self._missed += 1

    def record_frame(self, stamp: float) -> None:
        """Records when the newest frame was taken [s]."""
        with self._lock:
            self._frame = stamp

    def record_state(self, stamp: float) -> None:
        """Records when the newest state of the robot was received [s]."""
        with self._lock:
            self._state = stamp

    def record_beat(self, source: str) -> None:
        """Records a sign of life of another process or thread, which is required again and again from then on."""
        with self._lock:
            self._beats[source] = self._clock()

    def check_alarms(self) -> Alarm:
        """Returns the worst of all alarms at present."""
        with self._lock:
            if self._stopped is not None:
                return self._stopped
            alarms = self._collect_alarms(self._clock())
            for alarm in alarms:
                if alarm.verdict is Verdict.STOP:
                    self._stopped = alarm
                    return alarm
            return alarms[0] if alarms else Alarm(Verdict.FOLLOW)

    def is_blind(self) -> bool:
        """Returns whether the policy's input is too old to act upon: a stale camera or a silent process."""
        with self._lock:
            return bool(self._collect_stale_alarms(self._clock()))

    def _collect_alarms(self, now: float) -> list[Alarm]:
        quiet, alarms = now - self._answered, []
        if self._state is not None and now - self._state >= self._state_age:
            text = f"the newest state of the robot is {now - self._state:.2f} s old"
            alarms.append(Alarm(Verdict.STOP, text, REMEDIES["robot"]))
        if self._missed and quiet >= self._silent:
            text = f"the policy was silent for {quiet:.2f} s ({self._missed} control steps)"
            if self._late:
                text = f"the policy answered too late for {quiet:.2f} s ({self._late} answers after their control step)"
            alarms.append(Alarm(Verdict.STOP, text, REMEDIES["policy"]))
        elif self._missed >= self._most:
            alarms.append(Alarm(Verdict.HOLD, f"{self._missed} control steps without an action", REMEDIES["policy"]))
        return alarms + self._collect_stale_alarms(now)

    def _collect_stale_alarms(self, now: float) -> list[Alarm]:
        """Returns alarms of frames and heartbeats that are too old."""
        alarms = []
        if self._frame is not None:
            what = "the newest camera frame is {:.2f} s old"
            alarms += self._make_stale_alarms(now - self._frame, self._camera_age, what, REMEDIES["camera"])
        for source, beat in self._beats.items():
            what = f"no sign of life from {source} for {{:.2f}} s"
            alarms += self._make_stale_alarms(now - beat, self._heartbeat_age, what, REMEDIES["heartbeat"])
        return alarms

    def _make_stale_alarms(self, age: float, limit: float, what: str, remedy: str) -> list[Alarm]:
        if age < limit:
            return []
        verdict = Verdict.STOP if age >= limit + self._silent else Verdict.HOLD
        return [Alarm(verdict, what.format(age), remedy)]


class Heartbeat:
    """A counter in a file that two processes map: one increments it, the other sees it change.

    No clock is shared.

    Args:
        path: of the file, in a folder both can reach; created if missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("a+b") as file:
            if path.stat().st_size < 8:
                file.truncate(8)
            self._map = mmap.mmap(file.fileno(), 8)
        self._seen = self.beat_count

    @property
    def beat_count(self) -> int:
        """Number of beats so far."""
        return struct.unpack("<Q", self._map[:8])[0]

    def send_beat(self) -> None:
        """Increments the counter as a sign of life."""
        self._map[:8] = struct.pack("<Q", (self.beat_count + 1) % 2**64)

    def has_changed(self) -> bool:
        """Returns whether the counter changed since the last call."""
        before, self._seen = self._seen, self.beat_count
        return self._seen != before

    def close(self) -> None:
        """Closes the file."""
        self._map.close()


class WatchdogThread:
    """Checks a watchdog at a steady rate and reports every change for the worse; use it in a `with` statement.

    The control loop checks the watchdog itself once a step. This thread is for the case that the loop hangs: then
    `on_alarm` is called from here, and stops the arm.

    Args:
        watchdog: the watchdog to check.
        on_alarm: called with each HOLD or STOP that is new or worse; must not block.
        heartbeats: of other processes, by name, to be passed on to the watchdog.
        period: time between checks [s].
    """

    def __init__(
        self,
        watchdog: Watchdog,
        on_alarm: Callable[[Alarm], None],
        heartbeats: dict[str, Heartbeat] | None = None,
        period: float = 0.01,
    ) -> None:
        self._watchdog, self._on_alarm, self._heartbeats, self._period = watchdog, on_alarm, heartbeats or {}, period
        self._ended = threading.Event()
        self._last = Verdict.FOLLOW
        self._thread = threading.Thread(target=self._check_periodically, name="watchdog", daemon=True)

    def __enter__(self) -> WatchdogThread:
        for source in self._heartbeats:
            self._watchdog.record_beat(source)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def check_once(self) -> Alarm:
        """Checks the watchdog once, as the thread does, and returns the alarm."""
        for source, heartbeat in self._heartbeats.items():
            if heartbeat.has_changed():
                self._watchdog.record_beat(source)
        alarm = self._watchdog.check_alarms()
        if _RANK[alarm.verdict] > _RANK[self._last]:
            self._on_alarm(alarm)
        self._last = alarm.verdict
        return alarm

    def _check_periodically(self) -> None:
        while not self._ended.wait(self._period):
            self.check_once()


_RANK = {Verdict.FOLLOW: 0, Verdict.HOLD: 1, Verdict.STOP: 2}
