"""`robo-reward evaluate`: how good is a policy?"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from robo_reward.cli.folder import write_json
from robo_reward.cli.terminal import Terminal
from robo_reward.envs.task import make_task
from robo_reward.errors import UsageError
from robo_reward.policies.evaluate import evaluate, wilson
from robo_reward.policies.policy import load_policy


def run(config: DictConfig, arguments: list[str]) -> int:
    """Prints success with its interval per seed and over all; returns 1 if it is below `min_success`."""
    if config.episodes < 1 or not config.seeds:
        raise UsageError(f"episodes={config.episodes} seeds={list(config.seeds)}: expected at least one of each")
    policy = load_policy(_policy_folder(Path(config.run)))
    task = make_task(config.task or policy.meta["task"])
    policy.require(task)
    console = Terminal()
    results = []
    for seed in config.seeds:
        result = evaluate(task, policy, config.episodes, seed)
        results.append(result)
        console.print(f"seed {seed}: {result.successes} of {result.episodes}", highlight=False)
    episodes, successes = sum(r.episodes for r in results), sum(r.successes for r in results)
    low, high = wilson(successes, episodes)
    success = successes / episodes
    line = f"{task.id}: success {success:.3f} (95 % interval {low:.3f} to {high:.3f}) over {episodes} episodes"
    console.print(line, highlight=False)
    if config.json:
        summary = {"task": task.id, "success": success, "low": low, "high": high, "episodes": episodes}
        write_json(Path(config.json), {**summary, "seeds": [r.to_json() for r in results]})
    if success < config.min_success:
        console.print(f"below min_success={config.min_success}", style="red")
        return 1
    return 0


def _policy_folder(path: Path) -> Path:
    """A policy folder, or the one inside a run folder."""
    return path / "policy" if (path / "policy" / "policy.json").is_file() else path
