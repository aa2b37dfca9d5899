"""Self-supervised training of a head: adapts the features of a frozen backbone to the scene without labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from robo_reward.data.episode import Episode
from robo_reward.errors import UnknownName, UsageError
from robo_reward.vision.encoder import Encoder
from robo_reward.vision.heads import PCA, HeadedEncoder, make_head
from robo_reward.vision.keypoints import Progress
from robo_reward.vision.views import collect_clips

LOSSES = ("time_contrastive", "inverse_dynamics")


def train_adapter(
    encoder: Encoder,
    episodes: Sequence[Episode],
    losses: Sequence[str] = ("time_contrastive", "inverse_dynamics"),
    head: str = "keypoints",
    dim: int = 32,
    components: int = 256,
    steps: int = 600,
    seed: int = 0,
    progress: Progress | None = None,
) -> HeadedEncoder:
    """Trains a head on unlabelled rollouts; the encoder stays frozen and runs once over all frames.

    * `time_contrastive` (Sermanet et al. 2018, one view, as InfoNCE): z_t is closer to z_{t±2} than to the same
      clip
      at other times and to other clips: -log softmax over those of cos(z_t, z_s) / 0.1.
    * `inverse_dynamics`: a small network predicts the action from (z_t, z_{t+1}, z_{t+1} - z_t); squared error
      over the actions' variance.

    Args:
        encoder: frozen; with maps (`layer="stageN"`) for a head of keypoints.
        episodes: with frames, of one task.
        losses: one or both; they are summed.
        head: `keypoints` on maps, or `linear`, `mlp` on the first principal components.
        dim: D of the head's features (keypoints: D / 2 points over all views).
        components: of the PCA.
        steps: of the training, 64 pairs each.
        seed: of all random draws.
        progress: called after every step.

    Raises:
        UnknownName: no such loss or head.
        UsageError: there is no loss, or the episodes are too short.
    """
    for name in losses:
        if name not in LOSSES:
            raise UnknownName("self-supervised loss", name, LOSSES)
    if not losses or min(len(episode) for episode in episodes) < 4:
        raise UsageError("adapt needs at least one loss, and episodes of four steps or more")
    frames = collect_clips(episodes)
    clips = [encoder.encode(clip) for clip in frames]
    base, trained = _make_trainable_head(encoder, clips, head, dim, components, seed)
    if base is not encoder:
        clips = [base.project(clip) for clip in clips]
    _train_head(trained, clips, [episode.action for episode in episodes], losses, steps, seed, progress)
    return HeadedEncoder(base, trained)


def _make_trainable_head(
    encoder: Encoder, clips: list[np.ndarray], head: str, dim: int, components: int, seed: int
) -> tuple[Any, Any]:
    """Returns the encoder that stays frozen, and the head to be trained on it."""
    rows = np.concatenate(clips)
    if head != "keypoints":
        base = HeadedEncoder(encoder, PCA.fit(rows, components))
        return base, make_head(head, in_dim=base.dim, dim=dim, seed=seed)
    shape: tuple[int, ...] = getattr(encoder, "shape", (1,))
    points: Any = make_head("keypoints", shape=shape, points=max(dim // (2 * shape[0]), 1), seed=seed)
    points.calibrate(rows[:: max(len(rows) // 500, 1)])
    return encoder, points


def _train_head(
    head: Any,
    clips: list[np.ndarray],
    actions: list[np.ndarray],
    losses: Sequence[str],
    steps: int,
    seed: int,
    progress: Progress | None,
) -> None:
    rng = np.random.default_rng(seed)
    features = [torch.from_numpy(clip) for clip in clips]
    moves = [torch.from_numpy(action).float() for action in actions]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        guess = nn.Sequential(nn.Linear(3 * head.dim, 128), nn.ReLU(), nn.Linear(128, moves[0].shape[1]))
    weights = [*head.parameters(), *guess.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=3e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    variance = torch.cat(moves).var(dim=0).clamp_min(1e-6)
    terms: dict[str, Callable[[], torch.Tensor]] = {
        "time_contrastive": lambda: _contrastive_loss(head, features, rng),
        "inverse_dynamics": lambda: _inverse_dynamics_loss(head, guess, features, moves, variance, rng),
    }
    head.train()
    for step in range(steps):
        loss = torch.stack([terms[name]() for name in losses]).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if progress:
            progress(step + 1, steps, float(loss.detach()))
    head.eval()


def _contrastive_loss(head: Any, features: list[torch.Tensor], rng: np.random.Generator) -> torch.Tensor:
    """Computes InfoNCE over 8 frames of each of 8 clips, with one positive each."""
    chosen = rng.choice(len(features), size=8, replace=len(features) < 8)
    first, second = [], []
    for clip in chosen:
        length = len(features[clip])
        times = rng.choice(length, size=8, replace=length < 8)
        near = np.clip(times + rng.choice((-2, -1, 1, 2), size=8), 0, length - 1)
        first.append(features[clip][times])
        second.append(features[clip][near])
    a, b = (functional.normalize(head(torch.cat(part)), dim=1) for part in (first, second))
    return functional.cross_entropy(a @ b.T / 0.1, torch.arange(len(a)))


def _inverse_dynamics_loss(
    head: Any,
    guess: nn.Module,
    features: list[torch.Tensor],
    moves: list[torch.Tensor],
    variance: torch.Tensor,
    rng: np.random.Generator,
) -> torch.Tensor:
    """Computes the squared error of the predicted actions of 64 steps over their variance."""
    clips = rng.integers(len(moves), size=64)
    times = [int(rng.integers(len(moves[clip]))) for clip in clips]
    now = head(torch.stack([features[clip][t] for clip, t in zip(clips, times, strict=True)]))
    then = head(torch.stack([features[clip][t + 1] for clip, t in zip(clips, times, strict=True)]))
    wanted = torch.stack([moves[clip][t] for clip, t in zip(clips, times, strict=True)])
    found = guess(torch.cat([now, then, then - now], dim=1))
    return ((found - wanted).square() / variance).mean()
