"""Clones a chunk policy from demonstrations."""

from __future__ import annotations

import copy
import csv
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from robo_reward.configs.cloning import CloneConfig
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.task import ObservationSpec, Task
from robo_reward.errors import UsageError
from robo_reward.files import atomic_path
from robo_reward.policies.diffusion.checkpoint import ClonePointForm, compute_fingerprint
from robo_reward.policies.diffusion.looking import Demonstrations, ObservationSettings, PictureWindows
from robo_reward.policies.diffusion.policy import DiffusionPolicy
from robo_reward.policies.diffusion.settings import DiffusionSettings
from robo_reward.policies.diffusion.trainer import Trainer
from robo_reward.policies.diffusion.windows import cut_windows
from robo_reward.policies.evaluate import Evaluation, evaluate_policy
from robo_reward.policies.process_state import keep_torch_state
from robo_reward.seeds import VALIDATION_SEEDS

POINTS = 10
"""Points of the learning curve where `evaluate_every` is not given."""


@dataclass(frozen=True)
class ClonePoint:
    """A point of the learning curve.

    Args:
        steps: updates so far.
        success: success rate of the averaged weights.
        episode_return: mean number of steps in which the goal was fulfilled.
        loss: mean training loss since the last point.
        seconds: of training so far, without evaluations, over all sittings.
    """

    steps: int
    success: float
    episode_return: float
    loss: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Returns the point in the form of every learning curve, the loss among its terms."""
        value = asdict(self)
        return {**value, "terms": {"loss": value.pop("loss")}}


@dataclass(frozen=True)
class CloneResult:
    """The result of cloning.

    Args:
        policy: with the averaged weights.
        steps: updates done.
        points: the learning curve.
        evaluation: after the last update, or None for a run that was stopped.
        seconds: of training, without evaluations.
        windows: number of windows that were learnt from.
        stopped: whether the run was asked to stop before its last update.
    """

    policy: DiffusionPolicy
    steps: int
    points: list[ClonePoint]
    evaluation: Evaluation | None
    seconds: float
    windows: int
    stopped: bool

    def to_json(self) -> dict[str, Any]:
        """Returns all but the policy as JSON."""
        return {
            "steps": self.steps,
            "seconds": self.seconds,
            "windows": self.windows,
            "stopped": self.stopped,
            "points": [point.to_json() for point in self.points],
            "evaluation": self.evaluation.to_json() if self.evaluation else None,
        }


def clone_policy(
    task: Task,
    demonstrations: Demonstrations,
    folder: Path,
    settings: DiffusionSettings,
    steps: int = CloneConfig.steps,
    batch: int = CloneConfig.batch,
    seed: int = 0,
    stop: Callable[[], bool] = lambda: False,
    report: Callable[[ClonePoint], None] = lambda point: None,
    tick: Callable[[int, float], None] = lambda update, loss: None,
    evaluate_every: int = 0,
    evaluate_episodes: int = CloneConfig.evaluate_episodes,
    episodes: int = CloneConfig.episodes,
    threads: int = 1,
    torch_threads: int = 1,
    checkpoint_seconds: float = 30.0,
    meta: dict[str, Any] | None = None,
    looking: ObservationSettings | None = None,
) -> CloneResult:
    """Trains a chunk policy on demonstrations, or continues from the checkpoint in `folder`.

    The result depends on the arguments alone: not on how often the run was stopped or killed, nor on `threads`. It does
    depend on `torch_threads`, since the order of floating-point sums does.

    Args:
        task: the task to measure success on.
        demonstrations: what to learn from.
        folder: gets `checkpoint.safetensors`, `curve.csv` and `policy/`.
        settings: of the policy and its training.
        steps: number of updates, which the learning rate refers to.
        batch: windows per update.
        seed: of the weights, the batches, the noise and the evaluations.
        stop: called before each update; True ends the run after saving.
        report: called with every new point of the curve.
        tick: called after each update with its number and the mean loss since the last point.
        evaluate_every: updates between two points of the curve; 0: ten points.
        evaluate_episodes: episodes of each point.
        episodes: episodes of the evaluation at the end.
        threads: of the simulator.
        torch_threads: of the learner.
        checkpoint_seconds: how often to save while running [s].
        meta: kept with the policy, such as the path of the data.
        looking: the state fields and cameras that the policy observes; None: the task's own observation.

    Raises:
        UsageError: numbers that are not positive, or demonstrations that are too short.
        BadArtifact: a checkpoint that is damaged, or of other settings or data.
        CloningFailed: the loss is not finite.
    """
    for name, value in (("steps", steps), ("batch", batch), ("evaluate_episodes", evaluate_episodes)):
        if value < 1:
            raise UsageError(f"{name}={value}: expected a whole number from 1")
    observation, frames = looking.choose(task) if looking else (task.observation, None)
    facts = {"task": task.id, "options": dict(task.options), "algorithm": settings.objective, "seed": seed}
    facts |= {"demonstrations": len(demonstrations.episodes), **(meta or {})}
    with keep_torch_state(torch_threads):
        trainer = _create_trainer(task, demonstrations, observation, frames, settings, looking, steps, batch, seed)
        run = _CloneRun(trainer, task, observation, frames, facts, folder, VALIDATION_SEEDS + seed, threads, report)
        folder.mkdir(parents=True, exist_ok=True)
        trainer.load(run.checkpoint)
        every = evaluate_every or max(1, steps // POINTS)
        stopped = run.make_updates(steps, every, evaluate_episodes, stop, tick, checkpoint_seconds)
        policy = run.make_policy()
        policy.save(folder / "policy")
        evaluation = None
        if not stopped:
            evaluation = run.add_point(policy, episodes)
            trainer.save(run.checkpoint)
    points = [ClonePoint(**_to_fields(point)) for point in trainer.progress.points]
    progress = trainer.progress
    return CloneResult(policy, progress.update, points, evaluation, progress.seconds, len(trainer.mask), stopped)


@dataclass(frozen=True)
class _CloneRun:
    """A training with the files of its folder and the evaluations of its learning curve."""

    trainer: Trainer
    task: Task
    observation: ObservationSpec
    frames: FrameSpec | None
    facts: dict[str, Any]
    folder: Path
    evaluation_seed: int
    threads: int
    report: Callable[[ClonePoint], None]

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.safetensors"

    def make_policy(self) -> DiffusionPolicy:
        """Returns a policy with a copy of the averaged weights."""
        about = {**self.facts, "steps": self.trainer.progress.update}
        average = copy.deepcopy(self.trainer.average)
        return DiffusionPolicy(average, self.observation, self.task.action, about, self.frames)

    def make_updates(
        self,
        steps: int,
        every: int,
        episodes: int,
        stop: Callable[[], bool],
        tick: Callable[[int, float], None],
        checkpoint_seconds: float,
    ) -> bool:
        """Trains to the last update, with a point of the curve each time `every` divides it; returns if stopped."""
        trainer, saved, stopped = self.trainer, time.monotonic(), False
        while trainer.progress.update < steps and not (stopped := stop()):
            trainer.update()
            tick(trainer.progress.update, trainer.mean_loss)
            if trainer.progress.update % every == 0 and trainer.progress.update < steps:
                self.add_point(self.make_policy(), episodes)
            if time.monotonic() - saved > checkpoint_seconds:
                trainer.save(self.checkpoint)
                saved = time.monotonic()
        trainer.save(self.checkpoint)
        return stopped

    def add_point(self, policy: DiffusionPolicy, episodes: int) -> Evaluation:
        """Evaluates the averaged weights, and adds the point to the learning curve unless it is there already."""
        found = evaluate_policy(self.task, policy, episodes, self.evaluation_seed, threads=self.threads)
        progress = self.trainer.progress
        held = found.held * self.task.horizon
        point = ClonePoint(progress.update, found.success, held, self.trainer.mean_loss, progress.seconds)
        if not progress.points or progress.points[-1].steps < progress.update:
            progress.points.append(ClonePointForm(**asdict(point)))
            progress.losses, progress.counted = 0.0, 0
            self.report(point)
        with atomic_path(self.folder / "curve.csv", sync=False) as temporary, temporary.open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["steps", "success", "return", "loss", "seconds"])
            table.writerows(list(_to_fields(row).values()) for row in progress.points)
        return found


def _create_trainer(
    task: Task,
    demonstrations: Demonstrations,
    observation: ObservationSpec,
    frames: FrameSpec | None,
    settings: DiffusionSettings,
    looking: ObservationSettings | None,
    steps: int,
    batch: int,
    seed: int,
) -> Trainer:
    """Returns the trainer of the windows of demonstrations.

    Raises:
        UsageError: demonstrations that are too short or have no pictures, or a batch that does not fit into memory.
    """
    windows = cut_windows(demonstrations.episodes, observation, settings.history, settings.horizon, settings.execute)
    described: dict[str, Any] = {"settings": settings.to_json(), "steps": steps, "batch": batch, "seed": seed}
    pictures = None
    if looking is not None:
        described["looking"] = looking.to_json()
        if frames is not None:
            pictures = PictureWindows(demonstrations, windows, frames, settings.history, looking, task)
            pictures.check_memory(max(1, batch // looking.reuse))
            described["pictures"] = pictures.compute_digest()
    fingerprint = compute_fingerprint(windows, described)
    return Trainer(windows, settings, steps, batch, seed, fingerprint, pictures)


def _to_fields(point: ClonePointForm) -> dict[str, Any]:
    return {name: getattr(point, name) for name in ClonePointForm.__struct_fields__}
