"""Compares policies episode by episode, on the same initial states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from robo_reward.checks.interquartile import BootstrapInterval, bootstrap_difference
from robo_reward.checks.paired import PairedCounts, count_pairs, mcnemar_exact_test, newcombe_paired_interval
from robo_reward.checks.proportion import wilson_interval
from robo_reward.configs.training import CompareConfig
from robo_reward.envs.task import Task
from robo_reward.errors import RoboRewardError, UsageError
from robo_reward.policies.evaluate import EpisodeOutcomes, run_episodes
from robo_reward.policies.policy import Policy
from robo_reward.rewards.contract import StepReward

Contender = tuple[Task, Policy, StepReward | None]
"""A policy, the task that it is run on (a control of its own is possible), and the reward of the returns, if any."""


@dataclass(frozen=True)
class PolicyComparison:
    """The outcome of a comparison of A with B.

    Args:
        counts: paired outcomes of all runs, seeds and episodes.
        low: lower end of Newcombe's 95 % interval of the difference of the success rates, A - B.
        high: upper end.
        p_value: of McNemar's exact test that both succeed equally often.
        iqm_a: interquartile mean of A's returns, or None without a reward.
        iqm_b: the same of B.
        iqm_difference: of A - B.
        runs: number of policies on each side.
    """

    counts: PairedCounts
    low: float
    high: float
    p_value: float
    iqm_a: BootstrapInterval | None
    iqm_b: BootstrapInterval | None
    iqm_difference: BootstrapInterval | None
    runs: int

    @property
    def successes(self) -> tuple[int, int]:
        """Number of successes of A and of B."""
        return self.counts.both + self.counts.only_a, self.counts.both + self.counts.only_b

    def is_shown(self, require: str, margin: float = CompareConfig.margin) -> bool:
        """Returns whether the interval shows that A is `better` than B, or `not_worse` than B less a margin."""
        return self.low > 0.0 if require == "better" else self.low > -margin

    def to_json(self) -> dict[str, Any]:
        """Returns all numbers as JSON."""
        n = sum(self.counts)
        sides = {}
        for name, hits, iqm in zip("ab", self.successes, (self.iqm_a, self.iqm_b), strict=True):
            low, high = wilson_interval(hits, n)
            sides[name] = {"successes": hits, "success": hits / n, "low": low, "high": high}
            sides[name] |= {"iqm": iqm._asdict() if iqm else None}
        return {
            **sides,
            "episodes": n,
            "runs": self.runs,
            "pairs": self.counts._asdict(),
            "difference": self.counts.difference,
            "low": self.low,
            "high": self.high,
            "p_value": self.p_value,
            "iqm_difference": self.iqm_difference._asdict() if self.iqm_difference else None,
        }


def compare_policies(
    a: Sequence[Contender],
    b: Sequence[Contender],
    episodes: int,
    seeds: Sequence[int],
    threads: int | None = None,
    report: Callable[[str, int, int, int], None] | None = None,
) -> PolicyComparison:
    """Runs the policies of both sides from the same initial states and compares their outcomes in pairs.

    Policy i of A is paired with policy i of B, and each of their episodes with the one of the same initial state.

    Args:
        a: the policies of A.
        b: as many of B.
        episodes: per policy and seed.
        seeds: of the initial states and physics.
        threads: of the simulator.
        report: called with the side (`A` or `B`), the number of its policy, the seed and the episodes done.

    Raises:
        UsageError: another number of policies on the other side.
        RoboRewardError: the tasks of a pair begin differently.
    """
    if not a or len(a) != len(b):
        raise UsageError(f"A has {len(a)} policies and B has {len(b)}: give as many on both sides, they run in pairs")

    def run_side(name: str, number: int, side: Contender, seed: int) -> EpisodeOutcomes:
        task, policy, reward = side
        tell = None if report is None else partial(report, name, number, seed)
        return run_episodes(task, policy, episodes, seed, reward, threads, report=tell)

    pairs: list[list[tuple[EpisodeOutcomes, EpisodeOutcomes]]] = []
    for number, (one, other) in enumerate(zip(a, b, strict=True), start=1):
        row = []
        for seed in seeds:
            found = run_side("A", number, one, seed), run_side("B", number, other, seed)
            if not np.array_equal(found[0].starts, found[1].starts):
                raise RoboRewardError(
                    f"the tasks of pair {number} begin in other states for seed {seed}, so episodes are no pairs. "
                    "Give task=NAME with the same options for both"
                )
            row.append(found)
        pairs.append(row)
    flat = [pair for row in pairs for pair in row]
    counts = count_pairs(np.concatenate([x.success for x, _ in flat]), np.concatenate([y.success for _, y in flat]))
    iqm = _compare_returns(pairs)
    return PolicyComparison(counts, *newcombe_paired_interval(counts), mcnemar_exact_test(counts), *iqm, runs=len(a))


def _compare_returns(pairs: Sequence[Sequence[tuple[EpisodeOutcomes, EpisodeOutcomes]]]) -> tuple[Any, Any, Any]:
    """Computes the interquartile means of the returns with their stratified bootstrap; None without returns.

    With several policies a side, whole policies are resampled, by their mean return for each seed; with one, its
    episodes, in pairs, where the seeds are the strata.
    """
    if any(outcome.returns is None for row in pairs for pair in row for outcome in pair):
        return None, None, None
    table = np.array([[[outcome.returns for outcome in pair] for pair in row] for row in pairs])  # (runs, seeds, 2, N)
    if len(table) > 1:
        a, b = table.mean(axis=-1).transpose(2, 0, 1)  # (runs, seeds) each
    else:
        a, b = table[0].transpose(1, 2, 0)  # (N, seeds) each
    has_runs = len(table) > 1
    return bootstrap_difference(a, b, paired=not has_runs, rng=np.random.default_rng(0), whole_rows=has_runs)
