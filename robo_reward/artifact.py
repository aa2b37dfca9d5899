"""A reward on disk: a folder that a person can read, and from which the same reward is built again.

`reward.json` holds the spec and its fingerprint; the source of a reward program stands beside it in `reward.py`, what
was learnt in `weights-DIGEST.safetensors`. Nothing is pickled, and loading runs nothing but the reward language.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from robo_reward.compose import WeightedReward
from robo_reward.envs.state import StateSpec
from robo_reward.errors import BadArtifact, UnknownName, UsageError
from robo_reward.registry import Registry
from robo_reward.reward import EpisodeReward, StepReward, Weights, digest, fingerprint, learnt

FORMAT = "robo-reward/reward"
VERSION = 1

rewards: Registry[Any] = Registry("reward kind", "robo_reward.rewards")
"""Kind -> factory `(spec, weights) -> reward`, by the `kind` of `spec()`; other packages add theirs by entry points."""


def build_reward(spec: Mapping[str, Any], weights: Weights | None = None) -> Any:
    """Builds a reward from what its `spec()` gave.

    Args:
        spec: JSON with a `kind`.
        weights: what the reward's `weights()` gave, if it has any.

    Raises:
        UsageError: the spec has no kind.
        UnknownName: no such kind; the message lists the closest.
    """
    kind = spec.get("kind") if isinstance(spec, Mapping) else None
    if not isinstance(kind, str):
        raise UsageError(f"a reward spec names its 'kind', one of: {', '.join(rewards.names())}")
    return rewards.create(kind, spec, weights or {})


def save_reward(reward: StepReward | EpisodeReward, folder: Path | str) -> Path:
    """Writes a reward's folder; `reward.json` is renamed into place last, so a folder that has one is whole.

    Args:
        reward: of a kind that can be rebuilt.
        folder: made if need be; an earlier reward in it is replaced.

    Returns:
        The folder.

    Raises:
        UnknownName: a reward of a kind that cannot be rebuilt, such as a plain Python function.
    """
    folder, spec = Path(folder), reward.spec()
    for kind in _kinds(spec):
        if kind not in rewards.names():
            remedy = "Only these can be saved: write it as a reward program, or register its kind."
            raise UnknownName("reward kind", kind, rewards.names(), remedy)
    folder.mkdir(parents=True, exist_ok=True)
    sources: dict[str, str] = {}
    stored = _without_sources(spec, sources)
    for name, source in sources.items():
        _write(folder / name, source)
    weights = learnt(reward)
    for name, tensors in weights.items():
        _write(folder / f"weights-{name}.safetensors", save({k: np.ascontiguousarray(v) for k, v in tensors.items()}))
    document = {"format": FORMAT, "version": VERSION, "fingerprint": fingerprint(spec), "spec": stored}
    _write(folder / "reward.json", json.dumps(document, indent=2) + "\n")
    for path in folder.glob("reward*.py"):
        if path.name not in sources:
            path.unlink()  # of the reward that was here before
    for path in folder.glob("weights-*.safetensors"):
        if path.stem.removeprefix("weights-") not in weights:
            path.unlink()
    return folder


def load_reward(
    folder: Path | str, *, state: StateSpec | None = None, action_dim: int | None = None, edited: bool = False
) -> Any:
    """Builds the reward of a folder.

    Args:
        folder: written by `save_reward`.
        state: what the reward will be given; refused if the reward was written for other fields.
        action_dim: likewise, A.
        edited: accept that `reward.py` or `reward.json` was changed by hand since it was saved.

    Raises:
        BadArtifact: not a reward folder, of a newer version, changed, or for another state or action.
    """
    folder = Path(folder)
    document = _document(folder)
    spec = _with_sources(document["spec"], folder)
    if not edited and fingerprint(spec) != document["fingerprint"]:
        problem = f"its content has fingerprint {fingerprint(spec)}, {document['fingerprint']} was saved"
        raise BadArtifact(folder, problem, "If you changed it on purpose, load it with edited=True and save it again")
    for part in _parts(spec):
        _check_fit(folder, part, state, action_dim)
    return build_reward(spec, _read_weights(spec, folder))


def _read_weights(spec: Any, folder: Path) -> Weights:
    """The tensors that the parts of a spec name, each checked against its digest."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for name in {str(part["weights"]) for part in _parts(spec) if "weights" in part}:
        try:
            found[name] = load((folder / f"weights-{name}.safetensors").read_bytes())
        except (OSError, SafetensorError) as error:
            raise BadArtifact(folder, f"weights {name} cannot be read: {error}", "Save the reward again") from error
        if digest(found[name]) != name:
            raise BadArtifact(folder, f"weights-{name}.safetensors is damaged", "Save the reward again")
    return found


def _document(folder: Path) -> dict[str, Any]:
    path = folder / "reward.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadArtifact(folder, "there is no reward.json", "Give the folder that save_reward wrote") from None
    except (OSError, ValueError) as error:
        raise BadArtifact(folder, f"reward.json cannot be read: {error}", "Save the reward again") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT or "spec" not in document:
        raise BadArtifact(folder, f"reward.json is not of the format {FORMAT!r}", "Save the reward again")
    if document.get("version", 0) > VERSION:
        raise BadArtifact(folder, f"it has version {document['version']}, this is {VERSION}", "Upgrade robo-reward")
    return document


def _check_fit(folder: Path, part: Mapping[str, Any], state: StateSpec | None, action_dim: int | None) -> None:
    if action_dim is not None and part.get("action_dim", action_dim) != action_dim:
        problem = f"it was written for actions of {part['action_dim']} numbers, this task has {action_dim}"
        raise BadArtifact(folder, problem, "Use it with the task that it was written for")
    if state is None or "state" not in part:
        return
    own = StateSpec.from_json(part["state"])
    if own != state:
        raise BadArtifact(
            folder, f"its state differs: {_difference(own, state)}", "Use it with the task it was written for"
        )


def _difference(own: StateSpec, other: StateSpec) -> str:
    missing = [n for n in own.names if n not in other]
    extra = [n for n in other.names if n not in own]
    changed = [n for n in own.names if n in other and own[n] != other[n]]
    found = [("the task has no ", missing), ("the reward does not know ", extra), ("defined differently: ", changed)]
    return "; ".join(text + ", ".join(names) for text, names in found if names) or "the fields stand in another order"


def _parts(spec: Any) -> list[Mapping[str, Any]]:
    """Every reward spec inside a spec, itself included."""
    inner = spec.values() if isinstance(spec, Mapping) else spec if isinstance(spec, list | tuple) else ()
    found = [part for value in inner for part in _parts(value)]
    return [spec, *found] if isinstance(spec, Mapping) and "kind" in spec else found


def _kinds(spec: Any) -> list[str]:
    """The kinds of the rewards in a spec; what stands under `encoder` and `heads` is of kinds that others know."""
    return [str(part["kind"]) for part in _parts(_map(spec, _without_networks))]


def _without_networks(part: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in part.items() if key not in ("encoder", "heads")}


def _map(spec: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    if isinstance(spec, Mapping):
        return change({key: _map(value, change) for key, value in spec.items()})
    return [_map(value, change) for value in spec] if isinstance(spec, list | tuple) else spec


def _without_sources(spec: Any, sources: dict[str, str]) -> Any:
    """Moves each program's text to `sources` (file name -> text) and leaves the file name."""

    def change(part: dict[str, Any]) -> dict[str, Any]:
        if part.get("kind") != "program" or not isinstance(part.get("source"), str):
            return part
        name = "reward.py" if not sources else f"reward_{len(sources) + 1}.py"
        sources[name] = part.pop("source")
        return {**part, "source_file": name}

    return _map(spec, change)


def _with_sources(spec: Any, folder: Path) -> Any:
    def change(part: dict[str, Any]) -> dict[str, Any]:
        name = part.pop("source_file", None)
        if name is None:
            return part
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".py"):
            raise BadArtifact(folder, f"source file {name!r} is not a file name in it", "Save the reward again")
        try:
            with (folder / name).open(encoding="utf-8", newline="") as file:
                return {**part, "source": file.read()}
        except (OSError, ValueError) as error:
            raise BadArtifact(folder, f"{name} cannot be read: {error}", "Save the reward again") from error

    return _map(spec, change)


def _write(path: Path, content: str | bytes) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _program(spec: Mapping[str, Any], weights: Weights) -> Any:
    from robo_reward.code.language import program_from_spec  # rewards as programs stand above this module

    return program_from_spec(spec)


def _weighted(spec: Mapping[str, Any], weights: Weights) -> WeightedReward:
    parts = spec["parts"]
    return WeightedReward({part["name"]: (build_reward(part["reward"], weights), part["weight"]) for part in parts})


def _matching(spec: Mapping[str, Any], weights: Weights) -> Any:
    from robo_reward.matching.reward import matching_from_spec  # rewards that look stand above this module

    return matching_from_spec(spec, weights)


def _networks(spec: Mapping[str, Any], weights: Weights) -> Any:
    from robo_reward.preferences.bradley_terry import networks_from_spec

    return networks_from_spec(spec, weights)


def _perceptual(spec: Mapping[str, Any], weights: Weights) -> Any:
    from robo_reward.demos.perceptual import perceptual_from_spec  # likewise

    return perceptual_from_spec(spec, weights)


rewards.register("program", _program)
rewards.register("networks", _networks)
rewards.register("weighted", _weighted)
rewards.register("matching", _matching)
rewards.register("perceptual", _perceptual)
