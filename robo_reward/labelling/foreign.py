"""Files of preferences of other projects, as clips and answers.

A table (`.csv`, `.jsonl`, `.parquet`) has a row per comparison with the columns `chosen` and `rejected`, which name
videos; `tie` (1 or true), `annotator`, `seconds`, `created` and `text` may stand beside them. A `.json` file is what
Label Studio exports of a project with a `Pairwise` tag, or with `Choices` of left, right and equal. A `.npz` file holds
B-Pref's arrays, see `read_arrays`.

The same file gives the same answers each time, so that a second import adds nothing.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from robo_reward.data.episode import Episode, EpisodeStore
from robo_reward.data.lerobot.layout import import_pyarrow
from robo_reward.envs.state import Field, StateSpec
from robo_reward.errors import UsageError
from robo_reward.files import MAX_LINE, open_arrays, parse_json, read_bytes
from robo_reward.labelling.answers import Answer, BadAnswer
from robo_reward.labelling.clips import UnusableVideo, hash_content
from robo_reward.labelling.store import Clip

ENDINGS = (".csv", ".jsonl", ".parquet", ".json", ".npz")
MAX_FILE, MAX_ARRAYS = 1 << 30, 4 << 30  # [bytes]
_EPOCH = "1970-01-01T00:00:00+00:00"
_EQUAL = ("tie", "equal", "same", "both", "neither", "similar")


class ForeignPreferences(NamedTuple):
    """The content of a file of another project.

    Args:
        clips: the clips that it names, each once.
        answers: one for each comparison.
    """

    clips: list[Clip]
    answers: list[Answer]


def read_foreign(path: Path, clips: Path | None = None, annotator: str = "imported") -> ForeignPreferences:
    """Returns the clips and answers of a file of another project.

    Args:
        path: a table, Label Studio's JSON, or B-Pref's arrays.
        clips: folder in which the clips are looked up; for arrays, where their episode store is created. None: the
            folder of the file.
        annotator: name of the annotator where the file names none.

    Raises:
        BadAnswer: a row that is no comparison; the message names it.
        UsageError: a file of another kind, or a clip that is not there.
    """
    folder = path.parent if clips is None else clips
    if path.suffix == ".npz":
        return read_arrays(path, folder, annotator)
    rows: dict[str, Callable[[Path], Iterator[Mapping[str, Any] | _Comparison]]]
    rows = {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet, ".json": _read_label_studio}
    if path.suffix not in rows:
        raise UsageError(f"{path} is no file of preferences; known are {', '.join(ENDINGS)}")
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


def read_arrays(path: Path, folder: Path, annotator: str) -> ForeignPreferences:
    """Returns the comparisons of arrays in the manner of B-Pref; their segments become episodes of a new store.

    Args:
        path: an npz file with either `sa_t_1` and `sa_t_2` (N, T, D), state and action side by side, or
            `observations`, `actions`, `observations_2` and `actions_2` (N, T, ...); with `frames_1` and `frames_2`
            (N, T, H, W, 3) uint8 if there are pictures; and with `labels`: (N,) or (N, 1) with 0 where the first
            segment is better, 1 where the second is and -1 where both are equal, or (N, 2) with the probability that
            each is better.
        folder: the store is `NAME-segments` in it.
        annotator: name of the annotator.

    Raises:
        BadArtifact: it is no such file.
        BadAnswer: labels of another form.
    """
    with open_arrays(path, MAX_ARRAYS) as arrays:
        found = {name: arrays[name] for name in arrays}
    segments = [_find_segments(found, path, side) for side in (1, 2)]
    labels = _parse_labels(found.get("labels"), len(segments[0].states), path)
    pairs = list(zip(*map(_make_episodes, segments), strict=True))
    keys = [tuple(map(_hash_episode, pair)) for pair in pairs]
    answers = []
    for number, (first, second) in enumerate(keys):
        if first == second:
            raise BadAnswer(f"{path}, pair {number}: both segments are the same")
        ranking = {0: ((first,), (second,)), 1: ((second,), (first,)), -1: ((first, second),)}[labels[number]]
        answers.append(_build_answer((first, second), ranking, annotator, {"format": "arrays", "row": number}))
    store = EpisodeStore(folder / f"{path.stem}-segments", frames="exact")
    episodes = {key: episode for pair in zip(keys, pairs, strict=True) for key, episode in zip(*pair, strict=True)}
    for key in sorted(episodes.keys() - set(store.keys())):
        store.append(episodes[key], key)
    place = str(store.folder.resolve())
    clips = [Clip(key, place, {"name": key, "steps": len(episode)}) for key, episode in episodes.items()]
    return ForeignPreferences(clips, answers)


def _hash_episode(episode: Episode) -> str:
    """Returns the SHA-256 hash of an episode's arrays, 32 hex digits."""
    arrays = [episode.state, episode.action, *([] if episode.frames is None else [episode.frames])]
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()[:32]


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
            UnusableVideo: it is no regular file.
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
    return _build_answer(
        tuple(ids[name] for name in row.names),
        tuple(tuple(ids[name] for name in group) for group in row.ranking),
        row.annotator or annotator,
        {"row": number, **row.about},
        row,
    )


def _build_answer(
    clips: tuple[str, ...],
    ranking: tuple[tuple[str, ...], ...],
    annotator: str,
    about: dict[str, Any],
    row: _Comparison | None = None,
) -> Answer:
    """Returns an answer whose uuid follows from its content, so that it is the same at the next import."""
    seconds, created, text = (row.seconds, row.created, row.text) if row else (0.0, "", "")
    content = json.dumps([clips, ranking, annotator, about, seconds, created, text], sort_keys=True)
    return Answer(
        clips,
        annotator,
        ranking,
        seconds=seconds,
        created=created or _EPOCH,
        text=text,
        uuid=uuid.uuid5(uuid.NAMESPACE_URL, content).hex,
        provenance=about,
    )


def _read_csv(path: Path) -> Iterator[Mapping[str, Any]]:
    csv.field_size_limit(MAX_LINE)
    try:
        yield from csv.DictReader(io.StringIO(_read_text(path)))
    except csv.Error as error:
        raise BadAnswer(f"{path} is no table: {error}") from error


def _read_jsonl(path: Path) -> Iterator[Mapping[str, Any]]:
    for line in filter(str.strip, _read_text(path).splitlines()):
        yield parse_json(line, dict[str, Any], path)


def _read_parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    arrow, parquet = import_pyarrow()
    try:
        table = parquet.read_table(path)
    except (arrow.ArrowException, OSError) as error:
        raise UsageError(f"{path} is no Parquet file that can be read: {error}") from error
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


def _read_label_studio(path: Path) -> Iterator[_Comparison]:
    """Yields the comparisons of Label Studio's JSON export; annotations that were cancelled are left out."""
    for task in parse_json(_read_bytes(path), list[dict[str, Any]], path):
        data, annotations = task.get("data"), task.get("annotations")
        if not isinstance(data, dict) or not isinstance(annotations, list):
            raise BadAnswer(f"{path}: task {task.get('id')!r} has no data or no annotations, as Label Studio's have")
        for annotation in annotations:
            if not annotation.get("was_cancelled"):
                yield _parse_annotation(task, data, annotation)


def _parse_annotation(task: dict[str, Any], data: dict[str, Any], annotation: dict[str, Any]) -> _Comparison:
    where = f"annotation {annotation.get('id')!r} of task {task.get('id')!r}"
    results = [r for r in annotation.get("result", ()) if r.get("type") in ("pairwise", "choices")]
    names = _find_pair(data, results, where)
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


def _find_pair(data: dict[str, Any], results: list[dict[str, Any]], where: str) -> tuple[str, str]:
    """Returns the two clips of a task, left then right: those that the tag names, else the two texts in its data."""
    named = str(results[0].get("to_name", "")).split(",") if results else []
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    if len(named) == 2 and all(name in texts for name in named):
        return texts[named[0]], texts[named[1]]
    if len(texts) != 2:
        raise BadAnswer(f"{where}: its data has the texts {', '.join(texts) or 'none'}, expected those of two clips")
    left, right = texts.values()
    return left, right


class _Segments(NamedTuple):
    """The segments of one side: states, actions, and frames or None, each (N, T, ...)."""

    states: np.ndarray
    actions: np.ndarray
    frames: np.ndarray | None


def _make_episodes(segments: _Segments) -> list[Episode]:
    """Returns the segments as episodes; the last action, which nothing follows, is left out."""
    width = segments.states.shape[2]
    spec = StateSpec([Field("observation", (width,))] if width else [])
    return [
        Episode(
            state=state,
            action=action[:-1],
            success=np.zeros(len(action) - 1, bool),
            spec=spec,
            frames=None if segments.frames is None else segments.frames[number],
            meta={"success_known": False},
        )
        for number, (state, action) in enumerate(zip(segments.states, segments.actions, strict=True))
    ]


def _find_segments(arrays: Mapping[str, np.ndarray], path: Path, side: int) -> _Segments:
    suffix = "" if side == 1 else "_2"
    both, states = arrays.get(f"sa_t_{side}"), arrays.get(f"observations{suffix}")
    actions = arrays.get(f"actions{suffix}")
    states = both if states is None else states
    if states is None or states.ndim < 3 or states.dtype.kind not in "biuf" or states.shape[1] < 2:
        raise BadAnswer(
            f"{path} holds {', '.join(arrays) or 'nothing'}; expected sa_t_1, sa_t_2 and labels, or observations, "
            "actions, observations_2, actions_2 and labels, each (N, T, ...) with T from 2"
        )
    count, steps = states.shape[:2]
    actions = np.zeros((count, steps, 0)) if actions is None else actions
    frames = arrays.get(f"frames_{side}")
    for name, part in (("actions", actions), ("frames", states if frames is None else frames)):
        if part.shape[:2] != (count, steps):
            raise BadAnswer(f"{path}: {name} of side {side} are {part.shape[:2]}, expected (N, T) = {(count, steps)}")
    return _Segments(
        states.reshape(count, steps, -1).astype(float), actions.reshape(count, steps, -1).astype(float), frames
    )


def _parse_labels(labels: np.ndarray | None, count: int, path: Path) -> list[int]:
    """Returns for each pair 0 where the first is better, 1 where the second is, -1 where both are equal."""
    if (
        labels is None
        or labels.dtype.kind not in "biuf"
        or len(labels) != count
        or labels.size not in (count, 2 * count)
    ):
        found = "none" if labels is None else f"{labels.dtype} {labels.shape}"
        raise BadAnswer(f"{path}: labels are {found}, expected numbers (N,), (N, 1) or (N, 2) with N = {count}")
    if labels.size == 2 * count:
        difference = labels.reshape(count, 2) @ [-1.0, 1.0]
        return [int(d > 0) if d else -1 for d in difference]
    flat = labels.reshape(count)
    if not np.isin(flat, (-1, 0, 1)).all():
        raise BadAnswer(f"{path}: a label is {flat[~np.isin(flat, (-1, 0, 1))][0]}, expected 0, 1 or -1")
    return [int(label) for label in flat]


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
