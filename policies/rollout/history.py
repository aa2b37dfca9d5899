"""The last observations of N worlds, as a policy that remembers some is shown them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.state import State
from robo_reward.envs.task import ObservationSpec
from robo_reward.policies.rollout.chunk import ChunkSpec

Observations = np.ndarray | dict[str, np.ndarray]
"""States (B, To, O), or for a policy that looks a mapping: `state`, and (B, To, h, w, 3) uint8 for each camera."""


class ObservationHistory:
    """Keeps the last To observations of N worlds.

    The first observation of an episode is repeated until there are To.

    Args:
        chunk: the policy's horizons and cameras.
        dim: O, size of the state part.
        worlds: N.
    """

    def __init__(self, chunk: ChunkSpec, dim: int, worlds: int = 1) -> None:
        self.chunk = chunk
        self._states = np.zeros((worlds, chunk.history, dim), np.float32)
        size = chunk.frames.size if chunk.frames else 0
        shape = (worlds, chunk.history, size, size, 3)
        cameras = chunk.frames.cameras if chunk.frames else ()
        self._pictures = {camera: np.zeros(shape, np.uint8) for camera in cameras}
        self._without_state = np.ones(worlds, bool)
        self._without_picture = np.ones(worlds, bool)

    def restart(self, worlds: np.ndarray | slice = slice(None)) -> None:
        """Forgets the observations of some worlds, by default of all."""
        self._without_state[worlds] = self._without_picture[worlds] = True

    def add_states(self, states: np.ndarray) -> None:
        """Adds the newest state observations (N, O) of all worlds."""
        _append(self._states, states, np.arange(len(states)), self._without_state)

    def add_pictures(self, pictures: Mapping[str, np.ndarray], worlds: np.ndarray) -> None:
        """Adds the newest pictures (n, h, w, 3) of some worlds, given by their numbers (n,)."""
        fresh = self._without_picture.copy()
        for camera, memory in self._pictures.items():
            fresh = self._without_picture.copy()
            _append(memory, pictures[camera], worlds, fresh)
        self._without_picture = fresh

    def get_observations(self, worlds: np.ndarray) -> Observations:
        """Returns the last observations of some worlds, given by their numbers (n,), as `Policy.act` takes them."""
        states = self._states[worlds]
        if not self._pictures:
            return states
        return {"state": states, **{camera: memory[worlds] for camera, memory in self._pictures.items()}}


def split_pictures(frames: np.ndarray, spec: FrameSpec) -> dict[str, np.ndarray]:
    """Returns the picture (..., h, w, 3) of each camera from frames (..., h, w * cameras, 3) side by side."""
    size = spec.size
    return {camera: frames[..., i * size : (i + 1) * size, :] for i, camera in enumerate(spec.cameras)}


def observe_state(observation: ObservationSpec, state: State) -> np.ndarray:
    """Returns the observation (..., O) of states (..., D) that may have more fields than the observation's own state.

    Raises:
        UnknownName: the state lacks a field that the observation shows.
    """
    if observation.state == state.spec:
        return observation(state)
    seen = list_seen_fields(observation)
    own = np.zeros((*state.batch_shape, observation.state.dim))
    for name in seen:
        own[..., observation.state.slice(name)] = state.array[..., state.spec.slice(name)]
    return observation(State(observation.state, own))


def list_seen_fields(observation: ObservationSpec) -> tuple[str, ...]:
    """Returns the names of the state's fields that an observation is computed from."""
    names = (name for part in observation.parts for name in (part.field, part.minus) if name)
    return tuple(dict.fromkeys(names))


def _append(memory: np.ndarray, values: np.ndarray, worlds: np.ndarray, fresh: np.ndarray) -> None:
    """Moves the rows of some worlds up by one and writes the newest; fills all rows of fresh worlds with it."""
    first = fresh[worlds]
    memory[worlds[first]] = values[first, None]
    older = worlds[~first]
    memory[older, :-1] = memory[older, 1:]
    memory[older, -1] = values[~first]
    fresh[worlds] = False
