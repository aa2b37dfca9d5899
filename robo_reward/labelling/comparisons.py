"""Comparisons of numbered clips, built from answers, and the clips that a person likes best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from robo_reward.errors import UsageError
from robo_reward.labelling.answers import Answer, Pair, extract_pairs, extract_triplets

NO_ANCHOR = -1


@dataclass(frozen=True)
class Comparisons:
    """Statements "the winner is at least as good as the loser" about numbered clips.

    Args:
        winner: (P,) int.
        loser: (P,) int.
        target: (P,), the probability that the winner is better: 1, or 1/2 for a tie.
        anchor: (P,) int, the best clip of the triplet that the statement was taken from (RAPL's anchor), or
            `NO_ANCHOR`.
    """

    winner: np.ndarray
    loser: np.ndarray
    target: np.ndarray
    anchor: np.ndarray

    def __len__(self) -> int:
        return len(self.winner)

    def select_rows(self, index: np.ndarray) -> Comparisons:
        """Returns the comparisons at the given indices."""
        return Comparisons(self.winner[index], self.loser[index], self.target[index], self.anchor[index])

    def drop_ties(self) -> Comparisons:
        """Returns the comparisons that are not ties."""
        return self.select_rows(np.flatnonzero(self.target != 0.5))


def build_comparisons(answers: Sequence[Answer], numbers: Mapping[str, int], every_anchor: bool = False) -> Comparisons:
    """Returns every pair of clips that the answers compare.

    The lower pair of a triplet has the best clip of the triplet as anchor.

    Each answer is read by itself: a pair that was compared on its own has no anchor, whatever other answers
    contain.

    Args:
        answers: of any kinds; "can't tell" contributes nothing.
        numbers: clip id -> number; clips without a number are left out.
        every_anchor: repeat a pair below several clips of a ranking once per clip, each time with that clip as
            anchor, so that every triplet counts; else once, with the best of them.

    Raises:
        UsageError: nothing can be learnt: no pair, or only ties.
    """
    found = [
        (pair, numbers.get(anchor, NO_ANCHOR))
        for answer in answers
        for pair, anchor in _iter_anchored_pairs(answer, numbers, every_anchor)
        if pair.winner in numbers and pair.loser in numbers
    ]
    if all(pair.tie for pair, _ in found):
        said = f"all {len(found)} comparisons are ties" if found else "none of them compares two of the clips found"
        raise UsageError(f"nothing can be learnt from {len(answers)} answers: {said}. Label clips that differ more")
    return Comparisons(
        np.array([numbers[pair.winner] for pair, _ in found]),
        np.array([numbers[pair.loser] for pair, _ in found]),
        np.array([pair.target for pair, _ in found]),
        np.array([anchor for _, anchor in found]),
    )


def _iter_anchored_pairs(answer: Answer, numbers: Mapping[str, int], every: bool) -> Iterator[tuple[Pair, str]]:
    """Yields each pair of an answer with a clip ranked strictly above both, or "" if there is none."""
    place = {clip: place for place, group in enumerate(answer.groups) for clip in group}
    above: dict[tuple[str, str], list[str]] = {}
    for t in extract_triplets([answer], equal=False):
        if t.positive in numbers:
            above.setdefault((t.neutral, t.negative), []).append(t.positive)
    for pair in extract_pairs([answer]):
        anchors = sorted(above.get((pair.winner, pair.loser), [""]), key=lambda clip: place.get(clip, 0))
        for anchor in anchors if every else anchors[:1]:
            yield pair, anchor


def comparisons_from_triplets(rows: np.ndarray) -> Comparisons:
    """Returns the comparisons of triplets (Q, 3) of clip numbers: positive, neutral, negative."""
    positive, neutral, negative = rows.T
    none = np.full(len(rows), NO_ANCHOR)
    return Comparisons(
        np.concatenate([positive, neutral, positive]),
        np.concatenate([neutral, negative, negative]),
        np.ones(3 * len(rows)),
        np.concatenate([none, positive, none]),
    )


def find_preferred_clips(known: Comparisons, most: int) -> np.ndarray:
    """Returns the clips that a person likes best, (K,), K <= `most`, by the share of comparisons won.

    Shares are smoothed by one additional win and loss (Laplace), so that a clip with a single win does not come
    first. Only clips that win more than they lose are returned, but at least one.
    """
    count, won = np.zeros((2, int(max(known.winner.max(), known.loser.max())) + 1))
    np.add.at(won, known.winner, known.target)
    np.add.at(won, known.loser, 1 - known.target)
    for side in (known.winner, known.loser):
        np.add.at(count, side, 1)
    share = np.where(count > 0, (won + 1) / (count + 2), 0.0)
    order = np.argsort(-share, kind="stable")
    return order[: max(1, min(most, int((share > 0.5).sum())))]


def ranking_accuracy(scores: np.ndarray, known: Comparisons) -> float:
    """Returns the share of the decided comparisons that scores (n,) put in the same order.

    Raises:
        UsageError: all are ties.
    """
    decided = known.drop_ties()
    if not len(decided):
        raise UsageError("no decided comparison to measure accuracy on: all are ties")
    return float(np.mean(scores[decided.winner] > scores[decided.loser]))
