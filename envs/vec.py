"""The batch simulator as a Stable-Baselines3 `VecEnv`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from robo_reward.envs.batch import StepResult
from robo_reward.envs.gym import make_spaces
from robo_reward.envs.observer import Observed, StateObserver, WorldsObserver
from robo_reward.envs.worlds import Worlds
from robo_reward.errors import UsageError

if TYPE_CHECKING:
    from robo_reward.rewards.contract import RewardOutput


class EpisodeScorer(Protocol):
    """Scores whole episodes of all worlds, see `policies.judge`."""

    def begin_episodes(self, sim: Worlds) -> None:
        """Records that all worlds begin an episode."""
        ...

    def add_step(self, result: StepResult) -> list[RewardOutput]:
        """Adds one step of all worlds; returns N outputs when the episodes are complete, else an empty list."""
        ...

    def snapshot(self) -> dict[str, np.ndarray]:
        """Returns everything that `restore` needs to score as before."""
        ...

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Restores the state of a `snapshot`."""
        ...

    def close(self) -> None:
        """Frees its resources."""
        ...


class SB3VecEnv(VecEnv):
    """N worlds of a task as one SB3 `VecEnv`, for any SB3 algorithm.

    Each `info` of a finished episode holds `episode` (return, length), `is_success` (success at the last step),
    `terms` (sum of each reward term), `terminal_observation`, and `TimeLimit.truncated`, which is False where the task
    ended the episode by failure or success.

    Args:
        sim: the simulator; its reward is what the algorithm maximises, and without one the sparse success is.
        judge: scores whole episodes instead. Each step then has a reward of 0 and the last one the whole return;
            an algorithm that learns from steps relabels them with `pop_relabelled_rewards`, as `policies.sb3`
            does.
        observer: what the algorithm sees; by default the task's own observation.

    Attributes:
        steps_per_action: environment steps that follow from one action of the algorithm.
        rewards: of the last step (N,) float64; `step_wait` returns them as float32.

    Raises:
        UsageError: a judge of whole episodes for a task whose episodes may end early.
    """

    steps_per_action = 1

    def __init__(self, sim: Worlds, judge: EpisodeScorer | None = None, observer: WorldsObserver | None = None) -> None:
        self.sim, self.judge = sim, judge
        task = sim.task
        self.observer: WorldsObserver = observer or StateObserver(task)
        if judge is not None and task.ends_early:
            raise UsageError(
                f"{task.id} may end an episode before its horizon, and this reward scores whole episodes of equal "
                "length: use a reward of single steps, or take `failure` and `ends_on_success` out of the task"
            )
        self.render_mode = None
        super().__init__(sim.n, self.observer.space, make_spaces(task)[1])
        self._action = np.zeros((sim.n, task.action.dim))
        self.rewards = np.zeros(sim.n)
        self._return = np.zeros(sim.n)
        self._terms: dict[str, np.ndarray] = {}
        self._relabelled: list[np.ndarray] = []

    def reset(self) -> Any:
        """Restarts all worlds and returns the observations of all worlds."""
        # SB3 stores one seed per world; a batch needs only the first.
        seeds = [seed for seed in self._seeds if seed is not None]
        self.sim.reset(seeds[0] if seeds else None)
        self._reset_seeds()
        self._return[:] = 0
        self._terms = {}
        return self.observer.observe(self.sim)

    def step_async(self, actions: np.ndarray) -> None:
        self._action = actions

    def step_wait(self) -> tuple[Observed, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Returns observations, rewards (N,), ends (N,) and infos of the step."""
        if self.judge and not self.sim.elapsed.any():
            self.judge.begin_episodes(self.sim)
        length = self.sim.elapsed + 1
        result = self.sim.step(self._action)
        reward, terms = self._compute_rewards(result)
        self.rewards = reward
        self._return += reward
        for name, value in terms.items():
            self._terms[name] = self._terms[name] + value if name in self._terms else value.copy()
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        # The simulator has already reset the ended worlds: SB3 needs their last observation to bootstrap.
        ended = np.flatnonzero(result.has_ended)
        if len(ended):
            last = self.observer.observe_ended(result, ended)
            for k, i in enumerate(ended):
                infos[i] = self._make_final_info(int(i), last[k], int(length[i]), result)
            self._return[ended] = 0
            for total in self._terms.values():
                total[ended] = 0
        return self.observer.observe(self.sim), reward.astype(np.float32), result.has_ended, infos

    def _compute_rewards(self, result: StepResult) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Computes the step's rewards (N,) and their terms."""
        if self.judge:
            outputs = self.judge.add_step(result)
            if not outputs:
                return np.zeros(self.num_envs), {}
            # (T, N): the rewards per step that `relabel_rollout` writes into the buffer later
            self._relabelled.append(np.stack([output.total for output in outputs], axis=1))
            terms = {name: np.array([output.terms[name].sum() for output in outputs]) for name in outputs[0].terms}
            return self._relabelled[-1].sum(axis=0), terms
        if result.reward is None:
            return result.success.astype(np.float64), {}
        return result.reward

    def pop_relabelled_rewards(self) -> np.ndarray:
        """Returns and clears the rewards (T, N) of all steps of the ended episodes, in order of time."""
        taken, self._relabelled = self._relabelled, []
        return np.concatenate(taken)

    def _make_final_info(self, i: int, observation: Any, length: int, result: StepResult) -> dict[str, Any]:
        return {
            "terminal_observation": observation,
            "TimeLimit.truncated": bool(result.truncated[i]),
            "is_success": bool(result.success[i]),
            "episode": {"r": float(self._return[i]), "l": length, "t": 0.0},
            "terms": {name: float(total[i]) for name, total in self._terms.items()},
        }

    def snapshot(self) -> dict[str, np.ndarray]:
        """Returns everything that `restore` needs to continue bit for bit."""
        terms = {f"term/{name}": total.copy() for name, total in self._terms.items()}
        judge = {f"judge/{name}": value for name, value in self.judge.snapshot().items()} if self.judge else {}
        return {**self.sim.snapshot(), **terms, **judge, "return": self._return.copy()}

    def restore(self, snapshot: dict[str, np.ndarray]) -> None:
        """Restores the state of a `snapshot`.

        Raises:
            ValueError: it is of worlds whose rewards were normalised.
        """
        if "reward_statistics" in snapshot:
            raise ValueError("it is of a training whose rewards were normalised (policy.normalise_reward=true)")
        self.sim.restore(snapshot)
        self._return = np.array(snapshot["return"])
        self._terms = _select_prefix("term/", snapshot)
        if self.judge:
            self.judge.restore(_select_prefix("judge/", snapshot))

    def close(self) -> None:
        self.sim.close()
        self.observer.close()
        if self.judge:
            self.judge.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self, attr_name)] * len(self._list_indices(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        setattr(self, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        result = getattr(self, method_name)(*args, **kwargs)
        return [result] * len(self._list_indices(indices))

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        return [False] * len(self._list_indices(indices))

    def get_images(self) -> Sequence[np.ndarray | None]:
        return [None] * self.num_envs

    def _list_indices(self, indices: Any) -> Sequence[int]:
        return range(self.num_envs) if indices is None else ([indices] if isinstance(indices, int) else list(indices))


def _select_prefix(prefix: str, snapshot: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns copies of the arrays whose names begin with a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): np.array(v) for name, v in snapshot.items() if name.startswith(prefix)}
