"""The observation of a policy on the arm: its own view of the state, its history and the pictures of its cameras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.state import State
from robo_reward.envs.task import ObservationSpec
from robo_reward.errors import UsageError
from robo_reward.hardware.perception.state_estimator import Observer
from robo_reward.policies.rollout.chunk import ChunkSpec
from robo_reward.policies.rollout.history import ObservationHistory

FIRST = np.zeros(1, np.int64)
"""Number of the one world of a history: the arm's."""


class PolicyObservation:
    """Builds the observations of one policy from the states and frames of the arm.

    Args:
        policy: a `PolicySource`.
        observer: maps states to observations.
        views: for each camera that the policy looks through, its place in the frames from left to right.
    """

    def __init__(self, policy: Any, observer: Observer, views: Sequence[int] = ()) -> None:
        self.horizons: ChunkSpec = getattr(policy, "horizons", ChunkSpec())
        self._observer, self._views = observer, tuple(views)
        self._own: ObservationSpec = observer.task.observation if policy is None else policy.observation
        self._newest = np.zeros(0, np.float32)
        single = self.horizons.is_single_step
        self._history = None if single else ObservationHistory(self.horizons, self._own.dim)

    def restart(self) -> None:
        """Forgets all observations: the next one begins a new history."""
        if self._history is not None:
            self._history.restart()

    def add(self, state: State, frame: np.ndarray | None, tempo: float = 1.0) -> None:
        """Adds the present observation.

        Args:
            state: the task's state (D,).
            frame: pictures of the robot's cameras side by side (H, W, 3), or None without cameras.
            tempo: rate at which the policy's time passes, relative to real time.

        Raises:
            UsageError: the policy looks, and there is no frame.
        """
        self._newest = self._observer.compute_observation(state, tempo, self._own)
        if self._history is None:
            return
        self._history.add_states(self._newest[None])
        if (spec := self.horizons.frames) is None:
            return
        if frame is None:
            raise UsageError(f"the policy looks through {', '.join(spec.cameras)}, but the robot has no cameras")
        size = spec.size
        views = zip(spec.cameras, self._views, strict=True)
        pictures = {camera: frame[None, :, at * size : (at + 1) * size] for camera, at in views}
        self._history.add_pictures(pictures, FIRST)

    def build(self) -> Any:
        """Returns the observation to send: (O,), or as `pack_query` takes it for a policy with a history."""
        if self._history is None:
            return self._newest
        shown = self._history.get_observations(FIRST)
        return {name: array[0] for name, array in shown.items()} if isinstance(shown, dict) else shown[0]


def match_cameras(spec: FrameSpec, cameras: Sequence[str], size: int) -> tuple[int, ...]:
    """Returns the place of each camera that a policy looks through among the robot's cameras.

    Cameras are matched by their names, or by their order where no name is that of a camera of the policy.

    Args:
        spec: cameras and size of the policy's pictures.
        cameras: names of the robot's cameras, as in `robo-reward deploy cameras=`.
        size: side of one camera's frame [pixels].

    Raises:
        UsageError: a camera that the robot does not have, another number of cameras, or another size.
    """
    wanted, given = ", ".join(spec.cameras), ", ".join(cameras) or "none"
    remedy = f"give cameras=[{','.join(spec.cameras)}], or as many devices in this order, and size={spec.size}"
    if size != spec.size:
        raise UsageError(f"the policy looks at pictures of {spec.size} pixels, size={size}: {remedy}")
    if all(camera in cameras for camera in spec.cameras):
        return tuple(list(cameras).index(camera) for camera in spec.cameras)
    if len(cameras) == len(spec.cameras) and not set(cameras) & set(spec.cameras):
        return tuple(range(len(cameras)))
    raise UsageError(f"the policy looks through {wanted}, the robot's cameras are {given}: {remedy}")
