"""Files of preferences of other projects, as clips and answers.

A table (`.csv`, `.jsonl`, `.parquet`) has a row per comparison with the columns `chosen` and `rejected`, which name
videos; `tie` (1 or true), `annotator`, `seconds`, `created` and `text` may stand beside them. A `.json` file is what
Label Studio exports, as JSON, of a project with a `Pairwise` tag, or with `Choices` of left, right and equal. A `.npz`
file holds B-Pref's arrays, see `labelling.segments`.

Sources of Label Studio's form: its task format (labelstud.io/guide/task_format) and the editor's source
(HumanSignal/label-studio, web/libs/editor/src/tags/control/Pairwise.js and regions/Result.js). A `Pairwise` result has
the value `{"selected": "left"}` or `right` (no result where nothing was chosen) and the tag's own name as `to_name`:
an export does not say which entry of `data` was shown on the left. That follows from names such as video1 and video2,
or left and right; otherwise the caller says it.

The same file gives the same answers each time, so that a second import adds nothing.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from robo_reward.errors import MissingExtra, UsageError
from robo_reward.files import MAX_LINE, parse_json, read_bytes
from robo_reward.labelling.answers import Answer, BadAnswer
from robo_reward.labelling.clips import ENDINGS as VIDEO_ENDINGS
from robo_reward.labelling.clips import UnusableVideo, hash_content
from robo_reward.labelling.segments import ForeignPreferences, build_answer, read_arrays
from robo_reward.labelling.store import Clip
from robo_reward.printable import from_cell

ENDINGS = (".csv", ".jsonl", ".parquet", ".json", ".npz")
MAX_FILE = 1 << 30  # [bytes]
_EQUAL = ("tie", "equal", "same", "both", "neither", "similar")


def read_foreign(
    path: Path, clips: Path | None = None, annotator: str = "imported", sides: tuple[str, str] | None = None
) -> ForeignPreferences:
    """Returns the clips and answers of a file of another project.

    Args:
        path: a table, Label Studio's JSON, or B-Pref's arrays.
        clips: folder in which the clips are looked up; for arrays, where their episode store is created. None: the
            folder of the file.
        annotator: name of the annotator where the file names none.
        sides: for Label Studio: names in `data` of the left and the right clip; None: they follow from the names.

    Raises:
        BadAnswer: a row that is not a comparison; the message names it.
        UsageError: a file of another kind, or a clip that is not there.
    """
    folder = path.parent if clips is None else clips
    if path.suffix == ".npz":
        return read_arrays(path, folder, annotator)
    rows: dict[str, Callable[[Path], Iterator[Mapping[str, Any] | _Comparison]]]
    rows = {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}
    rows[".json"] = partial(_read_label_studio, sides=sides)
    if path.suffix not in rows:
        raise UsageError(f"{path} is not a file of preferences; supported are {', '.join(ENDINGS)}")
    finder = _ClipFinder(folder)
    answers = []
    for number, row in enumerate(rows[path.suffix](path), 1):
        where = f"{path}, row {number}"
        try:
            comparison = row if isinstance(row, _Comparison) else _parse_row(row, path.suffix.removeprefix("."))
            answers.append(_make_answer(comparison, finder, number, annotator))
        except (BadAnswer, UnusableVideo) as error:
            raise BadAnswer(f"{where}: {error}") from error
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from error
    if not answers:
        raise UsageError(f"{path} holds no comparisons")
    return ForeignPreferences(list(finder.clips.values()), answers)


class _ClipFinder:
    """Finds the videos that a file names, by their path or only by their name, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clips: dict[str, Clip] = {}
        self._ids: dict[str, str] = {}

    def find_clip(self, name: str) -> str:
        """Returns the id of a clip.

        Raises:
            UsageError: there is no such file.
            UnusableVideo: it is not a regular file.
        """
        if name not in self._ids:
            path = self._find_file(name)
            self._ids[name] = key = hash_content(path)
            self.clips.setdefault(key, Clip(key, str(path.resolve()), {"name": path.name}))
        return self._ids[name]

    def _find_file(self, name: str) -> Path:
        parts = urlsplit(name)
        plain = unquote(parse_qs(parts.query).get("d", [parts.path])[0]) if "/" in name else name
        for path in (self.folder / name, self.folder / plain.lstrip("/"), self.folder / Path(plain).name):
            if path.is_file():
                return path
        raise UsageError(f"clip {name!r} is not in {self.folder}; give clips=FOLDER, the folder that holds it")


class _Comparison(NamedTuple):
    """One comparison as a file states it; `ranking` holds groups of names, best first, or is empty."""

    names: tuple[str, str]
    ranking: tuple[tuple[str, ...], ...]
    annotator: str = ""
    seconds: float = 0.0
    created: str = ""
    text: str = ""
    about: Mapping[str, Any] = {}


def _make_answer(row: _Comparison, finder: _ClipFinder, number: int, annotator: str) -> Answer:
    ids = {name: finder.find_clip(name) for name in row.names}
    if len(set(ids.values())) < 2:
        raise BadAnswer(f"{row.names[0]!r} and {row.names[1]!r} are the same clip")
    return build_answer(
        tuple(ids[name] for name in row.names),
        tuple(tuple(ids[name] for name in group) for group in row.ranking),
        row.annotator or annotator,
        {"row": number, **row.about},
        row.seconds,
        row.created,
        row.text,
    )


def import_pyarrow() -> tuple[Any, Any]:
    """Returns `pyarrow` and `pyarrow.parquet`.

    Raises:
        MissingExtra: they are not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("pyarrow", "parquet", "preferences as Parquet") from None
    return pyarrow, pyarrow.parquet


def _read_csv(path: Path) -> Iterator[Mapping[str, Any]]:
    csv.field_size_limit(MAX_LINE)
    try:
        for row in csv.DictReader(io.StringIO(_read_text(path))):
            yield {name: from_cell(cell) if isinstance(cell, str) else cell for name, cell in row.items()}
    except csv.Error as error:
        raise BadAnswer(f"{path} is not a table: {error}") from error


def _read_jsonl(path: Path) -> Iterator[Mapping[str, Any]]:
    for line in filter(str.strip, _read_text(path).splitlines()):
        yield parse_json(line, dict[str, Any], path)


def _read_parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    arrow, parquet = import_pyarrow()
    try:
        table = parquet.read_table(path)
    except (arrow.ArrowException, OSError, UnicodeError) as error:
        raise UsageError(f"{path} is not a readable Parquet file: {error}") from error
    yield from table.to_pylist()


def _parse_row(row: Mapping[str, Any], form: str) -> _Comparison:
    """Returns the comparison in a row with the columns `chosen` and `rejected`."""
    chosen, rejected = row.get("chosen"), row.get("rejected")
    if not isinstance(chosen, str) or not isinstance(rejected, str) or not chosen or not rejected:
        columns = ", ".join(str(name) for name in row if name is not None)
        raise BadAnswer(
            f"expected the names of two clips in the columns chosen and rejected; its columns are {columns}"
        )
    tie = str(row.get("tie") or "").strip().lower()
    if tie not in ("", "0", "0.0", "false", "no", "1", "1.0", "true", "yes"):
        raise BadAnswer(f"tie is {tie!r}, expected true or false")
    is_tie = tie in ("1", "1.0", "true", "yes")
    try:
        seconds = float(row.get("seconds") or 0.0)
    except (TypeError, ValueError):
        raise BadAnswer(f"seconds is {row.get('seconds')!r}, expected a number") from None
    return _Comparison(
        (chosen, rejected),
        ((chosen, rejected),) if is_tie else ((chosen,), (rejected,)),
        str(row.get("annotator") or ""),
        seconds,
        str(row.get("created") or ""),
        str(row.get("text") or ""),
        {"format": form},
    )


def _read_label_studio(path: Path, sides: tuple[str, str] | None) -> Iterator[_Comparison]:
    """Yields the comparisons of Label Studio's JSON export; annotations that were cancelled are left out."""
    for task in parse_json(_read_bytes(path), list[dict[str, Any]], path):
        data, annotations = task.get("data"), task.get("annotations")
        if not isinstance(data, dict) or not isinstance(annotations, list):
            raise BadAnswer(
                f"{path}: task {task.get('id')!r} has no data or no annotations, as Label Studio's have; "
                "export the project as JSON, not as JSON-MIN"
            )
        for annotation in annotations:
            if not annotation.get("was_cancelled"):
                yield _parse_annotation(task, data, annotation, sides)


def _parse_annotation(
    task: dict[str, Any], data: dict[str, Any], annotation: dict[str, Any], sides: tuple[str, str] | None
) -> _Comparison:
    where = f"annotation {annotation.get('id')!r} of task {task.get('id')!r}"
    results = [r for r in annotation.get("result", ()) if r.get("type") in ("pairwise", "choices")]
    names = _find_pair(data, results, where, sides)
    ranking: tuple[tuple[str, ...], ...] = ()
    if results:
        value = results[0].get("value", {})
        chosen = value.get("selected") or next(iter(value.get("choices", ())), "")
        side = str(chosen).strip().lower()
        if side.startswith(("left", "right")):
            winner = names[side.startswith("right")]
            ranking = ((winner,), tuple(name for name in names if name != winner))
        elif any(word in side for word in _EQUAL):
            ranking = (names,)
        elif side:
            raise BadAnswer(f"{where} chose {chosen!r}, expected left, right or equal")
    by = annotation.get("completed_by", "")
    by = by.get("email") or by.get("id", "") if isinstance(by, dict) else by
    created = str(annotation.get("created_at") or "").replace("Z", "+00:00")
    return _Comparison(
        names,
        ranking,
        str(by),
        float(annotation.get("lead_time") or 0.0),
        created,
        about={"format": "label studio", "annotation": annotation.get("id")},
    )


def _find_pair(
    data: dict[str, Any], results: list[dict[str, Any]], where: str, sides: tuple[str, str] | None
) -> tuple[str, str]:
    """Returns the two clips of a task, left then right.

    Raises:
        BadAnswer: its data does not have two clips, or does not say which of them is on the left.
    """
    named = str(results[0].get("to_name", "")).split(",") if results else []
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    if sides or (len(named) == 2 and all(name in texts for name in named)):
        left, right = sides or named
        if left not in texts or right not in texts:
            raise BadAnswer(f"{where}: its data has the texts {', '.join(texts) or 'none'}, not {left} and {right}")
        return texts[left], texts[right]
    videos = [key for key, value in texts.items() if _get_suffix(value) in VIDEO_ENDINGS]
    keys = videos if len(videos) == 2 else list(texts)
    if len(keys) != 2:
        raise BadAnswer(f"{where}: its data has the texts {', '.join(texts) or 'none'}, expected those of two clips")
    left, right = _order_sides(keys, where)
    return texts[left], texts[right]


def _order_sides(keys: list[str], where: str) -> list[str]:
    """Returns two names in the order left, right: left_clip and right_clip, video1 and video2, a and b."""
    for key, other in (keys, keys[::-1]):
        if "left" in key.lower() and "right" in other.lower():
            return [key, other]
    matches = [re.fullmatch(r"(.*?)(\d+|(?<![a-z])[a-z]|[A-Z])", key) for key in keys]
    first, second = matches
    if first and second and first[1] == second[1] and first[2].isdigit() == second[2].isdigit():
        return sorted(keys, key=lambda key: (len(key), key))
    raise BadAnswer(
        f"{where}: the names {' and '.join(keys)} do not say which clip was on the left; give left=NAME and right=NAME"
    )


def _get_suffix(name: str) -> str:
    """Returns the ending of a clip's name, which may be an address, in small letters."""
    parts = urlsplit(name)
    return Path(parse_qs(parts.query).get("d", [parts.path])[0]).suffix.lower()


def _read_bytes(path: Path) -> bytes:
    data = read_bytes(path, MAX_FILE)
    if data is None:
        raise UsageError(f"no file {path} to import preferences from")
    return data


def _read_text(path: Path) -> str:
    try:
        return _read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadAnswer(f"{path} is not UTF-8: {error}") from error
