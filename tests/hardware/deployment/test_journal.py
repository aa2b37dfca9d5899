"""Journals that somebody else wrote, or that a kill or a broken disk damaged: read, or refused with one error."""

import json
import resource
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robo_reward.data.episode import Episode
from robo_reward.envs.task import make_task
from robo_reward.errors import BadArtifact
from robo_reward.hardware.arm import ArmState, Mode, Target
from robo_reward.hardware.deployment.journal import (
    MEASUREMENT_WIDTH,
    DiskFailed,
    Journal,
    StepRecord,
    classify_outcome,
    is_empty_journal,
    read_journal,
    sanitize_action,
    set_aside,
)

TASK = make_task("fr3/lift")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=6),
    lambda more: st.lists(more, max_size=4) | st.dictionaries(st.text(max_size=6), more, max_size=3),
    max_leaves=8,
)


def arm_state(t: float) -> ArmState:
    zero, quat = np.zeros(7), np.array((0.0, 1.0, 0.0, 0.0))
    return ArmState(10 + t, 5 + t, zero + 0.1, zero, zero, np.zeros(6), np.zeros(3), quat, 0.05, Mode.MOVING)


def journal_of(folder: Path, steps: int = 5) -> Path:
    journal = Journal(folder / "episode-0000", TASK, {"fps": 25.0}, (2, 2, 3))
    state = np.arange(float(TASK.spec.dim))
    for t in range(steps):
        journal.add_command(10 + t, Target(joints=np.full(7, 0.1), gripper=0.05))
        frame = np.full((2, 2, 3), t, np.uint8)
        journal.write_step(
            StepRecord(state, arm_state(0.1 * t), np.full(4, 0.5), "follow", frame=frame, frame_stamp=9.9 + 0.1 * t)
        )
    journal.write_last_state(state, arm_state(0.1 * steps), np.full((2, 2, 3), steps, np.uint8), 9.9 + 0.1 * steps)
    journal.close()
    return journal.folder


def test_what_was_written_is_read(tmp_path: Path) -> None:
    episode = read_journal(journal_of(tmp_path))
    assert episode is not None and len(episode) == 5 and episode.frames is not None
    assert episode.meta["fps"] == pytest.approx(10.0) and episode.frames[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_allclose(episode.meta["frame_times"], 4.9 + 0.1 * np.arange(6))  # on the robot's clock


def test_where_the_disk_is_full_whole_rows_stay(tmp_path: Path) -> None:
    """A limit on the size of files does what a full disk does: the last write is cut in its middle."""
    journal, state = Journal(tmp_path / "episode-0000", TASK, {}), np.zeros(TASK.spec.dim)
    for t in range(12):
        journal.write_step(StepRecord(state, arm_state(0.1 * t), np.zeros(4), "follow"))
    size, limit = (journal.folder / "rows").stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, limit[1]))
    try:
        for _ in range(2):
            with pytest.raises(DiskFailed, match=r"episode-0000 cannot be written: .*12 steps .* are saved.*Free disk"):
                journal.write_step(StepRecord(state, arm_state(2.0), np.zeros(4), "follow"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert (journal.folder / "rows").stat().st_size == size
    journal.write_step(StepRecord(state, arm_state(3.0), np.zeros(4), "follow"))
    journal.close()
    episode = read_journal(journal.folder)
    assert episode is not None and len(episode) == 12


@pytest.mark.parametrize("frame", [None, np.zeros((3, 2, 3), np.uint8), np.zeros((2, 2), np.uint8)])
def test_a_frame_that_is_missing_or_of_another_shape_does_not_shift_the_others(tmp_path: Path, frame: Any) -> None:
    journal = Journal(tmp_path / "episode-0000", TASK, {}, (2, 2, 3))
    for t, picture in enumerate([np.full((2, 2, 3), 7, np.uint8), frame, np.full((2, 2, 3), 9, np.uint8)]):
        journal.write_step(
            StepRecord(np.zeros(TASK.spec.dim), arm_state(0.1 * t), np.zeros(4), "follow", frame=picture)
        )
    journal.close()
    episode = read_journal(journal.folder)
    assert episode is not None and episode.frames is not None
    assert episode.frames[:, 0, 0, 0].tolist() == [7, 7, 9]


def read(folder: Path) -> tuple[Episode | None, str]:
    """The episode of a journal, or what is wrong with it."""
    try:
        return read_journal(folder), ""
    except BadArtifact as error:
        return None, str(error)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(["task_id", "spec", "actions", "frame_shape", "meta", "times"]), VALUES)
def test_a_head_is_read_or_refused_whatever_stands_in_it(key: str, value: Any) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = journal_of(Path(place))
        head = json.loads((folder / "head.json").read_text())
        (folder / "head.json").write_text(json.dumps({**head, key: value}))
        episode, problem = read(folder)
        assert str(folder) in problem or episode is None or len(episode) <= 5


@pytest.mark.parametrize("text", ["[" * 100_000, "", "{}", "null", '{"spec": [{"name": 3}]}'])
def test_a_head_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    folder = journal_of(tmp_path)
    (folder / "head.json").write_text(text)
    assert str(folder / "head.json") in read(folder)[1]


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(["rows", "commands", "frames"]), st.binary(max_size=3000), st.integers(0, 4000))
def test_files_are_read_or_refused_however_they_are_damaged(name: str, data: bytes, at: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = journal_of(Path(place))
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[:at] + data)
        episode, problem = read(folder)
        assert name == "rows" or not problem
        assert episode is None or np.abs(np.array(episode.meta["measured"]["q"])).max() <= 7.0


@given(st.text(max_size=3) | st.none() | st.lists(st.floats() | st.text(max_size=2), max_size=6) | st.floats())
def test_anything_is_stored_as_an_action(said: Any) -> None:
    kept = sanitize_action(said, 4)
    assert kept.shape == (4,) and (np.abs(kept) <= 1).all()


def test_a_journal_of_an_earlier_version_has_no_times_of_frames(tmp_path: Path) -> None:
    folder = journal_of(tmp_path)
    head = json.loads((folder / "head.json").read_text())
    rows = np.frombuffer((folder / "rows").read_bytes()).reshape(6, -1)
    before = head["times"].index("frame") + TASK.spec.dim + 4 + 1
    (folder / "rows").write_bytes(np.delete(rows, before, axis=1).tobytes())
    del head["times"]
    (folder / "head.json").write_text(json.dumps(head))
    episode = read_journal(folder)
    assert episode is not None and len(episode) == 5 and "frame_times" not in episode.meta
    np.testing.assert_allclose(episode.meta["measured"]["q"], 0.1)


def test_what_is_set_aside_replaces_nothing(tmp_path: Path) -> None:
    for text in ("first", "second"):
        (tmp_path / "episode-0000").write_text(text)
        set_aside(tmp_path / "episode-0000", tmp_path / "aside")
    assert (tmp_path / "aside" / "episode-0000").read_text() == "first"
    assert (tmp_path / "aside" / "episode-0000-1").read_text() == "second"
    assert not is_empty_journal(tmp_path / "aside" / "episode-0000")


@pytest.mark.parametrize(
    ("ending", "known", "success", "outcome"),
    [
        ("horizon", True, True, "success"), ("horizon", True, False, "failure"), ("end", False, False, "unknown"),
        ("fault", True, False, "faulted"), ("watchdog", True, True, "faulted"), ("policy", True, False, "faulted"),
        ("safety", False, False, "faulted"), ("objects", True, False, "faulted"), ("stop", True, True, "stopped"),
        ("", True, True, "killed"),
    ],
)  # fmt: skip
def test_only_what_was_made_to_its_end_says_something_of_the_policy(
    ending: str, known: bool, success: bool, outcome: str
) -> None:
    assert classify_outcome(ending, known, success) == outcome


@pytest.mark.parametrize("column", [3, -1])  # of the state, and a joint angle
def test_steps_before_a_row_that_is_not_finite_are_kept(tmp_path: Path, column: int) -> None:
    folder = journal_of(tmp_path)
    rows = np.frombuffer((folder / "rows").read_bytes()).reshape(6, -1).copy()
    rows[4, column if column > 0 else rows.shape[1] - MEASUREMENT_WIDTH + 4] = np.nan
    (folder / "rows").write_bytes(rows.tobytes())
    episode = read_journal(folder)
    assert episode is not None and len(episode) == 3 and np.isfinite(episode.state).all()
    assert episode.frames is not None and episode.frames[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    rows[1:, 3] = np.inf
    (folder / "rows").write_bytes(rows.tobytes())
    with pytest.raises(BadArtifact, match="not finite"):
        read_journal(folder)
