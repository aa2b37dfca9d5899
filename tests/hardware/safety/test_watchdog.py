"""The watchdog, on a clock of its own."""

from __future__ import annotations

import pytest

from robo_reward.errors import UsageError
from robo_reward.hardware.safety.filter import Verdict
from robo_reward.hardware.safety.watchdog import Watchdog


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_policy_in_time_is_left_alone(clock: Clock):
    dog = Watchdog(clock=clock)
    for _ in range(100):
        clock.now += 0.04
        dog.record_missed_step()
        dog.record_action()
        assert dog.check_alarms() == (Verdict.FOLLOW, "", "")


def test_missed_steps_hold_and_silence_stops(clock: Clock):
    dog = Watchdog(missed=3, silent=0.5, clock=clock)
    verdicts = []
    for _ in range(14):
        clock.now += 0.04
        dog.record_missed_step()
        verdicts.append(dog.check_alarms().verdict)
    assert verdicts == [Verdict.FOLLOW] * 2 + [Verdict.HOLD] * 10 + [Verdict.STOP] * 2
    assert "silent for 0.52 s (13 control steps)" in dog.check_alarms().cause
    assert "latency histogram" in dog.check_alarms().remedy


def test_an_answer_ends_a_hold_but_not_a_stop(clock: Clock):
    dog = Watchdog(missed=2, silent=0.5, clock=clock)
    dog.record_missed_step()
    dog.record_missed_step()
    assert dog.check_alarms().verdict is Verdict.HOLD
    dog.record_action()
    assert dog.check_alarms().verdict is Verdict.FOLLOW
    dog.record_missed_step()
    clock.now += 1.0
    assert dog.check_alarms().verdict is Verdict.STOP
    dog.record_action()
    assert dog.check_alarms().verdict is Verdict.STOP
    dog.start()
    assert dog.check_alarms().verdict is Verdict.FOLLOW


def test_nobody_who_drives_by_hand_is_hurried(clock: Clock):
    dog = Watchdog(clock=clock)
    clock.now += 100
    assert dog.check_alarms().verdict is Verdict.FOLLOW


def test_a_stale_camera_holds_and_then_stops(clock: Clock):
    dog = Watchdog(silent=0.5, camera_age=0.3, clock=clock)
    clock.now += 10
    assert dog.check_alarms().verdict is Verdict.FOLLOW, "no camera, nothing to be stale"
    dog.record_frame(clock.now - 0.2)
    assert dog.check_alarms().verdict is Verdict.FOLLOW
    clock.now += 0.15
    assert dog.check_alarms()[:2] == (Verdict.HOLD, "the newest camera frame is 0.35 s old")
    dog.record_frame(clock.now)
    assert dog.check_alarms().verdict is Verdict.FOLLOW
    clock.now += 0.81
    assert dog.check_alarms().verdict is Verdict.STOP


def test_a_stale_robot_stops_at_once(clock: Clock):
    dog = Watchdog(state_age=0.2, clock=clock)
    dog.record_state(clock.now)
    clock.now += 0.19
    assert dog.check_alarms().verdict is Verdict.FOLLOW
    clock.now += 0.02
    assert dog.check_alarms().verdict is Verdict.STOP


def test_the_worst_alarm_wins(clock: Clock):
    dog = Watchdog(missed=1, silent=0.5, clock=clock, state_age=0.2)
    dog.record_missed_step()
    dog.record_state(clock.now)
    clock.now += 0.3
    assert dog.check_alarms()[:2] == (Verdict.STOP, "the newest state of the robot is 0.30 s old")


@pytest.mark.parametrize("bad", [{"missed": 0}, {"silent": 0.0}, {"camera_age": -1.0}, {"state_age": float("nan")}])
def test_numbers_that_make_no_sense(bad: dict):
    with pytest.raises(UsageError, match="expected positive"):
        Watchdog(**bad)


def test_a_policy_that_answers_late_is_not_called_silent() -> None:
    now = [0.0]
    watchdog = Watchdog(missed=3, silent=0.75, clock=lambda: now[0])
    for _ in range(8):
        now[0] += 0.1
        watchdog.record_missed_step()
        watchdog.record_late_action()
    alarm = watchdog.check_alarms()
    assert alarm.verdict is Verdict.STOP and "answered too late for 0.80 s (8 answers" in alarm.cause
    watchdog.start()
    for _ in range(8):
        now[0] += 0.1
        watchdog.record_missed_step()
    assert "was silent for 0.80 s" in watchdog.check_alarms().cause
