"""The conformance tests that the package ships, on what the package has."""

import numpy as np
import pytest

from robo_reward.envs.task import Task, make_task
from robo_reward.testing.task import TaskContract
from robo_reward.testing.writer import WriterContract
from robo_reward.writers.offline.writer import OfflineWriter
from robo_reward.writers.writer import Writer


class TestArmTask(TaskContract):
    def make_task(self) -> Task:
        return make_task("panda/push")


class TestMagicalTask(TaskContract):
    def make_task(self) -> Task:
        return make_task("magical/sweep-short")


class TestOfflineWriter(WriterContract):
    def make_writer(self) -> Writer:
        return OfflineWriter()


class WithoutSeed(TestArmTask):
    __test__ = False

    def make_task(self) -> Task:
        task = super().make_task()
        start = task.sample
        task.sample = lambda rng, n: start(np.random.default_rng(0), n)
        return task


def test_a_task_that_breaks_the_contract_fails() -> None:
    with pytest.raises(AssertionError):
        WithoutSeed().test_starts_follow_from_the_seed_and_fit_the_model()
