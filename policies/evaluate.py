"""Evaluates a policy: its success rate with a confidence interval."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from robo_reward.checks.proportion import wilson_interval
from robo_reward.configs.training import EvaluateConfig
from robo_reward.envs.batch import BatchSim
from robo_reward.envs.task import Task
from robo_reward.policies.judge import EpisodeRewardScorer
from robo_reward.policies.policy import Policy
from robo_reward.rewards.contract import EpisodeReward, StepReward
from robo_reward.seeds import EVALUATION_SEEDS


@dataclass(frozen=True)
class Evaluation:
    """Outcome of deterministic episodes.

    Args:
        episodes: how many were run.
        successes: how many fulfilled the goal at their last step.
        low: lower end of the 95 % Wilson interval of the success rate.
        high: upper end.
        held: mean share of steps in which the goal was fulfilled (the return of the sparse success, per step).
        mean_return: mean return of the given reward, or None.
        seed: of the initial conditions.
    """

    episodes: int
    successes: int
    low: float
    high: float
    held: float
    mean_return: float | None
    seed: int

    @property
    def success(self) -> float:
        """The success rate."""
        return self.successes / self.episodes

    def to_json(self) -> dict[str, Any]:
        """Returns all numbers as JSON, the success rate included."""
        return {**asdict(self), "success": self.success}


def evaluate_policy(
    task: Task,
    policy: Policy,
    episodes: int = EvaluateConfig.episodes,
    seed: int = EVALUATION_SEEDS,
    reward: StepReward | EpisodeReward | None = None,
    threads: int | None = None,
    worlds: int = 100,
) -> Evaluation:
    """Runs whole episodes of a deterministic policy and returns its success rate with a confidence interval.

    Success counts at the last step only: passing through the goal is not enough.

    Args:
        task: the task to run.
        policy: the policy that acts.
        episodes: at least 1.
        seed: of the initial conditions and, where the task draws them, of the physics; `robo_reward.seeds` says
            which seeds training does not use.
        reward: the reward whose return is reported, or None.
        threads: of the simulator.
        worlds: how many episodes run in parallel.
    """
    n = min(episodes, worlds)
    judge = EpisodeRewardScorer(task, reward, n) if isinstance(reward, EpisodeReward) else None
    sim = BatchSim(task, n, seed, None if isinstance(reward, EpisodeReward) else reward, threads)
    successes, held, returns = [], [], []
    # ceil(episodes / n) batches of whole episodes; surplus episodes of the last batch are dropped below.
    for _ in range(-(-episodes // n)):
        good, total, succeeded = np.zeros(n), np.zeros(n), np.zeros(n, bool)
        running = np.ones(n, bool)
        if judge:
            judge.begin_episodes(sim)
        for _ in range(task.horizon):
            result = sim.step(policy.act(sim.observation()))
            # An episode that ends early keeps its last success for the remaining steps.
            succeeded = np.where(running, result.success, succeeded)
            good += succeeded
            if result.reward is not None:
                total += np.where(running, result.reward.total, 0.0)
            running &= ~result.ended
            for i, output in enumerate(judge.add_step(result) if judge else []):
                total[i] = output.total.sum()
        successes.append(succeeded)
        held.append(good / task.horizon)
        returns.append(total)
        if task.ends_early:
            sim.reset()  # worlds that ended early are in the middle of another episode
    sim.close()
    if judge:
        judge.close()
    hits = int(np.concatenate(successes)[:episodes].sum())
    mean_return = float(np.concatenate(returns)[:episodes].mean()) if reward else None
    share = float(np.concatenate(held)[:episodes].mean())
    return Evaluation(episodes, hits, *wilson_interval(hits, episodes), share, mean_return, seed)
