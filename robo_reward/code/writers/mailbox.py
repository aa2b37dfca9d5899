"""Prompts as files, answers as files: for people, for tools without an API, for scripts."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from robo_reward.code.ledger import Entry
from robo_reward.code.writers.chat import ChatWriter, Question
from robo_reward.code.writers.purse import estimated_tokens
from robo_reward.code.writers.writer import Usage, WriterError
from robo_reward.errors import UsageError

log = logging.getLogger(__name__)

ID_LENGTH = 16
"""Digits of the ledger's key that name a prompt."""


class MailboxWriter(ChatWriter):
    """Puts each prompt into `DIR/prompts/ID.json` and waits for `DIR/answers/ID.md`.

    A prompt holds `id`, `messages`, `options` and `answer` (the file that is waited for). Write the answer under
    another name in the same folder and rename it, so that half of it is never read. The ID follows from the content:
    a run that is started again asks the same questions under the same names and finds the answers that came meanwhile.

    Args:
        folder: of the run.
        dir: the mailbox; empty for `mailbox` in the run folder.
        timeout: for each answer, counted from the last one that came [s]; 0 to wait for ever.
        poll: how often to look [s].
        ledger: one of `code.ledger.MODES`.

    Raises:
        UsageError: the mailbox cannot be made, or an option makes no sense.
    """

    name = "mailbox"

    def __init__(
        self, folder: Path, dir: str | Path = "", timeout: float = 0.0, poll: float = 0.5, ledger: str = "record"
    ) -> None:
        super().__init__(folder, "mailbox", ledger)
        if timeout < 0 or poll <= 0:
            raise UsageError(f"writer.timeout={timeout} must be 0 or more, writer.poll={poll} more than 0 [s]")
        self.dir = Path(dir).expanduser() if str(dir) else self.folder / "mailbox"
        self.prompts, self.answers = self.dir / "prompts", self.dir / "answers"
        self.timeout, self.poll = timeout, poll
        try:
            self.prompts.mkdir(parents=True, exist_ok=True)
            self.answers.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"no mailbox can be made at writer.dir={self.dir}: {error.strerror or error}") from error

    def options(self) -> dict[str, Any]:
        return {}

    def ask(self, questions: Sequence[Question]) -> Iterator[Entry]:
        open_ = {question.key[:ID_LENGTH]: question for question in questions}
        for id_, question in open_.items():
            self._post(id_, question)
        self._tell(list(open_))
        since = time.monotonic()
        while True:
            answered = [id_ for id_ in open_ if (self.answers / f"{id_}.md").is_file()]
            for id_ in answered:
                text = self._read(id_)
                if text is not None:
                    yield self._entry(open_.pop(id_), text)
                    since = time.monotonic()
            if not open_:
                return
            if self.timeout and time.monotonic() - since > self.timeout:
                raise WriterError(
                    f"no answer within {self.timeout:g} s to {', '.join(open_)} in {self.prompts}. Put answers "
                    f"into {self.answers} as ID.md and start the same command again, or set "
                    "writer.timeout=0 to wait for ever"
                )
            time.sleep(self.poll)

    def _post(self, id_: str, question: Question) -> None:
        """Writes a prompt, unless it lies there from an earlier sitting."""
        path, answer = self.prompts / f"{id_}.json", self.answers / f"{id_}.md"
        if path.is_file():
            return
        letter = {
            "id": id_,
            "messages": list(question.messages),
            "options": {**question.options, "index": question.index, "sample_seed": question.seed},
            "answer": f"{answer.parent.name}/{answer.name}",
        }
        try:
            half = path.with_name(f".{id_}.{os.getpid()}.tmp")
            half.write_text(json.dumps(letter, indent=1))
            half.replace(path)
        except OSError as error:
            raise WriterError(f"cannot write the prompt {path}: {error.strerror or error}") from error

    def _read(self, id_: str) -> str | None:
        """An answer, or none if the file holds no text: that is moved aside and waited for again."""
        path = self.answers / f"{id_}.md"
        try:
            text = path.read_bytes().decode("utf-8-sig", errors="replace")
            if text.strip() and "\0" not in text:
                return text
            fault = "garbled" if text.strip() else "empty"  # NUL: UTF-16, a picture, an archive
            aside = next(p for n in range(1, 10**6) if not (p := path.with_name(f"{id_}.{fault}-{n}")).exists())
            path.rename(aside)
        except FileNotFoundError:  # somebody took it back
            return None
        except OSError as error:
            raise WriterError(f"cannot read the answer {path}: {error.strerror or error}") from error
        log.warning("%s is %s: moved to %s, still waiting for an answer in UTF-8", path, fault, aside.name)
        return None

    def _tell(self, ids: list[str]) -> None:
        waiting = [id_ for id_ in ids if not (self.answers / f"{id_}.md").is_file()]
        if waiting:
            log.warning(
                "waiting for %d answer(s): read %s/ID.json, write %s/ID.md (under another name, then rename); ID is %s",
                *(len(waiting), self.prompts, self.answers, ", ".join(waiting)),
            )

    def _entry(self, question: Question, text: str) -> Entry:
        read = sum(estimated_tokens(message["content"]) for message in question.messages)
        return question.answered(text, usage=Usage(read, estimated_tokens(text), estimated=True))
