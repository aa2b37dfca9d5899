"""RAPL: a representation in which matching agrees with what a person prefers (Tian et al., 2310.07932, 2412.04835)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robo_reward.errors import UnknownName, UsageError
from robo_reward.labelling.comparisons import NO_ANCHOR, Comparisons, find_preferred_clips
from robo_reward.rewards.matching.cost import Cost, get_cost_function
from robo_reward.rewards.matching.features import FrameFeatures
from robo_reward.rewards.matching.reward import MatchingReward
from robo_reward.rewards.matching.rule import Rule, build_rule
from robo_reward.vision.heads import Chain, Head, HeadedEncoder, Standardise, make_head

LOSSES = ("log", "one_minus_p")


@dataclass(frozen=True)
class RaplSettings:
    """Settings of the training of the head and of the reward.

    The score of a clip x is S(x) = max_k mean_t rule(C(φ(x), φ(y_k)))_t over anchors y_k, clips that the person
    likes. A comparison of w and l has p = σ((S(w) - S(l)) / τ), and its loss is the cross entropy with its target
    y: -y log p - (1 - y) log(1 - p), or as in the reference code 1 - p, and (1/2 - p)² for ties.

    Args:
        head: kind and options of φ's head, except its input width.
        standardise: whether the head gets z-scored features.
        cost: of two features, see `robo_reward.rewards.matching.costs`.
        rule: name and parameters of a matching rule, see `robo_reward.rewards.matching.rules`.
        loss: `log` or `one_minus_p`.
        temperature: initial τ.
        learn_temperature: whether τ is trained as well.
        anchors: number of preferred clips that a batch is compared with; 0: as in the reference, each triplet's
            neutral and negative clip with its own positive one, and no other pairs are used.
        experts: number of preferred clips that the reward uses as demonstrations.
        learning_rate: of AdamW.
        weight_decay: of AdamW, on the head.
        steps: number of training steps.
        batch: comparisons per step.
        frames: number of frames to which each clip is subsampled for training.
        noise: augmentation: Gaussian noise on the features while training, in units of each feature's standard
            deviation.
    """

    head: Mapping[str, Any] = field(default_factory=lambda: {"kind": "mlp", "dim": 32, "hidden": [64], "bend": "tanh"})
    standardise: bool = True
    cost: str = "euclidean"
    rule: Mapping[str, Any] = field(default_factory=lambda: {"name": "final_frame", "last": 5})
    loss: str = "log"
    temperature: float = 0.1
    learn_temperature: bool = True
    anchors: int = 8
    experts: int = 8
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    steps: int = 200
    batch: int = 96
    frames: int = 45
    noise: float = 0.3

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise UnknownName("RAPL loss", self.loss, LOSSES)
        build_rule(self.rule)
        get_cost_function(self.cost)


PRESETS = {
    "rapl": RaplSettings(),
    "rapl-code": RaplSettings(
        head={"kind": "linear", "dim": 32},
        standardise=False,
        cost="cosine",
        rule={"name": "ot", "epsilon": 1.0},
        loss="one_minus_p",
        temperature=1.0,
        learn_temperature=False,
        anchors=0,
        experts=6,
        learning_rate=1e-3,
        weight_decay=0.0,
        steps=1200,  # 100 epochs of 120 triplets in batches of 10
        batch=10,
        noise=0.0,
    ),
}
"""`rapl-code`: the reference code, on frozen features with normalisation in evaluation mode. `rapl`: ours."""


def make_rapl_settings(preset: str, changes: Mapping[str, Any] | None = None) -> RaplSettings:
    """Returns a preset with some settings changed.

    Raises:
        UnknownName: no such preset or setting.
    """
    if preset not in PRESETS:
        raise UnknownName("RAPL preset", preset, PRESETS)
    for name in changes or {}:
        if name not in RaplSettings.__dataclass_fields__:
            raise UnknownName("RAPL setting", name, RaplSettings.__dataclass_fields__)
    return replace(PRESETS[preset], **(changes or {}))


def subsample_frames(features: Sequence[np.ndarray], frames: int) -> Tensor:
    """Subsamples clips (T_i, F) to `frames` evenly spaced frames each, (n, frames, F) float32."""
    rows = [f[np.linspace(0, len(f) - 1, frames).round().astype(int)] for f in features]
    return torch.from_numpy(np.stack(rows).astype(np.float32, copy=False))


def train_head(
    features: Sequence[np.ndarray],
    known: Comparisons,
    settings: RaplSettings = PRESETS["rapl"],
    seed: int = 0,
    report: Callable[[int, float], None] = lambda step, accuracy: None,
) -> Head:
    """Trains φ's head on comparisons of clips.

    Args:
        features: (T_i, F) of each clip, from the frozen encoder.
        known: comparisons of the clips.
        settings: of the training.
        seed: of the head's initial weights and the batches.
        report: called every 50 steps with the step and the share of the batch that is ranked correctly.

    Returns:
        A head from features (..., F) to (..., D), in evaluation mode.

    Raises:
        UsageError: `anchors=0` and there is no triplet with a strict order.
    """
    clips = subsample_frames(features, settings.frames)
    seen = clips[torch.from_numpy(np.union1d(known.winner, known.loser))]
    head = _build_head(seen, settings, seed)
    if not settings.anchors:
        known = known.select_rows(np.flatnonzero(known.anchor != NO_ANCHOR))
        if not len(known):
            raise UsageError("RAPL with anchors=0 learns from triplets alone, and no answer puts three clips in order")
    rule, cost = build_rule(settings.rule), get_cost_function(settings.cost)
    # Training log τ keeps τ positive.
    log_temperature = nn.Parameter(torch.tensor(float(np.log(settings.temperature))), settings.learn_temperature)
    weights = {"params": list(head.parameters()), "weight_decay": settings.weight_decay}
    optimizer = torch.optim.AdamW(
        [weights, {"params": [log_temperature], "weight_decay": 0.0}], lr=settings.learning_rate
    )
    # Each batch draws its anchors from four times as many preferred clips.
    favourites = find_preferred_clips(known, max(4 * settings.anchors, 1))
    # Augmentation noise, in units of each feature's standard deviation.
    jitter, generator = settings.noise * seen.std(dim=(0, 1)), torch.Generator().manual_seed(seed)
    rng = np.random.default_rng(seed)

    def embed_clips(which: np.ndarray) -> Tensor:
        x = clips[which]
        return head(x + jitter * torch.randn(x.shape, generator=generator) if settings.noise else x)

    for step in range(settings.steps):
        rows = known.select_rows(rng.choice(len(known), min(settings.batch, len(known)), replace=False))
        anchors = rng.permutation(favourites)[: settings.anchors] if settings.anchors else rows.anchor
        gap = (
            _compute_score_gap(embed_clips, rows, anchors, rule, cost, own=not settings.anchors) / log_temperature.exp()
        )
        loss = _compute_loss(gap, torch.from_numpy(rows.target).float(), settings.loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0 or step == settings.steps - 1:
            report(step, float((gap.detach() > 0).float().mean()))
    return head.eval()


def _build_head(clips: Tensor, settings: RaplSettings, seed: int) -> Head:
    width = clips.shape[-1]
    options = dict(settings.head)
    trained = make_head(options.pop("kind"), seed=seed, in_dim=width, **options)
    return Chain([Standardise.fit(clips.reshape(-1, width).numpy()), trained]) if settings.standardise else trained


def _compute_score_gap(
    embed: Callable[[np.ndarray], Tensor], rows: Comparisons, anchors: np.ndarray, rule: Rule, cost: Cost, own: bool
) -> Tensor:
    """Computes S(winner) - S(loser), (B,), of clips that `embed` maps to (n, T, D).

    With `own`, anchor i belongs to comparison i alone.
    """
    # Embed each clip of the batch once.
    shown, place = np.unique(np.concatenate([rows.winner, rows.loser]), return_inverse=True)
    winner, loser = place[: len(rows)], place[len(rows) :]
    z = embed(shown)  # (n, T, D)
    targets = torch.stack(rule.select_targets(list(embed(anchors))))  # (K, S, D)
    if own:
        scores = [rule(cost(z[side], targets)).mean(-1) for side in (winner, loser)]
        return scores[0] - scores[1]
    match = rule(cost(z[:, None], targets[None])).mean(-1)  # (n, K)
    itself = torch.from_numpy(shown[:, None] == anchors[None])
    score = match.masked_fill(itself & (len(anchors) > 1), -torch.inf).amax(1)  # a clip would match itself
    return score[winner] - score[loser]


def _compute_loss(gap: Tensor, target: Tensor, kind: str) -> Tensor:
    if kind == "log":
        return nn.functional.binary_cross_entropy_with_logits(gap, target)
    p = torch.sigmoid(gap)  # Bradley-Terry probability that the winner is preferred
    return torch.where(target == 0.5, (0.5 - p) ** 2, 1 - p).mean()


def build_rapl_reward(
    look: FrameFeatures, head: Head, features: Sequence[np.ndarray], known: Comparisons, settings: RaplSettings
) -> MatchingReward:
    """Returns the reward: matching with the clips that the person likes best, in the trained representation.

    It is scaled so that its steps over all the clips have standard deviation 1.

    Args:
        look: extractor of the frozen features.
        head: from `train_head`.
        features: (T_i, F) of each clip.
        known: comparisons of the clips.
        settings: settings of the training.
    """
    aligned = HeadedEncoder(look.encoder, head)
    z = [aligned.project(f) for f in features]
    demonstrations = [z[i] for i in find_preferred_clips(known, settings.experts)]
    options: dict[str, Any] = {"rule": build_rule(settings.rule), "cost": settings.cost}
    reward = MatchingReward(FrameFeatures(aligned, look.frames), demonstrations, **options)
    # Scale to standard deviation 1 over the steps of all clips.
    steps = np.concatenate([reward.compute_unscaled([clip])[0] for clip in z])
    return MatchingReward(reward.look, demonstrations, scale=float(1 / max(steps.std(), 1e-9)), **options)
