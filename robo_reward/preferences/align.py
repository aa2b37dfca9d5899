"""From clips and a person's answers to a reward, measured on answers that it has not learnt from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from robo_reward.envs.frames import FrameSpec
from robo_reward.envs.video import load_video
from robo_reward.episode import EpisodeStore
from robo_reward.errors import RoboRewardError, UnknownName, UsageError
from robo_reward.matching.look import FrameLook
from robo_reward.preferences.answers import Answer
from robo_reward.preferences.bradley_terry import BradleyTerrySettings, bradley_terry_reward, train_ensemble
from robo_reward.preferences.comparisons import accuracy, comparisons
from robo_reward.preferences.rapl import rapl_reward, settings_of, train_head
from robo_reward.preferences.store import Clip
from robo_reward.vision.encoder import Encoder

log = logging.getLogger(__name__)

METHODS = ("rapl", "rapl-code", "bt")


@dataclass(frozen=True)
class Alignment:
    """A reward and how well it agrees with the person.

    Args:
        reward: a matching reward (RAPL) or a reward of networks (Bradley-Terry).
        scores: clip id -> mean reward per step.
        train: share of the decided comparisons it has learnt from that it ranks right.
        held_out: the same of the comparisons that were kept back; none if none was.
        counts: of answers and comparisons, learnt from and kept back.
    """

    reward: Any
    scores: dict[str, float]
    train: float
    held_out: float | None
    counts: dict[str, int]


def load_frames(clip: Clip, size: int) -> np.ndarray:
    """A clip's frames (T, size, size, 3) uint8: the middle square of each, as a square camera would see it.

    Args:
        clip: its path is a video, or the folder of an `EpisodeStore` in which its id is a key.
        size: side [px].

    Raises:
        RoboRewardError: it is not there any more, or has no frames.
    """
    path = Path(clip.path)
    if path.is_dir():
        frames = EpisodeStore(path).load(clip.id).frames
    elif path.is_file():
        return load_video(path, each=lambda frame: squared(frame[None], size)[0]).frames
    else:
        raise UsageError(f"clip {clip.id} was at {path}, where nothing is now; give clips=FOLDER where it is")
    if frames is None or not len(frames):
        raise RoboRewardError(f"clip {clip.id} at {path} has no frames")
    return squared(frames, size)


def squared(frames: np.ndarray, size: int) -> np.ndarray:
    """The middle square of frames (T, H, W, 3), at `size` pixels; tiles of several cameras stay side by side."""
    height, width = frames.shape[1:3]
    tiles = max(width // height, 1) if width % height == 0 else 1
    if tiles == 1:
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        frames = frames[:, top : top + side, left : left + side]
    if frames.shape[1] == size:
        return frames
    return np.stack([cv2.resize(f, (size * tiles, size), interpolation=cv2.INTER_AREA) for f in frames])


def split_answers(answers: Sequence[Answer], share: float, seed: int) -> tuple[list[Answer], list[Answer]]:
    """Answers to learn from and answers kept back, by a draw that depends on the seed alone."""
    if not 0 <= share < 1:
        raise UsageError(f"holdout is {share}, expected a share from 0 to below 1")
    order = np.random.default_rng(seed).permutation(len(answers))
    kept = set(order[: int(share * len(answers))].tolist())
    return [a for i, a in enumerate(answers) if i not in kept], [a for i, a in enumerate(answers) if i in kept]


def align(
    frames: Mapping[str, np.ndarray],
    answers: Sequence[Answer],
    encoder: Encoder,
    shown: FrameSpec,
    method: str = "rapl",
    settings: Mapping[str, Any] | None = None,
    holdout: float = 0.2,
    seed: int = 0,
    report: Callable[[int, float], None] = lambda step, accuracy: None,
) -> Alignment:
    """Learns a reward from answers about clips.

    Args:
        frames: clip id -> (T, H, W, 3) uint8.
        answers: of any number of people; what they say of clips that are not here is left out.
        encoder: frozen.
        shown: the camera and size that the reward will be shown later.
        method: `rapl`, `rapl-code` (the reference's settings) or `bt`.
        settings: changes to those of the method.
        holdout: share of the answers to measure on.
        seed: of everything random.
        report: gets step and accuracy during training.

    Raises:
        UnknownName: no such method or setting.
        UsageError: nothing can be learnt from the answers.
    """
    if method not in METHODS:
        raise UnknownName("method", method, METHODS)
    names = list(frames)
    numbers = {name: i for i, name in enumerate(names)}
    lost = {clip for answer in answers for clip in answer.clips} - numbers.keys()
    if lost:
        log.warning("%d clips of the answers are not among the %d clips given", len(lost), len(names))
    learnt, kept = split_answers(answers, holdout, seed)
    known = comparisons(learnt, numbers)
    look = FrameLook(encoder, shown)
    features = [encoder.encode(frames[name][1:] if len(frames[name]) > 1 else frames[name]) for name in names]
    if method == "bt":
        chosen = BradleyTerrySettings().changed(settings or {})
        reward: Any = bradley_terry_reward(look, train_ensemble(features, known, chosen, seed, report), features)
        scores = np.array([reward.scale * (reward.opinions(f).mean() - reward.shift) for f in features])
    else:
        tuned = settings_of(method, settings)
        head = train_head(features, known, tuned, seed, report)
        reward = rapl_reward(look, head, features, known, tuned)
        scores = np.array([reward.scale * reward.match([reward.look.encoder.project(f)]).mean() for f in features])
    held_out = None
    try:
        rest = comparisons(kept, numbers)
        held_out = accuracy(scores, rest)
    except UsageError:
        rest = None
    counts = {"answers": len(learnt), "comparisons": len(known), "held_out": len(rest) if rest else 0}
    named = {name: float(score) for name, score in zip(names, scores, strict=True)}
    return Alignment(reward, named, accuracy(scores, known), held_out, counts)
