from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from robo_reward.errors import RoboRewardError, UsageError
from robo_reward.files import write_json
from robo_reward.jobs.context import JobContext
from robo_reward.jobs.job import Job, read_json

SPEC = {"entry": "a.b:c", "steps": 5}


def test_json_round_trip_with_arrays_leaves_no_temporary_file(tmp_path: Path):
    write_json(tmp_path / "a.json", {"x": np.float64(0.5), "y": np.arange(3), "z": tmp_path})
    assert read_json(tmp_path / "a.json") == {"x": 0.5, "y": [0, 1, 2], "z": str(tmp_path)}
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_value_that_is_not_json_leaves_the_old_file(tmp_path: Path):
    write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(TypeError, match="object is not JSON"):
        write_json(tmp_path / "a.json", {"x": object()})
    assert read_json(tmp_path / "a.json") == {"x": 1}
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000, '"x"', "\xff"])
def test_damaged_json_is_named(tmp_path: Path, text: str):
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(RoboRewardError, match=r"a\.json"):
        read_json(tmp_path / "a.json")


def test_links_and_pipes_count_as_no_file(tmp_path: Path):
    write_json(tmp_path / "real.json", {"x": 1})
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    os.mkfifo(tmp_path / "pipe.json")
    assert read_json(tmp_path / "link.json") is None
    assert read_json(tmp_path / "pipe.json") is None


def test_create_is_idempotent_and_undoes_tampering(tmp_path: Path):
    job = Job.create(tmp_path / "j", SPEC)
    write_json(job.spec_path, {"entry": "evil:run"})
    assert Job.create(tmp_path / "j", SPEC).load_spec() == SPEC
    write_json(job.result_path, {"x": 1})
    assert Job.create(tmp_path / "j", SPEC).load_result() == {"x": 1}
    with pytest.raises(RoboRewardError, match="another spec"):
        Job.create(tmp_path / "j", {**SPEC, "steps": 6})


def test_bad_specs_are_usage_errors(tmp_path: Path):
    with pytest.raises(UsageError, match="expected 'package"):
        Job.create(tmp_path / "j", {"entry": "nothing"})
    with pytest.raises(UsageError, match=r"no spec\.json"):
        Job(tmp_path).load_spec()


def test_progress_survives_a_line_cut_short(tmp_path: Path):
    job = Job.create(tmp_path, SPEC)
    JobContext(tmp_path).report_progress({"step": 1})
    with job.progress_path.open("a") as file:
        file.write('{"step": 2, "rew')
    assert job.read_progress() == [{"step": 1}]
    JobContext(tmp_path).report_progress({"step": np.int64(3)})
    assert job.read_progress() == [{"step": 1}, {"step": 3}]


def test_files_that_a_kill_left_half_written_are_removed(tmp_path: Path):
    job = Job.create(tmp_path, SPEC)
    JobContext(tmp_path).save("count.json", {"n": 1})
    (job.checkpoints / ".count.json.0123456789ab").write_text("{")
    (job.checkpoints / ".hidden.json").write_text("{}")
    assert JobContext(tmp_path).load("count.json") == {"n": 1}
    assert sorted(os.listdir(job.checkpoints)) == [".hidden.json", "count.json"]


def test_stop_is_seen_and_remembered(tmp_path: Path):
    job = Job.create(tmp_path, SPEC)
    context = JobContext(tmp_path)
    assert not context.is_stop_requested() and not context.has_seen_stop
    job.request_stop()
    assert not context.is_stop_requested()  # looked less than 0.2 s ago
    context = JobContext(tmp_path)
    assert context.is_stop_requested()
    job.withdraw_stop()
    assert context.is_stop_requested() and context.has_seen_stop


def test_status_follows_the_files(tmp_path: Path):
    job = Job.create(tmp_path, SPEC)
    assert job.status == "new"
    job.log_path.write_text("".join(f"{i}\n" for i in range(100)))
    assert job.status == "started"
    assert job.read_log_tail(2) == ["98", "99"]
    write_json(job.error_path, {"kind": "timeout"})
    assert job.status == "failed"
    write_json(job.error_path, {"kind": "stopped"})
    assert job.status == "stopped"
    write_json(job.result_path, {})
    assert job.status == "done"
