"""Collects whole episodes of any actor: experts, scripts, policies, noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from robo_reward.data.episode import Episode
from robo_reward.envs.batch import StepResult
from robo_reward.envs.rendering.frames import FrameRenderer, FrameSpec
from robo_reward.envs.state import State
from robo_reward.envs.task import Task
from robo_reward.envs.worlds import Worlds

Actor = Callable[[State], np.ndarray]
"""Maps states (N, D) to actions (N, A): a `task.expert`, a script, or a policy on `task.observation`."""


@runtime_checkable
class WorldActor(Protocol):
    """Chooses the actions of all worlds of a simulator, such as a `PolicyController`."""

    def act(self, sim: Worlds) -> np.ndarray:
        """Returns the actions (N, A) of the present control step."""
        ...


class Recorder:
    """Keeps one episode of every world of a simulator, all begun together.

    Args:
        task: the simulated task.
        worlds: N, the number of worlds.
        frames: how to render every state, or None for no frames.

    Raises:
        UnknownName: the task has no such camera.
        NoRenderer: frames are asked for and this machine cannot render them.
    """

    def __init__(self, task: Task, worlds: int, frames: FrameSpec | None = None) -> None:
        self.task, self.frames = task, frames
        steps, dim = task.horizon, task.spec.dim
        self._filmer = FrameRenderer(task, frames) if frames else None
        self._state = np.zeros((worlds, steps + 1, dim))
        self._action = np.zeros((worlds, steps, task.action.dim))
        self._success = np.zeros((worlds, steps), bool)
        self._frames = np.zeros((worlds, steps + 1, *frames.shape), np.uint8) if frames else None
        self.length = -1
        self._steps = np.full(worlds, steps)  # of each world's episode

    def begin_episodes(self, sim: Worlds) -> None:
        """Records the first state of new episodes."""
        self.length = 0
        self._steps[:] = self.task.horizon
        self._record_state(sim.state, sim.qpos, sim.mocap)

    def add_step(self, result: StepResult) -> bool:
        """Records one step of all worlds; returns True when the episodes are complete."""
        t, self.length = self.length, self.length + 1
        self._action[:, t], self._success[:, t] = result.transitions.action, result.success
        self._record_state(result.transitions.state, result.qpos, result.mocap)
        # A world whose episode ended early has begun another one, which is not recorded.
        self._steps = np.where(result.has_ended, np.minimum(self._steps, self.length), self._steps)
        return self.length == self._steps.max()

    def get_episodes(self, meta: Mapping[str, Any] | None = None) -> list[Episode]:
        """Returns the complete episodes, as views that the next episodes overwrite."""
        shown = {"cameras": list(self.frames.cameras)} if self.frames else {}
        return [
            Episode(
                state=self._state[i, : n + 1],
                action=self._action[i, :n],
                success=self._success[i, :n],
                spec=self.task.spec,
                task_id=self.task.id,
                frames=None if self._frames is None else self._frames[i, : n + 1],
                meta={**(meta or {}), "world": i, "fps": 1 / self.task.control_dt, **shown},
            )
            for i, n in enumerate(self._steps.tolist())
        ]

    def close(self) -> None:
        """Releases the GL contexts."""
        if self._filmer:
            self._filmer.close()

    def _record_state(self, state: State, qpos: np.ndarray, mocap: np.ndarray) -> None:
        self._state[:, self.length] = state.array
        if self._filmer and self._frames is not None:
            self._frames[:, self.length] = self._filmer(qpos, mocap)


def collect_episodes(
    task: Task,
    actor: Actor | WorldActor,
    episodes: int,
    seed: int = 0,
    frames: FrameSpec | None = None,
    meta: Mapping[str, Any] | None = None,
    threads: int | None = None,
) -> list[Episode]:
    """Runs whole episodes side by side and returns them.

    Args:
        task: the task to run.
        actor: chooses the actions; called once a step with the states of all worlds, or with the simulator itself if
            it has a method `act`.
        episodes: how many, all at once: memory is episodes x horizon x frame.
        seed: of the initial conditions.
        frames: how to render every state, or None for no frames.
        meta: kept with each episode; `seed`, `world`, `fps` and the frames' cameras are added.
        threads: of the simulator.
    """
    sim, recorder = task.make_worlds(episodes, seed, threads=threads), Recorder(task, episodes, frames)
    try:
        recorder.begin_episodes(sim)
        while not recorder.add_step(sim.step(actor.act(sim) if isinstance(actor, WorldActor) else actor(sim.state))):
            pass
        return recorder.get_episodes({**(meta or {}), "seed": seed})
    finally:
        recorder.close()
        sim.close()
