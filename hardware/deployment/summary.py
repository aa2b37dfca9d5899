"""Results of a deployment session: one summary per episode, and the success rate over all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from robo_reward.checks.proportion import wilson_interval
from robo_reward.data.episode import EpisodeEntry
from robo_reward.hardware.deployment.journal import COMPLETED_OUTCOMES, classify_outcome


@dataclass(frozen=True)
class EpisodeSummary:
    """Result of one stored episode.

    Args:
        key: name of the episode in the store.
        outcome: `success`, `failure` or `unknown`, or how it was cut short: see `classify_outcome`.
        steps: number of control steps.
        reason: how it ended, see `EpisodeEnding`; `cut off` if its processes were killed.
        success: None where that is not known.
        interventions: number of control steps in which a person drove.
        fault: the arm's fault that ended it; empty if none did.
        peak_force: largest force on the hand [N].
        reward: sum of the rewards; None without a reward.
    """

    key: str
    outcome: str
    steps: int
    reason: str
    success: bool | None
    interventions: int
    fault: str
    peak_force: float
    reward: float | None

    @classmethod
    def from_entry(cls, entry: EpisodeEntry) -> EpisodeSummary:
        """Returns the summary of an episode in the store."""
        meta = entry.meta
        known, ending = bool(meta.get("success_known")), str(meta.get("ending", ""))
        return cls(
            key=entry.key,
            outcome=classify_outcome(ending, known, entry.success),
            steps=entry.steps,
            reason=ending or "cut off",
            success=entry.success if known else None,
            interventions=meta.get("interventions", 0),
            fault=meta.get("fault", ""),
            peak_force=compute_peak_force(meta),
            reward=entry.total,
        )


@dataclass
class DeploymentSummary:
    """Results of a deployment session.

    Args:
        episodes: all episodes, those of earlier runs included.
        faults: every fault: kind, cause, what was done.
        latency: histograms.
        stopped: why the session ended before all episodes were made; empty if it did not.
        exhausted: True if it ended because an episode was cut short too often.
    """

    episodes: list[EpisodeSummary] = field(default_factory=list)
    faults: list[dict[str, Any]] = field(default_factory=list)
    latency: dict[str, Any] = field(default_factory=dict)
    stopped: str = ""
    exhausted: bool = False

    @property
    def completed_count(self) -> int:
        """Number of episodes that were run to their end and count for the policy's success rate."""
        return sum(e.outcome in COMPLETED_OUTCOMES for e in self.episodes)

    def to_json(self) -> dict[str, Any]:
        """Returns the summary as JSON, with the success rate and its 95 % Wilson interval.

        Only episodes count that were made to their end and whose success is known. `success_at_least` is the rate
        if every episode that was cut short by a fault had failed.
        """
        known = [e.outcome == "success" for e in self.episodes if e.outcome in ("success", "failure")]
        cut = sum(e.outcome in ("faulted", "killed") for e in self.episodes)
        forces = [e.peak_force for e in self.episodes]
        rate = sum(known) / len(known) if known else None
        low, high = wilson_interval(sum(known), len(known)) if known else (None, None)
        return {
            "episodes": self.completed_count,
            "made": len(self.episodes),
            "outcomes": dict(Counter(e.outcome for e in self.episodes)),
            "judged": len(known),
            "successes": sum(known),
            "success": rate,
            "low": low,
            "high": high,
            "success_at_least": sum(known) / (len(known) + cut) if known else None,
            "peak_force": {"median": float(np.median(forces)), "max": max(forces)} if forces else None,
            "faults": self.faults,
            "latency_ms": self.latency,
            "stopped": self.stopped,
            "each": [asdict(e) for e in self.episodes],
        }


def compute_peak_force(meta: Mapping[str, Any]) -> float:
    """Computes the largest force on the hand [N] among an episode's measurements, one per control step."""
    wrench = np.array(meta.get("measured", {}).get("wrench", []), float).reshape(-1, 6)
    return round(float(np.linalg.norm(np.nan_to_num(wrench[:, :3]), axis=1).max(initial=0.0)), 1)
