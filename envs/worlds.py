"""The protocol of N parallel worlds of one task: `BatchSim`, or environments stepped by their own code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from robo_reward.envs.batch import StepResult
from robo_reward.envs.state import State

if TYPE_CHECKING:
    from robo_reward.envs.task import Task
    from robo_reward.rewards.contract import StepReward


@runtime_checkable
class Worlds(Protocol):
    """N worlds of one task that begin a new episode by themselves; made by `Task.make_worlds`.

    Attributes:
        task: the task.
        n: number of worlds N.
        reward: of each step, or None.
        state: the current states, (N, D); after an episode's end those of the next start.
        elapsed: control steps since each world's reset, (N,).
    """

    task: Task
    n: int
    reward: StepReward | None
    state: State
    elapsed: np.ndarray

    @property
    def qpos(self) -> np.ndarray:
        """Generalised positions (N, nq)."""
        ...

    @property
    def mocap(self) -> np.ndarray:
        """Poses of mocap bodies and, for environments, arrays of their models (N, M), for `Renderer.render_many`."""
        ...

    def reset(self, seed: int | None = None) -> State:
        """Restarts all worlds, from a new seed if one is given; returns their states."""
        ...

    def step(self, action: np.ndarray) -> StepResult:
        """Advances all worlds by one control step under actions (N, A), clipped to [-1, 1]."""
        ...

    def observation(self) -> np.ndarray:
        """Returns the policy's observations (N, O) float32 of the current states."""
        ...

    def snapshot(self) -> dict[str, np.ndarray]:
        """Returns everything that `restore` needs to continue as if nothing had happened."""
        ...

    def restore(self, snapshot: dict[str, np.ndarray]) -> None:
        """Goes back to a `snapshot` of worlds of the same task and number."""
        ...

    def close(self) -> None:
        """Frees threads and processes; closing twice is harmless."""
        ...
