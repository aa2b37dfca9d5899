"""Observations of a learner: the state of the worlds, pictures of cameras, or features of pictures."""

from __future__ import annotations

from typing import Any, Protocol

import gymnasium as gym
import numpy as np

from robo_reward.envs.batch import StepResult
from robo_reward.envs.rendering.frames import FrameRenderer, FrameSpec
from robo_reward.envs.state import State
from robo_reward.envs.task import ObservationSpec, Task
from robo_reward.envs.worlds import Worlds

Observed = np.ndarray | dict[str, np.ndarray]
"""(N, O) float32, or a mapping: `state` (N, O), and (N, 1, h, w, 3) uint8 for each camera."""


class PictureFeatures(Protocol):
    """A frozen encoder of pictures, see `robo_reward.vision.encoder`."""

    dim: int

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """Returns the features (N, F) of frames (N, h, w, 3)."""
        ...


class WorldsObserver(Protocol):
    """Turns worlds into the observations of a learner.

    Attributes:
        space: of one world's observation.
    """

    space: gym.Space

    def observe(self, sim: Worlds) -> Observed:
        """Returns the present observations of all worlds."""
        ...

    def observe_ended(self, result: StepResult, worlds: np.ndarray) -> Any:
        """Returns a list of the last observations of worlds (n,) whose episode has just ended."""
        ...

    def close(self) -> None:
        """Frees the renderer."""
        ...


class StateObserver:
    """The task's own observation.

    Args:
        task: whose observation it is.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.space: gym.Space = make_box(task.observation)

    def observe(self, sim: Worlds) -> np.ndarray:
        """Returns (N, O) float32."""
        return sim.observation()

    def observe_ended(self, result: StepResult, worlds: np.ndarray) -> list[np.ndarray]:
        """Returns a list of (O,) float32."""
        return list(self.task.observation(result.transitions.state.rows(worlds)))

    def close(self) -> None:
        """Does nothing."""


class ChosenObserver:
    """Chosen state fields and pictures; features instead of the pictures where an encoder is given.

    Args:
        task: of the worlds.
        observation: of the chosen fields; its state has no others.
        frames: the cameras, or None.
        encoder: frozen; its features of all cameras come before the state, in one vector.

    Raises:
        UnknownName: the task has no such camera.
        NoRenderer: this machine cannot render.
    """

    def __init__(
        self,
        task: Task,
        observation: ObservationSpec,
        frames: FrameSpec | None,
        encoder: PictureFeatures | None = None,
    ) -> None:
        self.observation, self.frames, self.encoder = observation, frames, encoder
        self._columns = find_columns(task, observation)
        self._renderer = FrameRenderer(task, frames) if frames else None
        state = make_box(observation)
        if frames is None:
            self.space: gym.Space = state
        elif encoder is not None:
            size = len(frames.cameras) * encoder.dim
            low = np.concatenate([np.full(size, -np.inf), state.low]).astype(np.float32)
            self.space = gym.spaces.Box(low, -low, dtype=np.float32)
        else:
            # Four axes: SB3 neither scales nor transposes them, which the network itself does.
            shape = (1, frames.size, frames.size, 3)
            parts: dict[str, gym.Space] = {camera: gym.spaces.Box(0, 255, shape, np.uint8) for camera in frames.cameras}
            self.space = gym.spaces.Dict({**parts, **({"state": state} if observation.dim else {})})

    def observe(self, sim: Worlds) -> Observed:
        """Returns the present observations of all worlds."""
        return self._combine(sim.state.array, sim.qpos, sim.mocap)

    def observe_ended(self, result: StepResult, worlds: np.ndarray) -> list[Any]:
        """Returns a list of the last observations of worlds (n,) whose episode has just ended."""
        found = self._combine(result.transitions.state.array[worlds], result.qpos[worlds], result.mocap[worlds])
        if isinstance(found, dict):
            return [{name: part[i] for name, part in found.items()} for i in range(len(worlds))]
        return list(found)

    def close(self) -> None:
        """Frees the GL contexts; closing twice is harmless."""
        if self._renderer is not None:
            self._renderer.close()

    def _combine(self, states: np.ndarray, qpos: np.ndarray, mocap: np.ndarray) -> Observed:
        numbers = self.observation(State(self.observation.state, states[:, self._columns]))  # (N, O)
        if self._renderer is None or self.frames is None:
            return numbers
        wide, size = self._renderer(qpos, mocap), self.frames.size  # (N, h, cameras w, 3)
        cut = {c: wide[:, :, i * size : (i + 1) * size] for i, c in enumerate(self.frames.cameras)}
        if self.encoder is not None:
            return np.concatenate([*(self.encoder.encode(part) for part in cut.values()), numbers], axis=1)
        pictures = {camera: np.ascontiguousarray(part[:, None]) for camera, part in cut.items()}
        return {**pictures, "state": numbers} if self.observation.dim else pictures


def make_box(observation: ObservationSpec) -> gym.spaces.Box:
    """Returns the space of the state part of an observation."""
    return gym.spaces.Box(-observation.bound, observation.bound, (observation.dim,), np.float32)


def find_columns(task: Task, observation: ObservationSpec) -> np.ndarray:
    """Returns the columns of the task's state that are the state of an observation."""
    columns = np.arange(task.spec.dim)
    return np.concatenate([columns[:0], *(columns[task.spec.slice(field.name)] for field in observation.state)])
