import pytest

from robo_reward.hardware.emulator.world.hand import MOVE_FORCE, PATIENCE, EmulatedHand
from robo_reward.hardware.emulator.world.plant import DT, GripperCommand


def run(hand: EmulatedHand, width: float, seconds: float, block: float = 0.0) -> list[float]:
    """Fingers that follow their target exactly, unless something of width `block` is between them."""
    widths = []
    for _ in range(int(seconds / DT)):
        width = max(2 * hand.step(width).target, block, 0.0)
        widths.append(width)
    return widths


def test_a_move_takes_the_time_its_speed_says():
    hand = EmulatedHand()
    hand.hold_width(0.08)
    hand.start_command(GripperCommand(0.02, 0.05), 0.08)
    widths = run(hand, 0.08, 1.1)
    assert widths[599] == pytest.approx(0.05, abs=1e-4)  # 0.05 m/s for 0.6 s
    assert hand.moving
    assert run(hand, widths[-1], 0.2)[-1] == pytest.approx(0.02, abs=1e-6)
    assert not hand.moving and not hand.holding


def test_no_faster_than_the_hand_can():
    hand = EmulatedHand()
    hand.hold_width(0.08)
    hand.start_command(GripperCommand(0.0, 5.0), 0.08)
    assert run(hand, 0.08, 0.4)[-1] == pytest.approx(0.04, abs=1e-3)


def test_a_grasp_goes_on_until_it_presses():
    hand = EmulatedHand()
    hand.hold_width(0.08)
    hand.start_command(GripperCommand(0.05, 0.1, 30.0), 0.08)
    widths = run(hand, 0.08, 1.0, block=0.04)
    assert widths[-1] == 0.04  # beyond the width that was asked for
    assert hand.holding and not hand.moving
    fingers = hand.step(0.04)
    assert fingers.force == 30.0
    assert 1000.0 * (0.02 - fingers.target) == pytest.approx(30.0)


def test_a_move_ends_when_it_is_blocked():
    hand = EmulatedHand()
    hand.hold_width(0.08)
    hand.start_command(GripperCommand(0.0, 0.1), 0.08)
    run(hand, 0.08, 0.4 + PATIENCE * DT + 0.02, block=0.04)
    assert not hand.moving and not hand.holding
    assert hand.step(0.04).force == MOVE_FORCE


def test_told_again_it_goes_on():
    hand = EmulatedHand()
    hand.hold_width(0.08)
    command = GripperCommand(0.0, 0.1, 20.0)
    hand.start_command(command, 0.08)
    run(hand, 0.08, 1.0, block=0.03)
    hand.start_command(command, 0.03)
    assert hand.holding
    hand.start_command(GripperCommand(0.08, 0.1), 0.03)
    assert hand.moving and not hand.holding


def test_a_wider_grasp_opens():
    hand = EmulatedHand()
    hand.hold_width(0.02)
    hand.start_command(GripperCommand(0.06, 0.1, 20.0), 0.02)
    assert run(hand, 0.02, 0.45)[-1] > 0.055
