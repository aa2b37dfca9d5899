"""Watchdog of policy, cameras and robot: makes the arm hold, then stop, when one is silent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from robo_reward.configs.deployment import DeployConfig
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
    "policy": "Check whether its process is alive and how long an action takes (latency histogram); use "
    "a smaller model, longer chunks of actions or a slower tempo",
    "camera": "Check whether the camera is plugged in and lit; it is reopened automatically as soon as it is available",
    "robot": "Check whether the cable is plugged in and whether this computer is overloaded (`robo-reward doctor`)",
}


class Watchdog:
    """Decides from times alone; nothing in it sleeps. All methods may be called from any thread.

    A STOP stays until `start`: a source that was silent for that long must not move the arm by coming back.

    Args:
        missed: number of control steps in a row without an action that hold the arm.
        silent: time without an action that stops the arm [s].
        camera_age: a newest frame older than this holds the arm [s], and stops it after `silent` more.
        state_age: a robot state older than this stops the arm [s].
        clock: [s]; frames and states are stamped by the same.

    Raises:
        UsageError: numbers that make no sense.
    """

    def __init__(
        self,
        missed: int = DeployConfig.missed,
        silent: float = DeployConfig.silent,
        camera_age: float = DeployConfig.camera_age,
        clock: Callable[[], float] = time.monotonic,
        *,
        state_age: float = 0.2,
    ) -> None:
        if missed < 1 or not all(limit > 0 for limit in (silent, camera_age, state_age)):
            raise UsageError(
                f"missed={missed} silent={silent} camera_age={camera_age} state_age={state_age}: "
                "expected positive numbers"
            )
        self._most, self._silent, self._clock = missed, silent, clock
        self._camera_age, self._state_age = camera_age, state_age
        self._lock = threading.Lock()
        self.start()

    @property
    def camera_age(self) -> float:
        """The greatest allowed age of the newest frame [s]."""
        return self._camera_age

    @property
    def silent(self) -> float:
        """The time without an action that stops the arm [s]."""
        return self._silent

    def start(self) -> None:
        """Starts an episode: nothing is overdue, and an old alarm is forgotten."""
        with self._lock:
            self._missed, self._answered, self._late = 0, self._clock(), 0
            self._frame: float | None = None
            self._state: float | None = None
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

    def check_alarms(self) -> Alarm:
        """Returns the worst of all alarms at present."""
        with self._lock:
            # A STOP is latched until `start`.
            if self._stopped is not None:
                return self._stopped
            alarms = self._collect_alarms(self._clock())
            for alarm in alarms:
                if alarm.verdict is Verdict.STOP:
                    self._stopped = alarm
                    return alarm
            return alarms[0] if alarms else Alarm(Verdict.FOLLOW)

    def is_blind(self) -> bool:
        """Returns whether the policy's input is too old to act upon: the newest frame of a camera."""
        with self._lock:
            return bool(self._collect_stale_alarms(self._clock()))

    def _collect_alarms(self, now: float) -> list[Alarm]:
        quiet, alarms = now - self._answered, []
        if self._state is not None and now - self._state >= self._state_age:
            text = f"the newest state of the robot is {now - self._state:.2f} s old"
            alarms.append(Alarm(Verdict.STOP, text, REMEDIES["robot"]))
        # Both conditions, so that a long control step alone does not stop the arm.
        if self._missed and quiet >= self._silent:
            text = f"the policy was silent for {quiet:.2f} s ({self._missed} control steps)"
            # Answers that come too late are reported as such, not as silence.
            if self._late:
                text = f"the policy answered too late for {quiet:.2f} s ({self._late} answers after their control step)"
            alarms.append(Alarm(Verdict.STOP, text, REMEDIES["policy"]))
        elif self._missed >= self._most:
            alarms.append(Alarm(Verdict.HOLD, f"{self._missed} control steps without an action", REMEDIES["policy"]))
        return alarms + self._collect_stale_alarms(now)

    def _collect_stale_alarms(self, now: float) -> list[Alarm]:
        """Returns the alarm of frames that are too old."""
        if self._frame is None or (age := now - self._frame) < self._camera_age:
            return []
        # Hold first; stop only after another `silent` seconds without a new frame.
        verdict = Verdict.STOP if age >= self._camera_age + self._silent else Verdict.HOLD
        return [Alarm(verdict, f"the newest camera frame is {age:.2f} s old", REMEDIES["camera"])]
