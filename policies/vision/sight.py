"""The observation of an algorithm of Stable-Baselines3: chosen state fields, pictures, or features of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from robo_reward.envs.observer import ChosenObserver
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.task import Task
from robo_reward.errors import UnknownName, UsageError
from robo_reward.memory import format_bytes, require_memory
from robo_reward.policies.algorithms import find_base_algorithm
from robo_reward.policies.export import export_perceptron
from robo_reward.policies.vision.observation import SIZE, choose_observation
from robo_reward.policies.vision.picture_encoder import PictureEncoder, create_unloaded
from robo_reward.policies.vision.picture_policy import Eyes, PicturePolicy
from robo_reward.policies.vision.settings import VisionSettings
from robo_reward.vision.choose import BUILT_ONLY, FITTED, PUBLISHED, choose_encoder
from robo_reward.vision.encoder import Encoder, encoders

TRAINED = ("small", "nature", "resnet18")
"""Networks for pictures that learn together with the policy."""
DEFAULT_BUFFER = 1 << 30  # [bytes] of a replay buffer with pictures, unless its size is given


@dataclass(frozen=True)
class LookingSettings:
    """Settings of the observation of a policy, as the keys of `policy` say.

    Args:
        observation: state fields and cameras; empty: the task's own observation.
        size: side of the pictures [pixels].
        features: a network that learns with the policy, or a kind of frozen encoder, whose features are computed once
            per step for all worlds.
        encoder: options of the frozen encoder.
    """

    observation: Sequence[str] = ()
    size: int = SIZE
    features: str = "small"
    encoder: Mapping[str, Any] = field(default_factory=dict)


class Sight:
    """The observation of a learner: where it comes from, how the network reads it, and how the policy is saved.

    Args:
        task: to learn.
        settings: what to observe.
        seed: of the frozen encoder, if it draws its weights.

    Raises:
        UnknownName: no such field, camera or encoder.
        UsageError: options without an encoder, or pictures of an unsupported size.
        BadWeights, MissingExtra: published weights cannot be obtained.
    """

    def __init__(self, task: Task, settings: LookingSettings, seed: int = 0) -> None:
        self.settings = settings
        self.observation, self.frames = choose_observation(task, settings.observation, settings.size)
        self.encoder: Encoder | None = None
        self.vision: VisionSettings | None = None
        if self.frames is None:
            return
        if settings.features in TRAINED:
            if settings.encoder:
                raise UsageError(
                    f"policy.encoder={dict(settings.encoder)} are options of a frozen encoder, but policy.features="
                    f"{settings.features} is a network that learns; give policy.features=timm"
                )
            self.vision = VisionSettings(network=settings.features, crop=1.0)
            self.vision.crop_size(settings.size)
        else:
            self.encoder = _choose_frozen(settings, self.frames)

    def make_observer(self, task: Task) -> ChosenObserver:
        """Returns what turns the worlds into observations."""
        return ChosenObserver(task, self.observation, self.frames, self.encoder)

    def adapt_settings(self, algorithm: str, chosen: dict[str, Any], given: Mapping[str, Any]) -> None:
        """Adapts the arguments of an SB3 class, and checks that its buffer fits into memory.

        Args:
            algorithm: its name.
            chosen: its arguments, and `worlds`; they are changed.
            given: those that the user has set.

        Raises:
            UsageError: the algorithm cannot learn from pictures, or its buffer is too large.
        """
        if self.vision is not None and self.frames is not None:
            if find_base_algorithm(algorithm) == "ars":
                raise UsageError("ars trains a linear policy, which cannot see pictures; take policy.features=timm")
            extractor = {"frames": self.frames, "settings": self.vision}
            kwargs = {"features_extractor_class": PictureExtractor, "features_extractor_kwargs": extractor}
            chosen["policy_kwargs"] = {**chosen.get("policy_kwargs", {}), **kwargs}
            if "buffer_size" in chosen and "buffer_size" not in given:
                chosen["buffer_size"] = min(chosen["buffer_size"], DEFAULT_BUFFER // self._count_bytes(2))
        if "buffer_size" in chosen or "n_steps" in chosen:
            smaller = "policy.params.buffer_size or policy.picture_size"
            remedy = f"Give a smaller {smaller}, or frozen features (policy.features=timm)"
            require_memory(self.measure_buffer(chosen), "the buffer of observations", remedy)

    def measure_buffer(self, chosen: Mapping[str, Any]) -> int:
        """Returns the size of the observations that an algorithm keeps [bytes]."""
        if "buffer_size" in chosen:  # off-policy: with the next observation of each
            return int(chosen["buffer_size"]) * self._count_bytes(2)
        return int(chosen.get("n_steps") or 1) * int(chosen["worlds"]) * self._count_bytes(1)

    def describe(self, chosen: Mapping[str, Any]) -> str:
        """Returns what is observed and how much memory it takes, as a line of text."""
        parts = [f"state fields {', '.join(self.observation.state.names)}"] if self.observation.dim else []
        if self.frames is not None:
            how = f"frozen {self.settings.features}" if self.encoder is not None else self.settings.features
            size = self.frames.size
            parts.insert(0, f"pictures of {', '.join(self.frames.cameras)}, {size} x {size} pixels ({how})")
        return f"observation: {'; '.join(parts)}; buffer {format_bytes(self.measure_buffer(chosen))}"

    def export(self, model: Any, task: Task, meta: dict[str, Any]) -> PicturePolicy:
        """Returns the deterministic actor of a model as a policy of plain numbers.

        Raises:
            RoboRewardError: the actor is of a kind that cannot be saved.
        """
        eyes = None
        if self.frames is not None and self.encoder is not None:
            eyes = Eyes(self.frames, encoder=self.encoder)
        elif self.frames is not None and self.vision is not None:
            learnt = _find_extractor(model.policy).encoder.state_dict()
            copy = {name: tensor.detach().clone() for name, tensor in learnt.items()}
            network = create_unloaded(self.frames, 1, self.vision)
            network.load_state_dict(copy)
            eyes = Eyes(self.frames, network)
        return PicturePolicy(*export_perceptron(model), self.observation, task.action, meta, eyes)

    def _count_bytes(self, observations: int) -> int:
        """Returns the size of some observations [bytes]."""
        pictures = 0
        if self.frames is not None:
            count = len(self.frames.cameras)
            pictures = count * (4 * self.encoder.dim if self.encoder is not None else 3 * self.frames.size**2)
        return observations * (pictures + 4 * self.observation.dim)


class PictureExtractor(BaseFeaturesExtractor):
    """The features of SB3's policies: those of the pictures of each camera, then the state.

    Args:
        observation_space: of `ChosenObserver`.
        frames: the cameras.
        settings: of the networks.
    """

    def __init__(self, observation_space: Any, frames: FrameSpec, settings: VisionSettings) -> None:
        state = observation_space.spaces.get("state")
        encoder = PictureEncoder(frames, 1, settings)
        super().__init__(observation_space, encoder.dim + (int(np.prod(state.shape)) if state is not None else 0))
        self.encoder, self.cameras = encoder, frames.cameras

    def forward(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        """Returns features (B, F + O); SB3 hands over the pictures as numbers from 0 to 255."""
        features = self.encoder({camera: observations[camera].byte() for camera in self.cameras})
        return torch.cat([features, observations["state"]], dim=1) if "state" in observations else features


def _choose_frozen(settings: LookingSettings, frames: FrameSpec) -> Encoder:
    """Returns the frozen encoder of a name.

    Raises:
        UnknownName: no such encoder.
        UsageError: an encoder that must be fitted to clips first.
    """
    kind = settings.features
    if kind in FITTED or kind in BUILT_ONLY:
        raise UsageError(
            f"policy.features={kind}: this encoder is fitted to clips, which training has not; take a network that "
            f"learns ({', '.join(TRAINED)}), or {' or '.join(PUBLISHED)}"
        )
    known = {*TRAINED, *PUBLISHED, *(set(encoders.list_names()) - {*FITTED, *BUILT_ONLY})}
    if kind not in known:
        raise UnknownName("features of pictures", kind, known)
    own = {"size": min(112, frames.size), **settings.encoder} if kind == "timm" else dict(settings.encoder)
    return choose_encoder({"kind": kind, **own}, [])


def _find_extractor(policy: Any) -> Any:
    """Returns the features extractor of the actor."""
    if hasattr(policy, "actor"):
        return policy.actor.features_extractor  # SAC, TD3 and their variants
    return policy.features_extractor if policy.share_features_extractor else policy.pi_features_extractor
