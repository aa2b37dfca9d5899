import numpy as np
import pytest

from robo_reward.errors import UsageError, WrongShape
from robo_reward.hardware.policy.action_queue import ActionQueue

DT = 0.04


def chunk(*values: float) -> np.ndarray:
    return np.array(values)[:, None]


def played(queue: ActionQueue, begin: float, steps: int) -> list[float | None]:
    found = []
    for k in range(steps):
        action = queue.take_action(begin + k * DT)
        found.append(None if action is None else float(action[0]))
    return found


def test_a_chunk_in_time_is_played_from_its_first_row() -> None:
    queue = ActionQueue(DT)
    assert queue.add_chunk(1.0, chunk(1, 2, 3), now=1.0) == 0
    assert played(queue, 1.0, 5) == [1, 2, 3, None, None]


@pytest.mark.parametrize(("delay", "lost"), [(0.0, 0), (0.01, 0), (0.03, 1), (0.05, 1), (0.07, 2), (0.5, 3)])
def test_rows_whose_step_has_passed_are_dropped(delay: float, lost: int) -> None:
    queue = ActionQueue(DT)
    assert queue.add_chunk(0.0, chunk(1, 2, 3), now=delay) == lost
    assert queue.dropped == lost
    first = queue.take_action(lost * DT)
    assert (None if first is None else float(first[0])) == (None if lost == 3 else lost + 1)


def test_a_newer_decision_replaces_an_older_one_from_its_own_time_on() -> None:
    queue = ActionQueue(DT)
    queue.add_chunk(0.0, chunk(1, 2, 3, 4), now=0.0)
    assert played(queue, 0.0, 2) == [1, 2]
    queue.add_chunk(DT, chunk(12, 13, 14), now=2 * DT)
    assert played(queue, 2 * DT, 3) == [13, 14, None]


def test_an_older_decision_that_comes_late_changes_nothing() -> None:
    queue = ActionQueue(DT)
    queue.add_chunk(DT, chunk(12, 13), now=DT)
    queue.add_chunk(0.0, chunk(1, 2, 3), now=DT)
    assert played(queue, DT, 2) == [12, 13]


def test_no_action_is_played_twice_and_none_after_a_hold() -> None:
    queue = ActionQueue(DT)
    queue.add_chunk(0.0, chunk(1, 2, 3), now=0.0)
    assert queue.take_action(0.0) is not None
    again = queue.take_action(0.001)
    assert again is not None and again[0] == 2
    assert queue.count_remaining(DT) == 1
    queue.clear()
    assert queue.take_action(2 * DT) is None


def test_wrong_input_is_named() -> None:
    with pytest.raises(UsageError, match="control period"):
        ActionQueue(0.0)
    with pytest.raises(WrongShape):
        ActionQueue(DT).add_chunk(0.0, np.zeros(3), 0.0)
    with pytest.raises(WrongShape):
        ActionQueue(DT).add_chunk(0.0, np.zeros((0, 3)), 0.0)
