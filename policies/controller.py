"""Runs any policy in the worlds of a simulator: history of observations, queue of actions, pictures and noise."""

from __future__ import annotations

from typing import Any

import numpy as np

from robo_reward.envs.rendering.frames import FrameRenderer
from robo_reward.envs.task import ObservationSpec, Task
from robo_reward.envs.worlds import Worlds
from robo_reward.errors import WrongShape
from robo_reward.policies.rollout.chunk import ChunkSpec
from robo_reward.policies.rollout.history import ObservationHistory, observe_state, split_pictures
from robo_reward.policies.rollout.warm_start import PredictionMemory


class PolicyController:
    """Chooses the actions of N worlds by a policy of any kind.

    A policy of single steps is called as `policy.act(sim.observation())`. A policy that decides on chunks is asked
    only in the worlds whose `execute` actions are used up, and pictures are rendered only for the steps that its
    next observation shows. A world that begins a new episode (`sim.elapsed` is 0) begins with a new history and an
    empty queue. The noise of a world depends on the seed, the world's number and its number of queries alone.

    Use it in a `with` statement, or close it.

    Args:
        policy: the policy that acts.
        task: the task of the worlds.
        worlds: N, number of worlds.
        seed: of the noise that samples of the policy start from.

    Raises:
        UnknownName: the task has no camera that the policy looks through.
        NoRenderer: the policy looks, and this machine cannot render.
    """

    def __init__(self, policy: Any, task: Task, worlds: int, seed: int = 0) -> None:
        self.policy, self.chunk = policy, ChunkSpec.from_policy(policy)
        self._renderer: FrameRenderer | None = None
        spec: ObservationSpec | None = getattr(policy, "observation", None)
        same = spec is None or spec.to_json() == task.observation.to_json()
        self._is_single_step = self.chunk.is_single_step and same
        if self._is_single_step or spec is None:
            return
        self._observation = None if same else spec
        self._history = ObservationHistory(self.chunk, spec.dim, worlds)
        self._actions = np.zeros((worlds, self.chunk.execute, task.action.dim), np.float32)
        self._left = np.zeros(worlds, np.int64)  # actions of the queue that are not executed yet
        self._noise = [np.random.default_rng([seed, world]) for world in range(worlds)]
        self._memory = PredictionMemory(policy, worlds) if getattr(policy, "warm_start", 0.0) else None
        if self.chunk.frames is not None:
            self._renderer = FrameRenderer(task, self.chunk.frames)
        if hasattr(policy, "reset"):
            policy.reset(seed)

    def act(self, sim: Worlds) -> np.ndarray:
        """Returns the actions (N, A) of the present control step of all worlds.

        Raises:
            WrongShape: the policy returned something else than chunks of actions.
        """
        if self._is_single_step:
            return self.policy.act(sim.observation())
        self.reset(sim.elapsed == 0)
        observation = self._observation
        states = sim.observation() if observation is None else observe_state(observation, sim.state)
        self._history.add_states(states)
        self._take_pictures(sim)
        asking = np.flatnonzero(self._left == 0)
        if len(asking):
            self._ask(asking)
        rows = self.chunk.execute - self._left
        self._left -= 1
        return self._actions[np.arange(len(rows)), rows]

    def reset(self, mask: np.ndarray | None = None) -> None:
        """Restarts the history and the queue of the worlds of a mask (N,), by default of all."""
        if self._is_single_step:
            return
        chosen = slice(None) if mask is None else np.flatnonzero(mask)
        self._history.restart(chosen)
        if self._memory is not None:
            self._memory.restart(chosen)
        self._left[chosen] = 0

    def close(self) -> None:
        """Frees the GL contexts of the cameras; closing twice is harmless."""
        if self._renderer is not None:
            self._renderer.close()

    def __enter__(self) -> PolicyController:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _take_pictures(self, sim: Worlds) -> None:
        """Renders the worlds whose next query will show the present step."""
        if self._renderer is None:
            return
        # The next query of a world comes after `left` more steps and shows the last `history` steps.
        seen = np.flatnonzero(self._left < self.chunk.history)
        if len(seen):
            frames = self._renderer(sim.qpos[seen], sim.mocap[seen])
            self._history.add_pictures(split_pictures(frames, self._renderer.spec), seen)

    def _ask(self, worlds: np.ndarray) -> None:
        """Asks the policy for the next actions of some worlds, given by their numbers (n,)."""
        observations, arguments = self._history.get_observations(worlds), {}
        if (shape := self.chunk.noise_shape) is not None:
            noise = [self._noise[world].standard_normal(shape, np.float32) for world in worlds]
            arguments["noise"] = np.stack(noise)
        if self.chunk.is_single_step and isinstance(observations, np.ndarray):  # of chosen fields
            observations = observations[:, 0]
        if self._memory is not None:
            actions = self._memory.act(observations, arguments["noise"], worlds)
        else:
            actions = np.asarray(self.policy.act(observations, **arguments))
        count, dim = self._actions.shape[1:]
        if actions.ndim == 2 and self.chunk.chunk == 1:
            actions = actions[:, None]
        if actions.ndim != 3 or actions.shape[::2] != (len(worlds), dim) or actions.shape[1] < count:
            raise WrongShape("actions of the policy", actions.shape, f"({len(worlds)}, {self.chunk.chunk}, {dim})")
        self._actions[worlds] = actions[:, :count]
        self._left[worlds] = count
