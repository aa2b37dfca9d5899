"""Training as a job: the entry that a worker process runs for one candidate."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robo_reward.envs.task import make_task
from robo_reward.policies.own_algorithm import register_sources
from robo_reward.policies.sb3 import train_policy
from robo_reward.rewards.artifact import build_reward

if TYPE_CHECKING:
    from robo_reward.jobs.context import JobContext


def run(job: JobContext) -> dict[str, Any]:
    """Trains as the job's `spec.json` says and returns the result of `TrainingResult.to_json`.

    The spec holds `task`, `options`, `reward` (a reward spec, or null for the sparse success), `algorithm`,
    `params`, `steps`, `until`, `seed`, `start` (a checkpoint folder to go on from, seen from the job's folder, or
    null), `episodes` and `normalise_reward`; with an own algorithm also `algorithm_sources`, from `find_sources`.
    """
    spec = job.spec
    register_sources(spec.get("algorithm_sources", {}))
    task = make_task(spec["task"], **spec.get("options", {}))
    reward = build_reward(spec["reward"]) if spec["reward"] else None
    training = train_policy(
        task,
        reward,
        Path(job.folder),
        algorithm=spec["algorithm"],
        steps=spec["steps"],
        seed=spec["seed"],
        params=spec.get("params", {}),
        until=spec.get("until"),
        start=Path(job.folder) / spec["start"] if spec.get("start") else None,
        episodes=spec.get("episodes", 100),
        normalise_reward=spec.get("normalise_reward", False),
        stop=job.is_stop_requested,
        report=lambda point: job.report_progress(asdict(point)),
    )
    return {"task": task.id, **training.to_json()}
