"""Preference learning with an ensemble of reward networks under a Bradley-Terry model (Christiano et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robo_reward.data.episode import Episode
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.errors import UnknownName, UsageError
from robo_reward.labelling.comparisons import Comparisons
from robo_reward.rewards.contract import RewardOutput, Weights, digest_tensors, validate_output
from robo_reward.rewards.matching.features import FeatureExtractor, build_feature_extractor
from robo_reward.rewards.preference.rapl import subsample_frames
from robo_reward.vision.heads import Chain, Head, Standardise, head_from_spec, make_head


@dataclass(frozen=True)
class BradleyTerrySettings:
    """Training settings of the ensemble.

    With r̂ the network and S(x) = mean_t r̂(x_t), a comparison of w and l has p = σ((S(w) - S(l)) / τ), and the
    loss is the cross entropy with its target. All pairs of a triplet are used. (RAPL's reference code confuses the
    order of its data here: it compares positive with neutral clips only; this one does not.)

    Args:
        head: kind and options of r̂, except its input width; `dim` is 1.
        members: networks in the ensemble, each with its own initial weights and its own bootstrap of the
            comparisons.
        standardise: whether r̂ gets z-scored features.
        temperature: τ.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        steps: number of training steps.
        batch: comparisons per step.
        frames: number of frames to which each clip is subsampled for training.
    """

    head: Mapping[str, Any] = field(default_factory=lambda: {"kind": "mlp", "hidden": [64, 64]})
    members: int = 3
    standardise: bool = True
    temperature: float = 0.1
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    steps: int = 300
    batch: int = 96
    frames: int = 45

    def __post_init__(self) -> None:
        if self.members < 1:
            raise UsageError(f"members is {self.members}, an ensemble needs at least one")

    def with_changes(self, changes: Mapping[str, Any]) -> BradleyTerrySettings:
        """Returns a copy with some settings changed.

        Raises:
            UnknownName: no such setting.
        """
        for name in changes:
            if name not in self.__dataclass_fields__:
                raise UnknownName("Bradley-Terry setting", name, self.__dataclass_fields__)
        return replace(self, **changes)


def train_ensemble(
    features: Sequence[np.ndarray],
    known: Comparisons,
    settings: BradleyTerrySettings | None = None,
    seed: int = 0,
    report: Callable[[int, float], None] = lambda step, accuracy: None,
) -> list[Head]:
    """Trains the networks of the ensemble.

    Args:
        features: (T_i, F) of each clip.
        known: comparisons of the clips.
        settings: of the training.
        seed: of initial weights, bootstraps and batches.
        report: called every 50 steps with the step and the share of the batch that is ranked correctly.

    Returns:
        Heads of features (..., F) to (..., 1), in evaluation mode.
    """
    settings = settings or BradleyTerrySettings()
    clips = subsample_frames(features, settings.frames)
    rng = np.random.default_rng(seed)
    # Bootstrap: each member gets its own resample of the comparisons.
    bags = [known.select_rows(rng.choice(len(known), len(known))) for _ in range(settings.members)]
    if settings.members == 1:
        bags = [known]  # a single network uses every comparison
    return [_train_member(clips, bag, settings, seed * settings.members + i, report) for i, bag in enumerate(bags)]


def _train_member(
    clips: Tensor, known: Comparisons, settings: BradleyTerrySettings, seed: int, report: Callable[[int, float], None]
) -> Head:
    width = clips.shape[-1]
    options = dict(settings.head)
    head = make_head(options.pop("kind"), seed=seed, in_dim=width, **{**options, "dim": 1})
    if settings.standardise:
        # Standardise by the clips that occur in comparisons.
        seen = clips[torch.from_numpy(np.union1d(known.winner, known.loser))]
        head = Chain([Standardise.fit(seen.reshape(-1, width).numpy()), head])
    optimizer = torch.optim.AdamW(head.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    rng = np.random.default_rng(seed)
    for step in range(settings.steps):
        rows = known.select_rows(rng.choice(len(known), min(settings.batch, len(known)), replace=False))
        # Evaluate each clip of the batch once.
        shown, place = np.unique(np.concatenate([rows.winner, rows.loser]), return_inverse=True)
        score = head(clips[shown])[..., 0].mean(-1) / settings.temperature  # S / τ, (n,)
        gap = score[place[: len(rows)]] - score[place[len(rows) :]]
        # The gap is the logit of the probability that the winner is preferred.
        loss = nn.functional.binary_cross_entropy_with_logits(gap, torch.from_numpy(rows.target).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0 or step == settings.steps - 1:
            report(step, float((gap.detach() > 0).float().mean()))
    return head.eval()


class NetworkReward:
    """The mean of an ensemble of networks on features of frames or states, r_t = scale (mean_m r̂_m(x_t) - shift).

    Terms: `reward`, the total. `compute_disagreement` gives the ensemble's standard deviation, for choosing
    queries.

    Args:
        look: feature extractor of the networks.
        members: heads of features (T, F) to (T, 1).
        scale: a factor.
        shift: subtracted first.
    """

    def __init__(self, look: FeatureExtractor, members: Sequence[Head], scale: float = 1.0, shift: float = 0.0) -> None:
        if not members:
            raise UsageError("a reward of networks needs at least one")
        self.look, self.members, self.scale, self.shift = look, list(members), float(scale), float(shift)

    @property
    def frames(self) -> FrameSpec | None:
        """Frames that an episode must contain; None where the networks read states."""
        return self.look.frames

    def __call__(self, episode: Episode) -> RewardOutput:
        return self.batch([episode])[0]

    def batch(self, episodes: Sequence[Episode]) -> list[RewardOutput]:
        """Computes the rewards of several episodes; their frames are encoded in one call."""
        features = self.look(episodes) if episodes else []
        totals = [self.scale * (self.predict_members(f).mean(axis=0) - self.shift) for f in features]
        return [validate_output(total, {"reward": total}, len(total)) for total in totals]

    @torch.inference_mode()
    def predict_members(self, features: np.ndarray) -> np.ndarray:
        """Returns the output of each network for features (T, F), (M, T) float64."""
        x = torch.from_numpy(np.ascontiguousarray(features, np.float32))
        return np.stack([member(x)[:, 0].double().numpy() for member in self.members])

    def compute_disagreement(self, features: np.ndarray) -> np.ndarray:
        """Returns the standard deviation between the networks at each step, (T,), times the scale."""
        return self.scale * self.predict_members(features).std(axis=0)

    def spec(self) -> dict[str, Any]:
        """Returns the JSON from which `networks_from_spec` rebuilds the reward, given its `weights`."""
        heads = [member.spec() for member in self.members]
        numbers = {"scale": self.scale, "shift": self.shift}
        return {
            "kind": "networks",
            "look": self.look.spec(),
            "heads": heads,
            **numbers,
            "weights": digest_tensors(self._member_tensors()),
        }

    def weights(self) -> Weights:
        """Returns the networks' tensors and the learnt weights of the encoder."""
        return {digest_tensors(self._member_tensors()): self._member_tensors(), **self.look.weights()}

    def _member_tensors(self) -> dict[str, np.ndarray]:
        return {
            f"{i}.{name}": tensor.detach().numpy()
            for i, member in enumerate(self.members)
            for name, tensor in member.state_dict().items()
        }


def build_bradley_terry_reward(
    look: FeatureExtractor, members: Sequence[Head], features: Sequence[np.ndarray]
) -> NetworkReward:
    """Returns the reward, with mean 0 and standard deviation 1 over the steps of all the clips."""
    raw = NetworkReward(look, members)
    steps = np.concatenate([raw.predict_members(f).mean(axis=0) for f in features])
    return NetworkReward(look, members, 1 / max(float(steps.std()), 1e-9), float(steps.mean()))


def networks_from_spec(spec: Mapping[str, Any], weights: Weights) -> NetworkReward:
    """Rebuilds a reward from its `NetworkReward.spec` and `weights`.

    Raises:
        UsageError: the weights named in the spec are missing.
    """
    if spec["weights"] not in weights:
        raise UsageError(
            f"this reward needs its weights {spec['weights']}, which are missing; load it with load_reward"
        )
    tensors, members = weights[spec["weights"]], []
    for i, wanted in enumerate(spec["heads"]):
        head = head_from_spec(wanted)
        own = {k.split(".", 1)[1]: torch.from_numpy(np.array(v)) for k, v in tensors.items() if k.startswith(f"{i}.")}
        head.load_state_dict(own)
        members.append(head.eval())
    return NetworkReward(build_feature_extractor(spec["look"], weights), members, spec["scale"], spec["shift"])
