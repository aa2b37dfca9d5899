"""Selects the clips to show next: at random, or by the disagreement of an ensemble of rewards."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from robo_reward.configs.rewards import LabelConfig
from robo_reward.errors import UnknownName, UsageError, WrongShape
from robo_reward.labelling.answers import Answer
from robo_reward.labelling.store import PreferenceStore

_FEW = 20_000
"""Up to this number of possible queries, all are listed and shuffled; otherwise they are drawn."""


@dataclass(frozen=True)
class Query:
    """Clips to compare.

    Args:
        clips: ids, as shown from left to right.
        source: name of the selection strategy.
    """

    clips: tuple[str, ...]
    source: str = "random"

    @property
    def key(self) -> str:
        """Identifier of the set of clips, the same in any order."""
        return query_key(self.clips)


def query_key(clips: Collection[str]) -> str:
    """Returns a short identifier of a set of clips."""
    return hashlib.sha256(json.dumps(sorted(clips)).encode()).hexdigest()[:20]


class Annotator(Protocol):
    """A person who compares clips: simulated, or a real one using the labelling page."""

    name: str

    def __call__(self, query: Query) -> Answer:
        """Returns the answer to a query."""
        ...


class QuerySource(Protocol):
    """A source of queries."""

    total: int
    """Number of different queries."""

    def next_queries(self, annotator: str, seen: Collection[str], count: int = 1) -> list[Query]:
        """Returns the next queries for a person, fewer when there are no more.

        Args:
            annotator: name of the person who is asked.
            seen: keys of the queries that this person needs no more.
            count: number of queries.
        """
        ...


class RandomQueries:
    """A source that gives every query once, in an order drawn from a seed; all clips appear equally often.

    A share of the queries comes from one list that is the same for all people, so that their agreement can be
    measured; the others come from a separate list for each person. The left-right order is drawn for each person.

    Args:
        clips: ids to choose from.
        k: number of clips shown at once.
        seed: of the random order.
        shared: share of queries common to all people, 0 to 1.

    Raises:
        UsageError: fewer clips than are shown at once, or a share out of range.
    """

    name = "random"

    def __init__(self, clips: Sequence[str], k: int = 2, seed: int = 0, shared: float = 0.25) -> None:
        self.clips, self.k, self.seed, self.shared = tuple(sorted(set(clips))), k, seed, shared
        if k < 2:
            raise UsageError(f"k={k}: a comparison needs at least two clips")
        if len(self.clips) < k:
            raise UsageError(f"{len(self.clips)} clips are too few to show {k} at once")
        if not 0 <= shared <= 1:
            raise UsageError(f"shared={shared}: expected a share between 0 and 1")
        self.total = math.comb(len(self.clips), k)
        self._lists: dict[str, _Deck] = {}

    def next_queries(self, annotator: str, seen: Collection[str], count: int = 1) -> list[Query]:
        """Returns the next queries for a person; see `QuerySource`."""
        return list(itertools.islice(self._iter_unseen(annotator, seen), count))

    def _iter_unseen(self, annotator: str, seen: Collection[str]) -> Iterator[Query]:
        taken = set(seen)
        lists = [self._iter_unseen_from("", annotator, taken), self._iter_unseen_from(annotator, annotator, taken)]
        asked = len(taken)
        while True:
            is_shared = math.floor((asked + 1) * self.shared) > math.floor(asked * self.shared)
            query = next(lists[not is_shared], None) or next(lists[is_shared], None)
            if query is None:
                return
            asked += 1
            taken.add(query.key)
            yield query

    def _iter_unseen_from(self, owner: str, annotator: str, taken: Collection[str]) -> Iterator[Query]:
        deck = self._lists.setdefault(owner, _Deck(self.clips, self.k, _derive_seed(self.seed, owner)))
        for index in range(self.total):
            key = query_key(deck[index])
            if key not in taken:
                order = np.random.default_rng(_derive_seed(self.seed, annotator, key)).permutation(self.k)
                yield Query(tuple(deck[index][i] for i in order), self.name)


class _Deck:
    """All combinations of k clips, each once, in a random order that is generated lazily."""

    def __init__(self, clips: tuple[str, ...], k: int, seed: list[int]) -> None:
        self._clips, self._k, self._rng = clips, k, np.random.default_rng(seed)
        self._dealt: list[tuple[str, ...]] = []
        self._known: set[tuple[str, ...]] = set()
        self._source = self._iter_hands()

    def __getitem__(self, index: int) -> tuple[str, ...]:
        while len(self._dealt) <= index:
            self._dealt.append(next(self._source))
        return self._dealt[index]

    def _iter_hands(self) -> Iterator[tuple[str, ...]]:
        few = math.comb(len(self._clips), self._k) <= _FEW
        repeats = 0
        # Groups dealt from a shuffled list show all clips equally often; in the end almost all are repeats.
        while not few or repeats < 20:
            order = self._rng.permutation(len(self._clips))
            for start in range(0, len(order) - self._k + 1, self._k):
                hand = tuple(sorted(self._clips[i] for i in order[start : start + self._k]))
                repeats = repeats + 1 if hand in self._known else 0
                if hand not in self._known:
                    self._known.add(hand)
                    yield hand
        rest = [hand for hand in itertools.combinations(self._clips, self._k) if hand not in self._known]
        for i in self._rng.permutation(len(rest)):
            yield rest[i]


class DisagreementQueries:
    """Selects, of the next random queries, those on which an ensemble of rewards disagrees most (B-Pref, PEBBLE).

    The disagreement on two clips is the standard deviation over members m of P_m(i ≻ j) = σ(s_m(i) - s_m(j)), on
    more clips the mean over pairs.

    Args:
        queries: source of the candidates.
        scores: clip id -> (M,) scores of the M members; a clip without scores counts as most disputed.
        pool: number of candidates per requested query.

    Raises:
        WrongShape: members that differ between clips, or fewer than two.
    """

    name = "disagreement"

    def __init__(self, queries: RandomQueries, scores: Mapping[str, np.ndarray], pool: int = 10) -> None:
        self._queries, self._pool, self.total = queries, pool, queries.total
        self._scores = {clip: np.asarray(values, float) for clip, values in scores.items()}
        for clip, values in self._scores.items():
            size = next(iter(self._scores.values())).shape
            if values.shape != size or values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
                raise WrongShape(
                    f"scores of clip {clip!r}", values.shape, "(M,) finite, the same M >= 2 for every clip"
                )

    def next_queries(self, annotator: str, seen: Collection[str], count: int = 1) -> list[Query]:
        """Returns the next queries for a person; see `QuerySource`."""
        pool = self._queries.next_queries(annotator, seen, self._pool * max(count, 1))
        ranked = sorted(
            pool, key=lambda query: -self.compute_disagreement(query.clips)
        )  # stable: ties keep the random order
        return [Query(query.clips, self.name) for query in ranked[:count]]

    def compute_disagreement(self, clips: Sequence[str]) -> float:
        """Returns the disagreement on one query, 0 to 0.5; infinite if a clip has no scores."""
        if any(clip not in self._scores for clip in clips):
            return math.inf
        pairs = itertools.combinations([self._scores[clip] for clip in clips], 2)
        return float(np.mean([np.std(0.5 * (1 + np.tanh((a - b) / 2))) for a, b in pairs]))


def read_scores(path: Path | str) -> dict[str, np.ndarray]:
    """Reads the scores of an ensemble from a JSON object, clip id -> list of M numbers.

    Raises:
        UsageError: the file does not exist, or has another format.
    """
    try:
        value: Any = json.loads(Path(path).read_text(encoding="utf-8"))
        return {str(clip): np.array(scores, dtype=float) for clip, scores in value.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"scores={path}: expected JSON, clip id -> list of numbers ({error})") from error


def make_queries(
    name: str, clips: Sequence[str], k: int, seed: int = 0, shared: float = LabelConfig.shared, scores: Path | str = ""
) -> QuerySource:
    """Returns a source of queries by name: `random` or `disagreement`.

    Args:
        name: of the source.
        clips: ids to choose from.
        k: number of clips shown at once.
        seed: of the random order.
        shared: share of queries common to all people.
        scores: file for `read_scores`, required by `disagreement`.

    Raises:
        UnknownName: no such source.
        UsageError: `disagreement` without scores.
    """
    queries = RandomQueries(clips, k, seed, shared)
    if name == "random":
        return queries
    if name != "disagreement":
        raise UnknownName("source of queries", name, ("random", "disagreement"))
    if not scores:
        raise UsageError("query=disagreement needs scores=FILE, JSON: clip id -> the scores of an ensemble's members")
    return DisagreementQueries(queries, read_scores(scores))


def collect_answers(annotator: Annotator, queries: QuerySource, store: PreferenceStore, count: int) -> list[Answer]:
    """Asks an annotator up to `count` new queries and records the answers.

    Args:
        annotator: the person who answers.
        queries: source of the queries.
        store: where answers go; queries that this person answered before are not repeated.
        count: number of queries; fewer when there are no more.
    """
    seen = {query_key(answer.clips) for answer in store.load_answers(annotator.name)}
    given = []
    for _ in range(count):
        for query in queries.next_queries(annotator.name, seen):
            answer = annotator(query)
            store.add(answer)
            given.append(answer)
            seen.add(query.key)
    return given


def _derive_seed(seed: int, *words: str) -> list[int]:
    """Returns seeds for a generator that depend only on these words, the same in every process."""
    return [seed, *(int.from_bytes(hashlib.sha256(word.encode()).digest()[:8]) for word in words)]
