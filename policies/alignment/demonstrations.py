"""The demonstrations that hold an aligned policy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robo_reward.data.cloning.demonstrations import load_demonstration_set
from robo_reward.data.episode import Episode
from robo_reward.policies.alignment.job import FinetuneJob


def load_demonstrations(job: FinetuneJob) -> Sequence[Episode]:
    """Returns the demonstrations of a job: `data=`, else those that the policy was cloned from, if they still exist.

    Raises:
        UsageError: demonstrations that do not fit the task.
    """
    source = job.data
    if not source:
        known = str(job.policy.meta.get("data", ""))
        source = known if known and Path(known).exists() else ""
    return load_demonstration_set(source, job.task).episodes if source else ()
