"""Prompts as files, answers as files: for people, for tools without an API, for scripts."""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from robo_reward.configs.writers import MailboxConfig
from robo_reward.errors import BadArtifact, UsageError
from robo_reward.files import read_bytes, write_json
from robo_reward.writers.budget import estimate_tokens
from robo_reward.writers.chat import ChatRequest, ChatWriter
from robo_reward.writers.extract import MAX_ANSWER
from robo_reward.writers.ledger import LedgerEntry
from robo_reward.writers.writer import Usage, WriterError

log = logging.getLogger(__name__)

ID_LENGTH = 16
_WAITING = "waiting for %d answer(s): read %s/ID.json, write %s/ID.md (under another name, then rename); ID is %s"
"""Length of the prefix of the ledger's key that names a prompt."""
_FAULTS = {
    "empty": "empty",
    "garbled": "no text",
    "special": "a link, a folder, a pipe or a device",
    "long": f"longer than {MAX_ANSWER} bytes",
}
"""Faults of an answer: file ending with which it is moved aside -> description."""


class MailboxWriter(ChatWriter):
    """Puts each prompt into `DIR/prompts/ID.json` and waits for `DIR/answers/ID.md`.

    A prompt holds `id`, `messages`, `options` and `answer` (the file that is waited for). Write the answer under
    another name in the same folder and rename it, so that half of it is never read. The ID follows from the content:
    a run that is started again asks the same questions under the same names and finds the answers that came meanwhile.

    Args:
        folder: of the run.
        dir: the mailbox; empty for `mailbox` in the run folder.
        timeout: for each answer, counted from the last one that came [s]; 0 for no limit.
        poll: how often to look [s].
        ledger: one of `robo_reward.writers.ledger.MODES`.

    Raises:
        UsageError: the mailbox cannot be made, or an option makes no sense.
    """

    name = "mailbox"

    def __init__(
        self,
        folder: Path,
        dir: str | Path = "",
        timeout: float = MailboxConfig.timeout,
        poll: float = MailboxConfig.poll,
        ledger: str = MailboxConfig.ledger,
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
            raise UsageError(f"cannot create the mailbox writer.dir={self.dir}: {error.strerror or error}") from error

    def options(self) -> dict[str, Any]:
        return {}

    def ask(self, questions: Sequence[ChatRequest]) -> Iterator[LedgerEntry]:
        open_ = {question.key[:ID_LENGTH]: question for question in questions}
        for id_, question in open_.items():
            self._write_prompt(id_, question)
        self._announce_prompts(list(open_))
        since = time.monotonic()
        while True:
            answered = [id_ for id_ in open_ if os.path.lexists(self.answers / f"{id_}.md")]
            for id_ in answered:
                text = self._read_answer(id_)
                if text is not None:
                    yield self._make_entry(open_.pop(id_), text)
                    since = time.monotonic()
            if not open_:
                return
            if self.timeout and time.monotonic() - since > self.timeout:
                raise WriterError(
                    f"no answer within {self.timeout:g} s to {', '.join(open_)} in {self.prompts}. Put answers "
                    f"into {self.answers} as ID.md and run the same command again, or set "
                    "writer.timeout=0 to wait without a limit"
                )
            time.sleep(self.poll)

    def _write_prompt(self, id_: str, question: ChatRequest) -> None:
        """Writes a prompt, unless it is there from an earlier run."""
        path, answer = self.prompts / f"{id_}.json", self.answers / f"{id_}.md"
        if path.is_file() and not path.is_symlink():
            return
        letter = {
            "id": id_,
            "messages": list(question.messages),
            "options": {**question.options, "index": question.index, "sample_seed": question.seed},
            "answer": f"{answer.parent.name}/{answer.name}",
        }
        try:
            write_json(path, letter)
        except OSError as error:
            raise WriterError(f"cannot write the prompt {path}: {error.strerror or error}") from error

    def _read_answer(self, id_: str) -> str | None:
        """Returns an answer, or `None` if the file holds no text.

        A file without text is moved aside, and the answer is waited for again.
        """
        path = self.answers / f"{id_}.md"
        try:
            text, fault = _load_answer(path)
            if not fault:
                return text
            aside = next(p for n in range(1, 10**6) if not os.path.lexists(p := path.with_name(f"{id_}.{fault}-{n}")))
            path.rename(aside)
        except (FileNotFoundError, BadArtifact):  # withdrawn, or still being written
            return None
        except OSError as error:
            raise WriterError(f"cannot read the answer {path}: {error.strerror or error}") from error
        remedy = f"still waiting for a file of UTF-8 text, at most {MAX_ANSWER} bytes long"
        log.warning("%s is %s: moved to %s, %s", path, _FAULTS[fault], aside.name, remedy)
        return None

    def _announce_prompts(self, ids: list[str]) -> None:
        waiting = [id_ for id_ in ids if not os.path.lexists(self.answers / f"{id_}.md")]
        if waiting:
            log.warning(_WAITING, len(waiting), self.prompts, self.answers, ", ".join(waiting))

    def _make_entry(self, question: ChatRequest, text: str) -> LedgerEntry:
        read = sum(estimate_tokens(message["content"]) for message in question.messages)
        return question.make_entry(text, usage=Usage(read, estimate_tokens(text), estimated=True))


def _load_answer(path: Path) -> tuple[str, str]:
    """Returns the text of an answer, and one of `_FAULTS` if it cannot be used.

    Raises:
        OSError: its file status cannot be read.
        BadArtifact: it cannot be read.
    """
    info = path.lstat()
    if not stat.S_ISREG(info.st_mode):
        return "", "special"
    if info.st_size > MAX_ANSWER:  # before reading: a sparse file can be huge
        return "", "long"
    data = read_bytes(path, MAX_ANSWER)
    if data is None:
        raise FileNotFoundError(path)
    text = data.decode("utf-8-sig", errors="replace")
    if not text.strip():
        return "", "empty"
    return (text, "") if "\0" not in text else ("", "garbled")  # NUL bytes: UTF-16, an image or an archive
