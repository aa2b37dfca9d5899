"""Trains the noise of a frozen chunk policy with SB3's SAC: DSRL, arXiv 2506.15799, without its extra critic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from robo_reward.configs.training import TrainConfig
from robo_reward.envs.task import Task
from robo_reward.errors import UsageError
from robo_reward.policies.algorithms import merge_settings
from robo_reward.policies.alignment.job import FinetuneJob, FinetuneOutcome
from robo_reward.policies.dsrl.noise_driven import NoiseDrivenPolicy
from robo_reward.policies.dsrl.noise_env import NoiseVecEnv
from robo_reward.policies.dsrl.policy import DSRLPolicy, make_noise_spec
from robo_reward.policies.evaluate import evaluate_policy
from robo_reward.policies.export import export_policy
from robo_reward.policies.process_state import keep_torch_state, quiet_tensorboard
from robo_reward.policies.sb3 import CurvePoint, TrainingMonitor, TrainingResult, build_model, run_training
from robo_reward.rewards.contract import EpisodeReward, StepReward
from robo_reward.seeds import VALIDATION_SEEDS

DEFAULTS: dict[str, Any] = {
    "worlds": 32,
    "action_magnitude": 1.5,
    "shared_noise": True,
    "gamma": 0.95,
    "batch_size": 256,
    "learning_rate": 2e-3,
    "ent_coef": "auto_0.05",
    "buffer_size": 200_000,
    "learning_starts": 1_000,
    "train_freq": 1,
    "gradient_steps": 16,
    "target_entropy": 0.0,
    "policy_kwargs": {"net_arch": [64, 64]},
}
"""Settings of SAC, and `worlds`, `action_magnitude`, `shared_noise`. `gamma` is the discount of an environment step;
`learning_starts` and `buffer_size` count chunks. Target entropy and magnitude are those of the paper. One noise vector
for all rows of a chunk has as few numbers as an action, which SAC learns in minutes; `docs/dsrl.md` has the figures."""

STEPS = 40_000
"""The budget of `robo-reward finetune method=dsrl`, in environment steps."""


@quiet_tensorboard()
def train_dsrl(
    task: Task,
    policy: NoiseDrivenPolicy,
    reward: StepReward | EpisodeReward | None,
    folder: Path,
    steps: int = STEPS,
    seed: int = 0,
    params: Mapping[str, Any] | None = None,
    until: int | None = None,
    threads: int = 1,
    torch_threads: int = 1,
    points: int = 25,
    checkpoint_seconds: float = 30.0,
    episodes: int = TrainConfig.episodes,
    stop: Callable[[], bool] = lambda: False,
    report: Callable[[CurvePoint], None] = lambda point: None,
) -> TrainingResult:
    """Trains an actor that chooses the noise of `policy`, or continues from the checkpoint in `folder`.

    Like `train_policy`, the result depends on the arguments alone, not on how often the run was stopped.

    Args:
        task: the task to learn.
        policy: a chunk policy that reads states; it stays as it is.
        reward: of single steps; None means the sparse success.
        folder: where checkpoint, log, curve and the policy go.
        steps: the budget in environment steps.
        seed: of worlds, networks and exploration.
        params: settings over `DEFAULTS`.
        until: where to pause [environment steps], or None for the whole budget.
        threads: of the simulator.
        torch_threads: of learner and frozen policy.
        points: the number of points of the learning curve over the whole budget.
        checkpoint_seconds: how often to save while running [s].
        episodes: of the evaluation at the end.
        stop: called before each chunk; True ends the run after saving.
        report: called with every new point of the curve.

    Raises:
        UsageError: a budget or setting out of range, a policy without noise or with cameras, or a reward of whole
            episodes.
        PolicyMismatch: the policy was made for another observation or action convention.
        TrainingFailed: numbers that are not finite.
    """
    _require_trainable(task, policy, steps)
    reward = _require_step_reward(reward)
    with keep_torch_state(torch_threads):
        env, model = _create_learner(task, policy, reward, params or {}, seed, threads)
        budget, pause = (-(-count // policy.execute) for count in (steps, until or steps))  # SB3 counts chunks
        checkpoint = folder / "checkpoint"
        watcher = TrainingMonitor(checkpoint, env, budget, pause, points, checkpoint_seconds, stop, report)
        run_training(model, env, watcher, folder / "log", None, budget, seed)
        done = model.num_timesteps * policy.execute
        meta = {"task": task.id, "options": dict(task.options), "algorithm": "dsrl", "steps": done, "seed": seed}
        trained = _export(model, env, task, meta)
        trained.save(folder / "policy")
        evaluation = evaluate_policy(task, trained, episodes, VALIDATION_SEEDS + seed, reward, threads)
    progress = watcher.progress
    return TrainingResult(trained, done, progress.points, evaluation, progress.seconds, watcher.stopped)


def merge_dsrl_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `DEFAULTS` overridden by the user's settings; `policy_kwargs` are merged.

    Raises:
        UnknownName: a setting that neither SAC nor DSRL has.
        UsageError: a value of the wrong type, or out of range.
    """
    own = {key: given.get(key, DEFAULTS[key]) for key in ("action_magnitude", "shared_noise")}
    magnitude, shared = own["action_magnitude"], own["shared_noise"]
    if not isinstance(magnitude, int | float) or isinstance(magnitude, bool) or not 0 < magnitude < float("inf"):
        raise UsageError(f"action_magnitude={magnitude!r}: expected a number above 0, such as 1.5")
    if not isinstance(shared, bool):
        raise UsageError(f"shared_noise={shared!r}: expected true or false")
    rest = {key: value for key, value in given.items() if key not in own}
    defaults = {key: value for key, value in DEFAULTS.items() if key not in own}
    if rest.get("policy_kwargs"):
        rest["policy_kwargs"] = {**DEFAULTS["policy_kwargs"], **rest["policy_kwargs"]}
    if "action_noise" in rest:
        raise UsageError("action_noise: SAC explores by its own entropy; take this setting out")
    return {**merge_settings("sac", {**defaults, **rest}), **own}


def _require_trainable(task: Task, policy: Any, steps: int) -> None:
    if steps < 1:
        raise UsageError(f"steps is {steps}, expected a positive number")
    if not hasattr(policy, "noise_shape"):
        raise UsageError(
            f"method=dsrl learns the noise of a diffusion or flow policy, and a {type(policy).__name__} has none; "
            "make one with `robo-reward clone policy=diffusion`"
        )
    if policy.frames is not None:
        raise UsageError(
            f"the policy looks through {', '.join(policy.frames.cameras)}; method=dsrl needs one that reads the state, "
            "from `robo-reward clone` without observation="
        )
    policy.require_compatible(task)


def _require_step_reward(reward: StepReward | EpisodeReward | None) -> StepReward | None:
    if isinstance(reward, EpisodeReward):
        raise UsageError(
            "method=dsrl needs a reward of single steps, such as a program or the sparse success; this one scores "
            "whole episodes"
        )
    return reward


def _create_learner(
    task: Task, policy: NoiseDrivenPolicy, reward: StepReward | None, params: Mapping[str, Any], seed: int, threads: int
) -> tuple[NoiseVecEnv, Any]:
    """Returns the worlds and the SB3 model."""
    chosen = merge_dsrl_settings(params)
    magnitude, shared = chosen.pop("action_magnitude"), chosen.pop("shared_noise")
    sim = task.make_worlds(chosen.pop("worlds"), seed, reward, threads)
    env = NoiseVecEnv(sim, policy, magnitude, shared, chosen["gamma"])
    chosen["gamma"] **= policy.execute  # between two chunks
    model = build_model("sac", chosen, env, seed)
    _export(model, env, task, {})  # fails before training if the actor cannot be exported
    return env, model


def _export(model: Any, env: NoiseVecEnv, task: Task, meta: dict[str, Any]) -> DSRLPolicy:
    """Returns the frozen policy with the deterministic actor of the model."""
    size = int(env.action_space.shape[0])
    actor = export_policy(model, task, {})
    return DSRLPolicy(replace(actor, action=make_noise_spec(env.policy, size, env.magnitude)), env.policy, meta)


def check_dsrl_job(job: FinetuneJob) -> None:
    """Raises what is wrong with a job of `method=dsrl`: its policy, its reward or its settings."""
    _require_trainable(job.task, job.policy, job.steps or STEPS)
    _require_step_reward(job.reward)
    merge_dsrl_settings(job.settings)


def finetune_dsrl(job: FinetuneJob) -> FinetuneOutcome:
    """Runs `robo-reward finetune method=dsrl`: the outcome's policy is the frozen one with an actor for its noise."""
    result = train_dsrl(
        job.task,
        job.policy,
        job.reward,
        job.folder,
        steps=job.steps or STEPS,
        seed=job.seed,
        params=job.settings,
        threads=job.threads or 1,
        stop=job.stop,
        report=lambda point: job.report(point.steps, {"success": point.success, "return": point.episode_return}),
    )
    details = {"seconds": result.seconds, "points": [asdict(point) for point in result.points]}
    return FinetuneOutcome(None if result.stopped else result.policy, result.steps, details=details)
