"""Trains any SB3 or sb3-contrib algorithm on any task and any reward."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.noise import NormalActionNoise

from robo_reward.configs.training import TrainConfig
from robo_reward.envs.rendering.gl import block_triton_import
from robo_reward.envs.reward_normaliser import RewardNormaliser
from robo_reward.envs.task import Task
from robo_reward.envs.vec import SB3VecEnv
from robo_reward.errors import RoboRewardError, UsageError
from robo_reward.files import atomic_path
from robo_reward.policies.algorithms import find_base_algorithm, load_algorithm_class, merge_settings
from robo_reward.policies.checkpoint import get_random_state, load_checkpoint, save_checkpoint
from robo_reward.policies.evaluate import Evaluation, evaluate_policy
from robo_reward.policies.export import export_policy
from robo_reward.policies.judge import EpisodeRewardScorer, fit_settings_to_episodes, relabel_rollout
from robo_reward.policies.own_algorithm import is_own_algorithm
from robo_reward.policies.policy import MLPPolicy
from robo_reward.policies.process_state import keep_torch_state, quiet_tensorboard
from robo_reward.policies.vision.picture_policy import PicturePolicy
from robo_reward.policies.vision.sight import LookingSettings, Sight
from robo_reward.rewards.contract import EpisodeReward, StepReward
from robo_reward.seeds import VALIDATION_SEEDS

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CurvePoint:
    """Means over the episodes that ended since the last point.

    Args:
        steps: environment steps so far.
        success: share of episodes successful at their last step, with exploration noise.
        episode_return: mean sum of the reward.
        terms: mean sum of each term.
        seconds: of training so far, summed over all sittings.
    """

    steps: int
    success: float
    episode_return: float
    terms: dict[str, float]
    seconds: float


@dataclass
class TrainingProgress:
    """The progress that training reports as it goes and that a checkpoint carries along."""

    points: list[CurvePoint] = field(default_factory=list)
    episodes: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training run.

    Args:
        policy: the trained policy.
        steps: environment steps done.
        points: the learning curve.
        evaluation: deterministic episodes after the last step.
        seconds: of training, without the evaluation.
        stopped: whether the run was asked to stop before `until`.
    """

    policy: Any
    steps: int
    points: list[CurvePoint]
    evaluation: Evaluation
    seconds: float
    stopped: bool

    def to_json(self) -> dict[str, Any]:
        """Returns all but the policy as JSON."""
        points = [asdict(p) for p in self.points]
        evaluation = {**self.evaluation.to_json()}
        numbers = {"steps": self.steps, "seconds": self.seconds, "stopped": self.stopped}
        return {**numbers, "points": points, "evaluation": evaluation}


class TrainingFailed(RoboRewardError):
    """Learning failed; the message says where and why."""


@quiet_tensorboard()
def train_policy(
    task: Task,
    reward: StepReward | EpisodeReward | None,
    folder: Path,
    algorithm: str = "ppo",
    steps: int = 200_000,
    seed: int = 0,
    params: Mapping[str, Any] | None = None,
    until: int | None = None,
    start: Path | None = None,
    threads: int = 1,
    torch_threads: int = 1,
    points: int = 25,
    checkpoint_seconds: float = 30.0,
    episodes: int = TrainConfig.episodes,
    stop: Callable[[], bool] = lambda: False,
    report: Callable[[CurvePoint], None] = lambda point: None,
    looking: LookingSettings | None = None,
    normalise_reward: bool = False,
) -> TrainingResult:
    """Trains a policy, or continues from the checkpoint in `folder`.

    The result depends on the arguments alone: not on how often the run was stopped, nor on `threads`. It does
    depend on `torch_threads`, since the order of floating-point sums does.

    Args:
        task: the task to learn.
        reward: the reward to maximise; None means the sparse success. A reward of whole episodes is spread over
            their steps before the algorithm learns from them; rollouts are then whole episodes.
        folder: where checkpoint, logs (`progress.csv`, TensorBoard) and the policy go.
        algorithm: an SB3 or sb3-contrib name, any case, or `module:Class` of a class derived from one.
        steps: the whole budget, which schedules refer to.
        seed: of worlds, network and exploration.
        params: settings over the defaults of `policies.algorithms`.
        until: where to pause, or None for the whole budget.
        start: a checkpoint folder of an earlier run to go on from, if `folder` has none yet.
        threads: of the simulator.
        torch_threads: of the learner.
        points: the number of points of the learning curve over the whole budget.
        checkpoint_seconds: how often to save while running [s].
        episodes: of the evaluation at the end.
        stop: called before each rollout; True ends the run after saving.
        report: called with every new point of the curve.
        looking: which state fields and cameras the policy observes; None: the task's own observation.
        normalise_reward: whether the algorithm gets rewards in units of the spread of the return, see
            `RewardNormaliser`. Curve, log and evaluation are in the reward's own units. ARS does so by itself.

    Raises:
        UsageError: a budget that is not positive, an unknown algorithm or setting, or pictures that do not fit into
            memory.
        RoboRewardError: the actor is of a kind that cannot be saved; raised before the first step.
        TrainingFailed: the algorithm raised or produced numbers that are not finite.
    """
    if steps < 1:
        raise UsageError(f"steps is {steps}, expected a positive number")
    with keep_torch_state(torch_threads):
        sight = Sight(task, looking) if looking is not None and looking.observation else None
        env, model = _create_learner(task, reward, algorithm, params or {}, seed, threads, sight, normalise_reward)
        checkpoint, until = folder / "checkpoint", until or steps
        watcher = TrainingMonitor(checkpoint, env, steps, until, points, checkpoint_seconds, stop, report)
        run_training(model, env, watcher, folder / "log", start, steps, seed)
        policy = _save_policy(model, task, algorithm, seed, folder / "policy", sight)
        evaluation = evaluate_policy(task, policy, episodes, VALIDATION_SEEDS + seed, reward, threads)
    progress = watcher.progress
    return TrainingResult(policy, model.num_timesteps, progress.points, evaluation, progress.seconds, watcher.stopped)


def _create_learner(
    task: Task,
    reward: StepReward | EpisodeReward | None,
    algorithm: str,
    params: Mapping[str, Any],
    seed: int,
    threads: int,
    sight: Sight | None = None,
    normalise_reward: bool = False,
) -> tuple[SB3VecEnv | RewardNormaliser, Any]:
    """Returns the worlds and the SB3 model; raises an error if the actor is of a kind that cannot be exported."""
    chosen = merge_settings(algorithm, params)
    if sight is not None:
        sight.adapt_settings(algorithm, chosen, params)
        log.info(sight.describe(chosen))
    worlds = _create_environment(task, reward, chosen, seed, threads, sight)
    # ARS divides by the spread of its candidates' returns, which must be in one unit.
    is_normalised = normalise_reward and find_base_algorithm(algorithm) != "ars"
    env = RewardNormaliser(worlds) if is_normalised else worlds
    model = build_model(algorithm, chosen, env, seed)
    if isinstance(env, RewardNormaliser):
        env.gamma = float(getattr(model, "gamma", env.gamma))
    _export(model, task, {}, sight)  # fails before training if the actor cannot be exported
    return env, model


def _export(model: Any, task: Task, meta: dict[str, Any], sight: Sight | None) -> MLPPolicy | PicturePolicy:
    return export_policy(model, task, meta) if sight is None else sight.export(model, task, meta)


def run_training(
    model: Any,
    env: SB3VecEnv | RewardNormaliser,
    watcher: TrainingMonitor,
    log: Path,
    start: Path | None,
    steps: int,
    seed: int,
) -> None:
    """Trains from the newest checkpoint on, then closes the log and the worlds."""
    model.set_logger(configure(str(log), ["tensorboard"]))
    _load_start_checkpoint(watcher, model, env, start)
    torch.manual_seed(seed) if model.num_timesteps == 0 else None
    try:
        _learn(model, watcher, steps)
    finally:
        model.logger.close()
        env.close()


def _save_policy(
    model: Any, task: Task, algorithm: str, seed: int, folder: Path, sight: Sight | None
) -> MLPPolicy | PicturePolicy:
    """Exports the policy, saves it with the facts of its training, and returns it."""
    meta = {
        "task": task.id,
        "options": dict(task.options),
        "algorithm": algorithm if is_own_algorithm(algorithm) else algorithm.lower(),
        "steps": model.num_timesteps,
        "seed": seed,
    }
    normaliser = model.get_vec_normalize_env()
    if normaliser is not None:
        meta["return_std"] = normaliser.return_std
    policy = _export(model, task, meta, sight)
    policy.save(folder)
    return policy


def _create_environment(
    task: Task,
    reward: StepReward | EpisodeReward | None,
    chosen: dict[str, Any],
    seed: int,
    threads: int,
    sight: Sight | None,
) -> SB3VecEnv:
    """Returns the worlds to learn in; takes `worlds` from the settings and fits these to whole episodes."""
    worlds = chosen["worlds"]
    observer = sight.make_observer(task) if sight is not None else None
    if isinstance(reward, EpisodeReward):
        chosen.update(fit_settings_to_episodes(chosen, task.horizon))
        judge = EpisodeRewardScorer(task, reward, worlds)
        env = SB3VecEnv(task.make_worlds(worlds, seed, None, threads), judge, observer)
    else:
        env = SB3VecEnv(task.make_worlds(worlds, seed, reward, threads), observer=observer)
    del chosen["worlds"]
    return env


def build_model(algorithm: str, chosen: dict[str, Any], env: SB3VecEnv | RewardNormaliser, seed: int) -> Any:
    """Returns the SB3 model; `final_learning_rate` becomes a linear schedule, `action_noise` Gaussian noise."""
    block_triton_import()
    final = chosen.pop("final_learning_rate", None)
    if final is not None:
        first = float(chosen["learning_rate"])
        # SB3 passes the remaining share of the budget, from 1 to 0.
        chosen["learning_rate"] = lambda left: final + (first - final) * left
    noise = chosen.pop("action_noise", None)
    if noise is not None:
        if not isinstance(noise, int | float) or isinstance(noise, bool) or not 0 <= noise < np.inf:
            raise UsageError(f"action_noise={noise!r}: expected the standard deviation of Gaussian noise, from 0")
        size = env.sim.task.action.dim
        chosen["action_noise"] = NormalActionNoise(np.zeros(size), np.full(size, float(noise)))
    cls: Any = load_algorithm_class(algorithm)
    policy = "LinearPolicy" if find_base_algorithm(algorithm) == "ars" else "MlpPolicy"
    policy = "MultiInputPolicy" if isinstance(env.observation_space, spaces.Dict) else policy
    if policy not in cls.policy_aliases:
        raise UsageError(f"{algorithm} has no {policy} in its policy_aliases, only {', '.join(cls.policy_aliases)}")
    try:
        model = cls(policy, env, seed=seed, device="cpu", verbose=0, **chosen)
    except Exception as error:
        if not is_own_algorithm(algorithm):
            raise
        said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise UsageError(f"policy={algorithm} cannot be made for this task: {said}") from error
    buffer = getattr(model, "replay_buffer", None)
    if buffer is not None:
        buffer.rewards = buffer.rewards.astype(np.float64)  # rounded to float32 once, after normalisation
    return model


def _load_start_checkpoint(
    watcher: TrainingMonitor, model: Any, env: SB3VecEnv | RewardNormaliser, start: Path | None
) -> None:
    """Loads the run's own checkpoint, else the one to start from."""
    model._last_obs = model._last_obs if model._last_obs is not None else env.reset()
    model._last_episode_starts = np.ones(env.num_envs, dtype=bool)
    extra = load_checkpoint(watcher.folder, model, env)
    if extra is None and start is not None:
        extra = load_checkpoint(start, model, env)
        if extra is None:
            raise UsageError(f"no checkpoint at {start} to resume from")
    if extra is not None:
        watcher.progress = TrainingProgress(
            [CurvePoint(**p) for p in extra["points"]], extra["episodes"], extra["seconds"]
        )
    model._last_original_obs = model._last_obs  # stored in the replay buffer where rewards are normalised


def _learn(model: Any, watcher: TrainingMonitor, steps: int) -> None:
    left = watcher.until - model.num_timesteps
    if left <= 0:
        return
    watcher.begun = time.monotonic()
    watcher.watch_rollouts(model)
    try:
        # SB3 adds `num_timesteps` to this argument, so its schedules refer to the whole budget after a resume too.
        model.learn(steps - model.num_timesteps, callback=watcher, reset_num_timesteps=False)
    except _Pause:
        pass
    except ValueError as error:
        if "nan" in str(error).lower() or "constraint" in str(error).lower():
            raise TrainingFailed(
                f"training diverged after {model.num_timesteps} steps: the network's output is not finite. "
                "Smaller reward scales or a smaller learning_rate help."
            ) from error
        raise
    watcher.save()


class TrainingMonitor(BaseCallback):
    """Gathers the learning curve, saves checkpoints, pauses and stops.

    Args:
        folder: of the checkpoint.
        env: the worlds.
        steps: the whole budget, as SB3 counts: one for each action of a world.
        until: where to pause, in the same unit.
        points: the number of points of the learning curve over the whole budget.
        every: how often to save while running [s].
        stop: called before each rollout; True ends the run after saving.
        report: called with every new point of the curve.
    """

    def __init__(
        self,
        folder: Path,
        env: SB3VecEnv | RewardNormaliser,
        steps: int,
        until: int,
        points: int,
        every: float,
        stop: Callable[[], bool],
        report: Callable[[CurvePoint], None],
    ) -> None:
        super().__init__()
        self.folder, self.env, self.until, self.every = folder, env, until, every
        self.spacing = max(1, steps * env.steps_per_action // points)  # environment steps between points of the curve
        self.stop, self.report = stop, report
        self.progress, self.stopped = TrainingProgress(), False
        self.begun = self.saved = time.monotonic()
        self.random: dict[str, Any] | None = None

    def watch_rollouts(self, model: Any) -> None:
        """Makes the model store the random state before each rollout: some algorithms draw noise before
        `on_rollout_start`.
        """
        # ARS has no `collect_rollouts`.
        name = "_do_one_update" if hasattr(model, "_do_one_update") else "collect_rollouts"
        original = getattr(model, name)

        def collect_rollouts(*args: Any, **options: Any) -> Any:
            self.random = get_random_state()
            return original(*args, **options)

        setattr(model, name, collect_rollouts)

    def _on_step(self) -> bool:
        if self.locals["dones"].any():
            ended = (info for info in self.locals["infos"] if "episode" in info)
            self.progress.episodes += [
                {"success": info["is_success"], "return": info["episode"]["r"], "terms": info["terms"]}
                for info in ended
            ]
        return True

    def _on_rollout_end(self) -> None:
        if self.env.judge:
            relabel_rollout(
                self.model, self.env.pop_relabelled_rewards(), self.locals.get("values"), self.locals.get("dones")
            )

    def _on_rollout_start(self) -> None:
        """Saves, pauses or stops: a checkpoint is exact only between rollouts, when all data has been learnt from."""
        last = self.progress.points[-1].steps if self.progress.points else 0
        if self.progress.episodes and self._count_steps() - last >= self.spacing:
            self._add_point()
        if self.num_timesteps >= self.until or self.stop():
            self.stopped = self.num_timesteps < self.until  # False at a planned pause
            raise _Pause
        if time.monotonic() - self.saved > self.every:
            self.save()
        self.random = None  # a checkpoint from here on resumes after the rollout

    def _count_steps(self) -> int:
        """Returns the environment steps so far."""
        return self.num_timesteps * self.env.steps_per_action

    def _add_point(self) -> None:
        episodes, self.progress.episodes = self.progress.episodes, []
        point = CurvePoint(  # means over the episodes that ended since the previous point
            self._count_steps(),
            float(np.mean([e["success"] for e in episodes])),
            float(np.mean([e["return"] for e in episodes])),
            {name: float(np.mean([e["terms"][name] for e in episodes])) for name in episodes[0]["terms"]},
            self.progress.seconds + time.monotonic() - self.begun,
        )
        self.progress.points.append(point)
        for name, value in point.terms.items():
            self.logger.record(f"terms/{name}", value)
        self.logger.record("train/success", point.success)
        self.logger.record("train/return", point.episode_return)
        if isinstance(self.env, RewardNormaliser):
            self.logger.record("train/return_std", self.env.return_std)
        self.logger.dump(point.steps)
        self.report(point)

    def save(self) -> None:
        """Writes a checkpoint."""
        now = time.monotonic()
        self.progress.seconds += now - self.begun
        self.begun = self.saved = now  # [s] of the monotonic clock
        save_checkpoint(self.folder, self.model, self.env, asdict(self.progress), self.random)
        write_curve(self.folder.with_name("curve.csv"), self.progress.points)


def write_curve(path: Path, points: list[CurvePoint]) -> None:
    """Writes the learning curve as CSV, a row per point, terms in columns of their own."""
    names = list(points[0].terms) if points else []
    with atomic_path(path, sync=False) as temporary, temporary.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["steps", "success", "return", "seconds", *(f"term_{name}" for name in names)])
        for p in points:
            table.writerow([p.steps, p.success, p.episode_return, p.seconds, *(p.terms[name] for name in names)])


class _Pause(Exception):
    """Leaves SB3's learning loop between two rollouts."""
