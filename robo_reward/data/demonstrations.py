"""Demonstrations of one task, read from a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from robo_reward.data.episode import Episode, EpisodeStore
from robo_reward.envs.task import Task
from robo_reward.errors import UsageError


@dataclass(frozen=True, eq=False)
class DemonstrationSet:
    """Demonstrations of a task.

    Args:
        episodes: the episodes.
    """

    episodes: Sequence[Episode]


def load_demonstration_set(
    source: Path | str, task: Task, cameras: Sequence[str] = (), size: int | None = None, successes_only: bool = True
) -> DemonstrationSet:
    """Returns the demonstrations of a store.

    Raises:
        UsageError: no such store, or no demonstration of the task in it.
    """
    if not (Path(source) / "store.json").is_file():
        raise UsageError(f"data={source}: no episode store there; `robo-reward record` makes one")
    store = EpisodeStore(Path(source))
    kept = [e for e in store.iterate_without_frames() if e.is_successful or not successes_only]
    if not kept:
        raise UsageError(f"data={source}: no successful demonstration of {task.id} in it")
    return DemonstrationSet(kept)
