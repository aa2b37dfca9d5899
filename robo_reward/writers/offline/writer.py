"""The writer that needs no network: composes programs from sentence and state, then evolves them."""

from __future__ import annotations

from pathlib import Path

from robo_reward.configs.writers import OfflineConfig
from robo_reward.writers.offline.goals.understanding import understand_goal
from robo_reward.writers.offline.propose import draw_proposals
from robo_reward.writers.writer import Completion, WriteRequest, WriterError


class OfflineWriter:
    """Answers like a language model: a paragraph and one fenced block of Python; see `docs/offline_writer.md`.

    Args:
        folder: of the run; nothing is kept there, since the same request always gives the same answers.
        strict: whether words that are not understood are an error, where no success rule says what counts.
    """

    name = "offline"

    def __init__(self, folder: Path | None = None, strict: bool = OfflineConfig.strict) -> None:
        self.folder, self.strict = folder, strict

    def write(self, request: WriteRequest, k: int) -> list[Completion]:
        """Returns K different programs; the first is the most usual one, in later rounds the improved elite.

        Raises:
            GoalNotUnderstood: the goal has words that are not understood, and nothing else says what is wanted.
            WriterError: a condition of success is wanted, and none follows from the sentence.
        """
        if request.wants == "rule":
            return [_propose_rule(request)] * k
        if self.strict and not request.success_rule:
            understand_goal(request).require_clear()
        return [
            Completion(f"{proposal.reason}\n\n```python\n{proposal.source}```\n", proposal.source, index=i)
            for i, proposal in enumerate(draw_proposals(request, k), request.first)
        ]


def _propose_rule(request: WriteRequest) -> Completion:
    """Returns the condition that follows from the sentence, as an answer."""
    found = understand_goal(request)
    found.require_clear("Give success='...' yourself.")
    if found.conditions is None:
        raise WriterError(f"no condition follows from {request.goal!r}: {found.reason}. Give success='...' yourself")
    failure = f"failure: {found.conditions.failure}\n" if found.conditions.failure else ""
    text = f"```text\nsuccess: {found.conditions.success}\n{failure}```\n"
    return Completion("\n".join([*found.conditions.notes, text]), index=request.first)
