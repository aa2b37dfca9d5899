"""The contract of a writer as tests.

Inherit the mixin and say how to make yours; pytest runs the rest:

    class TestMine(WriterContract):
        def make_writer(self): return MyWriter(...)
"""

from __future__ import annotations

from robo_reward.envs.task import make_task
from robo_reward.writers.writer import Completion, Writer, WriteRequest


class WriterContract:
    """The contract of `robo_reward.writers.writer.Writer` as tests.

    Attributes:
        is_repeatable: whether the same request gives the same answers; False for a model that samples without a seed.
    """

    is_repeatable = True

    def make_writer(self) -> Writer:
        """Returns a new writer."""
        raise NotImplementedError

    def make_request(self) -> WriteRequest:
        """Returns the request that the writer is asked."""
        task = make_task("panda/lift")
        return WriteRequest(task.goal, task.spec, task.action, success_rule=task.success_rule)

    def test_there_are_k_answers_in_order(self) -> None:
        answers = self.make_writer().write(self.make_request(), 3)
        assert [answer.index for answer in answers] == [0, 1, 2]
        assert all(isinstance(answer, Completion) for answer in answers)

    def test_an_answer_has_a_program_or_says_why_not(self) -> None:
        for answer in self.make_writer().write(self.make_request(), 2):
            assert answer.error if answer.source is None else "def compute_reward" in answer.source

    def test_the_same_request_gives_the_same_answers(self) -> None:
        if not self.is_repeatable:
            return
        writer, request = self.make_writer(), self.make_request()
        first, second = writer.write(request, 2), writer.write(request, 2)
        assert [answer.text for answer in first] == [answer.text for answer in second]

    def test_it_has_a_name(self) -> None:
        assert self.make_writer().name
