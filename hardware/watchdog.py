"""Looks at clocks: whoever falls silent (policy, camera, robot, another process) makes the arm hold, then stop."""

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
from robo_reward.hardware.safety import Verdict


class Alarm(NamedTuple):
    """What the clocks say.

    Attributes:
        verdict: go on (`FOLLOW`), hold or stop.
        cause: why, in words; empty if all is well.
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

    A STOP stays until `start`: what was silent for so long must not move the arm by coming back.

    Args:
        missed: so many control steps in a row without an action hold the arm ...
        silent: ... and so long without one stops it [s].
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
        """How old a newest frame may be [s]."""
        return self._camera_age

    def start(self) -> None:
        """An episode begins: nothing is overdue, and an old alarm is forgotten."""
        with self._lock:
            self._missed, self._answered, self._late = 0, self._clock(), 0
            self._frame: float | None = None
            self._state: float | None = None
            self._beats: dict[str, float] = {}
            self._stopped: Alarm | None = None

    def answered(self) -> None:
        """An action for this step is there."""
        with self._lock:
            self._missed, self._answered, self._late = 0, self._clock(), 0

    def late(self) -> None:
        """An answer came, but after the control steps that it was meant for."""
        with self._lock:
            self._late += 1

    def missed(self) -> None:
        """A control step passed without one."""
        with self._lock:
            self._missed += 1

    def frame(self, stamp: float) -> None:
        """The newest frame was taken at this time [s]."""
        with self._lock:
            self._frame = stamp

    def state(self, stamp: float) -> None:
        """The newest state of the robot was received at this time [s]."""
        with self._lock:
            self._state = stamp

    def beat(self, source: str) -> None:
        """Another process or thread lives; from its first beat on it must go on beating."""
        with self._lock:
            self._beats[source] = self._clock()

    def verdict(self) -> Alarm:
        """What follows, now: the worst of all alarms."""
        with self._lock:
            if self._stopped is not None:
                return self._stopped
            alarms = self._alarms(self._clock())
            for alarm in alarms:
                if alarm.verdict is Verdict.STOP:
                    self._stopped = alarm
                    return alarm
            return alarms[0] if alarms else Alarm(Verdict.FOLLOW)

    def blind(self) -> bool:
        """Whether what the policy sees is too old to act upon: a camera stands still, or another process is silent."""
        with self._lock:
            return bool(self._aging(self._clock()))

    def _alarms(self, now: float) -> list[Alarm]:
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
        return alarms + self._aging(now)

    def _aging(self, now: float) -> list[Alarm]:
        """Alarms of what must come again and again."""
        alarms = []
        if self._frame is not None:
            what = "the newest camera frame is {:.2f} s old"
            alarms += self._aged(now - self._frame, self._camera_age, what, REMEDIES["camera"])
        for source, beat in self._beats.items():
            what = f"no sign of life from {source} for {{:.2f}} s"
            alarms += self._aged(now - beat, self._heartbeat_age, what, REMEDIES["heartbeat"])
        return alarms

    def _aged(self, age: float, limit: float, what: str, remedy: str) -> list[Alarm]:
        if age < limit:
            return []
        verdict = Verdict.STOP if age >= limit + self._silent else Verdict.HOLD
        return [Alarm(verdict, what.format(age), remedy)]


class Heartbeat:
    """A counter in a file that two processes map: one counts, the other sees it change. No clock is shared.

    Args:
        path: of the file, in a folder both can reach; made if need be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("a+b") as file:
            if path.stat().st_size < 8:
                file.truncate(8)
            self._map = mmap.mmap(file.fileno(), 8)
        self._seen = self.count

    @property
    def count(self) -> int:
        """How often it beat."""
        return struct.unpack("<Q", self._map[:8])[0]

    def beat(self) -> None:
        """I live."""
        self._map[:8] = struct.pack("<Q", (self.count + 1) % 2**64)

    def changed(self) -> bool:
        """Whether it beat since this was asked last."""
        before, self._seen = self._seen, self.count
        return self._seen != before

    def close(self) -> None:
        """Lets the file go."""
        self._map.close()


class WatchdogThread:
    """Asks a watchdog at a steady rate and reports every change for the worse; use it in a `with` statement.

    The control loop asks the watchdog itself once a step. This thread is for the case that the loop hangs: then
    `on_alarm` is called from here, and stops the arm.

    Args:
        watchdog: what to ask.
        on_alarm: called with each HOLD or STOP that is new or worse; must not block.
        heartbeats: of other processes, by name, to be passed on to the watchdog.
        period: between questions [s].
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
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def __enter__(self) -> WatchdogThread:
        for source in self._heartbeats:
            self._watchdog.beat(source)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def look(self) -> Alarm:
        """One question, as the thread asks it."""
        for source, heartbeat in self._heartbeats.items():
            if heartbeat.changed():
                self._watchdog.beat(source)
        alarm = self._watchdog.verdict()
        if _RANK[alarm.verdict] > _RANK[self._last]:
            self._on_alarm(alarm)
        self._last = alarm.verdict
        return alarm

    def _run(self) -> None:
        while not self._ended.wait(self._period):
            self.look()


_RANK = {Verdict.FOLLOW: 0, Verdict.HOLD: 1, Verdict.STOP: 2}
