"""Settings of the alignment methods."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from robo_reward.errors import UnknownName, UsageError

WHOLE = ("batch", "rollouts", "candidates", "refresh")
MAX_CANDIDATES = 1024


@dataclass(frozen=True, kw_only=True)
class AlignmentSettings:
    """Settings of a method; each reads those that it needs.

    Args:
        beta: β of DPO and KTO, the strength of a preference against the reference; it multiplies squared errors.
        anchor: weight of the cloning loss (FKPD).
        anchor_on: episodes of the cloning loss: `preferred`, those that win more than they lose, or `demonstrations`.
        focus: share of an episode, from its start, whose chunks are compared; 1: all, see `match_chunks`.
        learning_rate: of Adam.
        batch: chunks, or pairs of chunks, per update.
        rollouts: number of own episodes that a reward ranks.
        share: share of the best and of the worst of these that are compared.
        candidates: N of best-of-N.
        weights: of `rwr`: `progress` (LeRobot's rule) or `return` of whole episodes.
        temperature: of `weights=return`.
        refresh: of `dro`: updates after which the own samples are drawn again.

    Raises:
        UsageError: a value out of range.
        UnknownName: another kind of weights.
    """

    beta: float = 20.0
    anchor: float = 2.0
    anchor_on: str = "preferred"
    focus: float = 0.1
    learning_rate: float = 3e-4
    batch: int = 64
    rollouts: int = 200
    share: float = 0.5
    candidates: int = 16
    weights: str = "progress"
    temperature: float = 0.5
    refresh: int = 20

    def __post_init__(self) -> None:
        for name in WHOLE:
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 1_000_000:
                raise UsageError(f"settings.{name}={value!r}: expected a whole number from 1")
        for name in ("beta", "learning_rate", "temperature", "anchor", "share", "focus"):
            value = getattr(self, name)
            fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not fits or value < 0 or (value == 0 and name != "anchor"):
                raise UsageError(
                    f"settings.{name}={value!r}: expected a number {'from' if name == 'anchor' else 'above'} 0"
                )
        if self.share > 0.5:
            raise UsageError(
                f"settings.share={self.share}: expected at most 0.5, or episodes are best and worst at once"
            )
        if self.candidates > MAX_CANDIDATES:
            raise UsageError(f"settings.candidates={self.candidates}: expected at most {MAX_CANDIDATES}")
        if self.focus > 1:
            raise UsageError(f"settings.focus={self.focus}: expected above 0, at most 1")
        if self.anchor_on not in ("preferred", "demonstrations"):
            raise UnknownName("value of settings.anchor_on", str(self.anchor_on), ("preferred", "demonstrations"))
        if self.weights not in ("progress", "return"):
            raise UnknownName("kind of weights", str(self.weights), ("progress", "return"))

    def with_changes(self, changes: Mapping[str, Any]) -> AlignmentSettings:
        """Returns the settings with some changed.

        Raises:
            UnknownName: no such setting.
        """
        names = [field.name for field in fields(self)]
        for name in changes:
            if name not in names:
                raise UnknownName("setting of alignment", name, names)
        return replace(self, **changes)
