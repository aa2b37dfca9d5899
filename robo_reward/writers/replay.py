"""Answers that were given before: the ledger of an earlier run, or a folder of files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robo_reward.errors import UsageError
from robo_reward.files import read_bytes
from robo_reward.writers.chat import LEDGER, make_completion
from robo_reward.writers.extract import MAX_ANSWER
from robo_reward.writers.ledger import Ledger, LedgerEntry
from robo_reward.writers.prompt import conversation
from robo_reward.writers.writer import Completion, WriteRequest, WriterError

ENDINGS = (".md", ".py", ".txt")
EXPECTED = "an earlier run, its ledger, or a folder of answers"


class ReplayWriter:
    """Returns recorded answers instead of new ones.

    From a ledger each question must be one that was asked then: same goal, state, prompts, seed and order give the same
    search, bit for bit. From a folder the files `*.md`, `*.py` and `*.txt` are the answers in order of their names, for
    any question; a run that is started again gives the same files to the same questions.

    Args:
        folder: of the run.
        ledger: an earlier run's folder, its ledger, or a folder of answers.

    Raises:
        UsageError: there is nothing to replay.
    """

    name = "replay"

    def __init__(self, folder: Path, ledger: str | Path = "") -> None:
        if not str(ledger):
            raise UsageError(
                "writer=replay needs writer.ledger=PATH: an earlier run, its ledger, or a folder of answers"
            )
        path = Path(ledger).expanduser().resolve()  # a link is followed here, but not inside the folder
        recorded = path / LEDGER if (path / LEDGER).is_file() else path
        if recorded.is_file():
            self._source: _LedgerAnswers | _FolderAnswers = _LedgerAnswers(Ledger(recorded, "replay"))
        elif path.is_dir():
            self._source = _FolderAnswers(path)
        else:
            raise UsageError(
                f"writer.ledger={path} does not exist; expected a run folder, its {LEDGER}, or a folder of answers"
            )

    def write(self, request: WriteRequest, k: int) -> list[Completion]:
        return [make_completion(entry, cached=True) for entry in self._source.find_answers(request, k)]


class _LedgerAnswers:
    """Answers from a ledger, found by their question; model and further options are those of the recording."""

    def __init__(self, ledger: Ledger) -> None:
        self._path = ledger.path
        self._found = {_make_question_key(e.messages, e.options, e.index): e for e in ledger.load_entries()}
        self._damaged = f"; {ledger.damaged} damaged line(s) were left out" if ledger.damaged else ""
        if not self._found:
            raise UsageError(f"{ledger.path} holds no answers to replay{self._damaged}")

    def find_answers(self, request: WriteRequest, k: int) -> list[LedgerEntry]:
        messages = conversation(request)
        options = {"seed": request.seed, "round": request.round}
        wanted = range(request.first, request.first + k)
        found = [self._found.get(_make_question_key(messages, options, index)) for index in wanted]
        missing = [index for index, entry in zip(wanted, found, strict=True) if entry is None]
        if missing:
            samples = ", ".join(map(str, missing))
            raise WriterError(
                f"{self._path} holds no answer to sample(s) {samples} of round {request.round + 1}{self._damaged}: "
                "goal, state, prompts, seed or search settings differ from the recorded run, or it ended earlier. "
                "Use its settings and its version of robo-reward"
            )
        return [entry for entry in found if entry is not None]


class _FolderAnswers:
    """Answers from a folder, handed out in order; a question that comes again gets the same ones."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = sorted(p for p in folder.iterdir() if p.suffix in ENDINGS and not p.is_dir())
        if not self._files:
            raise UsageError(f"{folder} holds no answers: expected {LEDGER} or files *{', *'.join(ENDINGS)}")
        self._dealt: dict[tuple, LedgerEntry] = {}

    def find_answers(self, request: WriteRequest, k: int) -> list[LedgerEntry]:
        messages = conversation(request)
        options = {"seed": request.seed, "round": request.round}
        return [self._find_answer(messages, options, index) for index in range(request.first, request.first + k)]

    def _find_answer(self, messages: Sequence, options: dict, index: int) -> LedgerEntry:
        question = _make_question_key(messages, options, index)
        if question not in self._dealt:
            if len(self._dealt) == len(self._files):
                raise WriterError(
                    f"all {len(self._files)} answers in {self._folder} are used up. Add more, or reduce "
                    "the number needed: "
                    "search.candidates, search.rounds and search.repairs decide how many are needed"
                )
            path = self._files[len(self._dealt)]
            data = read_bytes(path, MAX_ANSWER)
            if data is None:
                raise WriterError(
                    f"cannot read the answer {path}: it is a link or no longer exists. Put the file itself there"
                )
            text = data.decode("utf-8-sig", errors="replace")
            if path.suffix == ".py":
                text = f"```python\n{text.rstrip()}\n```\n"
            self._dealt[question] = LedgerEntry("replay", tuple(messages), options, index, text, created=0.0)
        return self._dealt[question]


def _make_question_key(messages: Sequence, options: object, index: int) -> tuple:
    """Returns the key of a question for any model: messages, seed, round and sample."""
    seed, round_ = (options.get(name) for name in ("seed", "round")) if isinstance(options, dict) else (None, None)
    return (tuple((m["role"], m["content"]) for m in messages), seed, round_, index)
