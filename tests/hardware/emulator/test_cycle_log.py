"""The log keeps the last cycles in order, and all of them in a file."""

import numpy as np
import pytest

from robo_reward.errors import UsageError
from robo_reward.hardware.emulator.robot.reflex import error_flags
from robo_reward.hardware.emulator.tools.cycle_log import CYCLE, CycleLog, read_log
from robo_reward.hardware.emulator.wire.codec import make_blank_record


def fill(log, n, errors=()):
    for k in range(1, n + 1):
        cycle = make_blank_record(CYCLE)
        cycle["message_id"], cycle["q"] = k, k
        if k in dict(errors):
            cycle["errors"] = error_flags([dict(errors)[k]])
        log.append(cycle)


def test_the_ring_keeps_the_last_in_order(tmp_path):
    with CycleLog(10, tmp_path / "cycles") as log:
        assert len(log) == 0 and log.errors() == [] and not len(log.cycles())
        fill(log, 25)
        assert (len(log), log.total) == (10, 25)
        assert log.cycles()["message_id"].tolist() == list(range(16, 26))
        assert log.cycles(since=24)["q"][:, 3].tolist() == [24.0, 25.0]
    rows = read_log(tmp_path / "cycles")
    assert rows["message_id"].tolist() == list(range(1, 26))
    assert np.array_equal(rows[-10:], log.cycles())


def test_a_file_cut_short_is_read_as_far_as_it_goes(tmp_path):
    file = tmp_path / "cycles"
    with CycleLog(10, file) as log:
        fill(log, 5)
    data = file.read_bytes()
    file.write_bytes(data[:-100])
    assert read_log(file)["message_id"].tolist() == [1, 2, 3, 4]
    file.write_bytes(b"something else\n")
    with pytest.raises(UsageError, match="not a log of emulated cycles"):
        read_log(file)
    with pytest.raises(UsageError, match="at least one"):
        CycleLog(0)


def test_reflexes_are_told_in_their_order():
    log = CycleLog(100)
    fill(log, 50, [(7, "joint_reflex"), (8, "joint_reflex"), (20, "cartesian_reflex"), (30, "joint_reflex")])
    assert log.errors() == ["joint_reflex", "cartesian_reflex", "joint_reflex"]
