import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robo_reward.hardware.arm import ArmFault, FaultKind
from robo_reward.hardware.drivers.franka.gripper import FingerCommand, FingerController, GraspPlanner
from tests.hardware.patience import eventually

PERIOD = 0.02  # of the streams here [s]


def follow(
    targets: list[float], thing: float = 0.0, width: float = 0.08, clearance: float = 0.0, busy: int = 0
) -> tuple[list[FingerCommand], float]:
    """What a hand does for a stream of targets, with a thing of that width between the fingers.

    Each command takes so many targets, which pass by meanwhile.
    """
    intent, commands, until = GraspPlanner(20.0, clearance), [], 0
    for k, target in enumerate(targets):
        intent.add_target(target, k * PERIOD)
        command = intent.next_command(width, k * PERIOD) if k >= until else None
        if command is None:
            continue
        commands.append(command)
        assert command.force is not None or command.width > width  # never a move inwards
        width, until = max(0.0 if command.force else command.width, thing), k + 1 + busy
    return commands, width


def creeping(begin: float, end: float, step: float = 0.004) -> list[float]:
    count = round(abs(end - begin) / step)
    return [begin + (end - begin) * k / count for k in range(count + 1)]


def grasps(commands: list[FingerCommand]) -> int:
    return sum(command.force is not None for command in commands)


def test_an_open_hand_that_is_told_to_be_open_is_left_alone() -> None:
    assert follow([0.08] * 50) == ([], 0.08)


@pytest.mark.parametrize("busy", [0, 10, 50])
@pytest.mark.parametrize(("thing", "end"), [(0.04, 0.0), (0.04, 0.034), (0.06, 0.0), (0.01, 0.0)])
def test_what_is_between_the_fingers_is_grasped_once_early_and_held(busy: int, thing: float, end: float) -> None:
    targets = [*creeping(0.08, end), *[end] * 100]
    commands, width = follow(targets, thing, busy=busy)
    assert commands == [FingerCommand(0.0, 20.0)] and width == thing
    begun = next(k for k in range(len(targets)) if follow(targets[: k + 1], thing)[0])
    assert targets[begun] >= 0.055  # as soon as a quarter of the opening is gone, whatever is between


@pytest.mark.parametrize(("rate", "expected"), [(0.025, 0.05), (0.035, 0.07), (0.08, 0.1), (0.005, 0.03)])
def test_fingers_catch_up_with_a_falling_target_when_half_closed_and_are_not_narrower_before(
    rate: float, expected: float
) -> None:
    intent, command, k = GraspPlanner(), None, 0
    while command is None:
        target = 0.08 - rate * k * 0.005
        intent.add_target(target, k * 0.005)
        command, k = intent.next_command(0.08, k * 0.005), k + 1
    assert command.speed == pytest.approx(expected, rel=0.02)
    if expected == 2 * rate:
        times = np.linspace(0.0, 0.04 / expected, 20)
        assert (0.08 - expected * times >= target - rate * times - 1e-3).all()


def test_fingers_that_overtake_a_falling_target_do_not_open_again() -> None:
    slow = creeping(0.08, 0.0, 0.0005)
    commands, width = follow(slow, thing=0.04)
    assert commands == [FingerCommand(0.0, 20.0)] and width == 0.04


@pytest.mark.parametrize("busy", [0, 10, 50])
def test_a_held_thing_is_let_go_when_the_target_is_wider(busy: int) -> None:
    commands, width = follow([*creeping(0.08, 0.0), *[0.0] * 60, *creeping(0.0, 0.08), *[0.08] * 200], 0.04, busy=busy)
    assert grasps(commands[:1]) == grasps(commands) == 1
    assert all(command.width > 0.04 for command in commands[1:])
    assert width == pytest.approx(0.08, abs=0.002)


def test_a_hand_with_nothing_in_it_closes_and_opens_again() -> None:
    _, width = follow([*creeping(0.08, 0.0), *creeping(0.0, 0.08)])
    assert width == pytest.approx(0.08, abs=0.004)


def test_a_half_open_target_with_nothing_to_hold_is_reached_by_closing_once_and_opening_to_it() -> None:
    commands, width = follow([*creeping(0.08, 0.05), *[0.05] * 100])
    assert commands == [FingerCommand(0.0, 20.0), FingerCommand(0.05)] and width == 0.05
    wobbling = [0.05 + 0.004 * (-1) ** k for k in range(100)]
    again, width = follow([*creeping(0.08, 0.05), *[0.05] * 100, *wobbling])
    assert again[:2] == commands and grasps(again) == 1 and width == pytest.approx(0.054)
    commands, width = follow([*creeping(0.08, 0.05), *[0.05] * 100, *creeping(0.05, 0.03), *[0.03] * 100], thing=0.04)
    assert commands == [FingerCommand(0.0, 20.0), FingerCommand(0.05), FingerCommand(0.0, 20.0)] and width == 0.04


def test_targets_a_little_below_the_fingers_leave_them_open() -> None:
    assert follow([*creeping(0.08, 0.062), *[0.062] * 100]) == ([], 0.08)
    assert follow([*creeping(0.08, 0.056), *[0.056] * 100], clearance=0.008) == ([], 0.08)


def test_fingers_that_hold_nothing_stand_a_little_wider_but_never_wider_than_they_can() -> None:
    assert follow([0.05] * 5, width=0.02, clearance=0.008)[1] == pytest.approx(0.058)
    assert follow([0.078] * 5, width=0.02, clearance=0.008)[1] == 0.08


def test_with_clearance_a_thing_is_grasped_held_and_let_go_as_without() -> None:
    commands, width = follow([*creeping(0.08, 0.034), *[0.034] * 5], thing=0.05, clearance=0.008)
    assert commands == [FingerCommand(0.0, 20.0)] and width == 0.05
    commands, width = follow([*creeping(0.08, 0.0), *[0.0] * 9, *creeping(0.0, 0.06)], thing=0.04, clearance=0.008)
    assert grasps(commands) == 1
    assert width == pytest.approx(0.068, abs=0.004)


@given(st.lists(st.floats(0.0, 0.08), min_size=1, max_size=40), st.floats(0.0, 0.08), st.floats(0.0, 0.02))
@settings(max_examples=60, deadline=None)
def test_no_stream_of_targets_moves_fingers_inwards(targets: list[float], thing: float, clearance: float) -> None:
    held = [target for target in targets for _ in range(5)]
    commands, width = follow([*held, *[0.0] * 50], thing, clearance=clearance)  # `follow` checks every move
    assert grasps(commands[-1:]) == 1 and width == thing


class Hand:
    """A hand whose motions take as long as the test says."""

    def __init__(self) -> None:
        self.at = 0.08
        self.calls: list[FingerCommand] = []
        self.halted = threading.Event()
        self.slow, self.broken = False, False

    def read_width(self) -> float:
        return self.at

    def move_fingers(self, width: float, speed: float) -> None:
        self.calls.append(FingerCommand(width))
        self._do(width)

    def grasp_object(self, speed: float, force: float) -> None:
        self.calls.append(FingerCommand(0.0, force))
        self._do(0.0)

    def halt_motion(self) -> None:
        self.halted.set()

    def _do(self, width: float) -> None:
        if self.broken:
            raise RuntimeError("jammed")
        if self.slow and self.halted.wait(5.0):
            raise RuntimeError("command aborted")
        self.at = width


def fault(error: Exception) -> ArmFault:
    return ArmFault(str(error), "Look.", True, FaultKind.GRIPPER)


@pytest.fixture
def hand() -> Iterator[tuple[Hand, FingerController]]:
    hand = Hand()
    fingers = FingerController(hand, fault, poll=0.001)
    yield hand, fingers
    fingers.close()


def test_commands_return_at_once_and_are_done_one_after_the_other(hand: tuple[Hand, FingerController]) -> None:
    body, fingers = hand
    fingers.submit_command(FingerCommand(0.02))
    assert fingers.wait_until_idle()
    fingers.submit_command(FingerCommand(0.0, 30.0))
    assert fingers.wait_until_idle()
    assert body.calls == [FingerCommand(0.02), FingerCommand(0.0, 30.0)]
    assert eventually(lambda: fingers.width == 0.0)


def test_a_newer_wish_ends_an_older_one_that_still_runs_and_nobody_is_bothered(
    hand: tuple[Hand, FingerController],
) -> None:
    body, fingers = hand
    body.slow = True
    fingers.submit_command(FingerCommand(0.02))
    assert eventually(lambda: body.calls)
    body.slow = False
    fingers.submit_command(FingerCommand(0.06))
    assert fingers.wait_until_idle() and body.halted.is_set()
    assert body.at == 0.06
    fingers.raise_failure()


def test_a_stream_is_followed_to_its_newest_target(hand: tuple[Hand, FingerController]) -> None:
    body, fingers = hand
    for target in creeping(0.08, 0.05, 0.002):
        fingers.follow_target(target)
    assert eventually(lambda: abs(body.at - 0.05) <= 0.003)
    assert body.calls == [FingerCommand(0.0, 20.0), FingerCommand(0.05)]


class ReportedHand(Hand):
    """Something of 40 mm is between its fingers; a move onto it and every `stop` take for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.done = threading.Event()

    def move_fingers(self, width: float, speed: float) -> None:
        self.calls.append(FingerCommand(width))
        self.at = max(width, 0.04)
        if width < 0.04:
            self.done.wait(20.0)

    def grasp_object(self, speed: float, force: float) -> None:
        self.calls.append(FingerCommand(0.0, force))
        self.at = 0.04

    def halt_motion(self) -> None:
        self.done.wait(20.0)


@pytest.mark.parametrize(("seconds", "end"), [(0.05, 0.0), (0.3, 0.0), (0.1, 0.03)])
def test_a_hand_whose_blocked_moves_hang_is_told_to_grasp_and_never_to_move_in(seconds: float, end: float) -> None:
    body = ReportedHand()
    fingers = FingerController(body, fault, poll=0.001)
    begun = time.monotonic()
    while not body.calls or time.monotonic() - begun < seconds:
        assert time.monotonic() - begun < 20
        fingers.follow_target(max(end, 0.08 - (0.08 - end) * (time.monotonic() - begun) / seconds))
        time.sleep(0.002)
    assert fingers.wait_until_idle() and body.calls == [FingerCommand(0.0, 20.0)]
    body.done.set()
    fingers.close()


def test_nobody_waits_for_a_stop_that_does_not_return() -> None:
    body = ReportedHand()
    fingers = FingerController(body, fault, poll=0.001)
    fingers.submit_command(FingerCommand(0.01))
    assert eventually(lambda: body.calls)
    begun = time.monotonic()
    fingers.submit_command(FingerCommand(0.08))
    for _ in range(20):
        fingers.follow_target(0.08)
    assert time.monotonic() - begun < 5  # of 20 that the stop takes
    body.done.set()
    assert eventually(lambda: body.calls == [FingerCommand(0.01), FingerCommand(0.08)])
    fingers.close()


def test_a_failure_is_told_once_by_the_next_call(hand: tuple[Hand, FingerController]) -> None:
    body, fingers = hand
    body.broken = True
    fingers.submit_command(FingerCommand(0.02))
    assert eventually(lambda: fingers._problem is not None)
    with pytest.raises(ArmFault, match="jammed"):
        fingers.follow_target(0.05)
    body.broken = False
    fingers.follow_target(0.05)
    assert eventually(lambda: body.at == 0.05)


def test_after_an_end_the_last_target_moves_nothing_and_what_is_held_stays_held(
    hand: tuple[Hand, FingerController],
) -> None:
    body, fingers = hand
    for target in creeping(0.08, 0.0):
        fingers.follow_target(target)
    assert eventually(lambda: body.calls == [FingerCommand(0.0, 20.0)]) and fingers.wait_until_idle()
    fingers.follow_target(0.004)  # a little wider than the fingers: opens them when it has rested
    fingers.end_stream()
    with fingers._changed:
        assert fingers._planner.next_command(0.0, time.monotonic() + 10.0) is None
    fingers.follow_target(0.03)  # of the next stream: it begins with a hand that holds
    with fingers._changed:
        assert fingers._planner.next_command(0.02, time.monotonic()) is None and fingers._planner.holding


@pytest.mark.parametrize("force", [None, 20.0])
def test_an_end_stops_an_opening_and_lets_a_grasp_be_completed(
    hand: tuple[Hand, FingerController], force: float | None
) -> None:
    body, fingers = hand
    body.slow = True
    fingers.submit_command(FingerCommand(0.02, force))
    assert eventually(lambda: body.calls)
    fingers.end_stream()
    assert body.halted.wait(5.0 if force is None else 0.1) is (force is None)
    body.halted.set()
    assert fingers.wait_until_idle()
    assert len(body.calls) == 1


def test_a_failure_in_a_stream_ends_what_it_asked_for(hand: tuple[Hand, FingerController]) -> None:
    body, fingers = hand
    body.broken = True
    fingers.follow_target(0.0)
    assert eventually(lambda: fingers._problem is not None)
    body.broken = False
    with pytest.raises(ArmFault, match="jammed"):
        fingers.raise_failure()
    assert fingers._planner.target is None


def test_a_hand_whose_width_is_old_is_lost_though_its_thread_waits_on() -> None:
    body, frozen = Hand(), threading.Event()
    fingers = FingerController(body, fault, poll=0.001)
    assert fingers.is_alive
    body.read_width = lambda: (frozen.wait(20.0) and 0.08) or 0.08
    assert eventually(lambda: not fingers.is_alive) and fingers._watch.is_alive()
    frozen.set()
    fingers.close()


def test_the_thread_of_a_hand_that_was_closed_condemns_nothing() -> None:
    body, faults, reading, frozen = Hand(), [], threading.Event(), threading.Event()

    def width() -> float:
        reading.set()
        frozen.wait(20.0)
        raise RuntimeError("the connection was closed")

    fingers = FingerController(body, lambda error: faults.append(error) or fault(error), poll=0.001)
    body.read_width = width
    assert reading.wait(20.0)
    with fingers._changed:
        fingers._closing = True
    frozen.set()
    fingers.close()
    assert faults == [] and not fingers._watch.is_alive()
