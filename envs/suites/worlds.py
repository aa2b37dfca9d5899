"""N environments of another package as `Worlds`: in this process, or spread over processes with shared memory."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from robo_reward.envs.batch import StepResult, get_rng_words, set_rng_words
from robo_reward.envs.judgement import judge_states, start_memory
from robo_reward.envs.state import State, Transitions
from robo_reward.envs.suites.workers import LocalWorker, ProcessWorkers
from robo_reward.errors import UsageError, WrongShape

if TYPE_CHECKING:
    from robo_reward.envs.suites.environment import EnvironmentTask
    from robo_reward.rewards.contract import StepReward

log = logging.getLogger(__name__)


class EnvironmentWorlds:
    """Steps N environments by their own code, with the same results as `BatchSim`: see `envs.worlds.Worlds`.

    Every episode begins with `env.reset(seed=s)`, where s is drawn from one stream for all worlds. A snapshot is
    therefore the seed of each world's episode and its actions so far: `restore` replays them, which is exact for every
    environment whose course depends on seed and actions alone. Otherwise a warning says so.

    Args:
        task: the task.
        n: number of worlds N.
        seed: of the initial conditions; None draws one from the operating system.
        reward: of each step, or None.
        threads: processes; 1 steps the environments in this process. By default all cores this process may use.

    Raises:
        UsageError: n is not positive.
        EnvironmentFailed: the environment's code raised an error, or one of the processes ended.
    """

    def __init__(
        self,
        task: EnvironmentTask,
        n: int,
        seed: int | None = 0,
        reward: StepReward | None = None,
        threads: int | None = None,
    ) -> None:
        if n < 1:
            raise UsageError(f"number of worlds is {n}, expected at least 1")
        self.task, self.n, self.reward = task, n, reward
        self.threads = min(threads or len(os.sched_getaffinity(0)), n)
        sizes = {"action": task.action.dim, "state": task.spec.dim, "qpos": task.model.nq, "mocap": task.picture_size}
        self._workers = self._start_workers(sizes)
        self._rows = self._workers.rows
        self.elapsed = np.zeros(n, np.int64)
        self._seeds = np.zeros(n, np.int64)  # of each world's episode
        self._history = np.zeros((n, 64, task.action.dim))  # actions of each world's episode
        self.rng = np.random.default_rng(secrets.randbits(63) if seed is None else seed)
        self.reset()

    def reset(self, seed: int | None = None) -> State:
        """Restarts all worlds, from a new seed if one is given; returns their states."""
        if seed is not None:
            self.rng = np.random.default_rng(seed)
        self._begin_episodes(np.arange(self.n), self.rng.integers(2**31, size=self.n))
        self.state = self._copy_state()
        self._memory = start_memory(self.task, self.state)
        return self.state

    def step(self, action: np.ndarray) -> StepResult:
        """Advances all worlds by one control step.

        Args:
            action: (N, A); components are clipped to [-1, 1].

        Raises:
            WrongShape: the action has another shape.
            UsageError: an episode ended before the horizon in an environment that is said never to do so.
            EnvironmentFailed: the environment's code raised an error, or one of the processes ended.
        """
        action = np.asarray(action, dtype=np.float64)
        if action.shape != (self.n, self.task.action.dim):
            raise WrongShape("action", action.shape, f"({self.n}, {self.task.action.dim})")
        action = np.clip(action, -1.0, 1.0)
        self._record_actions(action)
        self._take_step(np.arange(self.n), action)
        previous, self.state = self.state, self._copy_state()
        self.elapsed += 1
        transitions = Transitions(previous, action, self.state)
        reward = self.reward(transitions) if self.reward else None
        success, failed, self._memory = judge_states(self.task, self.state, self._memory)
        ended_by_itself = self._rows.terminated[:, 0] > 0
        success &= ~(ended_by_itself & self.task.source.end_is_failure)
        terminated = ended_by_itself | failed | (success & self.task.ends_on_success)
        truncated = ((self._rows.truncated[:, 0] > 0) | (self.elapsed >= self.task.horizon)) & ~terminated
        self._require_equal_lengths(terminated | truncated)
        result = StepResult(
            transitions, reward, success, truncated, self._rows.qpos.copy(), self._rows.mocap.copy(), terminated
        )
        ended = np.flatnonzero(result.has_ended)
        if len(ended):
            self._begin_episodes(ended, self.rng.integers(2**31, size=len(ended)))
            self.state = self._copy_state()
            self._memory[ended] = start_memory(self.task, self.state.rows(ended))
        return result

    def observation(self) -> np.ndarray:
        """Returns the policy's observations (N, O) float32 of the current states."""
        return self.task.observation(self.state)

    @property
    def qpos(self) -> np.ndarray:
        """Generalised positions (N, nq), a view."""
        return self._rows.qpos

    @property
    def mocap(self) -> np.ndarray:
        """Mocap poses and the arrays of each environment's own model that decide how it looks (N, M), a view."""
        return self._rows.mocap

    def snapshot(self) -> dict[str, np.ndarray]:
        """Returns everything that `restore` needs: of each world the episode's seed and its actions so far."""
        actions = self._history[:, : int(self.elapsed.max())].copy()
        return {
            "seeds": self._seeds.copy(),
            "elapsed": self.elapsed.copy(),
            "actions": actions,
            "state": self.state.array.copy(),
            "memory": self._memory.copy(),
            "rng": get_rng_words(self.rng),
        }

    def restore(self, snapshot: dict[str, np.ndarray]) -> None:
        """Goes back to a `snapshot` of worlds of the same task and size by replaying their episodes."""
        set_rng_words(self.rng, snapshot["rng"])
        elapsed, actions = np.asarray(snapshot["elapsed"], np.int64), np.asarray(snapshot["actions"])
        self._begin_episodes(np.arange(self.n), snapshot["seeds"])
        for step in range(int(elapsed.max())):
            self._record_actions(actions[:, step])
            self._take_step(np.flatnonzero(elapsed > step), actions[:, step])
            self.elapsed += 1
        self.elapsed = elapsed.copy()
        self.state, self._memory = self._copy_state(), np.array(snapshot["memory"])
        off = np.abs(self.state.array - snapshot["state"]).max()
        if not np.array_equal(self.state.array, snapshot["state"]):
            log.warning(
                "%s does not continue exactly: replayed episodes differ from the stored ones by up to %.3g, so its "
                "course does not depend on seed and actions alone",
                self.task.id,
                off,
            )

    def close(self) -> None:
        """Ends the processes; closing twice is harmless."""
        self._workers.close()

    def _start_workers(self, sizes: Mapping[str, int]) -> LocalWorker | ProcessWorkers:
        if self.threads > 1:
            try:
                return ProcessWorkers(self.task.source, sizes, self.n, self.threads)
            except PermissionError as error:
                log.info("%s: %s; its environments are stepped in this process", self.task.id, error)
                self.threads = 1
        return LocalWorker(self.task.source, sizes, self.n, self.task.spare_readers)

    def _begin_episodes(self, worlds: np.ndarray, seeds: np.ndarray) -> None:
        self._seeds[worlds], self.elapsed[worlds] = seeds, 0
        self._workers.reset(worlds.tolist(), np.asarray(seeds).tolist())

    def _take_step(self, worlds: np.ndarray, action: np.ndarray) -> None:
        self._rows.action[:] = self.task.controller.convert(action)
        self._workers.step(worlds.tolist())

    def _record_actions(self, action: np.ndarray) -> None:
        if int(self.elapsed.max()) >= self._history.shape[1]:
            self._history = np.concatenate([self._history, np.zeros_like(self._history)], axis=1)
        self._history[np.arange(self.n), self.elapsed] = action

    def _copy_state(self) -> State:
        return State(self.task.spec, self._rows.state.copy())

    def _require_equal_lengths(self, ended: np.ndarray) -> None:
        early = ended & (self.elapsed < self.task.horizon)
        if early.any() and not self.task.ends_early:
            steps = int(self.elapsed[np.argmax(early)])
            raise UsageError(
                f"{self.task.id} ended an episode after {steps} steps, expected {self.task.horizon} in every world: "
                f"give task.options.horizon={steps}, or leave the environment's own time limit out"
            )
