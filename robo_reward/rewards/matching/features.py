"""Features of an episode that are compared: encoded frames, or fields of its state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from robo_reward.data.episode import Episode
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.errors import UsageError
from robo_reward.rewards.contract import Weights
from robo_reward.vision.encoder import Encoder, build_encoder


class FeatureExtractor(Protocol):
    """Turns episodes into features of the outcome of each step: state or frame t + 1 for step t."""

    @property
    def frames(self) -> FrameSpec | None:
        """Frames that must be rendered for it, or None."""
        ...

    def __call__(self, episodes: Sequence[Episode]) -> list[np.ndarray]:
        """Returns the features (T, F) of each episode."""
        ...

    def spec(self) -> dict[str, Any]:
        """Returns the JSON from which, with `weights`, `build_feature_extractor` makes the same extractor."""
        ...

    def weights(self) -> Weights:
        """Returns the learnt weights."""
        ...


class FrameFeatures:
    """Features of frames; the frames of all episodes go through the encoder in one call.

    Args:
        encoder: turns frames into features.
        frames: cameras and size that the episodes must show.
    """

    def __init__(self, encoder: Encoder, frames: FrameSpec) -> None:
        self.encoder, self.frames = encoder, frames

    def __call__(self, episodes: Sequence[Episode]) -> list[np.ndarray]:
        shown = [_require_frames(episode, self.frames) for episode in episodes]
        if len({frames.shape[1:] for frames in shown}) > 1:  # different sizes: one encoder call per episode
            return [self.encoder.encode(frames) for frames in shown]
        features = self.encoder.encode(np.concatenate(shown) if len(shown) > 1 else shown[0])
        return np.split(features, np.cumsum([len(frames) for frames in shown])[:-1])

    def spec(self) -> dict[str, Any]:
        return {"encoder": self.encoder.spec(), "frames": self.frames.to_json()}

    def weights(self) -> Weights:
        return self.encoder.weights()


def _require_frames(episode: Episode, wanted: FrameSpec) -> np.ndarray:
    """Returns the frames after each step; raises if the episode has none."""
    if episode.frames is None:
        cameras = ", ".join(wanted.cameras)
        raise UsageError(
            f"this reward reads frames of {wanted.size} pixels from {cameras}, but an episode of "
            f"{episode.task_id or 'no task'} has none: collect it with frames={wanted!r}"
        )
    return episode.frames[1:]


class StateFeatures:
    """Fields of the state, concatenated unchanged: matching without pictures.

    Args:
        fields: names of fields; their sizes add to F.
    """

    frames: FrameSpec | None = None

    def __init__(self, fields: Sequence[str]) -> None:
        if not fields:
            raise UsageError("matching states needs at least one field")
        self.fields = tuple(fields)

    def __call__(self, episodes: Sequence[Episode]) -> list[np.ndarray]:
        return [
            np.concatenate([episode.state[1:, episode.spec.slice(field)] for field in self.fields], axis=1)
            for episode in episodes
        ]

    def spec(self) -> dict[str, Any]:
        return {"fields": list(self.fields)}

    def weights(self) -> Weights:
        return {}


def build_feature_extractor(spec: Mapping[str, Any], weights: Weights) -> FeatureExtractor:
    """Creates a feature extractor from the results of `FeatureExtractor.spec` and `weights`."""
    if "fields" in spec:
        return StateFeatures(spec["fields"])
    return FrameFeatures(build_encoder(spec["encoder"], weights), FrameSpec.from_json(spec["frames"]))
