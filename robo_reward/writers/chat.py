"""The base class of writers that answer a conversation: prompts, the ledger, and programs out of answers."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robo_reward.language.characters import strip_hidden_characters
from robo_reward.writers.extract import extract_program, strip_reasoning
from robo_reward.writers.ledger import Ledger, LedgerEntry, Message, compute_entry_key
from robo_reward.writers.prompt import conversation
from robo_reward.writers.writer import Completion, WriteRequest

LEDGER = "ledger.jsonl"
"""File name of the ledger in a run folder; the report reads it."""


@dataclass(frozen=True)
class ChatRequest:
    """One sample that is not in the ledger.

    Args:
        model: the model that is asked.
        messages: the conversation.
        options: further settings that the answer depends on.
        index: the number of the sample of this conversation.
    """

    model: str
    messages: tuple[Message, ...]
    options: Mapping[str, Any]
    index: int

    @property
    def key(self) -> str:
        """The key of its answer in the ledger."""
        return compute_entry_key(self.model, self.messages, self.options, self.index)

    @property
    def seed(self) -> int:
        """A distinct seed for each sample, in [0, 2^31)."""
        return int.from_bytes(hashlib.sha256(self.key.encode()).digest()[:4], "big") >> 1

    def make_entry(self, text: str, **rest: Any) -> LedgerEntry:
        """Returns the ledger's entry for an answer."""
        return LedgerEntry(self.model, self.messages, self.options, self.index, text, **rest)


class ChatWriter(ABC):
    """A writer that is asked in messages: looks into the ledger first and asks only for what is missing.

    Subclasses yield answers as they come, and each is entered into the ledger at once: an error loses none of them.

    Args:
        folder: of the run; the ledger lies in it.
        model: as the ledger and the server call it.
        ledger: one of `robo_reward.writers.ledger.MODES`.
    """

    name: str

    def __init__(self, folder: Path, model: str, ledger: str = "record") -> None:
        self.folder, self.model = Path(folder), model
        self.ledger = Ledger(self.folder / LEDGER, ledger)

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """Returns the settings that answers depend on besides messages and seed, as JSON; part of the ledger's key."""

    @abstractmethod
    def ask(self, questions: Sequence[ChatRequest]) -> Iterator[LedgerEntry]:
        """Yields an answer for each question, in any order.

        Raises:
            WriterError: some cannot be answered.
        """

    def write(self, request: WriteRequest, k: int) -> list[Completion]:
        """Returns K answers in order, from the ledger where it has them.

        Raises:
            WriterError: answers are missing and cannot be had; those that were had are in the ledger.
        """
        messages = tuple(conversation(request))
        options = {**self.options(), "seed": request.seed, "round": request.round}
        questions = [ChatRequest(self.model, messages, options, request.first + i) for i in range(k)]
        known = {q.key: found for q in questions if (found := self.ledger.get(q.key)) is not None}
        fresh: dict[str, LedgerEntry] = {}
        missing = [q for q in questions if q.key not in known]
        if missing:
            for entry in self.ask(missing):
                self.ledger.put(entry)
                fresh[entry.key] = entry
        return [make_completion({**fresh, **known}[q.key], cached=q.key in known) for q in questions]


def make_completion(entry: LedgerEntry, cached: bool = False) -> Completion:
    """Returns the completion of an entry: its program, or the reason why there is none."""
    text = strip_hidden_characters(strip_reasoning(entry.text))
    if entry.finish_reason == "length":
        source, error = None, "the answer was cut off at the token limit: write a shorter one, or allow more tokens"
    else:
        source, error = extract_program(entry.text)
    return Completion(text, source, entry.usage, entry.finish_reason, entry.index, cached, error)
