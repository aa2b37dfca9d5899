"""A frozen chunk policy whose noise an actor chooses, as a folder of numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from robo_reward.envs.task import ActionSpec, Task
from robo_reward.errors import BadArtifact, WrongShape
from robo_reward.files import convert_json, load_json, write_json
from robo_reward.policies.dsrl.noise_driven import NoiseDrivenPolicy
from robo_reward.policies.dsrl.noise_env import expand_noise
from robo_reward.policies.policy import FORMAT, MAX_DOCUMENT, REMEDY, MetaForm, MLPPolicy, load_policy

NOISE = "noise"
"""Kind of the actor's action specification; its scale is the magnitude of the noise."""


@dataclass
class DSRLPolicy:
    """A chunk policy that acts as `frozen.act(observations, noise = magnitude · actor(newest observation))`.

    It is deterministic if the frozen policy is, given its noise.

    Args:
        actor: from the newest observation (O,) to the noise of the chunk, in units of the magnitude.
        frozen: the policy that was cloned from demonstrations.
        meta: its origin: task, steps, seed.
    """

    actor: MLPPolicy
    frozen: NoiseDrivenPolicy
    meta: dict[str, Any]

    def __post_init__(self) -> None:
        rows, columns = self.frozen.noise_shape
        if self.actor.action.dim not in (columns, rows * columns):
            raise WrongShape("noise", (self.actor.action.dim,), f"({columns},) or ({rows * columns},)")
        frozen = self.frozen
        self.observation, self.action, self.frames = frozen.observation, frozen.action, frozen.frames
        self.history, self.chunk, self.execute = frozen.history, frozen.chunk, frozen.execute
        self.noise_shape = frozen.noise_shape

    def act(self, observations: Any, /, noise: np.ndarray | None = None) -> np.ndarray:
        """Returns chunks (B, H, A) in [-1, 1] for observations (B, To, O), or (B, O), which count To times.

        Args:
            observations: of the state.
            noise: ignored: the actor chooses it.
        """
        states = observations["state"] if isinstance(observations, dict) else observations
        newest = np.asarray(states)
        newest = newest[:, -1] if newest.ndim == 3 else newest
        chosen = expand_noise(self.actor.act(newest), self.noise_shape, self.actor.action.scale[0])
        self.frozen.reset()  # no warm start from the previous chunk, as in training
        return self.frozen.act(observations, chosen)

    def reset(self, seed: int = 0) -> None:
        """Resets the frozen policy."""
        self.frozen.reset(seed)

    def require_compatible(self, task: Task) -> DSRLPolicy:
        """Returns the policy itself if the task has the conventions of the frozen policy.

        Raises:
            PolicyMismatch: naming what differs.
        """
        self.frozen.require_compatible(task)
        return self

    def save(self, folder: Path) -> Path:
        """Writes `policy.json` and the policy folders `actor/` and `frozen/`."""
        self.actor.save(folder / "actor")
        self.frozen.save(folder / "frozen")
        write_json(folder / "policy.json", {"format": FORMAT, "kind": "dsrl", "meta": self.meta})
        return folder

    def with_meta(self, **more: Any) -> DSRLPolicy:
        """Returns the same policy with more metadata."""
        return replace(self, meta={**self.meta, **more})


class DSRLForm(msgspec.Struct):
    """The content of `policy.json`."""

    meta: dict[str, Any]


def make_noise_spec(policy: NoiseDrivenPolicy, size: int, magnitude: float) -> ActionSpec:
    """Returns the specification of an actor's action: the initial noise of a chunk, chosen once for each chunk."""
    _, columns = policy.noise_shape
    names = tuple(f"noise{i // columns}_{policy.action.names[i % columns]}" for i in range(size))
    rate = policy.action.rate_hz / policy.execute
    return ActionSpec(NOISE, names, (magnitude,) * size, ("1",) * size, rate)


def load_dsrl(folder: Path) -> DSRLPolicy:
    """Reads a policy that `DSRLPolicy.save` wrote.

    Raises:
        BadArtifact: a file of it is missing or damaged, or actor and frozen policy do not fit each other.
    """
    path = folder / "policy.json"
    form = load_json(path, DSRLForm, MAX_DOCUMENT, REMEDY)
    for part in ("actor", "frozen"):
        if form is None or not (folder / part / "policy.json").is_file():
            raise BadArtifact(folder, f"it has no {part}/policy.json", REMEDY)
    assert form is not None
    convert_json(form.meta, MetaForm, path, REMEDY)
    actor, frozen = load_policy(folder / "actor"), load_policy(folder / "frozen")
    if not isinstance(actor, MLPPolicy) or actor.action.kind != NOISE:
        raise BadArtifact(folder / "actor", f"it commands {actor.action.kind!r:.40}, expected {NOISE!r}", REMEDY)
    if not hasattr(frozen, "noise_shape"):
        raise BadArtifact(folder / "frozen", "it is not a policy that makes chunks of noise", REMEDY)
    try:
        return DSRLPolicy(actor, frozen, form.meta)
    except WrongShape as error:
        raise BadArtifact(folder, str(error), REMEDY) from None
