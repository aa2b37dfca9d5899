"""Exports a store's whole history to JSONL or Parquet and imports it again; entries in both are merged by uuid.

CSV holds the comparisons that count, for spreadsheets and other projects: no history, no answers without a choice.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TextIO

import msgspec

from robo_reward.errors import BadArtifact, UnknownName, UsageError
from robo_reward.files import MAX_LINE, atomic_path, convert_json, open_regular, parse_json, write_text
from robo_reward.labelling.answers import TEXT_LIMIT, BadAnswer, extract_pairs, is_text
from robo_reward.labelling.foreign import ENDINGS, import_pyarrow, read_foreign
from robo_reward.labelling.store import Clip, Event, PreferenceStore, event_from_json
from robo_reward.printable import to_cell

FORMATS = (".csv", ".jsonl", ".parquet")
_BATCH = 500
_LONGEST = MAX_LINE  # [bytes] of one row


class _ClipForm(msgspec.Struct, forbid_unknown_fields=True):
    """JSON schema of a clip."""

    id: str
    path: str
    meta: dict[str, Any] = {}


class ImportCounts(NamedTuple):
    """Counts of an import.

    Args:
        new: events that were added.
        known: events that the store already had.
        clips: clips in the file.
    """

    new: int
    known: int
    clips: int


def export_preferences(store: PreferenceStore, path: Path | str) -> Path:
    """Writes all clips and the whole history to a file, atomically; to CSV, the comparisons of two clips.

    Each row is one clip, answer or undo: `row` names the type, `value` is its JSON in Parquet; in JSONL the
    value's keys are on the same level as `row`. Parquet also has the columns that people filter by.

    Args:
        store: the store to export.
        path: ends in `.csv`, `.jsonl` or `.parquet`.

    Raises:
        UnknownName: an unsupported file extension.
        MissingExtra: Parquet without pyarrow.
    """
    path = _check_format(Path(path))
    if path.suffix == ".csv":
        with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            _write_comparisons(store, file)
        return path
    rows = list(iter_export_rows(store))
    if path.suffix == ".jsonl":
        write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    else:
        with atomic_path(path) as temporary:
            _write_parquet(rows, temporary)
    return path


def import_preferences(
    store: PreferenceStore,
    path: Path | str,
    folder: Path | None = None,
    annotator: str = "imported",
    sides: tuple[str, str] | None = None,
) -> ImportCounts:
    """Adds the contents of a file to the store; importing the same file twice changes nothing.

    Args:
        store: where to.
        path: an export of ours, or a file of another project, see `labelling.foreign`.
        folder: where the clips of a file of another project are looked up; None for the folder of the file.
        annotator: name of the annotator where a file of another project names none.
        sides: for Label Studio: names of the left and the right clip, see `read_foreign`.

    Raises:
        BadAnswer: a row is not a valid answer; the message names it. The rows before it may be in the store.
        UsageError: the file does not exist, has an unsupported extension, or names a clip that does not exist.
    """
    path = Path(path)
    if path.suffix not in ENDINGS:
        raise UnknownName("format of preferences", path.suffix or path.name, ENDINGS)
    if not path.is_file():
        raise UsageError(f"no file {path} to import preferences from")
    if is_foreign(path):
        found = read_foreign(path, folder, annotator, sides)
        return _add_to_store(store, found.clips, list(found.answers))
    clips: list[Clip] = []
    events: list[Event] = []
    for number, row in enumerate(_read_jsonl(path) if path.suffix == ".jsonl" else _read_parquet(path), 1):
        try:
            if row.pop("row", None) == "clip":
                clips.append(_parse_clip(row))
            else:
                events.append(event_from_json(row))
        except (BadAnswer, UnknownName) as error:
            raise BadAnswer(f"{path}, row {number}: {error}") from error
    return _add_to_store(store, clips, events)


def is_foreign(path: Path) -> bool:
    """Returns whether a file of preferences is of another project, and not an export of ours.

    Raises:
        BadAnswer: the first row of a JSONL file is not a JSON object.
        UsageError: it is not a Parquet file.
    """
    if path.suffix == ".jsonl":
        first = next(_read_jsonl(path), {})
        return "chosen" in first and "kind" not in first
    if path.suffix == ".parquet":
        arrow, parquet = import_pyarrow()
        try:
            names = parquet.read_schema(path).names
        except (arrow.ArrowException, OSError, UnicodeError) as error:
            raise UsageError(f"{path} is not a Parquet file of preferences: {error}") from error
        return "chosen" in names and "value" not in names
    return True


def _add_to_store(store: PreferenceStore, clips: list[Clip], events: list[Event]) -> ImportCounts:
    store.add_clips(clips)
    new = sum(store.add(*events[i : i + _BATCH]) for i in range(0, len(events), _BATCH))
    return ImportCounts(new, len(events) - new, len(clips))


@contextmanager
def open_preferences(where: Path | str, folder: Path | None = None) -> Iterator[PreferenceStore]:
    """Opens a store, or a file written by `export_preferences` as a temporary store.

    Args:
        where: as for `PreferenceStore`, or a file that `import_preferences` reads.
        folder: where the clips of a file of another project are looked up; None for the folder of the file.

    Raises:
        BadAnswer: a row of the file is not a valid answer.
    """
    if "://" in str(where) or Path(where).suffix not in ENDINGS:
        with PreferenceStore(where) as store:
            yield store
        return
    with TemporaryDirectory() as place, PreferenceStore(place) as store:
        import_preferences(store, where, folder)
        yield store


def iter_export_rows(store: PreferenceStore) -> Iterator[dict[str, Any]]:
    """Yields the rows of an export: all clips, then the history in recorded order."""
    for clip in store.load_clips().values():
        yield {"row": "clip", "id": clip.id, "path": clip.path, "meta": dict(clip.meta)}
    for event in store.load_history():
        yield {"row": "event", **event.to_json()}


def _check_format(path: Path) -> Path:
    if path.suffix not in FORMATS:
        raise UnknownName("format of preferences", path.suffix or path.name, FORMATS)
    return path


def _write_comparisons(store: PreferenceStore, file: TextIO) -> None:
    """Writes a row for each comparison of two clips; a ranking of K clips has K (K - 1) / 2."""
    clips = store.load_clips()
    table = csv.writer(file)
    table.writerow(("chosen", "rejected", "tie", "annotator", "seconds", "created", "text"))
    for answer in store.load_answers():
        for pair in extract_pairs([answer]):
            chosen, rejected = (clips[key].path if key in clips else key for key in (pair.winner, pair.loser))
            row = (chosen, rejected, int(pair.tie), answer.annotator, answer.seconds, answer.created, answer.text)
            table.writerow([to_cell(value) if isinstance(value, str) else value for value in row])


def _write_parquet(rows: list[dict[str, Any]], path: Path) -> None:
    arrow, parquet = import_pyarrow()
    text, strings = arrow.string(), arrow.list_(arrow.string())
    plain = dict.fromkeys(("row", "uuid", "kind", "annotator", "undoes", "created", "text", "chosen", "rejected"), text)
    columns = {**plain, "seconds": arrow.float64(), "clips": strings, "ranking": arrow.list_(strings), "value": text}
    paths = {row["id"]: row["path"] for row in rows if row["row"] == "clip"}
    table = [
        {
            **{name: row.get(name) for name in columns},
            **_name_winner(row, paths),
            "value": json.dumps({k: v for k, v in row.items() if k != "row"}),
        }
        for row in rows
    ]
    parquet.write_table(arrow.Table.from_pylist(table, schema=arrow.schema(list(columns.items()))), path)


def _name_winner(row: dict[str, Any], paths: dict[str, Any]) -> dict[str, str]:
    """Returns the columns `chosen` and `rejected` of a pair that a person decided, with the paths of the clips."""
    ranking = row.get("ranking") or []
    if row.get("kind") != "pair" or [len(group) for group in ranking] != [1, 1]:
        return {}
    (chosen,), (rejected,) = ranking
    return {"chosen": paths.get(chosen, chosen), "rejected": paths.get(rejected, rejected)}


def _parse_clip(row: dict[str, Any]) -> Clip:
    try:
        form = convert_json(row, _ClipForm, "clip")
    except BadArtifact as error:
        raise BadAnswer(f"not a valid clip: {error.problem}") from error
    if not is_text(form.id, TEXT_LIMIT) or not is_text(form.path, TEXT_LIMIT) or not form.id:
        raise BadAnswer(f"not a valid clip: its id and path must be text of at most {TEXT_LIMIT} characters")
    return Clip(form.id, form.path, form.meta)


def _read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    arrow, parquet = import_pyarrow()
    try:
        table = parquet.read_table(path, columns=["row", "value"])
    except (arrow.ArrowException, OSError, UnicodeError) as error:
        raise UsageError(f"{path} is not a Parquet file of preferences: {error}") from error
    for number, row in enumerate(table.to_pylist(), 1):
        if not isinstance(row["value"], str | bytes):
            raise BadAnswer(f"{path}, row {number}: its value is not text")
        yield {**_parse_object(row["value"], f"{path}, row {number}"), "row": row["row"]}


def _read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    file = open_regular(path, follow=True)
    if file is None:
        raise UsageError(f"no file {path} to import preferences from")
    with file:
        number = 0
        while line := file.readline(_LONGEST + 1):
            number += 1
            if len(line) > _LONGEST:
                raise BadAnswer(f"{path}, line {number}: it has more than {_LONGEST} bytes")
            if line.strip():
                yield _parse_object(line, f"{path}, line {number}")


def _parse_object(text: bytes | str, where: str) -> dict[str, Any]:
    try:
        return parse_json(text, dict[str, Any], where)
    except BadArtifact as error:
        raise BadAnswer(f"{where}: {error.problem}") from error
