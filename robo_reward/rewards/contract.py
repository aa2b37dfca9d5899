"""The reward contract: transitions or an episode in, one number per step with named terms out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np

from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.state import Transitions
from robo_reward.errors import RoboRewardError, WrongShape

if TYPE_CHECKING:
    from robo_reward.data.episode import Episode
    from robo_reward.rewards.function.call import FunctionCall

MAX_TERMS = 32


class RewardOutput(NamedTuple):
    """The output of a reward for B steps.

    Attributes:
        total: (B,) float64, finite.
        terms: name -> (B,) float64; at most 32.
    """

    total: np.ndarray
    terms: dict[str, np.ndarray]


@runtime_checkable
class StepReward(Protocol):
    """Computes the reward of any B transitions, in any order."""

    def __call__(self, batch: Transitions) -> RewardOutput:
        """Returns the reward of each transition."""
        ...

    def spec(self) -> dict[str, Any]:
        """Returns JSON, enough to rebuild this reward with `robo_reward.rewards.artifact.build_reward`."""
        ...


Weights = Mapping[str, Mapping[str, np.ndarray]]
"""Learnt weights: digest (see `digest_tensors`) -> tensor name -> array. A spec names its digest as `"weights"`."""


@runtime_checkable
class EpisodeReward(Protocol):
    """Computes the rewards of one whole episode in order; for rewards that are known only afterwards.

    Step t is rewarded for what followed it: state and frame t + 1. A reward that has learnt something also has
    `weights() -> Weights`, and names the digest of its own tensors in its spec.

    Attributes:
        frames: the frames that it needs, or None where the states are enough.
    """

    frames: FrameSpec | None

    def __call__(self, episode: Episode) -> RewardOutput:
        """Returns the reward of each step of the episode."""
        ...

    def batch(self, episodes: Sequence[Episode]) -> list[RewardOutput]:
        """Returns the rewards of several episodes: the same numbers as one by one, computed faster."""
        ...

    def spec(self) -> dict[str, Any]:
        """Returns JSON, enough to rebuild this reward."""
        ...


@runtime_checkable
class StatefulReward(Protocol):
    """A reward that depends on what it has evaluated before; a checkpoint of a training keeps that state."""

    def state(self) -> dict[str, np.ndarray]:
        """Returns the state that `restore` needs."""
        ...

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Restores the result of `state`."""
        ...


def learnt_weights(reward: Any) -> Weights:
    """Returns the tensors that a reward has learnt; empty for one that has learnt nothing."""
    return reward.weights() if hasattr(reward, "weights") else {}


def digest_tensors(tensors: Mapping[str, np.ndarray]) -> str:
    """Returns sixteen hex digits of named arrays: names, types, shapes and bytes."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        found.update(f"{name} {array.dtype.str} {array.shape};".encode())
        found.update(array.tobytes())
    return found.hexdigest()[:16]


class InvalidReward(RoboRewardError):
    """A reward returned something outside the contract."""


def validate_output(total: Any, terms: Mapping[str, Any], batch: int) -> RewardOutput:
    """Checks the result of a reward and returns it as a `RewardOutput` of float64 arrays of its own.

    Args:
        total: anything that should be (B,) numbers; a single number is repeated.
        terms: term name -> (B,) numbers or a single number.
        batch: B.

    Raises:
        InvalidReward: a value that is not finite or not real, too many terms, or a bad term name.
        WrongShape: a value of another shape.
    """
    if not isinstance(terms, Mapping):
        raise InvalidReward(f"the second value returned is {type(terms).__name__}, expected a dict of named terms")
    if len(terms) > MAX_TERMS:
        raise InvalidReward(f"{len(terms)} terms returned, at most {MAX_TERMS} are allowed")
    checked = {}
    for name, value in terms.items():
        if not isinstance(name, str) or not name.isidentifier() or len(name) > 64:
            raise InvalidReward(f"term name {name!r} is not a short Python identifier, such as 'reach'")
        checked[name] = _to_numbers(f"term {name!r}", value, batch)
    return RewardOutput(_to_numbers("total", total, batch), checked)


def _to_numbers(what: str, value: Any, batch: int) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise InvalidReward(f"{what} holds {array.dtype}, expected real numbers")
    if array.shape not in ((), (batch,)):
        raise WrongShape(what, array.shape, f"({batch},), one number per transition")
    numbers = np.array(np.broadcast_to(array, (batch,)), dtype=np.float64)
    if not np.isfinite(numbers).all():
        bad = int(np.argmin(np.isfinite(numbers)))
        raise InvalidReward(f"{what} is {numbers[bad]} at transition {bad}; rewards must be finite")
    return numbers


def fingerprint_spec(spec: Mapping[str, Any]) -> str:
    """Returns sixteen hex digits of a reward's spec: equal specs, equal rewards."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]


class FunctionReward:
    """A function of the user as a step reward.

    Its parameters say by their names what they get: `state` (after the action), `action`, `previous`; `obs`, `next_obs`
    for flat arrays; or fields of the state. It may be written for numpy or torch, for a batch or for one world, and
    returns a number for each transition, alone or as `(total, {name: term})`. The form that suits it is found by trial
    on the first batch. It is trusted code, which is not confined, and cannot be rebuilt from its spec, only named.

    Args:
        function: anything that can be called.
        name: what reports call it.
        framework: what it computes with: `numpy`, `torch`, or `auto`.
    """

    def __init__(
        self, function: Callable[..., Any], name: str = "", framework: Literal["auto", "numpy", "torch"] = "auto"
    ) -> None:
        self.function = function
        self.framework: Literal["auto", "numpy", "torch"] = framework
        self.name = name or getattr(function, "__name__", type(function).__name__)
        self._call: Any = None

    def __call__(self, batch: Transitions) -> RewardOutput:
        if self._call is None and not len(batch.action):
            return RewardOutput(np.zeros(0), {})
        return self.prepare_call(batch)(batch)

    def prepare_call(self, batch: Transitions) -> FunctionCall:
        """Returns the function with the form in which it is called, found on this batch if it is the first.

        Raises:
            UnknownName: a parameter whose meaning is unknown.
            InvalidReward: the function does not work in any form.
        """
        from robo_reward.rewards.function.call import choose_call  # imported here: it needs this module

        if self._call is None:
            self._call = choose_call(self.function, batch, self.name, self.framework)
        return self._call

    def spec(self) -> dict[str, Any]:
        return {"kind": "function", "name": self.name}
