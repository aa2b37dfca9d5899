"""What the labelling page needs to know and to record, without a word of HTTP."""

from __future__ import annotations

import json
import math
import os
import secrets
import statistics
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from robo_reward import __version__
from robo_reward.errors import BadArtifact, UnknownName, UsageError
from robo_reward.files import Finite, check
from robo_reward.preferences.agreement import agreement, warnings_of
from robo_reward.preferences.answers import Answer, BadAnswer, pairs
from robo_reward.preferences.clips import Clips, Video
from robo_reward.preferences.queries import Query, QuerySource, query_key
from robo_reward.preferences.store import Event, PreferenceStore, Undo

MODES = {"pair": 2, "triplet": 3, "rank": 4}
"""Modes, and how many clips each shows unless told otherwise."""
_LEASE_SECONDS = 600.0
_RECENT = 50
_TOLD = ("answered", "speed", "replays", "tab")


class _SentAnswer(msgspec.Struct):
    """An answer as the page sends it; what else it holds is kept as provenance or left out."""

    uuid: str
    annotator: str
    clips: list[str]
    ranking: list[list[str]]
    text: str
    seconds: Finite


class _SentUndo(msgspec.Struct):
    """An undo as the page sends it."""

    uuid: str
    annotator: str
    undoes: str


class BadRequest(BadAnswer):
    """What was sent has another form than what the page sends."""


def clips_at_once(mode: str, k: int = 0) -> int:
    """How many clips a mode shows.

    Args:
        mode: `pair`, `triplet` or `rank`.
        k: for `rank`, 2 to 9; 0 for the mode's own.

    Raises:
        UnknownName: no such mode.
        UsageError: a number that does not go with the mode.
    """
    if mode not in MODES:
        raise UnknownName("mode", mode, MODES)
    if k and ((mode != "rank" and k != MODES[mode]) or not 2 <= k <= 9):
        raise UsageError(f"mode={mode} k={k}: a pair shows 2 clips, a triplet 3, rank 2 to 9 (number keys)")
    return k or MODES[mode]


@dataclass(frozen=True)
class Settings:
    """What a labelling page is asked to do.

    Args:
        mode: `pair`, `triplet` or `rank`.
        k: clips at once.
        target: answers wanted from each person.
        title: what is labelled, for the head of the page.
        instructions: what to look for.
        annotator: who answers unless the page is told otherwise.
    """

    mode: str
    k: int
    target: int
    title: str
    instructions: str
    annotator: str = ""


class _Lease(NamedTuple):
    """A query that a browser tab has and nobody has answered yet; `until` [s] on the monotonic clock."""

    annotator: str
    tab: str
    query: Query
    until: float


class Session:
    """One served page: clips, queries and the store behind it. Any thread may call any method.

    Args:
        clips: what can be shown.
        store: where answers go; the clips are recorded in it at once.
        queries: what to ask.
        settings: how.
    """

    def __init__(self, clips: Clips, store: PreferenceStore, queries: QuerySource, settings: Settings) -> None:
        self.store, self.settings, self._clips, self._queries = store, settings, clips, queries
        self._videos = {video.id: video for video in clips.videos}
        self._leases: list[_Lease] = []
        self._lock = threading.Lock()
        self._id = secrets.token_hex(8)
        store.add_clips(clips.store)

    def state(self, annotator: str) -> dict[str, Any]:
        """What the page shows around the clips, and how far this person is."""
        given = self._given(annotator) if annotator else []
        return {
            **asdict(self.settings),
            "possible": self._queries.total,
            "clips": len(self._videos),
            "refused": [asdict(one) for one in self._clips.refused],
            "people": list(self.store.annotators()),
            "done": len(given),
            "times": [answer.seconds for answer in given[-20:]],
            "recent": [self._shown(answer) for answer in given[-_RECENT:]],
            "version": __version__,
        }

    def next(self, annotator: str, tab: str, count: int, exclude: Collection[str] = ()) -> list[dict[str, Any]]:
        """The next queries for one browser tab of one person.

        Two tabs of the same person get different queries, and each gets its own again when it is loaded anew.

        Args:
            annotator: who.
            tab: the browser tab.
            count: how many.
            exclude: keys of the queries that the tab has already.
        """
        seen = {query_key(answer.clips) for answer in self._given(annotator)} | set(exclude)
        now = time.monotonic()
        with self._lock:
            self._leases = [one for one in self._leases if one.until > now]
            given = [one for one in self._leases if one.annotator == annotator and one.query.key not in seen]
            mine = [one.query for one in given if one.tab == tab][:count]
            new = self._queries.next(annotator, seen | {one.query.key for one in given}, count - len(mine))
            self._leases += [_Lease(annotator, tab, query, now + _LEASE_SECONDS) for query in new]
        return [self._query(query) for query in [*mine, *new]]

    def record(self, value: Mapping[str, Any]) -> None:
        """Records an answer or an undo as the page sends it; it is on disk when this returns.

        Raises:
            BadRequest: neither.
            BadAnswer: it contradicts itself, or is about clips that are not shown here.
        """
        try:
            sent: Any = check(value, _SentUndo if "undoes" in value else _SentAnswer, "answer")
        except BadArtifact as error:
            raise BadRequest(f"no answer: {error.problem}") from error
        fields = msgspec.structs.asdict(sent)
        event = Undo(**fields) if "undoes" in value else Answer(**fields, provenance=self._provenance(value))
        self._check(event)
        self.store.add(event)

    def video(self, clip: str) -> Video | None:
        """A clip by its id."""
        return self._videos.get(clip)

    def summary(self) -> dict[str, Any]:
        """Who said how much, whether they agree, and which clips came out best."""
        answers = [answer for answer in self.store.answers() if set(answer.clips) <= self._videos.keys()]
        found = agreement(answers)
        return _finite(
            {
                "answers": len(answers),
                "people": [self._person(name, answers) for name in sorted({answer.annotator for answer in answers})],
                "shared": found.shared,
                "share": found.share,
                "fleiss": found.fleiss,
                "ties": found.ties,
                "between": [one._asdict() for one in found.between],
                "contradictions": [
                    {"annotator": one.annotator, "clips": self._names(one.clips)} for one in found.contradictions
                ],
                "cycles": [self._names(circle) for circle in found.cycles],
                "warnings": warnings_of(answers),
                "ranking": self._ranking(answers),
                "store": self.store.where,
            }
        )

    def _given(self, annotator: str) -> list[Answer]:
        """This person's standing answers to queries like those asked here."""
        shown = self._videos.keys()
        return [
            answer
            for answer in self.store.answers(annotator)
            if answer.kind not in ("rating", "text")
            and len(answer.clips) == self.settings.k
            and set(answer.clips) <= shown
        ]

    def _query(self, query: Query) -> dict[str, Any]:
        return {"key": query.key, "source": query.source, "clips": [self._clip(clip) for clip in query.clips]}

    def _shown(self, answer: Answer) -> dict[str, Any]:
        """An answer as the page needs it to take it back and ask again."""
        query = Query(answer.clips, str(answer.provenance.get("query", "again")))
        return {"uuid": answer.uuid, "ranking": answer.ranking, "text": answer.text, "query": self._query(query)}

    def _clip(self, clip: str) -> dict[str, Any]:
        video = self._videos[clip]
        return {
            "id": clip,
            "name": video.name,
            "seconds": video.seconds,
            "fps": video.fps,
            "size": video.size,
            "bytes": video.path.stat().st_size,
        }

    def _names(self, clips: Collection[str]) -> list[str]:
        return [self._videos[clip].name for clip in clips]

    def _check(self, event: Event) -> None:
        """Refuses what has nothing to do with this page."""
        if isinstance(event, Undo):
            if event.undoes not in {known.uuid for known in self.store.history(event.annotator)}:
                raise BadAnswer(f"there is no answer {event.undoes!r} of {event.annotator!r} to take back")
        elif len(event.clips) != self.settings.k or not set(event.clips) <= self._videos.keys():
            raise BadAnswer(f"clips {event.clips} are not those shown here")

    def _provenance(self, value: Mapping[str, Any]) -> dict[str, Any]:
        told = {name: value[name] for name in _TOLD if name in value}
        source = {"session": self._id, "query": str(value.get("source", "")), "page": __version__}
        return {**source, "mode": self.settings.mode, **{name: str(item)[:64] for name, item in told.items()}}

    def _person(self, name: str, answers: list[Answer]) -> dict[str, Any]:
        mine = [answer for answer in answers if answer.annotator == name]
        return {
            "name": name,
            "answers": len(mine),
            "skipped": sum(answer.skipped for answer in mine),
            "tied": sum(answer.all_tied for answer in mine),
            "seconds": statistics.median(answer.seconds for answer in mine),
        }

    def _ranking(self, answers: list[Answer]) -> list[dict[str, Any]]:
        """Clips by the share of their comparisons that they won, a tie being half a win."""
        won: defaultdict[str, float] = defaultdict(float)
        met: Counter[str] = Counter()
        for pair in pairs(answers):
            won[pair.winner] += pair.target
            won[pair.loser] += 1 - pair.target
            met.update((pair.winner, pair.loser))
        order = sorted(met, key=lambda clip: (-won[clip] / met[clip], -met[clip], clip))
        return [{**self._clip(clip), "score": won[clip] / met[clip], "met": met[clip]} for clip in order]


def token_of(folder: Path) -> str:
    """The secret part of the page's address; the same in this folder after every restart.

    Raises:
        UsageError: a file of this name that holds something else.
    """
    path = folder / "page.json"
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    else:
        with os.fdopen(handle, "w") as file:
            json.dump({"token": secrets.token_urlsafe(18)}, file)
    try:
        token = json.loads(path.read_text(encoding="utf-8"))["token"]
    except (ValueError, KeyError, TypeError):
        token = ""
    if not isinstance(token, str) or len(token) < 16:
        raise UsageError(f"{path} holds no token of a labelling page; delete it to have a new one made")
    return token


def _finite(value: Any) -> Any:
    """JSON has no NaN: nothing in its place."""
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
