from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, as_completed, wait
from pathlib import Path

import psutil
import pytest

from robo_reward.errors import UnknownName
from robo_reward.jobs.executors import EXECUTORS, JobExecutor
from robo_reward.jobs.failures import JobFailed, JobStopped
from robo_reward.jobs.job import Job
from robo_reward.jobs.local import LocalExecutor
from robo_reward.jobs.sandbox.limits import GIB, Limits

MakeJob = Callable[..., Job]
ROOT = Path(__file__).parents[2]


def test_one_bad_job_never_affects_others(make_job: MakeJob):
    entries = ["ok", "raises", "segfault", "kill_self", "hang", "hog", "exits", "ok"]
    with LocalExecutor(2) as executor:
        futures = {
            executor.submit_job(make_job(entry, name=f"{i}").folder, timeout=2.0, limits=Limits(memory=GIB)): i
            for i, entry in enumerate(entries)
        }
        ends = {}
        for future in as_completed(futures):
            error = future.exception()
            ends[futures[future]] = error.kind if isinstance(error, JobFailed) else future.result()["value"]
    assert [ends[i] for i in range(8)] == [1, "failed", "crashed", "killed", "timeout", "memory", "failed", 1]


def test_submit_and_map_are_the_standard_ones():
    with LocalExecutor(2) as executor:
        assert executor.submit(divmod, 7, 2).result() == (3, 1)
        assert list(executor.map(abs, [-1, -2])) == [1, 2]
        assert isinstance(executor.submit(int, "x").exception(), ValueError)
    with pytest.raises(RuntimeError):
        executor.submit(abs, 1)


def test_shutdown_stops_running_jobs_and_cancels_queued_ones(make_job: MakeJob):
    executor = LocalExecutor(1, stop_grace=10)
    running = make_job("counts", name="running", to=1000, pause=0.02)
    first = executor.submit_job(running.folder)
    second = executor.submit_job(make_job("ok", name="queued").folder)
    wait_for(lambda: len(running.read_progress()) > 2)
    executor.shutdown(cancel_futures=True)
    error = first.exception()
    assert isinstance(error, JobStopped) and error.partial is not None and error.partial["count"] > 2
    with pytest.raises(CancelledError):
        second.result()
    assert not running.stop_path.exists(), "the next run goes on"


def test_an_exception_in_the_block_stops_the_jobs(make_job: MakeJob):
    job = make_job("hang")
    futures = []

    def interrupted() -> None:
        with LocalExecutor(1, stop_grace=0.1) as executor:
            futures.append(executor.submit_job(job.folder))
            wait_for(lambda: (job.folder / "pid").exists())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert isinstance(futures[0].exception(), JobStopped)
    assert not alive(job)


PARENT = """
import signal, sys
from concurrent.futures import wait
from robo_reward.jobs.local import LocalExecutor
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it runs in the background
with LocalExecutor(2, stop_grace=0.1) as executor:
    wait([executor.submit_job(folder) for folder in sys.argv[1:]])
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_orphan_is_left(make_job: MakeJob, number: signal.Signals):
    jobs = [make_job("hang", name="a"), make_job("hang", name="b")]
    command = [sys.executable, "-c", PARENT, *(str(job.folder) for job in jobs)]
    parent = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    wait_for(lambda: all((job.folder / "pid").exists() for job in jobs))
    assert all(alive(job) for job in jobs)
    parent.send_signal(number)
    parent.wait()
    wait_for(lambda: not any(alive(job) for job in jobs))


def test_the_registry_knows_local():
    executor = EXECUTORS.create("local", max_workers=1)
    assert isinstance(executor, JobExecutor)
    executor.shutdown()
    with pytest.raises(UnknownName, match="Did you mean 'local'"):
        EXECUTORS.create("locale")


def test_futures_are_the_standard_ones(make_job: MakeJob):
    with LocalExecutor(1) as executor:
        seen = []
        future = executor.submit_job(make_job("ok").folder)
        future.add_done_callback(seen.append)
        assert wait([future]).done == {future}
    assert seen == [future]


def alive(job: Job) -> bool:
    try:
        process = psutil.Process(int((job.folder / "pid").read_text()))
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
