"""Training time to 90 % success: `python -m benchmarks.training --json FILE [--quick]`.

Each task with its expert reward: the default settings on the batched simulator, and Stable-Baselines3's default PPO on
one plain world of the same task and reward. Success is counted over the last 100 training episodes, with exploration.
The former stops at its budget, the latter after `LIMIT` times the slowest time to 90 % of the former (or its total time
if it missed 90 %). A run that has not reached 90 % by then is null.
"""

from __future__ import annotations

import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor

from benchmarks.output import arguments, report
from robo_reward.cli.app import compose_config
from robo_reward.cli.reward import load_chosen_reward
from robo_reward.cli.training.train import merge_parameters
from robo_reward.envs.gym import TaskEnv
from robo_reward.envs.task import make_task
from robo_reward.policies.sb3 import train_policy

GOAL, LIMIT = 0.9, 3.0
TASKS = ("panda/reach", "panda/lift", "panda/drawer", "panda/push", "panda/pick", "panda/door", "panda/stack")


def ours(name: str, seed: int) -> dict[str, Any]:
    """Trains with the default settings; returns the time to the goal and in total [s], and deterministic success."""
    config = compose_config("train", [f"task={name}", f"seed={seed}"])
    task = make_task(name)
    begun, reached = time.monotonic(), None

    def watch(point: Any) -> None:
        nonlocal reached
        if reached is None and point.success >= GOAL:
            reached = time.monotonic() - begun

    with tempfile.TemporaryDirectory() as folder:
        options = {
            "steps": config.steps,
            "seed": seed,
            "params": merge_parameters(config),
            "threads": 2,
            "report": watch,
        }
        result = train_policy(task, load_chosen_reward(task, config.reward), Path(folder), **options)
    seconds = time.monotonic() - begun
    return {"seconds_to_goal": reached, "seconds": seconds, "steps": result.steps, "success": result.evaluation.success}


class _Clock(BaseCallback):
    """Stops when the last 100 episodes reach the goal, or when the time is up."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit, self.begun, self.reached = limit, time.monotonic(), None
        self.last: deque[bool] = deque(maxlen=100)

    def _on_step(self) -> bool:
        self.last.extend(info["is_success"] for info in self.locals["infos"] if "episode" in info)
        if len(self.last) == 100 and np.mean(self.last) >= GOAL:
            self.reached = time.monotonic() - self.begun
        return self.reached is None and time.monotonic() - self.begun < self.limit


def sb3_default(name: str, seed: int, limit: float) -> dict[str, Any]:
    """Trains SB3's PPO with its default settings on one world."""
    clock = _Clock(limit)
    model = PPO("MlpPolicy", Monitor(TaskEnv(name, reward="expert")), seed=seed, device="cpu")
    model.learn(10**9, callback=clock)
    return {
        "seconds_to_goal": clock.reached,
        "steps": model.num_timesteps,
        "success": float(np.mean(clock.last or [0])),
    }


def main() -> None:
    """Measures, prints and writes."""
    args = arguments(__doc__)
    seeds, names = (range(1), TASKS[:1]) if args.quick else (range(3), TASKS)
    values: dict[str, Any] = {}
    for name in names:
        runs = [ours(name, seed) for seed in seeds]
        slowest = max(run["seconds_to_goal"] or run["seconds"] for run in runs)
        plain = sb3_default(name, 0, LIMIT * slowest)
        for key in ("success", "seconds", "steps"):
            values[f"{name} {key}"] = [round(run[key], 3) for run in runs]
        values[f"{name} seconds_to_90"] = [run["seconds_to_goal"] for run in runs]
        values[f"{name} sb3_default_seconds_to_90"] = plain["seconds_to_goal"]
        values[f"{name} sb3_default_success"] = plain["success"]
        print(name, {k: v for k, v in values.items() if k.startswith(name)}, flush=True)
    report(args, values)


if __name__ == "__main__":
    main()
