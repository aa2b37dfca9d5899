"""Evaluates a policy: its success rate with a confidence interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from robo_reward.checks.proportion import wilson_interval
from robo_reward.configs.training import EvaluateConfig
from robo_reward.envs.task import Task
from robo_reward.envs.worlds import Worlds
from robo_reward.policies.controller import PolicyController
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


@dataclass(frozen=True, eq=False)
class EpisodeOutcomes:
    """Outcomes of N deterministic episodes, in the order of their initial states.

    Args:
        success: (N,) bool, whether the goal was fulfilled at the last step.
        held: (N,) share of steps in which the goal was fulfilled.
        returns: (N,) of the given reward, or None.
        starts: (N, D) initial states.
    """

    success: np.ndarray
    held: np.ndarray
    returns: np.ndarray | None
    starts: np.ndarray


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

    Args:
        task: the task to run.
        policy: the policy that acts, of any kind that `PolicyController` runs.
        episodes: at least 1.
        seed: of the initial conditions and, where the task draws them, of the physics; `robo_reward.seeds` says
            which seeds training does not use.
        reward: the reward whose return is reported, or None.
        threads: of the simulator.
        worlds: how many episodes run in parallel, at most `task.max_worlds`.
    """
    found = run_episodes(task, policy, episodes, seed, reward, threads, worlds)
    hits = int(found.success.sum())
    mean_return = None if found.returns is None else float(found.returns.mean())
    return Evaluation(episodes, hits, *wilson_interval(hits, episodes), float(found.held.mean()), mean_return, seed)


def run_episodes(
    task: Task,
    policy: Policy,
    episodes: int,
    seed: int,
    reward: StepReward | EpisodeReward | None = None,
    threads: int | None = None,
    worlds: int = 100,
    report: Callable[[int], None] | None = None,
) -> EpisodeOutcomes:
    """Runs whole episodes of a deterministic policy and returns the outcome of each.

    Success counts at the last step only: passing through the goal is not enough. The initial states depend on the
    task, the seed, `episodes` and `worlds` alone, so that two policies can be compared episode by episode. The noise
    of a policy that samples its actions depends on the seed as well.

    Args:
        task: the task to run.
        policy: the policy that acts, of any kind that `PolicyController` runs.
        episodes: N, at least 1.
        seed: of the initial conditions and, where the task draws them, of the physics.
        reward: the reward of the returns, or None.
        threads: of the simulator.
        worlds: how many episodes run in parallel.
        report: called with the number of finished episodes after each batch.
    """
    n = min(episodes, worlds, task.max_worlds)
    controller = PolicyController(policy, task, n, seed)
    judge = EpisodeRewardScorer(task, reward, n) if isinstance(reward, EpisodeReward) else None
    sim = task.make_worlds(n, seed, None if isinstance(reward, EpisodeReward) else reward, threads)
    successes, held, returns, starts = [], [], [], []
    try:
        # ceil(episodes / n) batches of whole episodes; surplus episodes of the last batch are dropped below.
        for batch in range(-(-episodes // n)):
            starts.append(sim.state.array.copy())
            success, share, total = _run_batch(sim, controller, judge)
            successes.append(success)
            held.append(share)
            returns.append(total)
            if task.ends_early:  # the worlds are in the middle of other episodes, by as many draws as they restarted
                sim.reset(int(np.random.SeedSequence([seed, batch]).generate_state(1, np.uint64)[0] >> 1))
            if report:
                report(min((batch + 1) * n, episodes))
    finally:
        sim.close()
        controller.close()
        if judge:
            judge.close()
    return EpisodeOutcomes(
        np.concatenate(successes)[:episodes],
        np.concatenate(held)[:episodes],
        np.concatenate(returns)[:episodes] if reward else None,
        np.concatenate(starts)[:episodes],
    )


def _run_batch(
    sim: Worlds, controller: PolicyController, judge: EpisodeRewardScorer | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Runs one episode in every world; returns success, share of steps with success, and return, (N,) each."""
    good, total = np.zeros(sim.n), np.zeros(sim.n)
    success, running = np.zeros(sim.n, bool), np.ones(sim.n, bool)
    if judge:
        judge.begin_episodes(sim)
    controller.reset()
    for _ in range(sim.task.horizon):
        result = sim.step(controller.act(sim))
        # An episode that ended early keeps its outcome for the remaining steps.
        success = np.where(running, result.success, success)
        good += success
        if result.reward is not None:
            total += np.where(running, result.reward.total, 0.0)
        running &= ~result.has_ended
        for i, output in enumerate(judge.add_step(result) if judge else []):
            total[i] = output.total.sum()
    return success, good / sim.task.horizon, total
