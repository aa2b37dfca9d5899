"""Unsupervised Perceptual Rewards: a reward that recognises the steps of a task, learnt from a few videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from robo_reward.data.episode import Episode
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.errors import UnknownName, UsageError, WrongShape
from robo_reward.rewards.contract import RewardOutput, Weights, digest_tensors, validate_output
from robo_reward.rewards.perceptual.gaussian import GaussianSteps
from robo_reward.rewards.perceptual.ordered import OrderedSteps
from robo_reward.vision.encoder import Encoder, build_encoder

Steps = GaussianSteps | OrderedSteps


class PerceptualReward:
    """Progress of an episode through the steps that demonstrations showed (Sermanet, Xu and Levine, 2017).

    The reward of step t depends on the frames up to t + 1 alone. The terms `step_1` ... `step_n` are the confidence
    that frame t + 1 shows each step, in [0, 1]; `GaussianSteps` (the paper) or `OrderedSteps` (ours) combines them
    into the total, also in [0, 1]. The total is no sum of its terms.

    Args:
        encoder: turns frames into features.
        model: recognises the steps in features.
        frames: the camera and size of the demonstrations, which the episodes must show too.
        fps: frames per second of the demonstrations [Hz]; an episode's `meta["fps"]` takes precedence.
    """

    def __init__(self, encoder: Encoder, model: Steps, frames: FrameSpec, fps: float) -> None:
        self.encoder, self.model, self.fps = encoder, model, fps
        self.frames: FrameSpec | None = frames
        self._frames = frames

    def __call__(self, episode: Episode) -> RewardOutput:
        return self.batch([episode])[0]

    def batch(self, episodes: Sequence[Episode]) -> list[RewardOutput]:
        """Computes the rewards of several episodes; all frames of one size go through the encoder in one call."""
        shown = [_require_frames(episode, self._frames) for episode in episodes]
        rates = [float(episode.meta.get("fps", self.fps)) for episode in episodes]
        return list(map(self.compute_reward, encode_clips(self.encoder, shown), rates))

    def compute_reward(self, features: np.ndarray, fps: float) -> RewardOutput:
        """Returns the reward of T steps from the features (T + 1, F) of an episode's frames."""
        recognised, total = compute_curves(self.model, features, fps)
        terms = {f"step_{k + 1}": recognised[1:, k] for k in range(self.model.steps)}
        return validate_output(total[1:], terms, len(features) - 1)

    def spec(self) -> dict[str, Any]:
        return {
            "kind": "perceptual",
            "encoder": self.encoder.spec(),
            "frames": self._frames.to_json(),
            "fps": self.fps,
            "model": self.model.spec(),
            "weights": digest_tensors(self.model.to_tensors()),
        }

    def weights(self) -> Weights:
        """Returns the arrays of the step model and of the encoder."""
        tensors = self.model.to_tensors()
        return {digest_tensors(tensors): tensors, **self.encoder.weights()}


def compute_curves(model: Steps, features: np.ndarray, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the recognition (T, n) and the total (T,) of every frame of a clip, from its features (T, F)."""
    described = model.describe_frames(features, fps) if isinstance(model, OrderedSteps) else features
    recognised = model.recognise_steps(described)
    return recognised, model.compute_total(described, recognised)


def encode_clips(encoder: Encoder, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Returns the features (T_i, F) of clips (T_i, H, W, 3), those of one size in one call."""
    if len({clip.shape[1:] for clip in clips}) != 1:
        return [encoder.encode(clip) for clip in clips]
    features = encoder.encode(np.concatenate(clips) if len(clips) > 1 else clips[0])
    return np.split(features, np.cumsum([len(clip) for clip in clips])[:-1])


def perceptual_from_spec(spec: Mapping[str, Any], weights: Weights) -> PerceptualReward:
    """Creates the reward from the results of `PerceptualReward.spec` and `weights`.

    Raises:
        UsageError: the weights that the spec names are not given.
    """
    if spec["weights"] not in weights:
        raise UsageError(
            f"this perceptual reward needs its weights {spec['weights']}, which are missing; load it with load_reward"
        )
    forms = {form.form: form for form in (GaussianSteps, OrderedSteps)}
    form = spec["model"]["form"]
    if form not in forms:
        raise UnknownName("form of perceptual steps", form, forms)
    model = forms[form].from_spec(spec["model"], weights[spec["weights"]])
    encoder = build_encoder(spec["encoder"], weights)
    return PerceptualReward(encoder, model, FrameSpec.from_json(spec["frames"]), spec["fps"])


def _require_frames(episode: Episode, wanted: FrameSpec) -> np.ndarray:
    """Returns the frames of an episode; raises if it has none, or of another size than wanted."""
    if episode.frames is None:
        raise UsageError(
            f"this reward reads frames of {wanted.size} pixels from {', '.join(wanted.cameras)}, but an episode of "
            f"{episode.task_id or 'no task'} has none: collect it with frames={wanted!r}"
        )
    if episode.frames.shape[1:] != wanted.shape:
        raise WrongShape(
            f"frames of an episode of {episode.task_id or 'no task'}", episode.frames.shape, f"(T + 1, *{wanted.shape})"
        )
    return episode.frames
