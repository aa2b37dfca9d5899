"""`robo-reward compare`: two policies on the same initial states, or two rewards on the same episodes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from robo_reward.checks.interquartile import BootstrapInterval
from robo_reward.checks.proportion import format_success, wilson_interval
from robo_reward.checks.rank import kendall_tau, spearman_correlation
from robo_reward.cli.reward import load_named_reward
from robo_reward.cli.terminal import Terminal
from robo_reward.cli.training.evaluate import choose_task
from robo_reward.cli.verbs import is_function_reference
from robo_reward.data.items import list_data_items
from robo_reward.data.summary import is_success_known
from robo_reward.envs.task import Task, make_task
from robo_reward.errors import RoboRewardError, UsageError
from robo_reward.files import write_json
from robo_reward.language.language import compile_program
from robo_reward.policies.policy import find_policy_folder, load_policy
from robo_reward.policies.rollout.compare import Contender, PolicyComparison, compare_policies
from robo_reward.rewards.artifact import find_reward_folder
from robo_reward.scoring.fit import FittedReward
from robo_reward.scoring.score import ScoredEpisode, compute_success_auc, correlate_curves
from robo_reward.seeds import EVALUATION_SEEDS


def run(config: DictConfig, arguments: list[str]) -> int:
    """Compares A with B and prints the difference; returns 1 if what `require` asks for is not shown."""
    sides = [_split_side(text) for text in (config.a, config.b)]
    if _choose_metric(config, sides) == "reward":
        return _compare_rewards(config)
    return _compare_policies(config, [_find_policies(side) for side in sides])


def _split_side(text: str) -> list[Path]:
    """Returns the folders of a side: one path, or several separated by commas."""
    return [Path(text)] if Path(text).exists() else [Path(part.strip()) for part in text.split(",") if part.strip()]


def _find_policies(side: Sequence[Path]) -> list[Path]:
    """Returns the folders of a side that hold a policy; a folder of runs stands for these, in order of their names."""
    found = []
    for path in side:
        if (find_policy_folder(path) / "policy.json").is_file() or not path.is_dir():
            found.append(path)
            continue
        inside = [p for p in sorted(path.iterdir()) if (find_policy_folder(p) / "policy.json").is_file()]
        found += inside or [path]  # without any, loading says what is missing
    return found


def _choose_metric(config: DictConfig, sides: Sequence[Sequence[Path]]) -> str:
    """Returns `success` or `reward`: what was chosen, else rewards where only these are on both sides."""
    if config.metric != "auto":
        return config.metric
    has_policies = [all((find_policy_folder(p) / "policy.json").is_file() for p in _find_policies(s)) for s in sides]
    return "reward" if not all(has_policies) and all(map(_is_reward, sides)) else "success"


def _is_reward(side: Sequence[Path]) -> bool:
    if len(side) != 1:
        return False
    return (
        side[0].suffix == ".py"
        or is_function_reference(str(side[0]))
        or (find_reward_folder(side[0]) / "reward.json").is_file()
    )


def _compare_policies(config: DictConfig, sides: Sequence[Sequence[Path]]) -> int:
    console = Terminal()
    chosen: Any = OmegaConf.to_container(config.task) if config.get("task") else {}
    rules = {name: config[name] for name in ("success", "failure") if config[name]}
    if rules:
        chosen["options"] = {**chosen.get("options", {}), **rules}
    a, b = ([_load_contender(path, chosen) for path in side] for side in sides)
    task = _require_same_task([*a, *b], [path for side in sides for path in side])
    console.print(f"A: {', '.join(map(str, sides[0]))}\nB: {', '.join(map(str, sides[1]))}")

    def print_progress(side: str, number: int, seed: int, done: int) -> None:
        run_number = f" {number}/{len(a)}" if len(a) > 1 else ""
        console.print(f"{side}{run_number}  seed {seed - EVALUATION_SEEDS}  {done} / {config.episodes} episodes")

    seeds = [EVALUATION_SEEDS + seed for seed in config.seeds]
    found = compare_policies(a, b, config.episodes, seeds, report=print_progress)
    _print_comparison(console, task, found)
    shown = None if config.require == "none" else found.is_shown(config.require, config.margin)
    if config.json:
        about = {"metric": "success", "task": task.id, "options": dict(task.options), "seeds": list(config.seeds)}
        require = {"require": config.require, "margin": config.margin, "shown": shown}
        result = found.to_json()
        for name, side in zip("ab", sides, strict=True):
            result[name]["runs"] = [str(path) for path in side]
        write_json(Path(config.json), {**about, **result, **require})
    if shown is False:
        need = "above 0" if config.require == "better" else f"above -{config.margin:g}"
        console.print(
            f"require={config.require} is not shown: the interval's lower end {found.low:+.3f} is not {need}",
            style="red",
        )
        return 1
    return 0


def _load_contender(path: Path, chosen: dict[str, Any]) -> Contender:
    """Returns a policy with its task and the task's expert reward, which gives the returns, if there is one."""
    policy = load_policy(path)
    task = choose_task(policy, path, chosen)
    if chosen.get("id"):  # the options of the trainings do not count, but each policy keeps its own control
        control = {name: value for name, value in task.options.items() if name == "control"}
        task = make_task(task.id, **{**control, **chosen.get("options", {})})
    policy.require_compatible(task)
    reward = compile_program(task.expert_reward, task.spec, task.action.dim) if task.expert_reward else None
    return task, policy, reward


def _require_same_task(contenders: Sequence[Contender], paths: Sequence[Path]) -> Task:
    """Returns the task of the first; raises unless all have it, with the same options except `control`."""
    first = contenders[0][0]
    for (task, _, _), path in zip(contenders, paths, strict=True):
        own, other = ({k: v for k, v in t.options.items() if k != "control"} for t in (first, task))
        if task.id != first.id or own != other:
            named = [f"{t.id} {dict(t.options) or ''}".strip() for t in (first, task)]
            raise UsageError(
                f"{paths[0]} was trained on {named[0]} and {path} on {named[1]}. "
                f"Give task=NAME to run both on one task, such as task={first.options.get('file', first.id)}"
            )
    return first


def _print_comparison(console: Terminal, task: Task, found: PolicyComparison) -> None:
    n = sum(found.counts)
    for name, hits in zip("AB", found.successes, strict=True):
        console.print(f"{name}: {format_success(hits / n, *wilson_interval(hits, n), 3)}, {hits} of {n}")
    console.print(
        f"{task.id}: A - B {found.counts.difference:+.3f} (95 % interval {found.low:+.3f} to {found.high:+.3f}), "
        f"p = {found.p_value:.2g} (McNemar, exact)"
    )
    console.print(
        f"pairs: both {found.counts.both}, only A {found.counts.only_a}, only B {found.counts.only_b}, "
        f"neither {found.counts.neither}"
    )
    if found.iqm_a and found.iqm_b and found.iqm_difference:
        values = [_format_interval(value) for value in (found.iqm_a, found.iqm_b, found.iqm_difference)]
        what = f"over {found.runs} runs" if found.runs > 1 else "over episodes"
        console.print(f"interquartile mean of the returns {what}: A {values[0]}, B {values[1]}, A - B {values[2]}")
    verdict = "A is better" if found.low > 0 else "B is better" if found.high < 0 else "no difference is shown"
    console.print(verdict)


def _format_interval(value: BootstrapInterval) -> str:
    return f"{value.value:.2f} ({value.low:.2f} to {value.high:.2f})"


def _compare_rewards(config: DictConfig) -> int:
    """Prints how far two rewards agree on the episodes of a data set."""
    console = Terminal()
    if not config.data:
        raise UsageError("data=... is missing: two rewards are compared on the same episodes. Such as: data=demos/NAME")
    if config.require != "none":
        raise UsageError(f"require={config.require} is for policies; rewards are not better or worse than each other")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # silences FFmpeg: this program reports broken videos itself
    rewards = [load_named_reward(path, config.camera) for path in (config.a, config.b)]
    items = list_data_items(config.data, config.fps, frames=any(reward.frames is not None for reward in rewards))
    scored: list[tuple[ScoredEpisode, ScoredEpisode]] = []
    problems = {}
    for number, item in enumerate(items, start=1):
        try:
            episode = item.load()
            success = episode.is_successful if is_success_known(episode) else None
            one, other = (ScoredEpisode(item.name, "", success, reward.compute(episode).tolist()) for reward in rewards)
        except (RoboRewardError, OSError) as error:
            problems[item.name] = str(error)
            console.print(f"{number}/{len(items)}  {item.name}: {error}", style="yellow")
            continue
        scored.append((one, other))
        console.print(f"{number}/{len(items)}  {item.name}")
    if len(scored) < 2:
        raise RoboRewardError(f"{len(scored)} episodes of {config.data} could be scored, two are the least to compare")
    result = _measure_agreement(rewards, scored)
    for name, value in result.items():
        console.print(f"{name.replace('_', ' '):<40} {'unknown' if value is None else f'{value:.3f}'}")
    if config.json:
        about = {"metric": "reward", "a": config.a, "b": config.b, "data": config.data, "episodes": len(scored)}
        left_out = [{"name": name, "problem": problem} for name, problem in problems.items()]
        write_json(Path(config.json), {**about, **result, "not_scored": left_out})
    return 0


def _measure_agreement(
    rewards: Sequence[FittedReward], scored: Sequence[tuple[ScoredEpisode, ScoredEpisode]]
) -> dict[str, float | None]:
    """Computes how far two rewards put episodes, and the steps in them, in the same order."""
    scores = [
        np.array([pair[side].final if reward.is_ranked_by_end else pair[side].mean for pair in scored])
        for side, reward in enumerate(rewards)
    ]
    within = [correlate_curves(one.values, other.values) for one, other in scored]
    known = [value for value in within if value is not None]
    aucs = [
        compute_success_auc([(score, pair[side].success) for score, pair in zip(scores[side], scored, strict=True)])
        for side in (0, 1)
    ]
    return {
        "kendall_tau_of_episodes": kendall_tau(*scores),
        "spearman_of_episodes": spearman_correlation(*scores),
        "spearman_of_steps_in_episodes": float(np.mean(known)) if known else None,
        "auc_of_a": aucs[0],
        "auc_of_b": aucs[1],
    }
