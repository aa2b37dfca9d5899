"""Cross-validation over clips: how well a reward ranks clips that it has not learnt from."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from robo_reward.checks.proportion import wilson_interval
from robo_reward.errors import UsageError
from robo_reward.labelling.answers import Answer
from robo_reward.labelling.comparisons import Comparisons, build_comparisons

SLACK = 3
"""Clips by which a fold may exceed the smallest one when clips join those that they were compared with."""
FEWEST = 8
"""Minimum number of comparisons for an accuracy: with fewer, even an interval is uninformative."""


@dataclass(frozen=True)
class HeldOutAgreement:
    """Share of decided comparisons that a reward ranks as the person does.

    Args:
        accuracy: share ranked correctly.
        comparisons: number of comparisons.
        low: lower end of the 95 % Wilson interval for the effective number of comparisons.
        high: upper end.
    """

    accuracy: float
    comparisons: int
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.accuracy:.2f} (95 % interval {self.low:.2f} to {self.high:.2f}, {self.comparisons} comparisons)"

    def to_json(self) -> dict[str, Any]:
        """Returns all fields as a JSON value."""
        return asdict(self)


def measure_agreement(right: np.ndarray, winner: np.ndarray, loser: np.ndarray) -> HeldOutAgreement | None:
    """Returns the agreement over comparisons of numbered clips; None where there are fewer than `FEWEST`.

    Args:
        right: (P,) bool, True where a comparison was ranked correctly.
        winner: (P,) int.
        loser: (P,) int.
    """
    if len(right) < FEWEST:
        return None
    share, effective = float(np.mean(right)), effective_sample_size(winner, loser)
    return HeldOutAgreement(share, len(right), *wilson_interval(share * effective, effective))


def effective_sample_size(winner: np.ndarray, loser: np.ndarray) -> float:
    """Returns the number of independent comparisons to which P comparisons of clips are equivalent.

    Under random scores, the correctness of two comparisons is correlated by 1 if both are of the same
    two clips, and by 1/9 if they share one (as in the variance of Kendall's τ). So the share ranked right varies
    as that of P² / (m₂ + m₁ / 9) independent ones: m₂ and m₁ are the numbers of such ordered pairs of comparisons,
    and m₂ counts each comparison with itself.

    Args:
        winner: (P,) int, P > 0.
        loser: (P,) int.
    """
    both = np.stack([np.minimum(winner, loser), np.maximum(winner, loser)])
    same = float((np.unique(both, axis=1, return_counts=True)[1] ** 2).sum())
    touching = float((np.unique(both, return_counts=True)[1] ** 2).sum())  # counts pairs with the same two clips twice
    return len(winner) ** 2 / (same + (touching - 2 * same) / 9)


def split_into_folds(answers: Sequence[Answer], clips: Sequence[str], count: int, seed: int) -> list[list[str]]:
    """Splits clips into folds of about equal size such that many comparisons lie within one fold.

    A clip gets its fold with the first answer that names it, and keeps it: further answers, or clips, never change
    which of the earlier comparisons are held out. The new clips of an answer join the fold of its other clips, unless
    that is `SLACK` clips larger than the smallest fold by then; else one of the smallest folds, drawn by the seed.

    Args:
        answers: answers that connect the clips, in the order in which they were given, as a store returns them.
        clips: ids, without repeats.
        count: number of folds, at most the number of clips.
        seed: seed of the draws.

    Returns:
        The clips of each fold, in the order of `clips`.
    """
    unplaced = set(clips)
    folds: dict[str, int] = {}
    sizes = [0] * count
    groups = [[clip for clip in answer.clips if clip in unplaced] for answer in answers]
    unnamed = unplaced.difference(*groups)
    for group in [*groups, *([clip] for clip in sorted(unnamed))]:
        new = [clip for clip in dict.fromkeys(group) if clip not in folds]
        if not new:
            continue
        near = Counter(folds[clip] for clip in group if clip in folds)
        least = min(sizes)
        near_fold = max(near, key=lambda fold: (near[fold], -sizes[fold], -fold), default=-1)
        if near_fold < 0 or sizes[near_fold] + len(new) > least + SLACK:
            smallest = [fold for fold in range(count) if sizes[fold] == least]
            near_fold = smallest[_draw_number(seed, new[0]) % len(smallest)]
        folds |= dict.fromkeys(new, near_fold)
        sizes[near_fold] += len(new)
    return [[clip for clip in clips if folds[clip] == fold] for fold in range(count)]


def _draw_number(seed: int, clip: str) -> int:
    """Returns a number that depends on the seed and a clip's id alone."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{clip}".encode()).digest()[:8], "big")


@dataclass(frozen=True)
class HeldOutResult:
    """Result of a cross-validation.

    Args:
        agreement: over all comparisons within a fold, each ranked by a reward that has seen none of the fold's
            clips; None where they are too few.
        answers: ids of the answers that these comparisons come from.
        comparisons: number of these comparisons.
        folds: number of rewards that were trained.
    """

    agreement: HeldOutAgreement | None
    answers: tuple[str, ...] = ()
    comparisons: int = 0
    folds: int = 0


def cross_validate(
    answers: Sequence[Answer],
    numbers: Mapping[str, int],
    share: float,
    seed: int,
    learn: Callable[[list[Answer], Mapping[str, int]], np.ndarray],
) -> HeldOutResult:
    """Measures how well a learner ranks clips that it has not seen.

    The clips are split into about 1 / `share` folds. For each fold a reward learns from the comparisons of all
    other clips and ranks the comparisons within the fold; comparisons between a clip of the fold and another are
    used by neither. So no clip of a held-out comparison was seen in any answer of any person, and answers that are
    added never change what was held out.

    Args:
        answers: of any kinds and people, in the order in which they were given.
        numbers: clip id -> number.
        share: of the clips in a fold, from 0 (no cross-validation) to below 1.
        seed: of the split into folds.
        learn: maps answers and the numbers of the training clips to scores (n,) of all clips.

    Raises:
        UsageError: the share is out of range.
    """
    if not 0 <= share < 1:
        raise UsageError(f"holdout is {share}, expected a share from 0 to below 1")
    count = min(max(round(1 / share), 2), len(numbers)) if share else 0
    right, winner, loser, used, trained = [], [], [], [], 0
    for fold in split_into_folds(answers, list(numbers), count, seed) if count > 1 else []:
        inside = {clip: numbers[clip] for clip in fold}
        rest = {clip: number for clip, number in numbers.items() if clip not in inside}
        asked = build_decided_comparisons(answers, inside)
        if asked is None or build_decided_comparisons(answers, rest) is None:
            continue
        try:
            scores = learn(list(answers), rest)
        except UsageError:  # no triplet left, which `rapl-code` needs
            continue
        trained += 1
        right.append(scores[asked.winner] > scores[asked.loser])
        winner.append(asked.winner)
        loser.append(asked.loser)
        used += [answer.uuid for answer in answers if build_decided_comparisons([answer], inside) is not None]
    if not right:
        return HeldOutResult(None)
    agreement = measure_agreement(*(np.concatenate(parts) for parts in (right, winner, loser)))
    return HeldOutResult(agreement, tuple(dict.fromkeys(used)), sum(map(len, right)), trained)


def build_decided_comparisons(answers: Sequence[Answer], numbers: Mapping[str, int]) -> Comparisons | None:
    """Returns the comparisons of some clips that are not ties; None where there are no such comparisons."""
    try:
        return build_comparisons(answers, numbers).drop_ties()
    except UsageError:  # no answers about these clips, or only ties
        return None
