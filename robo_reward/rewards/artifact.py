"""A reward on disk: a folder that a person can read, and from which the same reward is built again.

`reward.json` holds the spec and its fingerprint; the source of a reward program is kept beside it in `reward.py`,
what was learnt in `weights-DIGEST.safetensors`. Nothing is pickled, and loading runs nothing but the reward
language.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from safetensors.numpy import save

from robo_reward.envs.state import StateSpec
from robo_reward.errors import BadArtifact, UnknownName, UsageError
from robo_reward.files import (
    Finite,
    convert_json,
    find_folder,
    load_json,
    load_tensors,
    raise_as_bad_artifact,
    read_bytes,
    write_bytes,
    write_text,
)
from robo_reward.registry import Registry
from robo_reward.rewards.contract import (
    EpisodeReward,
    StepReward,
    Weights,
    digest_tensors,
    fingerprint_spec,
    learnt_weights,
)
from robo_reward.rewards.weighted import WeightedReward

FORMAT = "robo-reward/reward"
VERSION = 1

MAX_DOCUMENT = 4 << 20  # [bytes]
MAX_PROGRAM = 256 << 10  # [bytes] of a source file
MAX_WEIGHTS = 1 << 30  # [bytes] of all weights of a reward
MAX_DEPTH, MAX_ITEMS, MAX_WHOLE = 32, 4096, 2**53
"""Limits of a spec: nesting depth, items per list or object, and largest integer."""
MOST = {"size": 1024, "points": 1024, "grid": 256, "views": 64, "cameras": 16}
"""Lower limits of the number, or of the items, under some keys: the memory of a network grows with them."""
REMEDY = "Save the reward again"

Digest = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{16}\Z")]


class WeightsForm(msgspec.Struct):
    """A part of a spec that names its weights."""

    weights: Digest


class DocumentForm(msgspec.Struct):
    """`reward.json`."""

    spec: dict[str, Any]
    fingerprint: str


class ProgramForm(msgspec.Struct):
    """The spec of a reward program; `source` is kept in a file of its own."""

    source: str
    state: list[dict[str, Any]]
    action_dim: Annotated[int, msgspec.Meta(ge=1, le=1024)]


class PartForm(msgspec.Struct):
    """A part of a weighted reward."""

    name: str
    reward: dict[str, Any]
    weight: Finite


class WeightedForm(msgspec.Struct):
    """The spec of a weighted sum."""

    parts: Annotated[list[PartForm], msgspec.Meta(min_length=1, max_length=32)]


class NetworksForm(msgspec.Struct):
    """The spec of an ensemble of networks."""

    look: dict[str, Any]
    heads: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1, max_length=64)]
    scale: Finite
    shift: Finite
    weights: Digest


class MatchingForm(msgspec.Struct):
    """The spec of a reward that matches demonstrations."""

    look: dict[str, Any]
    rule: str | dict[str, Any]
    cost: str
    scale: Finite | str
    causal: bool
    weights: Digest


class PerceptualForm(msgspec.Struct):
    """The spec of a perceptual reward."""

    encoder: dict[str, Any]
    frames: dict[str, Any]
    fps: Annotated[float, msgspec.Meta(gt=0, le=1e6)]
    model: dict[str, Any]
    weights: Digest


class PythonForm(msgspec.Struct):
    """The spec of a Python function of the user."""

    function: Annotated[str, msgspec.Meta(max_length=4096)]
    digest: Annotated[str, msgspec.Meta(pattern=r"\A([0-9a-f]{16})?\Z")]
    framework: Literal["auto", "numpy", "torch"] = "auto"


class HttpForm(msgspec.Struct):
    """The spec of a reward model behind a server."""

    url: Annotated[str, msgspec.Meta(max_length=4096)]
    protocol: str
    goal: str
    frames: dict[str, Any]
    max_frames: Annotated[int, msgspec.Meta(ge=0, le=2**31)]
    output: str
    frame_steps: bool = False


FORMS: dict[str, type[msgspec.Struct]] = {
    "program": ProgramForm,
    "weighted": WeightedForm,
    "networks": NetworksForm,
    "matching": MatchingForm,
    "perceptual": PerceptualForm,
    "python": PythonForm,
    "http": HttpForm,
}
"""Form of the spec of each built-in kind; factories of other packages check their own specs."""

TRUSTED = {
    "python": "runs code of its author with your rights. If it is yours, give the function itself: reward={function}",
    "http": "sends frames to {url}. If that server is yours, give it itself: reward=http url=...",
}
"""Kinds that are loaded only where the caller trusts the folder -> why, with a remedy for the command line."""

rewards: Registry[Any] = Registry("reward kind", "robo_reward.rewards")
"""Kind -> factory `(spec, weights) -> reward`, by the `kind` of `spec()`; other packages add theirs by entry points."""


def build_reward(spec: Mapping[str, Any], weights: Weights | None = None) -> Any:
    """Builds a reward from the result of its `spec()`.

    Args:
        spec: JSON with a `kind`.
        weights: the result of the reward's `weights()`, if it has any.

    Raises:
        UsageError: the spec has no kind.
        UnknownName: no such kind; the message lists the closest.
    """
    kind = spec.get("kind") if isinstance(spec, Mapping) else None
    if not isinstance(kind, str):
        raise UsageError(f"a reward spec names its 'kind', one of: {', '.join(rewards.list_names())}")
    return rewards.create(kind, spec, weights or {})


def save_reward(reward: StepReward | EpisodeReward, folder: Path | str) -> Path:
    """Writes a reward's folder; `reward.json` is renamed into place last, so a folder that has one is whole.

    Args:
        reward: of a kind that can be rebuilt.
        folder: created if necessary; an earlier reward in it is replaced.

    Returns:
        The folder.

    Raises:
        UnknownName: a reward of a kind that cannot be rebuilt, such as a plain Python function.
    """
    folder, spec = Path(folder), reward.spec()
    for kind in (str(part["kind"]) for part in _list_rewards(spec)):
        if kind not in rewards.list_names():
            remedy = "Only these can be saved: write it as a reward program, or register its kind."
            raise UnknownName("reward kind", kind, rewards.list_names(), remedy)
    folder.mkdir(parents=True, exist_ok=True)
    sources: dict[str, str] = {}
    stored = _extract_sources(spec, sources)
    for name, source in sources.items():
        write_text(folder / name, source)
    weights = learnt_weights(reward)
    for name, tensors in weights.items():
        content = save({k: np.ascontiguousarray(v) for k, v in tensors.items()})
        write_bytes(folder / f"weights-{name}.safetensors", content)
    document = {"format": FORMAT, "version": VERSION, "fingerprint": fingerprint_spec(spec), "spec": stored}
    write_text(folder / "reward.json", json.dumps(document, indent=2) + "\n")
    for path in folder.glob("reward*.py"):
        if path.name not in sources:
            path.unlink()  # left over from a previous reward
    for path in folder.glob("weights-*.safetensors"):
        if path.stem.removeprefix("weights-") not in weights:
            path.unlink()
    return folder


def load_reward(
    folder: Path | str,
    *,
    state: StateSpec | None = None,
    action_dim: int | None = None,
    edited: bool = False,
    trusted: bool = False,
) -> Any:
    """Builds the reward that a folder holds.

    Args:
        folder: written by `save_reward`, or a run folder that holds one as `reward`.
        state: the state that the reward will get; refused if the reward was written for other fields.
        action_dim: A, the size of the actions it will get; refused if the reward was written for another.
        edited: accept that `reward.py` or `reward.json` was changed by hand since it was saved, or the source of a
            Python function.
        trusted: load Python functions, which run with your rights, and rewards that send frames to a server.

    Raises:
        BadArtifact: not a reward folder, of a newer version, changed, or for another state or action.
        UsageError: a reward that needs `trusted`.
    """
    folder = find_reward_folder(Path(folder))
    path = folder / "reward.json"
    document = _read_document(folder)
    with raise_as_bad_artifact(path, REMEDY):
        _check_size(document.spec)
        spec = _insert_sources(document.spec, folder)
        if not edited and fingerprint_spec(spec) != document.fingerprint:
            problem = f"its content has fingerprint {fingerprint_spec(spec)}, {document.fingerprint:.16} was saved"
            remedy = "If you changed it on purpose, load it with edited=True and save it again"
            raise BadArtifact(path, problem, remedy)
        for part in _list_rewards(spec):
            if part["kind"] in FORMS:
                convert_json(dict(part), FORMS[part["kind"]], f"{path} ({part['kind']})", REMEDY)
        for part in _list_parts(spec):
            _check_fit(path, part, state, action_dim)
    if not trusted:
        _require_no_trust(path, spec)
    if edited:
        spec = _map_parts(spec, lambda part: {**part, "digest": ""} if part.get("kind") == "python" else part)
    with raise_as_bad_artifact(path, REMEDY):
        return build_reward(spec, _read_weights(spec, folder))


def _require_no_trust(path: Path, spec: Mapping[str, Any]) -> None:
    """Raises for a reward that runs code or sends data, which a folder from somewhere else must not do unasked.

    Raises:
        UsageError: the message says what it would do.
    """
    for part in _list_rewards(spec):
        if part["kind"] in TRUSTED:
            what = TRUSTED[part["kind"]].format(**part)
            raise UsageError(f"{path}: this reward {what}, or in Python load_reward(..., trusted=True)")


def find_reward_folder(path: Path) -> Path:
    """Returns a reward folder: the path itself, or the one inside a run folder."""
    return find_folder(path, "reward", "reward.json")


def _check_size(spec: Any, key: str = "", depth: int = 0) -> None:
    """Raises an error for a spec that would take long or much memory to build.

    Raises:
        ValueError: it is too deep, or a number or a list in it is too large.
    """
    if depth > MAX_DEPTH:
        raise ValueError("the spec is nested too deeply")
    if isinstance(spec, int) and abs(spec) > MOST.get(key, MAX_WHOLE):
        raise ValueError(f"{key!r} is too large, expected at most {MOST.get(key, MAX_WHOLE)}")
    if isinstance(spec, float) and not math.isfinite(spec):
        raise ValueError(f"{key!r} is {spec}, expected a finite number")
    if isinstance(spec, Mapping | list):
        if len(spec) > (most := MOST.get(key, MAX_ITEMS)):
            raise ValueError(f"{key!r} holds {len(spec)} items, at most {most} are read")
        for name, value in spec.items() if isinstance(spec, Mapping) else ((key, item) for item in spec):
            _check_size(value, str(name), depth + 1)


def _read_weights(spec: Any, folder: Path) -> Weights:
    """Returns the tensors that the parts of a spec name, each checked against its digest."""
    found: dict[str, dict[str, np.ndarray]] = {}
    left = MAX_WEIGHTS
    for name in dict.fromkeys(
        convert_json(part, WeightsForm, "weights").weights for part in _list_parts(spec) if "weights" in part
    ):
        path = folder / f"weights-{name}.safetensors"
        found[name] = load_tensors(path, left, REMEDY)
        left -= sum(array.nbytes for array in found[name].values())
        if digest_tensors(found[name]) != name:
            raise BadArtifact(path, "it is damaged", REMEDY)
    return found


def _read_document(folder: Path) -> DocumentForm:
    path = folder / "reward.json"
    document = load_json(path, dict[str, Any], MAX_DOCUMENT, REMEDY)
    if document is None:
        raise BadArtifact(folder, "there is no reward.json", "Give a run that has a reward, or the folder of one")
    if document.get("format") != FORMAT:
        raise BadArtifact(path, f"it is not of the format {FORMAT!r}", REMEDY)
    if document.get("version") != VERSION:
        raise BadArtifact(
            path, f"it has version {document.get('version')!r:.40}, this is {VERSION}", "Upgrade robo-reward"
        )
    return convert_json(document, DocumentForm, path, REMEDY)


def _check_fit(path: Path, part: Mapping[str, Any], state: StateSpec | None, action_dim: int | None) -> None:
    if action_dim is not None and part.get("action_dim", action_dim) != action_dim:
        problem = f"it was written for actions of {part['action_dim']} numbers, this task has {action_dim}"
        raise BadArtifact(path, problem, "Use it with the task that it was written for")
    if state is None or "state" not in part:
        return
    own = StateSpec.from_json(part["state"])
    if own != state:
        problem = f"its state differs: {_describe_difference(own, state)}"
        raise BadArtifact(path, problem, "Use it with the task that it was written for")


def _describe_difference(own: StateSpec, other: StateSpec) -> str:
    missing = [n for n in own.names if n not in other]
    extra = [n for n in other.names if n not in own]
    changed = [n for n in own.names if n in other and own[n] != other[n]]
    found = [("the task has no ", missing), ("the reward has no ", extra), ("defined differently: ", changed)]
    return "; ".join(text + ", ".join(names) for text, names in found if names) or "the fields are in another order"


def _list_parts(spec: Any) -> list[Mapping[str, Any]]:
    """Returns every part with a `kind` inside a spec, itself included."""
    inner = spec.values() if isinstance(spec, Mapping) else spec if isinstance(spec, list | tuple) else ()
    found = [part for value in inner for part in _list_parts(value)]
    return [spec, *found] if isinstance(spec, Mapping) and "kind" in spec else found


def _list_rewards(spec: Any) -> list[Mapping[str, Any]]:
    """Returns every reward spec inside a spec, itself included; `encoder` and `heads` hold specs of other kinds."""
    if isinstance(spec, Mapping):
        inner = [value for key, value in spec.items() if key not in ("encoder", "heads")]
    else:
        inner = spec if isinstance(spec, list | tuple) else []
    found = [part for value in inner for part in _list_rewards(value)]
    return [spec, *found] if isinstance(spec, Mapping) and "kind" in spec else found


def _map_parts(spec: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    if isinstance(spec, Mapping):
        return change({key: _map_parts(value, change) for key, value in spec.items()})
    return [_map_parts(value, change) for value in spec] if isinstance(spec, list | tuple) else spec


def _extract_sources(spec: Any, sources: dict[str, str]) -> Any:
    """Moves each program's text to `sources` (file name -> text) and leaves the file name."""

    def move_source(part: dict[str, Any]) -> dict[str, Any]:
        if part.get("kind") != "program" or not isinstance(part.get("source"), str):
            return part
        name = "reward.py" if not sources else f"reward_{len(sources) + 1}.py"
        sources[name] = part.pop("source")
        return {**part, "source_file": name}

    return _map_parts(spec, move_source)


def _insert_sources(spec: Any, folder: Path) -> Any:
    sources: dict[str, str] = {}

    def read_source(part: dict[str, Any]) -> dict[str, Any]:
        name = part.pop("source_file", None)
        if name is None:
            return part
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".py"):
            raise BadArtifact(folder, f"source file {name!r:.80} is not a file name in it", REMEDY)
        if name not in sources:
            data = read_bytes(folder / name, MAX_PROGRAM)
            if data is None:
                raise BadArtifact(folder / name, "it cannot be read: it is not a regular file", REMEDY)
            sources[name] = data.decode()
        return {**part, "source": sources[name]}

    return _map_parts(spec, read_source)


def _build_program(spec: Mapping[str, Any], weights: Weights) -> Any:
    from robo_reward.language.language import program_from_spec  # imported here: reward programs are a higher layer

    return program_from_spec(spec)


def _build_weighted(spec: Mapping[str, Any], weights: Weights) -> WeightedReward:
    parts = spec["parts"]
    return WeightedReward({part["name"]: (build_reward(part["reward"], weights), part["weight"]) for part in parts})


def _build_matching(spec: Mapping[str, Any], weights: Weights) -> Any:
    from robo_reward.rewards.matching.reward import matching_from_spec  # imported here: a higher layer

    return matching_from_spec(spec, weights)


def _build_networks(spec: Mapping[str, Any], weights: Weights) -> Any:
    from robo_reward.rewards.preference.bradley_terry import networks_from_spec

    return networks_from_spec(spec, weights)


def _build_perceptual(spec: Mapping[str, Any], weights: Weights) -> Any:
    from robo_reward.rewards.perceptual.reward import perceptual_from_spec  # imported here: a higher layer

    return perceptual_from_spec(spec, weights)


def _build_python(spec: Mapping[str, Any], weights: Weights) -> Any:
    from robo_reward.rewards.function.reference import build_python_reward  # imported here: only on request

    return build_python_reward(spec["function"], spec["digest"], spec.get("framework", "auto"))


def _build_http(spec: Mapping[str, Any], weights: Weights) -> Any:
    from robo_reward.rewards.http.reward import http_from_spec  # imported here: a higher layer

    return http_from_spec(spec)


rewards.register("program", _build_program)
rewards.register("networks", _build_networks)
rewards.register("weighted", _build_weighted)
rewards.register("matching", _build_matching)
rewards.register("perceptual", _build_perceptual)
rewards.register("python", _build_python)
rewards.register("http", _build_http)
