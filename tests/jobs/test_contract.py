"""Every executor that comes with robo-reward keeps the contract that other packages' executors are tested against."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from robo_reward.jobs.executors import EXECUTORS, JobExecutor
from robo_reward.jobs.local import LocalExecutor
from robo_reward.testing.executor import ExecutorContract


class TestLocal(ExecutorContract):
    def make_executor(self) -> JobExecutor:
        return LocalExecutor(2)


def test_all_built_in_executors_are_tested() -> None:
    assert set(EXECUTORS._factories) == {"local"}


class Forgetful(LocalExecutor):
    """Drops the options of a job, and lets running jobs go on when it is shut down."""

    def submit_job(self, folder: Path | str, **options: Any) -> Future[dict[str, Any]]:
        return super().submit_job(folder, timeout=6.0)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait)


class WithoutOptions(ExecutorContract):
    def make_executor(self) -> JobExecutor:
        return Forgetful(2)


@pytest.mark.parametrize("broken", ["a_job_ends_at_its_time_limit", "cancelling_stops_the_jobs_and_takes_no_more"])
def test_an_executor_that_breaks_the_contract_fails(tmp_path: Path, broken: str) -> None:
    contract = WithoutOptions()
    contract.patience = 4.0
    with pytest.raises((AssertionError, TimeoutError)):
        getattr(contract, f"test_{broken}")(tmp_path)
