"""The updates of cloning, and what is needed to go on with them."""

from __future__ import annotations

import copy
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robo_reward.errors import RoboRewardError
from robo_reward.policies.diffusion.auxiliary import AuxiliaryLayer
from robo_reward.policies.diffusion.checkpoint import CloneProgress, load_clone_checkpoint, save_clone_checkpoint
from robo_reward.policies.diffusion.ema import WeightAverage
from robo_reward.policies.diffusion.looking import PictureWindows
from robo_reward.policies.diffusion.model import DiffusionModel, create_model
from robo_reward.policies.diffusion.normaliser import MinMax
from robo_reward.policies.diffusion.settings import DiffusionSettings
from robo_reward.policies.diffusion.windows import Windows
from robo_reward.policies.vision.feature_memory import FeatureMemory, check_feature_memory

BETAS = (0.95, 0.999)
"""Of AdamW, as in Diffusion Policy (Chi et al. 2023)."""


class CloningFailed(RoboRewardError):
    """The training diverged; the message says where and what helps."""


class Trainer:
    """The state of a training: weights, their average, optimiser, random generator and progress.

    Args:
        windows: to learn from.
        settings: of policy and training.
        steps: number of updates of the whole training.
        batch: windows per update.
        seed: of the weights, the batches and the noise.
        fingerprint: of all of these.
        pictures: of the windows, for a policy that looks.
    """

    def __init__(
        self,
        windows: Windows,
        settings: DiffusionSettings,
        steps: int,
        batch: int,
        seed: int,
        fingerprint: str,
        pictures: PictureWindows | None = None,
    ) -> None:
        self.settings, self.steps, self.batch, self.seed = settings, steps, batch, seed
        self.observation, self.action = torch.from_numpy(windows.observation), torch.from_numpy(windows.action)
        self.mask = torch.from_numpy(windows.mask)
        recorded = windows.action[windows.mask]
        bounds = MinMax.fit(windows.observation), MinMax.fit(recorded)
        self.pictures = pictures
        frames, vision = (pictures.frames, pictures.settings.vision) if pictures is not None else (None, None)
        self.model = create_model(settings, *bounds, seed, frames, vision)
        self.average: DiffusionModel = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.ema = WeightAverage(self.model, self.average, settings.ema_power, settings.ema_max)
        self.auxiliary = AuxiliaryLayer.create(self.model, pictures, seed)
        self.picture_updates = pictures.settings.count_picture_updates(steps) if pictures is not None else steps
        self._features: FeatureMemory | None = None
        if self.model.pictures is not None and self.picture_updates < steps:
            check_feature_memory(self.model.pictures, len(windows))
        groups = _list_groups(self.model, self.auxiliary, settings.learning_rate, steps, self.picture_updates)
        self.optimiser = torch.optim.AdamW(
            groups, settings.learning_rate, BETAS, weight_decay=settings.weight_decay, fused=True
        )
        self.generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)  # the global generator decides what dropout leaves out
        self.progress = CloneProgress(fingerprint)

    @property
    def learnt(self) -> nn.Module:
        """All that is trained: the model, with the auxiliary layer if there is one."""
        return self.model if self.auxiliary is None else nn.ModuleList([self.model, self.auxiliary])

    @property
    def mean_loss(self) -> float:
        """The mean loss since the last point of the curve; 0 before the first update."""
        return self.progress.losses / max(1, self.progress.counted)

    def update(self) -> None:
        """Makes one update.

        Raises:
            CloningFailed: the loss is not finite.
        """
        begun, progress = time.monotonic(), self.progress
        self.model.train()
        loss = self.compute_loss()
        if not math.isfinite(value := float(loss.detach())):
            raise CloningFailed(
                f"the loss is not finite after {progress.update} updates; a smaller learning_rate than "
                f"{self.settings.learning_rate} or a longer warmup helps"
            )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        for group in self.optimiser.param_groups:
            group.setdefault("largest_lr", group["lr"])
            factor = compute_rate_factor(progress.update, group["updates"], self.settings.warmup)
            group["lr"] = factor * group["largest_lr"]
        self.optimiser.step()
        progress.update += 1
        self.ema.add(progress.update)
        progress.losses += value
        progress.counted += 1
        progress.seconds += time.monotonic() - begun

    def compute_loss(self) -> Tensor:
        """Returns the loss of a random batch: the mean squared error over the actions that were really recorded."""
        if self.pictures is not None and self.progress.update >= self.picture_updates:
            rows = torch.randint(len(self.mask), (self.batch,), generator=self.generator)
            features = self._compute_features(self.pictures).draw(rows, self.generator)
            return self._compute_chunk_loss(self.model.join(features, self.observation[rows]), rows)
        reuse = self.pictures.settings.reuse if self.pictures is not None else 1
        rows = torch.randint(len(self.mask), (max(1, self.batch // reuse),), generator=self.generator)
        pictures = self.pictures.gather(rows) if self.pictures is not None else None
        condition = self.model.encode(self.observation[rows], pictures, self.generator)
        loss = self._compute_chunk_loss(condition.repeat(reuse, 1), rows.repeat(reuse))
        return loss if self.auxiliary is None else loss + self.auxiliary.compute_loss(condition, rows)

    def _compute_chunk_loss(self, condition: Tensor, rows: Tensor) -> Tensor:
        """Returns the loss of conditions (B, C) of windows (B,), with noise of random levels."""
        actions, mask = self.action[rows], self.mask[rows]
        noise = torch.randn(actions.shape, generator=self.generator)
        level = self.model.objective.sample_time(len(actions), self.generator)
        errors = self.model.compute_errors(actions, condition, noise, level)  # (B, Tp)
        return (errors * mask).sum() / mask.sum()

    def _compute_features(self, pictures: PictureWindows) -> FeatureMemory:
        """Returns the features of all windows, of the averaged weights, which the model has from then on, too."""
        encoder, averaged = self.model.pictures, self.average.pictures
        assert encoder is not None
        assert averaged is not None
        if self._features is None:
            # The average of equal weights is these weights: the policy that acts sees what the rest has learnt from.
            encoder.load_state_dict(averaged.state_dict())
            encoder.requires_grad_(False)
            self._features = FeatureMemory.compute(encoder, pictures, self.seed)
        return self._features

    def save(self, path: Path) -> None:
        """Writes a checkpoint."""
        save_clone_checkpoint(path, self.learnt, self.average, self.optimiser, self.generator, self.progress)

    def load(self, path: Path) -> None:
        """Restores a checkpoint, if there is one.

        Raises:
            BadArtifact: it is damaged, or of other settings or data.
        """
        state = self.learnt, self.average, self.optimiser, self.generator
        self.progress = load_clone_checkpoint(path, *state, self.progress.fingerprint) or self.progress


def _list_groups(
    model: DiffusionModel, auxiliary: nn.Module | None, rate: float, steps: int, picture_updates: int
) -> list[dict[str, Any]]:
    """Returns the trainable parameters in groups, their learning rates and the updates in which these fall to 0."""
    groups = model.pictures.parameter_groups(rate) if model.pictures is not None else []
    groups = [{**group, "updates": picture_updates} for group in groups]
    listed = {id(parameter) for parameter in model.pictures.parameters()} if model.pictures is not None else set()
    own = [parameter for parameter in model.parameters() if id(parameter) not in listed]
    own += auxiliary.parameters() if auxiliary is not None else ()
    return [{"params": own, "lr": rate, "updates": steps}, *groups]


def compute_rate_factor(update: int, steps: int, warmup: int) -> float:
    """Returns the learning rate of an update, counted from 0, as a share of the largest: linear rise, then a cosine."""
    warmup = min(warmup, steps // 2)
    if update < warmup:
        return (update + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (update - warmup) / max(1, steps - warmup)))
