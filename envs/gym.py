"""The same simulator as `gymnasium.Env` and `gymnasium.vector.VectorEnv`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from robo_reward.envs.task import Task, make_task
from robo_reward.errors import UnknownName

if TYPE_CHECKING:
    from robo_reward.rewards.contract import StepReward


def make_spaces(task: Task) -> tuple[gym.spaces.Box, gym.spaces.Box]:
    """Returns the observation and action spaces of a task."""
    observation = gym.spaces.Box(-task.observation.bound, task.observation.bound, (task.observation.dim,), np.float32)
    return observation, gym.spaces.Box(-1.0, 1.0, (task.action.dim,), np.float32)


def resolve_reward(task: Task, reward: str | StepReward | None) -> StepReward | None:
    """Returns the task's dense reward for `expert`, None for `sparse`, and any other reward unchanged.

    Raises:
        UnknownName: another word.
    """
    if reward == "expert":
        from robo_reward.language.language import compile_program

        return compile_program(task.expert_reward, task.spec, task.action.dim)
    if isinstance(reward, str) and reward != "sparse":
        raise UnknownName("reward", reward, ("expert", "sparse"), "Load a stored reward with `load_reward`.")
    return None if isinstance(reward, str) else reward


class TaskEnv(gym.Env):
    """One world of a task.

    `info` holds `is_success` and `state` (the named quantities as a dictionary). Episodes end by `truncated`,
    and by `terminated` where the task has a failure or ends on success.
    Until `reset` is given a seed, start and physics are drawn from a seed of the operating system, so that two
    environments differ; a task with `ranges` draws its physics again at every reset.

    Args:
        task: a task or its id, such as `panda/push`.
        reward: `expert` (the task's dense reward), `sparse` (1 while successful), or any step reward.
        render_mode: `rgb_array` or none.
        camera: one of the task's cameras.
        options: passed to the task when it is named by id.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 25}

    def __init__(
        self,
        task: str | Task = "panda/lift",
        reward: str | StepReward | None = "expert",
        render_mode: str | None = None,
        camera: str = "",
        **options: Any,
    ) -> None:
        self.task = make_task(task, **options) if isinstance(task, str) else task
        self.sim = self.task.make_worlds(1, None, resolve_reward(self.task, reward), threads=1)
        self.observation_space, self.action_space = make_spaces(self.task)
        self.render_mode, self.camera = render_mode, camera or self.task.cameras[0]
        self._renderer: Any = None
        self._rendered_configuration = self._copy_configuration()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Starts a new episode; with a seed, the same one every time."""
        super().reset(seed=seed)
        self.sim.reset(seed)
        self._rendered_configuration = self._copy_configuration()
        return self.sim.observation()[0], self._make_info(self.sim.state.array[0], False)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Advances the world by one control step."""
        result = self.sim.step(np.asarray(action)[None])
        after = result.transitions.state
        reward = result.success[0] if result.reward is None else result.reward.total[0]
        if not result.has_ended[0]:
            self._rendered_configuration = self._copy_configuration()
        observation = self.task.observation(after)[0]
        info = self._make_info(after.array[0], bool(result.success[0]))
        return observation, float(reward), bool(result.terminated[0]), bool(result.truncated[0]), info

    def render(self) -> np.ndarray | None:
        """Returns an RGB frame (H, W, 3) uint8 of the task's camera, or None without `rgb_array`."""
        if self.render_mode != "rgb_array":
            return None
        if self._renderer is None:
            from robo_reward.envs.rendering.render import Renderer

            self._renderer = Renderer(self.task.model, 320, 240, self.camera)
        return self._renderer.render(*self._rendered_configuration)

    def close(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
        self.sim.close()

    def _copy_configuration(self) -> tuple[np.ndarray, np.ndarray]:
        return self.sim.qpos[0].copy(), self.sim.mocap[0].copy()

    def _make_info(self, state: np.ndarray, success: bool) -> dict[str, Any]:
        view = self.task.spec.view(state)
        return {"is_success": success, "state": {name: view[name].copy() for name in self.task.spec.names}}


class TaskVectorEnv(gym.vector.VectorEnv):
    """N worlds of a task in one batch, with autoreset in the step that ends an episode.

    `infos` of a step in which episodes ended hold `final_obs` (N,) and `final_info` with `is_success` (N,), as
    gymnasium's `SAME_STEP` mode says; `is_success` (N,) is there in every step.

    Args:
        task: a task or its id.
        num_envs: N.
        reward: as for `TaskEnv`.
        seed: of the worlds until `reset` gives another; None draws one from the operating system.
        options: passed to the task when it is named by id.
    """

    def __init__(
        self,
        task: str | Task = "panda/lift",
        num_envs: int = 1,
        reward: str | StepReward | None = "expert",
        seed: int | None = None,
        **options: Any,
    ) -> None:
        self.task = make_task(task, **options) if isinstance(task, str) else task
        self.sim = self.task.make_worlds(num_envs, seed, resolve_reward(self.task, reward))
        self.num_envs = num_envs
        self.metadata = {**TaskEnv.metadata, "autoreset_mode": AutoresetMode.SAME_STEP}
        self.single_observation_space, self.single_action_space = make_spaces(self.task)
        batch = gym.vector.utils.batch_space
        self.observation_space = batch(self.single_observation_space, num_envs)
        self.action_space = batch(self.single_action_space, num_envs)

    def reset(self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None) -> Any:
        """Restarts all worlds; a list of seeds is mixed into one, and without a seed the random stream goes on."""
        if isinstance(seed, Sequence):
            given = [s for s in seed if s is not None]
            seed = int(np.random.SeedSequence(given).generate_state(1, np.uint64)[0]) if given else None
        super().reset(seed=seed)
        self.sim.reset(seed)
        return self.sim.observation(), {}

    def step(self, actions: np.ndarray) -> Any:
        """Advances all worlds by one control step."""
        result = self.sim.step(actions)
        reward = result.success.astype(np.float64) if result.reward is None else result.reward.total
        infos: dict[str, Any] = {"is_success": result.success, "_is_success": np.ones(self.num_envs, bool)}
        ended = result.has_ended
        if ended.any():
            final = np.full(self.num_envs, None, dtype=object)
            # Observations before the reset; `sim.observation()` is already that of the next episode.
            rows = self.task.observation(result.transitions.state)
            for i in np.flatnonzero(ended):
                final[i] = rows[i]
            infos |= {"final_obs": final, "_final_obs": ended}
            infos |= {"final_info": {"is_success": result.success}, "_final_info": ended}
        return self.sim.observation(), reward, result.terminated, result.truncated, infos

    def close_extras(self, **kwargs: Any) -> None:
        self.sim.close()
