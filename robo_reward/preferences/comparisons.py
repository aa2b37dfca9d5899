"""What learners make of answers: comparisons of numbered clips, and which clips a person liked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from robo_reward.errors import UsageError
from robo_reward.preferences.answers import Answer, Pair, Triplet, pairs, triplets

NO_ANCHOR = -1


@dataclass(frozen=True)
class Comparisons:
    """Statements "winner is at least as good as loser" about numbered clips.

    Args:
        winner: (P,) int.
        loser: (P,) int.
        target: (P,), the probability that the winner is better: 1, or 1/2 for a tie.
        anchor: (P,) int, the best clip of the triplet that the statement comes from (RAPL's anchor), or `NO_ANCHOR`.
    """

    winner: np.ndarray
    loser: np.ndarray
    target: np.ndarray
    anchor: np.ndarray

    def __len__(self) -> int:
        return len(self.winner)

    def rows(self, index: np.ndarray) -> Comparisons:
        """Some of them."""
        return Comparisons(self.winner[index], self.loser[index], self.target[index], self.anchor[index])

    @property
    def clips(self) -> np.ndarray:
        """Numbers of all clips that occur, sorted."""
        return np.unique([self.winner, self.loser])


def comparisons(answers: Sequence[Answer], numbers: Mapping[str, int]) -> Comparisons:
    """Every pair of clips that the answers compare; each triplet's lower pair also carries the best clip as anchor.

    Args:
        answers: of any kinds; "can't tell" says nothing.
        numbers: clip id -> number.

    Raises:
        UsageError: nothing can be learnt: no pair, or only ties.
    """
    anchors = {(t.neutral, t.negative): t.positive for t in triplets(answers, equal=False)}
    found = [pair for pair in pairs(answers) if pair.winner in numbers and pair.loser in numbers]
    if not any(not pair.tie for pair in found):
        said = f"all {len(found)} comparisons are ties" if found else "the answers compare no clips"
        raise UsageError(f"nothing can be learnt from {len(answers)} answers: {said}. Label clips that differ more")
    return _numbered(found, numbers, anchors)


def of_triplets(rows: np.ndarray) -> Comparisons:
    """Comparisons of triplets (Q, 3) of numbers: positive, neutral, negative."""
    named = [Triplet(*map(str, row), False, "") for row in rows]
    numbers = {str(i): int(i) for i in np.unique(rows)}
    anchors = {(t.neutral, t.negative): t.positive for t in named}
    order = [(0, 1), (1, 2), (0, 2)]
    return _numbered([Pair(t[i], t[j], False, "") for t in named for i, j in order], numbers, anchors)


def _numbered(
    found: Sequence[Pair], numbers: Mapping[str, int], anchors: Mapping[tuple[str, str], str]
) -> Comparisons:
    anchor = [numbers.get(anchors.get((pair.winner, pair.loser), ""), NO_ANCHOR) for pair in found]
    return Comparisons(
        np.array([numbers[pair.winner] for pair in found]),
        np.array([numbers[pair.loser] for pair in found]),
        np.array([pair.target for pair in found]),
        np.array(anchor),
    )


def liked(known: Comparisons, most: int) -> np.ndarray:
    """The clips that a person likes best, (K,), K <= `most`: those with the highest share of comparisons won.

    Shares are drawn toward a half by one win and one loss that did not happen, so that one lucky clip is not first.
    Only clips that win more than they lose are taken, at least one.
    """
    score = np.zeros(int(known.clips.max()) + 1)
    count = np.zeros_like(score)
    np.add.at(score, known.winner, known.target)
    np.add.at(score, known.loser, 1 - known.target)
    for side in (known.winner, known.loser):
        np.add.at(count, side, 1)
    share = np.where(count > 0, (score + 1) / (count + 2), -1.0)
    order = np.argsort(-share, kind="stable")
    good = order[share[order] > 0.5][:most]
    return good if len(good) else order[:1]


def accuracy(scores: np.ndarray, known: Comparisons) -> float:
    """Share of the decided comparisons that scores (n,) put in the same order; ties are not counted.

    Raises:
        UsageError: all are ties.
    """
    decided = known.rows(np.flatnonzero(known.target != 0.5))
    if not len(decided):
        raise UsageError("no decided comparison to measure accuracy on: all are ties")
    return float(np.mean(scores[decided.winner] > scores[decided.loser]))
