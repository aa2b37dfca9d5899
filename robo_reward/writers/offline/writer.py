"""The writer that needs no network: composes programs from sentence and state, then evolves them."""

from __future__ import annotations

from pathlib import Path

from robo_reward.writers.offline.propose import draw_proposals
from robo_reward.writers.writer import Completion, WriteRequest


class OfflineWriter:
    """Answers like a language model: a paragraph and one fenced block of Python; see `docs/offline_writer.md`.

    Args:
        folder: of the run; nothing is kept there, since the same request always gives the same answers.
    """

    name = "offline"

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder

    def write(self, request: WriteRequest, k: int) -> list[Completion]:
        """Returns K different programs; the first is the most usual one, in later rounds the improved elite."""
        return [
            Completion(f"{proposal.reason}\n\n```python\n{proposal.source}```\n", proposal.source, index=i)
            for i, proposal in enumerate(draw_proposals(request, k), request.first)
        ]
