"""State of the labelling page, independent of HTTP: which queries to show and what to record."""

from __future__ import annotations

import json
import math
import secrets
import statistics
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from robo_reward import __version__
from robo_reward.errors import BadArtifact, UnknownName, UsageError
from robo_reward.files import Finite, convert_json, write_json
from robo_reward.labelling.agreement import compute_agreement, find_warnings
from robo_reward.labelling.answers import Answer, BadAnswer, extract_pairs
from robo_reward.labelling.clips import ClipCollection, Video
from robo_reward.labelling.queries import Query, QuerySource, query_key
from robo_reward.labelling.store import Event, PreferenceStore, Undo

MODES = {"pair": 2, "triplet": 3, "rank": 4}
"""Mode -> default number of clips shown."""
_LEASE_SECONDS = 600.0
_RECENT = 50
_SENT_FIELDS = ("answered", "speed", "replays", "tab")


class _SentAnswer(msgspec.Struct):
    """An answer as sent by the page; further fields are kept as provenance or ignored."""

    uuid: str
    annotator: str
    clips: list[str]
    ranking: list[list[str]]
    text: str
    seconds: Finite


class _SentUndo(msgspec.Struct):
    """An undo as sent by the page."""

    uuid: str
    annotator: str
    undoes: str


class BadRequest(BadAnswer):
    """The request has another form than the page sends."""


def clips_per_query(mode: str, k: int = 0) -> int:
    """Returns the number of clips that a mode shows at once.

    Args:
        mode: `pair`, `triplet` or `rank`.
        k: for `rank`, 2 to 9; 0 for the mode's default.

    Raises:
        UnknownName: no such mode.
        UsageError: the number does not fit the mode.
    """
    if mode not in MODES:
        raise UnknownName("mode", mode, MODES)
    if k and ((mode != "rank" and k != MODES[mode]) or not 2 <= k <= 9):
        raise UsageError(f"mode={mode} k={k}: a pair shows 2 clips, a triplet 3, rank 2 to 9 (number keys)")
    return k or MODES[mode]


@dataclass(frozen=True)
class LabellingSettings:
    """Settings of a labelling page.

    Args:
        mode: `pair`, `triplet` or `rank`.
        k: number of clips shown at once.
        target: number of answers wanted from each person.
        title: title of the page.
        instructions: instructions for the annotator.
        annotator: default name of the annotator.
    """

    mode: str
    k: int
    target: int
    title: str
    instructions: str
    annotator: str = ""


class _Lease(NamedTuple):
    """A query handed to a browser tab and not answered yet; `until` is its expiry on the monotonic clock [s]."""

    annotator: str
    tab: str
    query: Query
    until: float


class LabellingSession:
    """One served labelling page: clips, queries and the store behind it. All methods are thread-safe.

    Args:
        clips: clips that can be shown.
        store: store of the answers; the clips are recorded in it at once.
        queries: source of the queries.
        settings: of the page.
    """

    def __init__(
        self, clips: ClipCollection, store: PreferenceStore, queries: QuerySource, settings: LabellingSettings
    ) -> None:
        self.store, self.settings, self._clips, self._queries = store, settings, clips, queries
        self._videos = {video.id: video for video in clips.videos}
        self._leases: list[_Lease] = []
        self._lock = threading.Lock()
        self._id = secrets.token_hex(8)
        store.add_clips(clips.store)

    def describe_state(self, annotator: str) -> dict[str, Any]:
        """Returns the page's settings and texts, and the progress of this person, as JSON."""
        given = self._load_answers(annotator) if annotator else []
        return {
            **asdict(self.settings),
            "possible": self._queries.total,
            "clips": len(self._videos),
            "refused": [asdict(one) for one in self._clips.refused],
            "people": list(self.store.list_annotators()),
            "done": len(given),
            "times": [answer.seconds for answer in given[-20:]],
            "recent": [self._answer_to_json(answer) for answer in given[-_RECENT:]],
            "version": __version__,
        }

    def next_queries(self, annotator: str, tab: str, count: int, exclude: Collection[str] = ()) -> list[dict[str, Any]]:
        """Returns the next queries for one browser tab of one person.

        Two tabs of the same person get different queries, and each gets its own again when it is reloaded.

        Args:
            annotator: name of the person.
            tab: the browser tab.
            count: number of queries.
            exclude: keys of the queries that the tab already has.
        """
        seen = {query_key(answer.clips) for answer in self._load_answers(annotator)} | set(exclude)
        now = time.monotonic()
        with self._lock:
            self._leases = [one for one in self._leases if one.until > now]
            given = [one for one in self._leases if one.annotator == annotator and one.query.key not in seen]
            mine = [one.query for one in given if one.tab == tab][:count]
            new = self._queries.next_queries(annotator, seen | {one.query.key for one in given}, count - len(mine))
            self._leases += [_Lease(annotator, tab, query, now + _LEASE_SECONDS) for query in new]
        return [self._query_to_json(query) for query in [*mine, *new]]

    def record_event(self, value: Mapping[str, Any]) -> None:
        """Records an answer or an undo as sent by the page; it is on disk when this returns.

        Raises:
            BadRequest: the value is neither.
            BadAnswer: it contradicts itself, or refers to clips that are not shown here.
        """
        try:
            sent: Any = convert_json(value, _SentUndo if "undoes" in value else _SentAnswer, "answer")
        except BadArtifact as error:
            raise BadRequest(f"not a valid answer: {error.problem}") from error
        fields = msgspec.structs.asdict(sent)
        event = Undo(**fields) if "undoes" in value else Answer(**fields, provenance=self._build_provenance(value))
        self._check_event(event)
        self.store.add(event)

    def find_video(self, clip: str) -> Video | None:
        """Returns a video by its clip id; None where there is no such clip."""
        return self._videos.get(clip)

    def summary(self) -> dict[str, Any]:
        """Returns the answers per person, their agreement and a ranking of the clips, as JSON."""
        answers = [answer for answer in self.store.load_answers() if set(answer.clips) <= self._videos.keys()]
        found = compute_agreement(answers)
        return _replace_non_finite(
            {
                "answers": len(answers),
                "people": [
                    self._summarise_person(name, answers) for name in sorted({answer.annotator for answer in answers})
                ],
                "shared": found.shared,
                "share": found.share,
                "fleiss": found.fleiss,
                "ties": found.ties,
                "between": [one._asdict() for one in found.between],
                "contradictions": [
                    {"annotator": one.annotator, "clips": self._clip_names(one.clips)} for one in found.contradictions
                ],
                "cycles": [self._clip_names(circle) for circle in found.cycles],
                "warnings": find_warnings(answers),
                "ranking": self._rank_clips(answers),
                "store": self.store.where,
            }
        )

    def _load_answers(self, annotator: str) -> list[Answer]:
        """Returns this person's answers to queries of this page's kind that were not withdrawn."""
        shown = self._videos.keys()
        return [
            answer
            for answer in self.store.load_answers(annotator)
            if answer.kind not in ("rating", "text")
            and len(answer.clips) == self.settings.k
            and set(answer.clips) <= shown
        ]

    def _query_to_json(self, query: Query) -> dict[str, Any]:
        return {"key": query.key, "source": query.source, "clips": [self._clip_to_json(clip) for clip in query.clips]}

    def _answer_to_json(self, answer: Answer) -> dict[str, Any]:
        """Returns an answer as the page needs it to withdraw it and ask again."""
        query = Query(answer.clips, str(answer.provenance.get("query", "again")))
        return {
            "uuid": answer.uuid,
            "ranking": answer.ranking,
            "text": answer.text,
            "query": self._query_to_json(query),
        }

    def _clip_to_json(self, clip: str) -> dict[str, Any]:
        video = self._videos[clip]
        return {
            "id": clip,
            "name": video.name,
            "seconds": video.seconds,
            "fps": video.fps,
            "size": video.size,
            "bytes": video.path.stat().st_size,
        }

    def _clip_names(self, clips: Collection[str]) -> list[str]:
        return [self._videos[clip].name for clip in clips]

    def _check_event(self, event: Event) -> None:
        """Raises BadAnswer for an event that does not belong to this page."""
        if isinstance(event, Undo):
            if event.undoes not in {known.uuid for known in self.store.load_history(event.annotator)}:
                raise BadAnswer(f"there is no answer {event.undoes!r} of {event.annotator!r} to undo")
        elif len(event.clips) != self.settings.k or not set(event.clips) <= self._videos.keys():
            raise BadAnswer(f"clips {event.clips} are not those shown here")

    def _build_provenance(self, value: Mapping[str, Any]) -> dict[str, Any]:
        sent = {name: value[name] for name in _SENT_FIELDS if name in value}
        source = {"session": self._id, "query": str(value.get("source", "")), "page": __version__}
        return {**source, "mode": self.settings.mode, **{name: str(item)[:64] for name, item in sent.items()}}

    def _summarise_person(self, name: str, answers: list[Answer]) -> dict[str, Any]:
        mine = [answer for answer in answers if answer.annotator == name]
        return {
            "name": name,
            "answers": len(mine),
            "skipped": sum(answer.is_skipped for answer in mine),
            "tied": sum(answer.is_all_tied for answer in mine),
            "seconds": statistics.median(answer.seconds for answer in mine),
        }

    def _rank_clips(self, answers: list[Answer]) -> list[dict[str, Any]]:
        """Returns the clips ordered by the share of their comparisons that they won, a tie being half a win."""
        won: defaultdict[str, float] = defaultdict(float)
        met: Counter[str] = Counter()
        for pair in extract_pairs(answers):
            won[pair.winner] += pair.target
            won[pair.loser] += 1 - pair.target
            met.update((pair.winner, pair.loser))
        order = sorted(met, key=lambda clip: (-won[clip] / met[clip], -met[clip], clip))
        return [{**self._clip_to_json(clip), "score": won[clip] / met[clip], "met": met[clip]} for clip in order]


def load_or_create_token(folder: Path) -> str:
    """Returns the secret part of the page's address; it stays the same in this folder after a restart.

    Raises:
        UsageError: the token file has another content.
    """
    path = folder / "page.json"
    if not path.exists():
        with suppress(FileExistsError):  # another process made it meanwhile
            write_json(path, {"token": secrets.token_urlsafe(18)}, mode=0o600, exclusive=True)
    try:
        token = json.loads(path.read_text(encoding="utf-8"))["token"]
    except (ValueError, KeyError, TypeError):
        token = ""
    if not isinstance(token, str) or len(token) < 16:
        raise UsageError(f"{path} contains no token of a labelling page; delete it, and a new one is created")
    return token


def _replace_non_finite(value: Any) -> Any:
    """Returns the value with numbers that are not finite replaced by None, since JSON has no NaN."""
    if isinstance(value, Mapping):
        return {name: _replace_non_finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replace_non_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
