"""Corrects answers that are probably wrong: an ensemble votes, then labels are flipped, softened or dropped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from robo_reward.errors import UnknownName, UsageError
from robo_reward.labelling.comparisons import Comparisons

REMEDIES = ("flip", "soften", "margin")


def vote_shares(scores: np.ndarray, known: Comparisons) -> np.ndarray:
    """Returns the share of an ensemble that ranks the winner above the loser, (P,); equal scores are half a vote.

    Args:
        scores: (M, n) of each member for each clip. Give scores of members that were trained without these answers
            (cross-validation): members may have memorised their training data.
        known: the comparisons.
    """
    gap = scores[:, known.winner] - scores[:, known.loser]
    return (0.5 * (1 + np.sign(gap))).mean(axis=0)


def correct_labels(known: Comparisons, share: np.ndarray, remedy: str = "flip", strength: float = 0.9) -> Comparisons:
    """Returns the comparisons with labels corrected by the vote of an ensemble.

    Args:
        known: the comparisons; ties stay as they are.
        share: (P,) from `vote_shares`.
        remedy: `flip` exchanges winner and loser where at least the share `strength` of the ensemble votes against
            the label; `soften` moves the target toward the vote, y' = (1 - strength) y + strength share (Müller et
            al. 2019 call the constant form label smoothing); `margin` drops comparisons whose vote is within (1 -
            strength) / 2 of even.
        strength: in [0, 1].

    Raises:
        UnknownName: no such remedy.
        UsageError: the strength is out of range.
    """
    if remedy not in REMEDIES:
        raise UnknownName("remedy for noisy labels", remedy, REMEDIES)
    if not 0 <= strength <= 1:
        raise UsageError(f"strength is {strength}, expected a number from 0 to 1")
    decided = known.target != 0.5
    if remedy == "soften":
        return replace(known, target=np.where(decided, (1 - strength) * known.target + strength * share, known.target))
    if remedy == "margin":
        return known.select_rows(np.flatnonzero(~decided | (np.abs(share - 0.5) > (1 - strength) / 2)))
    wrong = decided & (share <= 1 - strength)
    winner, loser = np.where(wrong, known.loser, known.winner), np.where(wrong, known.winner, known.loser)
    return replace(known, winner=winner, loser=loser)
