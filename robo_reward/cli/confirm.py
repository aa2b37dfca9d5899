"""`success=propose`: a writer proposes the conditions of success, a person confirms them at the terminal."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from robo_reward.cli.goals import BY_USER, GoalRecord, build_rule_request, find_problem, make_answer
from robo_reward.cli.terminal import Terminal
from robo_reward.envs.task import Task
from robo_reward.errors import UsageError
from robo_reward.masking import mask_secrets
from robo_reward.questions import read_line
from robo_reward.writers.chat import LEDGER
from robo_reward.writers.ledger import Ledger, LedgerEntry
from robo_reward.writers.offline.goals.understanding import understand_goal
from robo_reward.writers.prompt import conversation
from robo_reward.writers.writer import RejectedAnswer, Writer, WriteRequest, WriterError, make_writer

PROPOSALS = "proposals"
"""Folder beside the runs that holds the ledger of proposals: the run's own name follows from what is confirmed."""
MAX_REPAIRS = 2
_LINE = re.compile(r"^[\s`*-]*(success|failure)\**\s*[:=]\s*(.+?)\s*$", re.IGNORECASE | re.MULTILINE)


class NotConfirmed(UsageError):
    """A proposed rule was declined, or there is no terminal at which it could be confirmed."""


@dataclass(frozen=True)
class RuleProblem:
    """A reason why a proposed rule cannot be used."""

    reason: str
    remedy: str = ""
    line: int | None = None


def propose_goal(
    console: Terminal,
    task: Task,
    goal: str,
    failure: str,
    writer_config: dict[str, Any],
    runs: str,
    arguments: Sequence[str],
) -> GoalRecord:
    """Returns a goal with the conditions that a writer proposes and a person confirms.

    Args:
        console: of the command.
        task: the task, or the draft of a scene.
        goal: the sentence.
        failure: the user's own condition of failure, or empty.
        writer_config: `name` and options of the writer.
        runs: folder of the runs, beside which the proposals are kept.
        arguments: of the command, to show how to repeat it.

    Raises:
        NotConfirmed: the person says no, or there is no terminal.
        WriterError: the writer has no usable proposal.
    """
    folder = Path(runs) / PROPOSALS
    request = build_rule_request(task, goal)
    writer = make_writer(writer_config, folder)
    proposal = _ask_writer(task, writer, request, folder)
    proposal = replace(proposal, failure=failure or proposal.failure)
    console.print(f"\n{goal}", style="bold")
    replace(proposal, success_by=f"the {writer.name} writer").print(console)
    if not sys.stdin.isatty():
        raise NotConfirmed(
            f"success=propose needs a terminal at which a person confirms the rule. To use the proposal: "
            f"{_format_command(arguments, proposal)}"
        )
    return _confirm(console, task, proposal, writer.name)


def _ask_writer(task: Task, writer: Writer, request: WriteRequest, folder: Path) -> GoalRecord:
    """Returns a proposal whose rules can be used; what is wrong goes back to the writer.

    Raises:
        WriterError: none can be used after `MAX_REPAIRS` repairs.
    """
    problem = ""
    for attempt in range(MAX_REPAIRS + 1):
        text = writer.write(request, 1)[0].text
        found = {name.lower(): value.strip("`'\" ") for name, value in _LINE.findall(text)}
        success, failure = found.get("success", ""), found.get("failure", "")
        failure = "" if failure.lower().strip(".") in ("none", "empty", "-") else failure
        holds = False
        words, notes = (), ()
        if writer.name == "offline":
            understood = understand_goal(request)
            words = understood.reading.words
            conditions = understood.conditions
            notes, holds = (conditions.notes, conditions.may_hold_at_start) if conditions is not None else ((), False)
        problem = (
            find_problem(task, success, failure, holds) if success else "the answer has no line `success: CONDITION`"
        )
        if not problem:
            answer = _find_entry(folder, request) or make_answer(request, writer.name, text)
            return GoalRecord(request.goal, success, failure, "", words, notes, answer)
        if writer.name == "offline":
            break
        request = replace(request, repair=RejectedAnswer(text, (RuleProblem(problem),)), first=attempt + 1)
    raise WriterError(
        f"the {writer.name} writer proposes no usable rule for {request.goal!r}; the last one: {problem}. "
        "Give success='...' yourself"
    )


def _find_entry(folder: Path, request: WriteRequest) -> LedgerEntry | None:
    """Returns the ledger's entry of a proposal, with its cost; None where the writer keeps none."""
    asked = [dict(message) for message in conversation(request)]
    path = folder / LEDGER
    entries = Ledger(path, "replay").load_entries() if path.exists() else []
    return next((e for e in reversed(entries) if [dict(message) for message in e.messages] == asked), None)


def _confirm(console: Terminal, task: Task, proposal: GoalRecord, writer: str) -> GoalRecord:
    """Returns the proposal as a person confirms or edits it.

    Raises:
        NotConfirmed: the person says no, or the input ends.
        KeyboardInterrupt: Ctrl-C; nothing has been written yet.
    """
    by = f"{writer} confirmed by user"
    while True:
        answer = _read_line("Use it? [y]es, [n]o, [e]dit: ").lower()
        if answer in ("y", "yes"):
            return replace(proposal, success_by=by)
        if answer in ("n", "no"):
            raise NotConfirmed("the proposed rule was declined: give success='...'")
        if answer not in ("e", "edit"):
            console.print("answer y, n or e")
            continue
        success = _read_line("success: ") or proposal.success
        failure = _read_line("failure (empty: none): ")
        problem = find_problem(task, success, failure)
        if problem:
            console.print(problem, style="red")
            continue
        edited = (success, failure) != (proposal.success, proposal.failure)
        proposal = replace(proposal, success=success, failure=failure)
        by = BY_USER if edited else by
        proposal.print(console)


def _read_line(prompt: str) -> str:
    try:
        return read_line(prompt).strip()
    except EOFError:
        raise NotConfirmed("the terminal ended before the rule was confirmed: give success='...'") from None


def _format_command(arguments: Sequence[str], proposal: GoalRecord) -> str:
    """Returns the command with the proposed rules in place of `success=propose`, quoted for a shell."""
    rules = [f"success={proposal.success}", *([f"failure={proposal.failure}"] if proposal.failure else [])]
    kept = [word for word in arguments if not word.startswith(("success=", "failure="))]
    return mask_secrets(shlex.join(["robo-reward", *kept, *rules]))
