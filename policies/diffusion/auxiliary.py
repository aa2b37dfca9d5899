"""A linear layer that finds the task's state in the features of pictures, used in training alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robo_reward.policies.diffusion.looking import PictureWindows
from robo_reward.policies.diffusion.model import DiffusionModel
from robo_reward.policies.diffusion.normaliser import MinMax


class AuxiliaryLayer(nn.Linear):
    """Adds the squared error of a linear read-out of the state to the loss.

    Simulated demonstrations hold where every object is. That the features of the pictures tell it, too, is learnt in
    far fewer updates than from the actions alone. The policy itself neither has the layer nor is shown the state.

    Args:
        features: C, of the pictures.
        targets: (M, D) the state of each window.
        weight: of the error.
    """

    def __init__(self, features: int, targets: Tensor, weight: float) -> None:
        super().__init__(features, targets.shape[1])
        self._targets = MinMax.fit(targets).normalise(targets)
        self._weight = weight

    @classmethod
    def create(cls, model: DiffusionModel, pictures: PictureWindows | None, seed: int) -> AuxiliaryLayer | None:
        """Returns the layer, or None without pictures, without states, or with a weight of 0."""
        if pictures is None or pictures.targets is None or model.pictures is None:
            return None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(model.pictures.dim, pictures.targets, pictures.settings.auxiliary)

    def compute_loss(self, condition: Tensor, rows: Tensor) -> Tensor:
        """Returns the weighted error for conditions (B, C), whose first columns are features, of windows (B,)."""
        found = self(condition[:, : self.in_features])
        return self._weight * (found - self._targets[rows]).square().mean()
