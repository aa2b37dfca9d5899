"""A person's answers about a few clips, and the comparisons that a learner extracts from them."""

from __future__ import annotations

import itertools
import uuid as uuids
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from robo_reward.errors import BadArtifact, RoboRewardError, UnknownName
from robo_reward.files import Finite, convert_json

KINDS = ("pair", "triplet", "ranking", "rating", "text")
NAME_LIMIT, TEXT_LIMIT = 64, 10_000


class _AnswerForm(msgspec.Struct, forbid_unknown_fields=True):
    """JSON schema of an answer."""

    clips: list[str]
    annotator: str
    ranking: list[list[str]] = []
    kind: str = ""
    ratings: dict[str, Finite] = {}
    text: str = ""
    seconds: Finite = 0.0
    created: str = ""
    uuid: str = ""
    provenance: dict[str, Any] = {}


class BadAnswer(RoboRewardError):
    """An answer that contradicts itself; the message says where."""

    exit_code = 2


def new_uuid() -> str:
    """Returns a new identifier of an answer.

    The client makes it, so that a repeated request is not counted twice.
    """
    return uuids.uuid4().hex


def utc_now() -> str:
    """Returns the current time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def comparison_kind(clips: int) -> str:
    """Returns the kind of a comparison of this number of clips: `pair`, `triplet` or `ranking`."""
    return {2: "pair", 3: "triplet"}.get(clips, "ranking")


@dataclass(frozen=True)
class Answer:
    """One answer of one person.

    A pair, a triplet and a ranking are the same thing: groups of clips, best first, where clips in one group are
    equally good. An answer of these kinds without groups is "can't tell".

    Args:
        clips: ids of the clips shown, from left to right.
        annotator: name of the person who answered.
        ranking: groups of clip ids, best first; every clip once, or no groups at all.
        kind: `pair`, `triplet`, `ranking`, `rating` or `text`; from the number of clips if not given.
        ratings: clip id -> number, larger is better; only for the kind `rating`.
        text: a comment, or the content of an answer of the kind `text`.
        seconds: from showing to answering [s].
        created: UTC, ISO 8601.
        uuid: made by the client; a store records each once.
        provenance: JSON: session, source of the query, version of the page, …

    Raises:
        BadAnswer: an invalid ranking or another inconsistent field.
    """

    clips: tuple[str, ...]
    annotator: str
    ranking: tuple[tuple[str, ...], ...] = ()
    kind: str = ""
    ratings: Mapping[str, float] = field(default_factory=dict)
    text: str = ""
    seconds: float = 0.0
    created: str = field(default_factory=utc_now)
    uuid: str = field(default_factory=new_uuid)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "clips", tuple(self.clips))
        object.__setattr__(self, "ranking", tuple(tuple(group) for group in self.ranking))
        object.__setattr__(self, "kind", self.kind or comparison_kind(len(self.clips)))
        _check_answer(self)

    @property
    def is_skipped(self) -> bool:
        """True if the person could not tell: there are clips to compare, but no ranking of them."""
        return self.kind in ("pair", "triplet", "ranking") and not self.ranking

    @property
    def is_all_tied(self) -> bool:
        """True if all clips are equally good."""
        return len(self.ranking) == 1

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Groups of clips, best first: the ranking, or the order given by the ratings."""
        if self.kind != "rating":
            return self.ranking
        by_rating = sorted(self.ratings, key=lambda clip: -self.ratings[clip])
        return tuple(tuple(group) for _, group in itertools.groupby(by_rating, key=lambda clip: self.ratings[clip]))

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON value from which `from_json` restores the answer."""
        return {
            "uuid": self.uuid,
            "kind": self.kind,
            "annotator": self.annotator,
            "clips": list(self.clips),
            "ranking": [list(group) for group in self.ranking],
            "ratings": dict(self.ratings),
            "text": self.text,
            "seconds": self.seconds,
            "created": self.created,
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Answer:
        """Restores an answer from the value of `to_json`.

        Raises:
            BadAnswer: missing or unknown keys, or invalid values.
        """
        try:
            convert_json(value, _AnswerForm, "answer")
        except BadArtifact as error:
            raise BadAnswer(f"not a valid answer: {error.problem}") from error
        return cls(**value)


def _check_answer(answer: Answer) -> None:
    """Raises BadAnswer or UnknownName if a field is invalid.

    Types are checked, too: answers come over the network and out of files.
    """
    if answer.kind not in KINDS:
        raise UnknownName("kind of answer", str(answer.kind), KINDS)
    for name, limit in (("annotator", NAME_LIMIT), ("uuid", NAME_LIMIT), ("text", TEXT_LIMIT), ("created", 40)):
        value = getattr(answer, name)
        if not is_text(value, limit):
            raise BadAnswer(f"{name} {str(value)[:40]!r} of an answer must be text of at most {limit} characters")
    if not answer.annotator.strip() or not answer.uuid.strip():
        raise BadAnswer("an answer needs an annotator and a uuid")
    try:
        datetime.fromisoformat(answer.created)
    except ValueError:
        raise BadAnswer(f"created {answer.created!r} is not an ISO 8601 time") from None
    if not _is_number(answer.seconds) or answer.seconds < 0:
        raise BadAnswer(f"seconds={answer.seconds!r} of an answer must be a number of at least 0")
    if not all(isinstance(clip, str) and clip for clip in answer.clips) or len(set(answer.clips)) < len(answer.clips):
        raise BadAnswer(f"clips {answer.clips} must be different ids")
    _check_content(answer)


def is_text(value: object, limit: int) -> bool:
    """True if the value is text that every database can store: no NUL, no lone surrogate, not too long."""
    return (
        isinstance(value, str)
        and len(value) <= limit
        and not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value)
    )


def _check_content(answer: Answer) -> None:
    count = len(answer.clips)
    if answer.kind in ("pair", "triplet", "ranking"):
        if count < 2 or (answer.kind == "pair" and count != 2) or (answer.kind == "triplet" and count != 3):
            raise BadAnswer(f"a {answer.kind} of {count} clips")
        ranked = [clip for group in answer.ranking for clip in group]
        if answer.ranking and (sorted(ranked) != sorted(answer.clips) or not all(answer.ranking)):
            raise BadAnswer(f"ranking {answer.ranking} must hold each of the clips {answer.clips} once, no empty group")
    elif answer.ranking:
        raise BadAnswer(f"an answer of the kind {answer.kind!r} has no ranking")
    if answer.kind == "rating":
        if not count or set(answer.ratings) != set(answer.clips) or not all(map(_is_number, answer.ratings.values())):
            raise BadAnswer(
                f"ratings {dict(answer.ratings)} must give each of the clips {answer.clips} a finite number"
            )
    elif answer.ratings:
        raise BadAnswer(f"an answer of the kind {answer.kind!r} has no ratings")
    if answer.kind == "text" and not answer.text.strip():
        raise BadAnswer("an answer of the kind 'text' is empty")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1.7e308


class Pair(NamedTuple):
    """Two clips that a person compared.

    Args:
        winner: the better clip; of a tie, the one shown further left.
        loser: the other.
        tie: True if they are equally good.
        annotator: name of the person.
    """

    winner: str
    loser: str
    tie: bool
    annotator: str

    @property
    def target(self) -> float:
        """Label for the Bradley-Terry loss, P(winner is better): 1, or 1/2 for a tie."""
        return 0.5 if self.tie else 1.0


class Triplet(NamedTuple):
    """Three clips that a person ordered (RAPL's query).

    Args:
        positive: the best; the anchor of RAPL's loss.
        neutral: in between.
        negative: the worst.
        equal: all three are equally good, in the order shown.
        annotator: name of the person.
    """

    positive: str
    neutral: str
    negative: str
    equal: bool
    annotator: str


def extract_pairs(answers: Iterable[Answer], ties: bool = True) -> list[Pair]:
    """Returns every comparison of two clips that the answers contain, in their order.

    A ranking of K clips contains K (K - 1) / 2 of them; so do K ratings in one answer. "Can't tell" contains none.

    Args:
        answers: of any kinds.
        ties: also return pairs of equally good clips.
    """
    return [pair for answer in answers for pair in _iter_pairs(answer) if ties or not pair.tie]


def _iter_pairs(answer: Answer) -> Iterator[Pair]:
    place = {clip: place for place, group in enumerate(answer.groups) for clip in group}
    for left, right in itertools.combinations([clip for clip in answer.clips if clip in place], 2):
        winner, loser = (left, right) if place[left] <= place[right] else (right, left)
        yield Pair(winner, loser, place[left] == place[right], answer.annotator)


def extract_triplets(answers: Iterable[Answer], equal: bool = True) -> list[Triplet]:
    """Returns every three clips that the answers put in a strict order or call equally good, in their order.

    A ranking of K clips without ties contains K (K - 1) (K - 2) / 6 of them. Three clips of which just two are
    tied are left out: `extract_pairs` returns their pairs.

    Args:
        answers: of any kinds.
        equal: also return triplets of equally good clips.
    """
    return [triplet for answer in answers for triplet in _iter_triplets(answer) if equal or not triplet.equal]


def _iter_triplets(answer: Answer) -> Iterator[Triplet]:
    place = {clip: place for place, group in enumerate(answer.groups) for clip in group}
    for three in itertools.combinations([clip for clip in answer.clips if clip in place], 3):
        best, middle, worst = sorted(three, key=lambda clip: place[clip])
        levels = len({place[clip] for clip in three})
        if levels != 2:
            yield Triplet(best, middle, worst, levels == 1, answer.annotator)
