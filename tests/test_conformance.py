"""The conformance tests that the package ships, on what the package has."""

from dataclasses import replace

import numpy as np
import pytest

from robo_reward.envs.task import Task, make_task
from robo_reward.testing.task import TaskContract
from robo_reward.testing.writer import WriterContract
from robo_reward.writers.offline.writer import OfflineWriter
from robo_reward.writers.writer import Completion, Writer, WriteRequest


class TestArmTask(TaskContract):
    def make_task(self) -> Task:
        return make_task("panda/push")


class TestMagicalTask(TaskContract):
    def make_task(self) -> Task:
        return make_task("magical/sweep-short")


class TestOfflineWriter(WriterContract):
    def make_writer(self) -> Writer:
        return OfflineWriter()


class SampledWriter(OfflineWriter):
    """Answers differently each time, as a model that samples does."""

    calls = 0

    def write(self, request: WriteRequest, k: int) -> list[Completion]:
        self.calls += 1
        return [replace(answer, text=f"{answer.text}# {self.calls}") for answer in super().write(request, k)]


class TestSampledWriter(WriterContract):
    is_repeatable = False

    def make_writer(self) -> Writer:
        return SampledWriter()


class SampledUnsaid(TestSampledWriter):
    __test__ = False
    is_repeatable = True


class WithoutSeed(TestArmTask):
    __test__ = False

    def make_task(self) -> Task:
        task = super().make_task()
        start = task.sample
        task.sample = lambda rng, n: start(np.random.default_rng(0), n)
        return task


def test_a_writer_that_samples_has_to_say_so() -> None:
    with pytest.raises(AssertionError):
        SampledUnsaid().test_the_same_request_gives_the_same_answers()


def test_a_task_that_breaks_the_contract_fails() -> None:
    with pytest.raises(AssertionError):
        WithoutSeed().test_starts_follow_from_the_seed_and_fit_the_model()
