"""Rewards in units of the spread of the return, so that a training does not depend on the scale of its reward."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize

from robo_reward.envs.vec import SB3VecEnv

CLIP = 10.0
"""Largest normalised reward, as in SB3."""
CONSTANT = 1e-12
"""Returns whose standard deviation is this small beside their mean differ by rounding alone."""
STATISTICS, RETURNS = "reward_statistics", "discounted_returns"
"""Names of the statistics and of the running returns in a snapshot."""


class RewardNormaliser(VecNormalize):
    """Worlds whose rewards are divided by the standard deviation of the discounted return, as SB3's VecNormalize does.

    With the reward r_t of a world, its running return R_t = γ R_{t-1} + r_t, which starts at 0 in each episode, and
    σ_t, the standard deviation of the returns of all worlds and all steps so far, the algorithm gets

        clip(r_t / σ_t, -10, 10).

    Unlike SB3's, the statistics have no prior (count 1e-4, variance 1) and the variance no offset (1e-8), so that
    a reward and its multiple give the same numbers: exactly for powers of two, else up to rounding in the last of 53
    bits. As long as all returns are equal, normalised rewards are 0.

    Observations are not changed: those of tasks are normalised already. A replay buffer stores rewards in their own
    units, and SB3 normalises what it draws with the latest statistics. So do the infos of finished episodes.

    A reward of whole episodes is known afterwards only. Its steps are paid 0 and are normalised, in order of time, by
    `normalise_rollout`.

    Args:
        env: the worlds.
        gamma: γ, the discount of the algorithm.

    Attributes:
        ret_rms: mean, variance and number of the discounted returns.
        returns: R, the discounted return of each world's present episode so far (N,).
    """

    def __init__(self, env: SB3VecEnv, gamma: float = 0.99) -> None:
        super().__init__(env, norm_obs=False, clip_reward=CLIP, gamma=gamma, epsilon=0.0)
        self._worlds = env
        self.ret_rms = RunningMeanStd(epsilon=0.0)

    @property
    def return_std(self) -> float:
        """The standard deviation of the discounted return, in the reward's units; 0 if all returns are equal."""
        std, mean = float(np.sqrt(self.ret_rms.var)), float(self.ret_rms.mean)
        return std if self.ret_rms.count and std > CONSTANT * abs(mean) else 0.0

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Returns observations, normalised rewards (N,), ends (N,) and infos of the step."""
        self.old_obs, _, ended, infos = self._worlds.step_wait()
        self.old_reward = self._worlds.rewards
        if self._worlds.judge:
            return self.old_obs, np.zeros(self.num_envs, np.float32), ended, infos
        return self.old_obs, self._normalise_step(self.old_reward, ended), ended, infos

    def normalise_rollout(self, rewards: np.ndarray, ended: np.ndarray) -> np.ndarray:
        """Adds whole episodes to the statistics, step after step, and returns their normalised rewards.

        Args:
            rewards: (T, N), in order of time.
            ended: (T,) bool, the steps with which the episodes of all worlds end.

        Returns:
            (T, N) float32.
        """
        return np.stack([self._normalise_step(*step) for step in zip(rewards, ended, strict=True)])

    def _normalise_step(self, rewards: np.ndarray, ended: np.ndarray | bool) -> np.ndarray:
        """Adds one step of all worlds to the statistics and returns its normalised rewards (N,)."""
        self._update_reward(rewards)
        normalised = self.normalize_reward(rewards)
        self.returns[ended] = 0
        return normalised

    def normalize_reward(self, reward: np.ndarray) -> np.ndarray:
        """Returns rewards of any shape in units of the present standard deviation of the return, clipped, float32."""
        std = self.return_std
        return np.zeros(np.shape(reward), np.float32) if std == 0 else super().normalize_reward(reward)

    def normalize_obs(self, obs: Any) -> Any:
        """Returns the observations as they are."""
        return obs

    def unnormalize_obs(self, obs: Any) -> Any:
        """Returns the observations as they are."""
        return obs

    def get_original_obs(self) -> Any:
        """Returns the observations of the most recent step or reset."""
        return self.old_obs

    def snapshot(self) -> dict[str, np.ndarray]:
        """Returns everything that `restore` needs to continue bit for bit."""
        statistics = np.array([self.ret_rms.mean, self.ret_rms.var, self.ret_rms.count], np.float64)
        return {**self._worlds.snapshot(), STATISTICS: statistics, RETURNS: self.returns.copy()}

    def restore(self, snapshot: dict[str, np.ndarray]) -> None:
        """Restores the state of a `snapshot`.

        Raises:
            ValueError: it is of worlds whose rewards were not normalised, or of another number of worlds.
        """
        if STATISTICS not in snapshot or RETURNS not in snapshot:
            raise ValueError("it is of a training whose rewards were not normalised (policy.normalise_reward=false)")
        mean, var, count = np.array(snapshot[STATISTICS], np.float64)
        returns = np.array(snapshot[RETURNS], np.float64)
        if returns.shape != (self.num_envs,) or not np.isfinite([mean, var, count, *returns]).all() or var < 0:
            raise ValueError("its statistics of the reward are not those of these worlds")
        self._worlds.restore({name: value for name, value in snapshot.items() if name not in (STATISTICS, RETURNS)})
        self.ret_rms.mean, self.ret_rms.var, self.ret_rms.count = mean, var, float(count)
        self.returns = returns
