from __future__ import annotations

import copy
import os
import threading
from collections.abc import Callable

import pytest

from robo_reward.errors import RoboRewardError, UsageError
from robo_reward.files import write_json
from robo_reward.jobs.failures import (
    JobBusy,
    JobCrashed,
    JobFailed,
    JobKilled,
    JobOutOfMemory,
    JobStopped,
    JobTimedOut,
)
from robo_reward.jobs.job import Job, read_json
from robo_reward.jobs.runner import run_job
from robo_reward.jobs.sandbox.limits import GIB, Limits

MakeJob = Callable[..., Job]


def failure(job: Job, kind: type[JobFailed], **options: object) -> JobFailed:
    with pytest.raises(JobFailed) as caught:
        run_job(job.folder, **options)  # type: ignore[arg-type]
    assert type(caught.value) is kind
    error = job.load_error()
    assert error is not None and (error["kind"], error["reason"]) == (kind.kind, caught.value.reason)
    assert not job.result_path.exists()
    return caught.value


def test_a_result_is_computed_once(make_job: MakeJob):
    job = make_job("ok", value=[1, 2])
    first = run_job(job.folder)
    assert first["temporary"] == str(job.folder / "tmp")
    assert first["value"] == [1, 2] and first["pid"] != os.getpid()
    assert run_job(job.folder) == first == read_json(job.result_path)
    assert job.read_log_tail() == ["working"]
    assert job.status == "done"
    assert sorted(os.listdir(job.folder)) == ["checkpoints", "log.txt", "result.json", "spec.json"]


@pytest.mark.parametrize(
    ("entry", "kind", "reason"),
    [
        ("raises", JobFailed, "ValueError: the reward is not finite"),
        ("exits", JobFailed, "ended with status 0 and without a result"),
        ("exits_hard", JobFailed, "ended with status 0 and without a result"),
        ("returns_text", JobFailed, "returned str, expected a JSON dict"),
        ("spoofs_stdout", JobFailed, "RuntimeError: after the spoof"),
        ("segfault", JobCrashed, "SIGSEGV"),
        ("kill_self", JobKilled, "SIGKILL"),
        ("no_such_entry", JobFailed, "no_such_entry"),
        ("plants_link", JobFailed, ""),
        ("plants_pipe", JobFailed, ""),
    ],
)
def test_every_bad_end_has_its_name(make_job: MakeJob, entry: str, kind: type[JobFailed], reason: str):
    assert reason in failure(make_job(entry), kind).reason


def test_the_message_shows_the_last_log_lines(make_job: MakeJob):
    error = failure(make_job("raises"), JobFailed)
    assert error.log[0] == "about to raise" and "about to raise" in str(error)
    again = copy.copy(error)  # as pickle does it, for executors on other machines
    assert str(again) == str(error) and again.log == error.log


def test_a_hang_is_killed_even_if_it_ignores_sigterm(make_job: MakeJob):
    error = failure(make_job("hang"), JobTimedOut, timeout=0.5)
    assert "0.5 s" in error.reason and error.log == ["hanging"]


def test_memory_is_limited(make_job: MakeJob):
    failure(make_job("hog"), JobOutOfMemory, limits=Limits(memory=GIB))


def test_processor_time_is_limited(make_job: MakeJob):
    assert "processor time" in failure(make_job("burns"), JobTimedOut, limits=Limits(cpu=1), timeout=20).reason


def test_a_killed_job_goes_on_from_its_checkpoint(make_job: MakeJob):
    job = make_job("counts", to=6, die_at=4)
    failure(job, JobKilled)
    assert run_job(job.folder) == {"count": 6, "attempts": 2}
    assert [point["count"] for point in job.read_progress()] == [1, 2, 3, 4, 5, 6]
    assert not job.error_path.exists()


def test_stop_file_ends_a_job_and_a_later_run_finishes_it(make_job: MakeJob):
    job = make_job("counts", to=8, pause=0.1)
    threading.Timer(0.3, job.request_stop).start()
    error = failure(job, JobStopped)
    assert error.partial is not None and 0 <= error.partial["count"] < 8
    assert job.status == "stopped"
    assert "before it started" in failure(job, JobStopped).reason
    job.withdraw_stop()
    assert run_job(job.folder)["count"] == 8


def test_a_job_that_ignores_stop_is_killed(make_job: MakeJob):
    job, stop = make_job("hang"), threading.Event()
    threading.Timer(0.2, stop.set).start()
    assert "did not stop" in failure(job, JobStopped, stop=stop, stop_grace=0.1).reason
    assert not job.stop_path.exists()


def test_two_runners_do_not_share_a_job(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("robo_reward.jobs.runner.LOCK_PATIENCE", 0.0)
    job, stop, started = make_job("hang"), threading.Event(), threading.Event()

    def first() -> None:
        started.set()
        with pytest.raises(JobStopped):
            run_job(job.folder, stop=stop, stop_grace=0.0)

    thread = threading.Thread(target=first)
    thread.start()
    while not (job.folder / "pid").exists():
        started.wait(0.01)
    with pytest.raises(JobBusy):
        run_job(job.folder)
    stop.set()
    thread.join()


def test_an_unusable_result_is_a_named_error(make_job: MakeJob):
    job = make_job("ok")
    job.result_path.write_text("{")
    with pytest.raises(JobFailed, match="unusable"):
        run_job(job.folder)


def test_not_a_job_folder(tmp_path):
    with pytest.raises(UsageError, match=r"spec\.json"):
        run_job(tmp_path)


def test_secrets_are_refused_as_extra_variables(make_job: MakeJob):
    with pytest.raises(UsageError, match="HF_TOKEN"):
        run_job(make_job("ok").folder, env={"HF_TOKEN": "x"})


def test_the_job_cannot_widen_its_limits_through_its_spec(make_job: MakeJob):
    job = make_job("hog")
    write_json(job.spec_path, {**job.load_spec(), "limits": {"memory": None}, "confine": False, "read": ["/"]})
    failure(job, JobOutOfMemory, limits=Limits(memory=GIB))


def test_every_failure_is_our_own_error():
    assert issubclass(JobFailed, RoboRewardError)
