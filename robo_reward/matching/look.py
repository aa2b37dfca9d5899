"""What of an episode is compared: features of its frames, or fields of its state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from robo_reward.envs.frames import FrameSpec
from robo_reward.episode import Episode
from robo_reward.errors import UsageError
from robo_reward.reward import Weights
from robo_reward.vision.encoder import Encoder, build_encoder


class Look(Protocol):
    """Turns episodes into features of what followed each step: state or frame t + 1 for step t."""

    @property
    def frames(self) -> FrameSpec | None:
        """What must be drawn for it, or none."""
        ...

    def __call__(self, episodes: Sequence[Episode]) -> list[np.ndarray]:
        """Features (T, F) of each episode."""
        ...

    def spec(self) -> dict[str, Any]:
        """JSON from which, with `weights`, `build_look` makes the same look."""
        ...

    def weights(self) -> Weights:
        """What it has learnt."""
        ...


class FrameLook:
    """Features of frames; the frames of all episodes go through the encoder in one call.

    Args:
        encoder: turns frames into features.
        frames: what the episodes must show.
    """

    def __init__(self, encoder: Encoder, frames: FrameSpec) -> None:
        self.encoder, self.frames = encoder, frames

    def __call__(self, episodes: Sequence[Episode]) -> list[np.ndarray]:
        shown = [_frames(episode, self.frames) for episode in episodes]
        if len({frames.shape[1:] for frames in shown}) > 1:  # sizes differ: one call for each
            return [self.encoder.encode(frames) for frames in shown]
        features = self.encoder.encode(np.concatenate(shown) if len(shown) > 1 else shown[0])
        return np.split(features, np.cumsum([len(frames) for frames in shown])[:-1])

    def spec(self) -> dict[str, Any]:
        return {"encoder": self.encoder.spec(), "frames": self.frames.to_json()}

    def weights(self) -> Weights:
        return self.encoder.weights()


def _frames(episode: Episode, wanted: FrameSpec) -> np.ndarray:
    if episode.frames is None:
        cameras = ", ".join(wanted.cameras)
        raise UsageError(
            f"this reward looks at frames of {wanted.size} pixels from {cameras}, but an episode of "
            f"{episode.task_id or 'no task'} has none: collect it with frames={wanted!r}"
        )
    return episode.frames[1:]


class StateLook:
    """Fields of the state side by side, as they are: matching without pictures.

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


def build_look(spec: Mapping[str, Any], weights: Weights) -> Look:
    """The inverse of `Look.spec`."""
    if "fields" in spec:
        return StateLook(spec["fields"])
    return FrameLook(build_encoder(spec["encoder"], weights), FrameSpec.from_json(spec["frames"]))
