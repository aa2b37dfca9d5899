"""The trained part of a chunk policy: normalisers, the encoding of observations, and the network."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.errors import UsageError, WrongShape
from robo_reward.policies.diffusion.networks.build import build_network
from robo_reward.policies.diffusion.normaliser import MinMax
from robo_reward.policies.diffusion.objectives import make_objective
from robo_reward.policies.diffusion.settings import DiffusionSettings
from robo_reward.policies.vision.picture_encoder import PictureEncoder
from robo_reward.policies.vision.settings import VisionSettings


class DiffusionModel(nn.Module):
    """Predicts noise, velocity or actions of a chunk from what the policy observes.

    Args:
        settings: network, objective and lengths.
        observation: normaliser of the observation, O columns; none for a policy that only looks.
        action: normaliser of the action, A columns.
        pictures: encoder of the cameras' pictures, or None.

    Attributes:
        objective: how chunks are made noisy and drawn, `DDPM`, `Flow` or `Regression`.
        network: maps chunk, time and condition to a prediction.
    """

    def __init__(
        self, settings: DiffusionSettings, observation: MinMax, action: MinMax, pictures: PictureEncoder | None = None
    ) -> None:
        super().__init__()
        self.settings = settings
        self.observation, self.action, self.pictures = observation, action, pictures
        self.objective = make_objective(settings)
        self.network = build_network(settings, action.dim, self.condition_dim)

    @property
    def condition_dim(self) -> int:
        """C, the size of the condition."""
        seen = self.pictures.dim if self.pictures is not None else 0
        return seen + self.settings.history * self.observation.dim

    @property
    def noise_shape(self) -> tuple[int, int]:
        """(Tp, A) of the noise from which a chunk is drawn."""
        return self.settings.horizon, self.action.dim

    def encode(
        self,
        state: Tensor,
        pictures: Mapping[str, Tensor] | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Returns the condition (B, C) of raw observations, which it normalises: features of pictures, then the state.

        Args:
            state: (B, To, O) as the task's observation gives them, oldest first.
            pictures: camera -> (B, To, h, w, 3) uint8, or None.
            generator: of the random crops while training.
        """
        expected = (self.settings.history, self.observation.dim)
        if state.shape[1:] != expected:
            raise WrongShape("observation", tuple(state.shape), f"(B, To, O) = (B, {expected[0]}, {expected[1]})")
        if self.pictures is None and pictures:
            raise UsageError(f"this policy has no encoder for pictures of {', '.join(pictures)}")
        return self.join(self.pictures(pictures or {}, generator) if self.pictures is not None else None, state)

    def join(self, features: Tensor | None, state: Tensor) -> Tensor:
        """Returns the condition (B, C) of features of pictures (B, F), or None without pictures, and states."""
        numbers = self.observation.normalise(state).flatten(1)
        return numbers if features is None else torch.cat([features, numbers], dim=1)

    def compute_errors(self, actions: Tensor, condition: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """Returns the squared error of each action (B, Tp).

        Args:
            actions: (B, Tp, A) as they are executed, in [-1, 1].
            condition: (B, C) of `encode`.
            noise: (B, Tp, A).
            time: (B,) of `objective.sample_time`.
        """
        return self.objective.compute_errors(self.network, self.action.normalise(actions), condition, noise, time)

    def sample(
        self, condition: Tensor, noise: Tensor, steps: int | None = None, previous: Tensor | None = None
    ) -> Tensor:
        """Returns chunks (B, Tp, A) of actions as they are executed, in [-1, 1].

        Args:
            condition: (B, C).
            noise: (B, Tp, A).
            steps: network evaluations; None: those of the settings.
            previous: (B, Tp, A) chunks to start from, already moved to the present; None: from the noise alone.
        """
        settings = self.settings
        start = None if previous is None else self.action.normalise(previous)
        steps = steps or settings.sampling_steps
        found = self.objective.sample(self.network, condition, noise, steps, start, settings.warm_start)
        return self.action.denormalise(found).clamp(-1, 1)


def create_model(
    settings: DiffusionSettings,
    observation: MinMax,
    action: MinMax,
    seed: int,
    frames: FrameSpec | None = None,
    vision: VisionSettings | None = None,
) -> DiffusionModel:
    """Returns a model whose random weights depend on the seed alone; the global generator stays as it is.

    Args:
        settings: network, objective and lengths.
        observation: normaliser of the observation.
        action: normaliser of the action.
        seed: of the weights.
        frames: cameras and size of the pictures, or None.
        vision: how pictures are encoded; None: the default.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pictures = PictureEncoder(frames, settings.history, vision or VisionSettings()) if frames else None
        return DiffusionModel(settings, observation, action, pictures)
