"""Which clips to show next: by chance, or where an ensemble of rewards disagrees."""

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

from robo_reward.errors import UnknownName, UsageError, WrongShape
from robo_reward.preferences.answers import Answer
from robo_reward.preferences.store import PreferenceStore

_FEW = 20_000
"""Up to so many possible queries are listed and shuffled; more are drawn."""


@dataclass(frozen=True)
class Query:
    """Clips to compare.

    Args:
        clips: ids, as shown from left to right.
        source: which way they were chosen.
    """

    clips: tuple[str, ...]
    source: str = "random"

    @property
    def key(self) -> str:
        """The same for the same clips in any order."""
        return query_key(self.clips)


def query_key(clips: Collection[str]) -> str:
    """A short name for a set of clips."""
    return hashlib.sha256(json.dumps(sorted(clips)).encode()).hexdigest()[:20]


class Annotator(Protocol):
    """Who compares clips: a simulated person, or a real one behind the labelling page."""

    name: str

    def __call__(self, query: Query) -> Answer:
        """The answer to a query."""
        ...


class QuerySource(Protocol):
    """Where queries come from."""

    total: int
    """How many different queries there are."""

    def next(self, annotator: str, seen: Collection[str], count: int = 1) -> list[Query]:
        """The next queries for a person, fewer when there are no more.

        Args:
            annotator: who is asked.
            seen: keys of the queries that this person needs no more.
            count: how many.
        """
        ...


class RandomQueries:
    """Every query once, in an order drawn from a seed; clips come up equally often.

    A share of the queries comes from one list that is the same for all people, so that their agreement can be
    measured; the others come from a list of each person's own. Which clip stands left is drawn for each person.

    Args:
        clips: ids to choose from.
        k: how many to show at once.
        seed: of the order.
        shared: share of queries that all people get, 0 to 1.

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

    def next(self, annotator: str, seen: Collection[str], count: int = 1) -> list[Query]:
        """As in `QuerySource`."""
        return list(itertools.islice(self._unseen(annotator, seen), count))

    def _unseen(self, annotator: str, seen: Collection[str]) -> Iterator[Query]:
        taken = set(seen)
        lists = [self._unseen_of("", annotator, taken), self._unseen_of(annotator, annotator, taken)]
        asked = len(taken)
        while True:
            is_shared = math.floor((asked + 1) * self.shared) > math.floor(asked * self.shared)
            query = next(lists[not is_shared], None) or next(lists[is_shared], None)
            if query is None:
                return
            asked += 1
            taken.add(query.key)
            yield query

    def _unseen_of(self, owner: str, annotator: str, taken: Collection[str]) -> Iterator[Query]:
        deck = self._lists.setdefault(owner, _Deck(self.clips, self.k, _seed(self.seed, owner)))
        for index in range(self.total):
            key = query_key(deck[index])
            if key not in taken:
                order = np.random.default_rng(_seed(self.seed, annotator, key)).permutation(self.k)
                yield Query(tuple(deck[index][i] for i in order), self.name)


class _Deck:
    """All combinations of k clips, each once, in a random order that is worked out as far as it is read."""

    def __init__(self, clips: tuple[str, ...], k: int, seed: list[int]) -> None:
        self._clips, self._k, self._rng = clips, k, np.random.default_rng(seed)
        self._dealt: list[tuple[str, ...]] = []
        self._known: set[tuple[str, ...]] = set()
        self._source = self._deal()

    def __getitem__(self, index: int) -> tuple[str, ...]:
        while len(self._dealt) <= index:
            self._dealt.append(next(self._source))
        return self._dealt[index]

    def _deal(self) -> Iterator[tuple[str, ...]]:
        few = math.comb(len(self._clips), self._k) <= _FEW
        repeats = 0
        # Hands dealt from a shuffled deck show every clip equally often; towards the end they only repeat themselves.
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
    """Of the next random queries, those first on which an ensemble of rewards disagrees most (B-Pref, PEBBLE).

    The disagreement on two clips is the standard deviation over members m of P_m(i ≻ j) = σ(s_m(i) - s_m(j)), on more
    clips the mean over pairs.

    Args:
        queries: where candidates come from.
        scores: clip id -> (M,) scores of the M members; a clip without scores counts as most disputed.
        pool: how many candidates to choose from, for each query asked.

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

    def next(self, annotator: str, seen: Collection[str], count: int = 1) -> list[Query]:
        """As in `QuerySource`."""
        pool = self._queries.next(annotator, seen, self._pool * max(count, 1))
        ranked = sorted(pool, key=lambda query: -self.disagreement(query.clips))  # stable: ties keep the random order
        return [Query(query.clips, self.name) for query in ranked[:count]]

    def disagreement(self, clips: Sequence[str]) -> float:
        """The measure for one query, 0 to 0.5; infinite where a clip has no scores."""
        if any(clip not in self._scores for clip in clips):
            return math.inf
        pairs = itertools.combinations([self._scores[clip] for clip in clips], 2)
        return float(np.mean([np.std(0.5 * (1 + np.tanh((a - b) / 2))) for a, b in pairs]))


def read_scores(path: Path | str) -> dict[str, np.ndarray]:
    """Scores of an ensemble: a JSON object, clip id -> list of M numbers.

    Raises:
        UsageError: no such file, or something else in it.
    """
    try:
        value: Any = json.loads(Path(path).read_text(encoding="utf-8"))
        return {str(clip): np.array(scores, dtype=float) for clip, scores in value.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"scores={path}: expected JSON, clip id -> list of numbers ({error})") from error


def make_queries(
    name: str, clips: Sequence[str], k: int, seed: int = 0, shared: float = 0.25, scores: Path | str = ""
) -> QuerySource:
    """A source of queries by name: `random` or `disagreement`.

    Args:
        name: which.
        clips: ids to choose from.
        k: how many to show at once.
        seed: of the order.
        shared: share of queries that all people get.
        scores: file for `read_scores`, which `disagreement` needs.

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


def ask(annotator: Annotator, queries: QuerySource, store: PreferenceStore, count: int) -> list[Answer]:
    """Has somebody answer so many new queries and records what they say.

    Args:
        annotator: who.
        queries: what.
        store: where answers go; what this person answered before is not asked again.
        count: how many; fewer when there are no more.
    """
    seen = {query_key(answer.clips) for answer in store.answers(annotator.name)}
    given = []
    for _ in range(count):
        for query in queries.next(annotator.name, seen):
            answer = annotator(query)
            store.add(answer)
            given.append(answer)
            seen.add(query.key)
    return given


def _seed(seed: int, *words: str) -> list[int]:
    """Seeds for a generator that belong to these words alone, the same in every process."""
    return [seed, *(int.from_bytes(hashlib.sha256(word.encode()).digest()[:8]) for word in words)]
