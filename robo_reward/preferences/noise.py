"""What to do about answers that are probably wrong: let an ensemble vote, then flip, soften or set aside."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from robo_reward.errors import UnknownName, UsageError
from robo_reward.preferences.comparisons import Comparisons

REMEDIES = ("flip", "soften", "margin")


def votes(scores: np.ndarray, known: Comparisons) -> np.ndarray:
    """The share of an ensemble that ranks the winner above the loser, (P,); equal scores are half a vote.

    Args:
        scores: (M, n) of each member for each clip. To judge answers by networks that have not learnt them by heart,
            give scores of members that were trained without them (cross-validation).
        known: the comparisons.
    """
    gap = scores[:, known.winner] - scores[:, known.loser]
    return (0.5 * (1 + np.sign(gap))).mean(axis=0)


def corrected(known: Comparisons, share: np.ndarray, remedy: str = "flip", strength: float = 0.9) -> Comparisons:
    """Comparisons with what an ensemble makes of them.

    Args:
        known: the comparisons; ties stay as they are.
        share: (P,) from `votes`.
        remedy: `flip` exchanges winner and loser where at least the share `strength` of the ensemble says so;
            `soften` moves the target toward the vote, y' = (1 - strength) y + strength share (Müller et al. 2019 call
            the constant form label smoothing); `margin` drops comparisons whose vote is within (1 - strength) / 2 of
            even.
        strength: in [0, 1].

    Raises:
        UnknownName: no such remedy.
        UsageError: a strength out of range.
    """
    if remedy not in REMEDIES:
        raise UnknownName("remedy for noisy labels", remedy, REMEDIES)
    if not 0 <= strength <= 1:
        raise UsageError(f"strength is {strength}, expected a number from 0 to 1")
    decided = known.target != 0.5
    if remedy == "soften":
        return replace(known, target=np.where(decided, (1 - strength) * known.target + strength * share, known.target))
    if remedy == "margin":
        return known.rows(np.flatnonzero(~decided | (np.abs(share - 0.5) > (1 - strength) / 2)))
    wrong = decided & (share <= 1 - strength)
    winner, loser = np.where(wrong, known.loser, known.winner), np.where(wrong, known.winner, known.loser)
    return replace(known, winner=winner, loser=loser)
