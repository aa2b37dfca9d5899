"""Learns a reward from clips and a person's answers, and measures it on clips that it has not learnt from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from robo_reward.configs.rewards import AlignConfig
from robo_reward.data.episode import EpisodeStore
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.video.files import load_video
from robo_reward.errors import RoboRewardError, UnknownName, UsageError
from robo_reward.labelling.answers import Answer
from robo_reward.labelling.comparisons import build_comparisons, ranking_accuracy
from robo_reward.labelling.store import Clip
from robo_reward.rewards.matching.features import FrameFeatures
from robo_reward.rewards.preference.bradley_terry import (
    BradleyTerrySettings,
    build_bradley_terry_reward,
    train_ensemble,
)
from robo_reward.rewards.preference.held_out import HeldOutResult, cross_validate
from robo_reward.rewards.preference.rapl import build_rapl_reward, make_rapl_settings, train_head
from robo_reward.vision.encoder import Encoder

log = logging.getLogger(__name__)

METHODS = ("rapl", "rapl-code", "bt")


@dataclass(frozen=True)
class Alignment:
    """A learnt reward and how well it agrees with the person.

    Args:
        reward: a matching reward (RAPL) or a reward of networks (Bradley-Terry).
        scores: clip id -> mean reward per step.
        train: share of its decided training comparisons that it ranks correctly.
        held_out: how well rewards that were trained in the same way rank clips that they have not seen.
        learnt: ids of the answers that it has learnt from.
        clips: ids of the clips that these compare.
        counts: of answers and comparisons that it has learnt from, and of comparisons held out.
    """

    reward: Any
    scores: dict[str, float]
    train: float
    held_out: HeldOutResult
    learnt: tuple[str, ...]
    clips: tuple[str, ...]
    counts: dict[str, int]


def load_frames(clip: Clip, size: int) -> np.ndarray:
    """Returns a clip's frames (T, size, size, 3) uint8, cropped to the centre square like a square camera.

    Args:
        clip: its path is a video, or the folder of an `EpisodeStore` in which its id is a key.
        size: side [px].

    Raises:
        RoboRewardError: the clip no longer exists, or has no frames.
    """
    path = Path(clip.path)
    if path.is_dir():
        frames = EpisodeStore(path).load(clip.id).frames
    elif path.is_file():
        return load_video(path, transform=lambda frame: crop_to_square(frame[None], size)[0]).frames
    else:
        raise UsageError(f"clip {clip.id} is no longer at {path}; give clips=FOLDER with its present folder")
    if frames is None or not len(frames):
        raise RoboRewardError(f"clip {clip.id} at {path} has no frames")
    return crop_to_square(frames, size)


def crop_to_square(frames: np.ndarray, size: int) -> np.ndarray:
    """Crops frames (T, H, W, 3) to their centre square and resizes them to `size` pixels.

    Tiles of several cameras stay side by side.
    """
    height, width = frames.shape[1:3]
    tiles = max(width // height, 1) if width % height == 0 else 1
    if tiles == 1:
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        frames = frames[:, top : top + side, left : left + side]
    if frames.shape[1] == size:
        return frames
    return np.stack([cv2.resize(f, (size * tiles, size), interpolation=cv2.INTER_AREA) for f in frames])


def learn_reward(
    frames: Mapping[str, np.ndarray],
    answers: Sequence[Answer],
    encoder: Encoder,
    shown: FrameSpec,
    method: str = AlignConfig.method,
    settings: Mapping[str, Any] | None = None,
    holdout: float = AlignConfig.holdout,
    seed: int = 0,
    report: Callable[[int, float], None] = lambda step, accuracy: None,
) -> Alignment:
    """Learns a reward from answers about clips.

    Args:
        frames: clip id -> (T, H, W, 3) uint8.
        answers: of any number of people; answers about clips that are not in `frames` are ignored.
        encoder: frozen.
        shown: the camera and size that the reward will be shown later.
        method: `rapl`, `rapl-code` (the reference's settings) or `bt`.
        settings: changes to those of the method.
        holdout: share of the clips withheld from each reward of the cross-validation, see `held_out`; the reward
            that is returned has learnt from all answers. 0: no cross-validation.
        seed: seed of all random draws.
        report: called with the step and the accuracy during training.

    Raises:
        UnknownName: no such method or setting.
        UsageError: nothing can be learnt from the answers.
    """
    if method not in METHODS:
        raise UnknownName("method", method, METHODS)
    names = list(frames)
    numbers = {name: i for i, name in enumerate(names)}
    _check_answers(answers, numbers)  # before the encoding, which takes long
    look = FrameFeatures(encoder, shown)
    features = [encoder.encode(frames[name][1:] if len(frames[name]) > 1 else frames[name]) for name in names]

    def train_on_clips(
        given: Sequence[Answer], clips: Mapping[str, int], on_step: Callable[[int, float], None] = report
    ) -> Any:
        return _train_reward(look, features, given, clips, method, settings or {}, seed, on_step)

    reward, scores = train_on_clips(answers, numbers)
    held_out = cross_validate(
        answers, numbers, holdout, seed, lambda given, clips: train_on_clips(given, clips, _ignore_progress)[1]
    )
    known = build_comparisons(answers, numbers)
    said = [answer for answer in answers if len(numbers.keys() & set(answer.clips)) > 1 and answer.groups]
    counts = {"answers": len(said), "comparisons": len(known), "held_out": held_out.comparisons}
    used = np.union1d(known.winner, known.loser)
    return Alignment(
        reward,
        {name: float(score) for name, score in zip(names, scores, strict=True)},
        ranking_accuracy(scores, known),
        held_out,
        tuple(answer.uuid for answer in said),
        tuple(names[i] for i in used),
        counts,
    )


def _check_answers(answers: Sequence[Answer], numbers: Mapping[str, int]) -> None:
    """Raises UsageError if nothing can be learnt from the answers; logs how many of their clips are missing."""
    lost = {clip for answer in answers for clip in answer.clips} - numbers.keys()
    if lost:
        log.warning("%d clips of the answers are not among the %d clips given", len(lost), len(numbers))
    build_comparisons(answers, numbers)


def _ignore_progress(step: int, accuracy: float) -> None:
    """Ignores the progress of a training."""


def _train_reward(
    look: FrameFeatures,
    features: Sequence[np.ndarray],
    answers: Sequence[Answer],
    numbers: Mapping[str, int],
    method: str,
    settings: Mapping[str, Any],
    seed: int,
    report: Callable[[int, float], None],
) -> tuple[Any, np.ndarray]:
    """Returns a reward trained on the clips in `numbers`, and its scores of all clips (n,)."""
    known = build_comparisons(answers, numbers)
    if method == "bt":
        chosen = BradleyTerrySettings().with_changes(settings)
        reward: Any = build_bradley_terry_reward(look, train_ensemble(features, known, chosen, seed, report), features)
        return reward, np.array([reward.scale * (reward.predict_members(f).mean() - reward.shift) for f in features])
    tuned = make_rapl_settings(method, settings)
    shown = known if tuned.anchors else build_comparisons(answers, numbers, every_anchor=True)
    head = train_head(features, shown, tuned, seed, report)
    reward = build_rapl_reward(look, head, features, known, tuned)
    projected = [reward.look.encoder.project(f) for f in features]
    return reward, np.array([reward.scale * reward.compute_unscaled([f]).mean() for f in projected])
