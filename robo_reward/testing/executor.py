"""The contract of an executor of jobs as tests, and the jobs that they run.

Inherit the mixin and say how to make yours; pytest runs the rest:

    class TestMine(ExecutorContract):
        def make_executor(self): return MyExecutor(...)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, as_completed, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

from robo_reward.errors import RoboRewardError
from robo_reward.jobs.context import JobContext
from robo_reward.jobs.executors import JobExecutor
from robo_reward.jobs.failures import JobFailed, JobStopped, JobTimedOut
from robo_reward.jobs.job import Job

PAUSE = 0.05  # [s] between two looks at a job


def count_attempts(job: JobContext) -> dict[str, Any]:
    """Returns the job's own value, and how often it has been run."""
    attempts = (job.load("attempts.json") or 0) + 1
    job.save("attempts.json", attempts)
    return {"value": job.spec["value"], "attempts": attempts}


def fail_at_once(job: JobContext) -> dict[str, Any]:
    """Raises an error, as a reward program may."""
    raise ValueError("the reward is not finite")


def wait_for_stop(job: JobContext) -> dict[str, Any]:
    """Reports that it runs, and then waits until it is asked to stop."""
    job.report_progress({"running": True})
    while not job.is_stop_requested():
        time.sleep(PAUSE)
    return {"was_stopped": True}


def read_file(job: JobContext) -> dict[str, Any]:
    """Returns the text of a file outside of its folder."""
    return {"text": Path(job.spec["path"]).read_text()}


class ExecutorContract:
    """The contract of `robo_reward.jobs.executors.JobExecutor` as tests.

    Attributes:
        patience: longest wait for the end of a job, with its wait in a queue [s].
    """

    patience = 120.0

    def make_executor(self) -> JobExecutor:
        """Returns a new executor that runs at least two jobs at a time."""
        raise NotImplementedError

    def make_folder(self, tmp_path: Path) -> Path:
        """Returns an empty folder for jobs; override it where the jobs cannot see the temporary folder."""
        return tmp_path

    def create_job(self, tmp_path: Path, entry: Callable[..., Any], name: str = "", **params: Any) -> Job:
        """Creates the job of one of this module's entries."""
        spec = {"entry": f"{entry.__module__}:{entry.__name__}", **params}
        return Job.create(self.make_folder(tmp_path) / (name or entry.__name__), spec)

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + self.patience
        while not condition():
            assert time.monotonic() < end, f"after {self.patience:g} s: {what}"
            time.sleep(PAUSE)

    def test_it_has_the_parts_of_an_executor(self) -> None:
        with self.make_executor() as executor:
            assert isinstance(executor, JobExecutor)

    def test_a_job_returns_its_result_and_leaves_it_in_its_folder(self, tmp_path: Path) -> None:
        job = self.create_job(tmp_path, count_attempts, value=[1, 2.5, "x"])
        with self.make_executor() as executor:
            found = executor.submit_job(job.folder).result(self.patience)
        assert found == {"value": [1, 2.5, "x"], "attempts": 1}
        assert job.load_result() == found

    def test_a_finished_job_is_not_run_again(self, tmp_path: Path) -> None:
        job = self.create_job(tmp_path, count_attempts, value=1)
        with self.make_executor() as executor:
            first = executor.submit_job(job.folder).result(self.patience)
            assert executor.submit_job(job.folder).result(self.patience) == first

    def test_the_futures_are_the_standard_ones(self, tmp_path: Path) -> None:
        jobs = [self.create_job(tmp_path, count_attempts, f"job{i}", value=i) for i in range(3)]
        with self.make_executor() as executor:
            futures = [executor.submit_job(job.folder) for job in jobs]
            assert all(isinstance(future, Future) for future in futures)
            assert wait(futures, timeout=self.patience).not_done == set()
            assert sorted(future.result()["value"] for future in as_completed(futures)) == [0, 1, 2]
            assert [future.result()["value"] for future in futures] == [0, 1, 2]

    def test_a_failed_job_fails_its_own_future_and_says_why(self, tmp_path: Path) -> None:
        bad, good = self.create_job(tmp_path, fail_at_once), self.create_job(tmp_path, count_attempts, value=1)
        with self.make_executor() as executor:
            futures = executor.submit_job(bad.folder), executor.submit_job(good.folder)
            error = futures[0].exception(self.patience)
            assert futures[1].result(self.patience)["value"] == 1
        assert isinstance(error, JobFailed)
        assert "the reward is not finite" in error.reason
        assert error.folder == bad.folder
        assert bad.load_result() is None
        assert "the reward is not finite" in str(bad.load_error())

    def test_what_is_no_job_fails_its_own_future(self, tmp_path: Path) -> None:
        folder = self.make_folder(tmp_path)
        unknown = Job.create(folder / "unknown", {"entry": "robo_reward.testing.executor:missing"})
        with self.make_executor() as executor:
            errors = [executor.submit_job(place).exception(self.patience) for place in (folder / "no", unknown.folder)]
        assert all(isinstance(error, RoboRewardError) for error in errors)
        assert "missing" in str(errors[1])

    def test_a_job_ends_at_its_time_limit(self, tmp_path: Path) -> None:
        job = self.create_job(tmp_path, wait_for_stop)
        with self.make_executor() as executor:
            future = executor.submit_job(job.folder, timeout=3.0)
            assert not future.done()
            assert isinstance(future.exception(self.patience), JobTimedOut)

    def test_a_job_reads_what_the_caller_opens(self, tmp_path: Path) -> None:
        other = self.make_folder(tmp_path) / "other"
        other.mkdir()
        (other / "start").write_text("weights")
        job = self.create_job(tmp_path, read_file, path=str(other / "start"))
        with self.make_executor() as executor:
            assert executor.submit_job(job.folder, read=[other]).result(self.patience) == {"text": "weights"}

    def test_cancelling_stops_the_jobs_and_takes_no_more(self, tmp_path: Path) -> None:
        jobs = [self.create_job(tmp_path, wait_for_stop, f"job{i}") for i in range(2)]
        executor = self.make_executor()
        futures = [executor.submit_job(job.folder) for job in jobs]
        self.wait_until(lambda: len(jobs[0].read_progress()) > 0, "the first job does not run")
        executor.shutdown(cancel_futures=True)
        assert all(future.done() for future in futures)
        assert isinstance(futures[0].exception(), JobStopped)
        assert futures[1].cancelled() or isinstance(futures[1].exception(), JobStopped)
        assert not jobs[0].stop_path.exists(), "the next run of the folder would stop at once"
        refused = False
        try:
            executor.submit_job(jobs[1].folder)
        except RuntimeError:
            refused = True
        assert refused, "an executor that was shut down takes a job"

    def test_leaving_the_block_waits_and_an_exception_in_it_stops(self, tmp_path: Path) -> None:
        short, long = self.create_job(tmp_path, count_attempts, value=1), self.create_job(tmp_path, wait_for_stop)
        with self.make_executor() as executor:
            future = executor.submit_job(short.folder)
        assert future.result(0)["value"] == 1
        with suppress(KeyboardInterrupt), self.make_executor() as executor:
            future = executor.submit_job(long.folder)
            self.wait_until(lambda: len(long.read_progress()) > 0, "the job does not run")
            raise KeyboardInterrupt
        assert future.done()
        with suppress(CancelledError):
            assert isinstance(future.exception(0), JobStopped)
