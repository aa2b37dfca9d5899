"""Checks of a reward of single steps, a program or a Python function, for `robo-reward check`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from robo_reward.checks.rank import area_under_curve, spearman_correlation
from robo_reward.cli.reward import compile_file, examine_reward, find_warnings, measure_seconds
from robo_reward.cli.terminal import Terminal
from robo_reward.cli.training.evaluate import choose_task
from robo_reward.cli.verbs import is_function_reference
from robo_reward.data.collect import collect_episodes
from robo_reward.data.episode import Episode
from robo_reward.data.script import make_demonstrator
from robo_reward.envs.state import State
from robo_reward.envs.task import Task, make_task
from robo_reward.errors import UsageError
from robo_reward.language.language import compile_program
from robo_reward.language.program import RewardProgram
from robo_reward.language.validation.probes import probe
from robo_reward.policies.policy import find_policy_folder, load_policy
from robo_reward.reward_search.propose import sample_random_rollout
from robo_reward.rewards.artifact import load_reward
from robo_reward.rewards.contract import StepReward
from robo_reward.rewards.function.reference import PythonReward

EPISODES = 8
"""Number of episodes by the scripted expert, and of random ones, that a reward is to tell apart."""


def choose_checked_task(config: DictConfig) -> Task:
    """Returns the task whose state a reward is checked on: the one that is given, else that of the run.

    Raises:
        UsageError: neither is known.
    """
    chosen: Any = OmegaConf.to_container(config.task) if config.get("task") else {}
    folder = Path(config.run)
    if (find_policy_folder(folder) / "policy.json").is_file():
        return choose_task(load_policy(folder), folder, chosen)
    if not chosen.get("id"):
        raise UsageError(f"{config.run} does not say which task it is for. Give task=NAME, such as task=panda/lift")
    return make_task(chosen["id"], **chosen.get("options", {}))


def load_checked_reward(text: str, task: Task) -> StepReward:
    """Returns the reward of single steps that a file, a function's name, a folder or a run means."""
    if is_function_reference(text):
        return PythonReward(text)
    path = Path(text)
    if path.suffix == ".py":
        return compile_file(path, task)
    reward = load_reward(path)
    if isinstance(reward, RewardProgram):  # of a task whose state may be described otherwise
        return compile_program(reward.source, task.spec, task.action.dim)
    return reward


def check_step_reward(console: Terminal, task: Task, reward: StepReward, seed: int) -> tuple[dict[str, Any], bool]:
    """Prints what there is to know about a reward, and returns the figures and whether it can be trained on."""
    examine_reward(console, task, reward, seed)
    batch = sample_random_rollout(task, seed)
    output = reward(batch)
    console.print(f"on {len(batch.action)} transitions of a random policy in {task.id}:", highlight=False)
    console.print(f"  {'':<24}{'mean':>12}{'std':>12}{'least':>12}{'most':>12}", highlight=False)
    figures: dict[str, Any] = {"task": task.id, "terms": {}}
    for name, values in {"total": output.total, **output.terms}.items():
        row = [float(f(values)) for f in (np.mean, np.std, np.min, np.max)]
        console.print(f"  {name:<24}" + "".join(f"{value:>12.4g}" for value in row), highlight=False)
        figures["terms"][name] = dict(zip(("mean", "std", "min", "max"), row, strict=True))
    figures["microseconds_per_step"] = measure_seconds(reward, batch) * 1e6
    console.print(f"  {figures['microseconds_per_step']:.2f} µs per step", highlight=False)
    figures |= _compare_with_truth(console, task, reward, seed)
    report = probe(reward, batch) if isinstance(reward, RewardProgram) else None
    figures["failures"] = report.failures if report else []
    figures["warnings"] = report.warnings if report else find_warnings(reward, batch)
    for text in figures["failures"]:
        console.print(f"failure: {text}", style="red", soft_wrap=True, highlight=False)
    for text in report.warnings if report else ():
        console.print(f"warning: {text}", style="yellow", soft_wrap=True, highlight=False)
    if not figures["failures"]:
        console.print("it can be trained on", style="green")
    return figures, not figures["failures"]


def _compare_with_truth(console: Terminal, task: Task, reward: StepReward, seed: int) -> dict[str, float | None]:
    """Compares a reward with the task's scripted expert and expert reward, where there are these."""
    rng = np.random.default_rng(seed)

    def act_randomly(state: State) -> np.ndarray:
        return rng.uniform(-1, 1, (*state.batch_shape, task.action.dim))

    episodes = collect_episodes(task, act_randomly, EPISODES, seed, threads=1)
    found: dict[str, float | None] = {}
    try:
        shown = collect_episodes(task, make_demonstrator(task, 1.0, 0.1, rng), EPISODES, seed, threads=1)
    except UsageError:  # no scripted expert
        shown = []
    if shown:
        scores = np.array([reward(one.to_transitions()).total.mean() for one in (*shown, *episodes)])
        auc = area_under_curve(scores, np.arange(len(scores)) < len(shown))
        found["auc_of_expert_episodes"] = auc
        done = sum(one.is_successful for one in shown)
        text = f"scripted expert ({done} of {len(shown)} succeed) above random actions, AUC of the mean: {auc:.3f}"
        console.print(f"  {text}", highlight=False)
        if auc is not None and auc < 0.5 and done > len(shown) / 2:
            warning = "warning: it pays more for random actions than for the scripted expert's; is its sign right?"
            console.print(warning, style="yellow", soft_wrap=True, highlight=False)
    if task.expert_reward:
        truth = compile_program(task.expert_reward, task.spec, task.action.dim)
        rho = _correlate_steps(reward, truth, [*shown, *episodes])
        found["spearman_with_expert_reward"] = rho
        text = "no order: one of the two is constant" if rho is None else f"{rho:.3f}"
        console.print(f"  Spearman's ρ with the expert reward over all steps: {text}", highlight=False)
    return found


def _correlate_steps(reward: StepReward, truth: StepReward, episodes: list[Episode]) -> float | None:
    """Returns Spearman's ρ over all steps, or None where one of the rewards never varies."""
    a, b = (np.concatenate([r(one.to_transitions()).total for one in episodes]) for r in (reward, truth))
    return spearman_correlation(a, b) if np.ptp(a) > 0 and np.ptp(b) > 0 else None
