"""Statistics of how far people agree with each other and with themselves."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import networkx as nx
import numpy as np

from robo_reward.labelling.answers import Answer, extract_pairs

FIRST, TIE, SECOND = "first", "tie", "second"
Verdicts = dict[tuple[str, str], str]
"""Pair of clip ids in alphabetical order -> which of them is better."""


def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """Computes the agreement of two raters beyond chance: κ = (p_o - p_e) / (1 - p_e) (Cohen, 1960).

    p_o is the share of items with the same label, p_e = Σ_c p_1(c) p_2(c) what independent raters with the same
    label frequencies would reach.

    Args:
        first: N labels of one rater.
        second: N labels of the other, for the same items.

    Returns:
        -1 to 1; NaN without items, or when both always give one and the same label.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} labels of one rater, {len(second)} of the other")
    if not first:
        return math.nan
    n = len(first)
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / n
    counts = Counter(first), Counter(second)
    chance = sum(counts[0][label] * counts[1][label] for label in counts[0]) / n**2
    return math.nan if chance == 1 else (observed - chance) / (1 - chance)


def fleiss_kappa(counts: np.ndarray) -> float:
    """Computes the agreement of many raters beyond chance: κ = (P̄ - P_e) / (1 - P_e) (Fleiss, 1971).

    P_i = (Σ_c n_ic² - n_i) / (n_i (n_i - 1)) is the share of rater pairs that agree on item i, P_e = Σ_c p_c². The
    number of raters n_i may differ between items: P̄ is the mean over items, p_c the share of label c in all
    labels.

    Args:
        counts: (N, C) how many raters gave item i the label c; items with fewer than two raters do not count.

    Returns:
        At most 1; NaN without items, or when there is one label only.
    """
    counts = np.asarray(counts, float)
    raters = counts.sum(axis=1)  # (N,)
    counts, raters = counts[raters >= 2], raters[raters >= 2]
    if not len(counts):
        return math.nan
    agreeing = ((counts**2).sum(axis=1) - raters) / (raters * (raters - 1))
    chance = float(((counts.sum(axis=0) / counts.sum()) ** 2).sum())
    return math.nan if chance == 1 else (float(agreeing.mean()) - chance) / (1 - chance)


class Contradiction(NamedTuple):
    """One person preferred each of two clips to the other, at different times."""

    annotator: str
    clips: tuple[str, str]


class RaterPair(NamedTuple):
    """Agreement of two people.

    Args:
        first: one person.
        second: the other person.
        pairs: how many pairs of clips both judged.
        share: of these, with the same verdict; NaN without any.
        kappa: Cohen's kappa.
    """

    first: str
    second: str
    pairs: int
    share: float
    kappa: float


@dataclass(frozen=True)
class Agreement:
    """Agreement statistics of a set of answers.

    Args:
        shared: pairs of clips that at least two people judged.
        share: the share of pairs of judgements of one pair of clips, by two people, that are the same; NaN without
            any.
        fleiss: Fleiss' kappa over the shared pairs.
        between: agreement of every two people who share pairs.
        contradictions: pairs that one person ordered both ways.
        cycles: cycles of clips, each preferred to the next by the majority; one per strongly connected component.
        ties: share of pairs called equally good; NaN without pairs.
    """

    shared: int
    share: float
    fleiss: float
    between: tuple[RaterPair, ...]
    contradictions: tuple[Contradiction, ...]
    cycles: tuple[tuple[str, ...], ...]
    ties: float


def compute_agreement(answers: Iterable[Answer]) -> Agreement:
    """Computes all agreement statistics of a set of answers."""
    answers = list(answers)
    said = collect_verdicts(answers)
    items = sorted({pair for one in said.values() for pair in one})
    votes = [Counter(one[item] for one in said.values() if item in one) for item in items]
    counts = np.array([[vote[label] for label in (FIRST, TIE, SECOND)] for vote in votes]).reshape(-1, 3)
    shared = counts[counts.sum(axis=1) >= 2]
    raters = shared.sum(axis=1)
    met = float((raters * (raters - 1)).sum())
    compared = extract_pairs(answers)
    return Agreement(
        shared=len(shared),
        share=float((shared * (shared - 1)).sum()) / met if met else math.nan,
        fleiss=fleiss_kappa(counts),
        between=tuple(b for two in itertools.combinations(sorted(said), 2) if (b := _compare_raters(*two, said)).pairs),
        contradictions=find_contradictions(answers),
        cycles=find_preference_cycles(answers),
        ties=statistics.fmean(pair.tie for pair in compared) if compared else math.nan,
    )


def collect_verdicts(answers: Iterable[Answer]) -> dict[str, Verdicts]:
    """Returns the verdict of each person on each pair of clips; the last answer counts."""
    said: dict[str, Verdicts] = defaultdict(dict)
    for pair in extract_pairs(answers):
        key = _sort_pair(pair.winner, pair.loser)
        said[pair.annotator][key] = TIE if pair.tie else FIRST if key[0] == pair.winner else SECOND
    return dict(said)


def find_contradictions(answers: Iterable[Answer]) -> tuple[Contradiction, ...]:
    """Returns the pairs of clips that one person ordered both ways, sorted; a tie contradicts nothing."""
    winners: dict[tuple[str, tuple[str, str]], set[str]] = defaultdict(set)
    for pair in extract_pairs(answers, ties=False):
        winners[pair.annotator, _sort_pair(pair.winner, pair.loser)].add(pair.winner)
    return tuple(sorted(Contradiction(*key) for key, found in winners.items() if len(found) == 2))


def find_preference_cycles(answers: Iterable[Answer]) -> tuple[tuple[str, ...], ...]:
    """Returns the cycles in the majority's preferences: A over B over C over A.

    An edge goes from the clip that won more often against the other; ties and even scores make none. Each strongly
    connected component of more than one clip gives one shortest cycle through one of its clips.
    """
    score: Counter[tuple[str, str]] = Counter()
    for pair in extract_pairs(answers, ties=False):
        key = _sort_pair(pair.winner, pair.loser)
        score[key] += 1 if key[0] == pair.winner else -1
    graph = nx.DiGraph([(a, b) if points > 0 else (b, a) for (a, b), points in score.items() if points])
    knots = [sorted(part) for part in nx.strongly_connected_components(graph) if len(part) > 1]
    return tuple(_shortest_cycle(graph.subgraph(knot), knot[0]) for knot in sorted(knots))


def _shortest_cycle(graph: nx.DiGraph, start: str) -> tuple[str, ...]:
    """Returns a shortest cycle through a clip of a strongly connected graph."""
    ways = (nx.shortest_path(graph, after, start) for after in sorted(graph.successors(start)))
    return (start, *min(ways, key=len)[:-1])


def _compare_raters(first: str, second: str, said: dict[str, Verdicts]) -> RaterPair:
    both = sorted(said[first].keys() & said[second].keys())
    one, other = [said[first][key] for key in both], [said[second][key] for key in both]
    share = sum(a == b for a, b in zip(one, other, strict=True)) / len(both) if both else math.nan
    return RaterPair(first, second, len(both), share, cohen_kappa(one, other))


def _sort_pair(a: str, b: str) -> tuple[str, str]:
    return (a, b) if a < b else (b, a)


def find_warnings(answers: Iterable[Answer]) -> list[str]:
    """Returns warnings for the user of a learner, one sentence each; empty if the answers have no problem."""
    answers = list(answers)
    found = []
    compared = extract_pairs(answers)
    if not compared:
        return ["No clips have been compared yet."]
    if all(pair.tie for pair in compared):
        found.append("Every comparison is a tie, so no order can be learnt. Compare clips that differ more.")
    wrong = find_contradictions(answers)
    if wrong:
        people = ", ".join(sorted({one.annotator for one in wrong}))
        found.append(
            f"{len(wrong)} pair{'s were' if len(wrong) > 1 else ' was'} ordered both ways by one person ({people})."
        )
    knots = find_preference_cycles(answers)
    if knots:
        found.append(f"The majority's preferences contain {len(knots)} cycle{'s' if len(knots) > 1 else ''}.")
    return found
