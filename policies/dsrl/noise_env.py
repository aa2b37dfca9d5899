"""Worlds that a frozen chunk policy drives and whose action is the initial noise of its chunks."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from robo_reward.envs.vec import SB3VecEnv
from robo_reward.envs.worlds import Worlds
from robo_reward.policies.dsrl.noise_driven import NoiseDrivenPolicy


class NoiseVecEnv(SB3VecEnv):
    """N worlds as one SB3 `VecEnv` in which an action u in [-1, 1] is the noise w = magnitude · u of a frozen policy.

    One step executes the first K rows of the chunk that the policy makes of the observations and w. Its reward is

        R = Σ_j γ^j r_j,  j = 0 … K - 1,

    so that an algorithm with the discount γ^K between its own steps maximises the discounted sum of the rewards of
    single steps. An episode that ends inside a chunk ends the step: rewards that follow belong to another episode
    and are left out, and that world holds still (action 0) until all worlds are asked again. Where all episodes end
    together, at the time limit, the chunk is cut there. Bootstrapping after a cut chunk still discounts with γ^K.

    Args:
        sim: the simulator; its reward is what the algorithm maximises, and without one the sparse success is.
        policy: frozen; reads states only.
        magnitude: the bound of each component of the noise.
        shared: one noise vector for all rows of the chunk instead of one for each.
        discount: γ of one environment step.
    """

    def __init__(
        self, sim: Worlds, policy: NoiseDrivenPolicy, magnitude: float, shared: bool = False, discount: float = 1.0
    ) -> None:
        super().__init__(sim)
        self.policy, self.magnitude, self.discount = policy, magnitude, discount
        self.steps_per_action = policy.execute
        self.action_space = make_noise_space(policy, shared)
        self._history = np.zeros((sim.n, policy.history, policy.observation.dim), np.float32)

    def reset(self) -> np.ndarray:
        super().reset()
        observation = self.sim.observation()
        self._history[:] = observation[:, None]
        return observation

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Returns observations (N, O), discounted rewards (N,), ends (N,) and infos of one chunk."""
        noise = expand_noise(self._action, self.policy.noise_shape, self.magnitude)
        self.policy.reset()  # no warm start from the previous chunk, which was perhaps another episode's
        chunk = self.policy.act(self._history, noise)  # (N, H, A)
        reward, ended = np.zeros(self.num_envs), np.zeros(self.num_envs, bool)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        observation = self._history[:, -1]
        for row in range(self.policy.execute):
            self._action = np.where(ended[:, None], 0.0, chunk[:, row])
            _, step_reward, ends, step_infos = super().step_wait()
            observation = self.sim.observation()
            reward += np.where(ended, 0.0, self.discount**row * step_reward)
            for i in np.flatnonzero(ends & ~ended):
                infos[i] = step_infos[i]
            self._remember(observation, ends)
            ended |= ends
            if ended.all():
                break
        return observation, reward.astype(np.float32), ended, infos

    def _remember(self, observation: np.ndarray, restarted: np.ndarray) -> None:
        """Adds observations (N, O) to the history; that of a restarted world holds nothing but its first one."""
        self._history[:, :-1] = self._history[:, 1:]
        self._history[:, -1] = observation
        self._history[restarted] = observation[restarted, None]

    def snapshot(self) -> dict[str, np.ndarray]:
        return {**super().snapshot(), "history": self._history.copy()}

    def restore(self, snapshot: dict[str, np.ndarray]) -> None:
        super().restore(snapshot)
        self._history = np.array(snapshot["history"])


def make_noise_space(policy: NoiseDrivenPolicy, shared: bool) -> gym.spaces.Box:
    """Returns the space of u: (A,) for noise that all rows share, else (Tp · A,)."""
    rows, columns = policy.noise_shape
    return gym.spaces.Box(-1.0, 1.0, (columns if shared else rows * columns,), np.float32)


def expand_noise(action: np.ndarray, shape: tuple[int, int], magnitude: float) -> np.ndarray:
    """Returns the noise (B, Tp, A) float32 of actions (B, Tp · A), or of (B, A) for noise that all rows share."""
    rows, columns = shape
    noise = magnitude * np.asarray(action, np.float32)
    if noise.shape[1] == columns:
        return np.repeat(noise[:, None], rows, axis=1)
    return noise.reshape(-1, rows, columns)
