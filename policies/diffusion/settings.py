"""The settings of a diffusion, flow or regression policy, which are stored with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

from robo_reward.configs.cloning import ChunkPolicyConfig, NetworkName, PredictionType, Size
from robo_reward.errors import UnknownName, UsageError
from robo_reward.files import convert_json

Objective = Literal["ddpm", "flow", "regression"]
LARGEST_COUNT = 4096
"""The largest horizon and the largest number of diffusion steps."""


@dataclass(frozen=True, kw_only=True)
class DiffusionSettings(ChunkPolicyConfig):
    """Settings of a chunk policy: what it predicts, how it samples, and how it is trained.

    With To = `history` and Tp = `horizon`, the network predicts Tp actions, the first for the oldest observation. The
    chunk that the policy returns begins at the newest one: H = Tp - (To - 1) rows.

    Args:
        objective: `ddpm` predicts the noise, `flow` a velocity; `regression` predicts the chunk itself, as a baseline.

    Raises:
        UnknownName: no such objective, network, size or type of prediction.
        UsageError: a number out of range, or numbers that do not fit together.
    """

    objective: Objective = "ddpm"

    def __post_init__(self) -> None:
        closed = {"objective": Objective, "network": NetworkName, "size": Size, "prediction_type": PredictionType}
        for name, kind in closed.items():
            if getattr(self, name) not in get_args(kind):
                raise UnknownName(name, str(getattr(self, name)), get_args(kind))
        for name in ("history", "horizon", "execute", "train_steps", "sampling_steps"):
            _require_whole(name, getattr(self, name), 1)
        _require_whole("warmup", self.warmup, 0, 2**53)
        for name, low, high in (("warm_start", 0.0, 0.99), ("ema_power", 0.0, 1.0), ("ema_max", 0.0, 1.0)):
            _require_number(name, getattr(self, name), low, high)
        _require_number("learning_rate", self.learning_rate, 1e-12, 10.0)
        _require_number("weight_decay", self.weight_decay, 0.0, 10.0)
        self._check_lengths()
        self._check_sampling()

    @property
    def chunk(self) -> int:
        """H, the number of actions that the policy returns."""
        return self.horizon - (self.history - 1)

    @property
    def shortest_episode(self) -> int:
        """The number of steps that an episode needs for one window."""
        return max(1, self.horizon - self.execute - self.history + 2)

    @property
    def divisor(self) -> int:
        """The number that the horizon of a U-Net must be a multiple of, since every level but the last halves it."""
        return {"cpu": 2, "paper": 4}[self.size] if self.network == "unet" else 1

    def to_json(self) -> dict[str, Any]:
        """Returns all settings as JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any], source: Any = "settings") -> DiffusionSettings:
        """Rebuilds settings from the value of `to_json`.

        Raises:
            UnknownName: a setting that does not exist.
            BadArtifact: a value of another type.
            UsageError: values that do not fit together.
        """
        hints, names = get_type_hints(cls, include_extras=True), [field.name for field in fields(cls)]
        for name in value:
            if name not in names:
                raise UnknownName("setting of a diffusion policy", str(name), names)
        kept = {name: convert_json(part, hints[name], f"{source}: {name}") for name, part in value.items()}
        return cls(**kept)

    def _check_lengths(self) -> None:
        if self.history > self.horizon:
            raise UsageError(
                f"history={self.history} is longer than horizon={self.horizon}; the horizon begins at the oldest "
                f"observation: give horizon={self.history + 7} or more"
            )
        if self.execute > self.chunk:
            raise UsageError(
                f"execute={self.execute} actions of a chunk of {self.chunk} (horizon {self.horizon}, history "
                f"{self.history}); give execute={self.chunk} or less, or a longer horizon"
            )
        if self.horizon % self.divisor:
            longer = -(-self.horizon // self.divisor) * self.divisor
            raise UsageError(
                f"horizon={self.horizon} does not fit a U-Net of size={self.size}: it must be a multiple of "
                f"{self.divisor}. Give horizon={longer}"
            )

    def _check_sampling(self) -> None:
        if self.objective == "ddpm" and self.sampling_steps > self.train_steps:
            raise UsageError(
                f"sampling_steps={self.sampling_steps} is more than train_steps={self.train_steps}: there are only "
                f"{self.train_steps} noise levels to visit. Give sampling_steps={self.train_steps} or less"
            )


def _require_whole(name: str, value: Any, low: int, high: int = LARGEST_COUNT) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise UsageError(f"{name}={value!r}: expected a whole number from {low} to {high}")


def _require_number(name: str, value: Any, low: float, high: float) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not low <= value <= high:
        raise UsageError(f"{name}={value!r}: expected a number from {low} to {high}")
