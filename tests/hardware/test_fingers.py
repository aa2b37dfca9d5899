import threading
from collections.abc import Iterator

import pytest

from robo_reward.hardware.franka.fingers import Fingers, Intent, Wish
from robo_reward.hardware.robot import ArmFault, FaultKind
from tests.hardware.patience import eventually


def follow(
    targets: list[float], thing: float = 0.0, width: float = 0.08, clearance: float = 0.0
) -> tuple[list[Wish], float]:
    """What a hand that moves at once does for a stream of targets, with a thing of that width between the fingers."""
    intent, wishes = Intent(20.0, clearance), []
    for target in targets:
        wish = intent.next(target, width)
        if wish is None:
            continue
        wishes.append(wish)
        width = max(0.0 if wish.force else wish.width, thing)
    return wishes, width


def creeping(begin: float, end: float, step: float = 0.004) -> list[float]:
    count = round(abs(end - begin) / step)
    return [begin + (end - begin) * k / count for k in range(count + 1)]


def test_an_open_hand_that_is_told_to_be_open_is_left_alone() -> None:
    assert follow([0.08] * 50) == ([], 0.08)


def test_targets_that_creep_are_followed() -> None:
    wishes, width = follow(creeping(0.08, 0.05))
    assert width == pytest.approx(0.05, abs=0.003)
    assert all(wish.force is None for wish in wishes)
    assert len(wishes) >= 5


def test_what_is_between_the_fingers_is_grasped_once_and_held() -> None:
    wishes, width = follow([*creeping(0.08, 0.0), *[0.0] * 20], thing=0.04)
    assert width == 0.04
    assert [wish for wish in wishes if wish.force] == [Wish(0.0, 20.0)]
    assert wishes[-1].force == 20.0


def test_a_target_just_below_a_thing_grasps_it_too() -> None:
    wishes, _ = follow([*creeping(0.08, 0.034), *[0.034] * 5], thing=0.04)
    assert wishes[-1].force == 20.0


def test_a_held_thing_is_let_go_when_the_target_is_wider() -> None:
    wishes, width = follow([*creeping(0.08, 0.0), *creeping(0.0, 0.08)], thing=0.04)
    grasp = next(i for i, wish in enumerate(wishes) if wish.force)
    assert all(wish.force is None and wish.width > 0.04 for wish in wishes[grasp + 1 :])
    assert width == pytest.approx(0.08, abs=0.004)


def test_a_hand_with_nothing_in_it_closes_and_opens_again() -> None:
    _, width = follow([*creeping(0.08, 0.0), *creeping(0.0, 0.08)])
    assert width == pytest.approx(0.08, abs=0.004)


def test_fingers_that_hold_nothing_stand_a_little_wider_but_never_wider_than_they_can() -> None:
    _, width = follow(creeping(0.08, 0.05), clearance=0.008)
    assert width == pytest.approx(0.058, abs=0.003)
    assert follow([0.078] * 5, clearance=0.008) == ([], 0.08)


def test_with_clearance_a_thing_is_grasped_held_and_let_go_as_without() -> None:
    wishes, width = follow([*creeping(0.08, 0.034), *[0.034] * 5], thing=0.05, clearance=0.008)
    assert wishes[-1].force == 20.0 and width == 0.05
    wishes, width = follow([*creeping(0.08, 0.0), *[0.0] * 9, *creeping(0.0, 0.06)], thing=0.04, clearance=0.008)
    assert [wish.force for wish in wishes].count(20.0) == 1
    assert width == pytest.approx(0.068, abs=0.004)


class Hand:
    """A hand whose motions take as long as the test says."""

    def __init__(self) -> None:
        self.at = 0.08
        self.calls: list[Wish] = []
        self.halted = threading.Event()
        self.slow, self.broken = False, False

    def width(self) -> float:
        return self.at

    def move(self, width: float, speed: float) -> None:
        self.calls.append(Wish(width))
        self._do(width)

    def grasp(self, speed: float, force: float) -> None:
        self.calls.append(Wish(0.0, force))
        self._do(0.0)

    def halt(self) -> None:
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
def hand() -> Iterator[tuple[Hand, Fingers]]:
    hand = Hand()
    fingers = Fingers(hand, fault, poll=0.001)
    yield hand, fingers
    fingers.close()


def test_commands_return_at_once_and_are_done_one_after_the_other(hand: tuple[Hand, Fingers]) -> None:
    body, fingers = hand
    fingers.do(Wish(0.02))
    assert fingers.wait()
    fingers.do(Wish(0.0, 30.0))
    assert fingers.wait()
    assert body.calls == [Wish(0.02), Wish(0.0, 30.0)]
    assert eventually(lambda: fingers.width == 0.0)


def test_a_newer_wish_ends_an_older_one_that_still_runs_and_nobody_is_bothered(hand: tuple[Hand, Fingers]) -> None:
    body, fingers = hand
    body.slow = True
    fingers.do(Wish(0.02))
    assert eventually(lambda: body.calls)
    body.slow = False
    fingers.do(Wish(0.06))
    assert fingers.wait() and body.halted.is_set()
    assert body.at == 0.06
    fingers.check()


def test_a_stream_is_followed_to_its_newest_target(hand: tuple[Hand, Fingers]) -> None:
    body, fingers = hand
    for target in creeping(0.08, 0.05, 0.002):
        fingers.follow(target)
    assert eventually(lambda: abs(body.at - 0.05) <= 0.003)


def test_a_failure_is_told_once_by_the_next_call(hand: tuple[Hand, Fingers]) -> None:
    body, fingers = hand
    body.broken = True
    fingers.do(Wish(0.02))
    assert eventually(lambda: fingers._problem is not None)
    with pytest.raises(ArmFault, match="jammed"):
        fingers.follow(0.05)
    body.broken = False
    fingers.follow(0.05)
    assert eventually(lambda: body.at == 0.05)
