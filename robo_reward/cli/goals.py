"""The goal of a run: its sentence, the conditions that measure it, their author, and what was understood."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from robo_reward.cli.folder import RunFolder
from robo_reward.cli.terminal import Terminal
from robo_reward.envs.start_ranges import measure_start_ranges, sample_start_states
from robo_reward.envs.state import State
from robo_reward.envs.task import Task
from robo_reward.errors import UsageError
from robo_reward.scenes.rules import make_rule
from robo_reward.scenes.task import make_example_rule
from robo_reward.writers.chat import LEDGER
from robo_reward.writers.ledger import Ledger, LedgerEntry
from robo_reward.writers.offline.goals.reading import WordMeaning
from robo_reward.writers.offline.goals.understanding import Understanding, understand_goal
from robo_reward.writers.prompt import conversation
from robo_reward.writers.writer import WriteRequest

MAX_LISTED = 60
"""Number of fields that a message lists."""
MAX_AT_START = 0.05
"""Share of the starts at which a rule may hold."""
BY_USER, BY_SCENE, BY_ENVIRONMENT, BY_TASK = "the user", "the scene file", "the environment", "the task"
BY_SENTENCE = "the offline writer, from the goal sentence"


class NoSuccessRule(UsageError):
    """Nothing says when a goal is reached."""


@dataclass(frozen=True)
class GoalRecord:
    """The goal of a run.

    Args:
        goal: the sentence.
        success: the condition of success.
        failure: the condition that ends an episode as failed; empty for none.
        success_by: who wrote them.
        words: what each word of the sentence means to the offline writer; empty if it was not asked.
        notes: what was assumed where the sentence leaves it open.
        answer: the writer's answer that proposed the conditions, or None.
    """

    goal: str
    success: str
    failure: str = ""
    success_by: str = BY_TASK
    words: tuple[WordMeaning, ...] = ()
    notes: tuple[str, ...] = ()
    answer: LedgerEntry | None = None

    def print(self, console: Terminal) -> None:
        """Prints how the sentence was read, and the conditions with their author."""
        if self.words:
            console.print("read: " + "; ".join(f"{w.text} = {w.meaning or 'not understood'}" for w in self.words))
        for note in self.notes:
            console.print(f"note: {note}")
        by = f" (by {self.success_by})" if self.success_by != BY_TASK else ""
        console.print(f"success: {self.success}{by}")
        if self.failure:
            console.print(f"failure: {self.failure}")

    def save(self, run: RunFolder) -> None:
        """Writes `goal.json`, an entry of the ledger and the author in `provenance.json`, unless all is the task's own.

        Raises:
            WriterError: the ledger cannot be written.
        """
        if self.success_by == BY_TASK:
            return
        value = {name: entry for name, entry in asdict(self).items() if name != "answer"}
        run.save("goal.json", value)
        run.add_provenance(success=self.success, failure=self.failure, success_by=self.success_by)
        if self.answer is not None:
            Ledger(run.path / LEDGER).put(self.answer)


def build_rule_request(task: Task, goal: str) -> WriteRequest:
    """Returns the request for a condition of success: the goal, the state, and where episodes begin."""
    start = measure_start_ranges(sample_start_states(task))
    return WriteRequest(goal, task.spec, task.action, start=start, wants="rule")


def make_answer(request: WriteRequest, writer: str, text: str) -> LedgerEntry:
    """Returns a ledger entry for conditions that were not asked from a server."""
    return LedgerEntry(writer, tuple(conversation(request)), {"seed": request.seed, "round": request.round}, 0, text)


def describe_rule_example(task: Task) -> str:
    """Returns an example of a success rule made of a task's fields, and the list of these."""
    names = [field.name for field in task.spec if field.role != "hidden"]
    more = " ..." if len(names) > MAX_LISTED else ""
    return f"success={make_example_rule(task.spec)!r}. Fields: {', '.join(names[:MAX_LISTED])}{more}"


def derive_goal(task: Task, goal: str, failure: str, strict: bool, offline: bool) -> GoalRecord:
    """Returns a goal with the conditions that follow from its sentence.

    Args:
        task: the task, or the draft of a scene.
        goal: the sentence.
        failure: the user's own condition of failure, or empty.
        strict: whether words that are not understood are an error.
        offline: whether the offline writer also writes the rewards.

    Raises:
        GoalNotUnderstood: words are not understood; the message names the nearest sentence that can be done.
        NoSuccessRule: no usable condition follows.
    """
    request = build_rule_request(task, goal)
    found = understand_goal(request)
    example = describe_rule_example(task)
    if strict:
        further = f"Or give {example}; success=propose asks the writer for a rule"
        further = "With success=... the rewards follow that rule." if offline else further
        found.require_clear(further)
    if found.conditions is None:
        raise NoSuccessRule(
            f"{task.id}: no success rule follows from the goal {goal!r}: {found.reason}. Give one, such as {example}; "
            "success=propose asks the writer for one"
        )
    success, failure = found.conditions.success, failure or found.conditions.failure
    problem = find_problem(task, success, failure, found.conditions.may_hold_at_start)
    if problem:
        raise NoSuccessRule(
            f"{task.id}: the goal {goal!r} means success={success!r}: {problem}. Give another, such as {example}"
        )
    answer = make_answer(request, "offline", f"success: {success}\nfailure: {failure}\n")
    return GoalRecord(goal, success, failure, BY_SENTENCE, found.reading.words, found.conditions.notes, answer)


def find_problem(task: Task, success: str, failure: str, may_hold_at_start: bool = False) -> str:
    """Returns why conditions cannot be used, empty if they can: they do not compile, or hold when episodes begin."""
    start = sample_start_states(task)
    for name, text in (("success", success), ("failure", failure)):
        if not text:
            continue
        try:
            share = float(np.mean(make_rule(text, task)(State(task.spec, start.array))))
        except UsageError as error:
            return str(error)
        if share > MAX_AT_START and not (name == "success" and may_hold_at_start):
            return f"{name} is true at the start of {share:.0%} of the episodes"
    return ""


def read_own_goal(task: Task, goal: str) -> Understanding:
    """Returns what the offline writer understands of a goal for which the user gave the rule."""
    return understand_goal(build_rule_request(task, goal))
