"""Exact checkpoints of a training run: a resumed run gives the same bits as one that was never stopped.

A checkpoint is a folder of JSON, safetensors and plain npz. Nothing in it is pickled.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from robo_reward.envs.batch import get_rng_words, set_rng_words
from robo_reward.envs.reward_normaliser import RewardNormaliser
from robo_reward.envs.vec import SB3VecEnv
from robo_reward.errors import BadArtifact
from robo_reward.files import (
    Count,
    convert_json,
    load_json,
    open_arrays,
    raise_as_bad_artifact,
    read_bytes,
    synchronise_folder,
    with_file_name,
)

COUNTERS = ("num_timesteps", "_n_updates", "_episode_num")
MAX_MODEL = 8 << 30  # [bytes] of `model.safetensors`
REMEDY = "Delete this folder to start the training from its beginning"


class RandomStateForm(msgspec.Struct):
    """The states of the three random generators."""

    torch: list[Annotated[int, msgspec.Meta(ge=0, le=255)]]
    numpy: tuple[str, list[int], int, int, float]
    python: tuple[int, list[int], float | None]


class CheckpointPointForm(msgspec.Struct):
    """A point of the learning curve, see `policies.sb3.CurvePoint`."""

    steps: Count
    success: float
    episode_return: float
    terms: dict[str, float]
    seconds: float


class EpisodeForm(msgspec.Struct):
    """An episode that ended since the last point."""

    success: bool | float
    episode_return: float = msgspec.field(name="return")
    terms: dict[str, float]


class ProgressForm(msgspec.Struct):
    """The state that the training loop adds, see `policies.sb3.TrainingProgress`."""

    points: list[CheckpointPointForm]
    episodes: list[EpisodeForm]
    seconds: float


class CheckpointForm(msgspec.Struct):
    """The content of `checkpoint.json`."""

    counters: dict[str, Count]
    structure: dict[str, Any]
    random: RandomStateForm
    extra: dict[str, Any]


def save_checkpoint(
    folder: Path,
    model: Any,
    env: SB3VecEnv | RewardNormaliser,
    extra: dict[str, Any],
    random: dict[str, Any] | None = None,
) -> None:
    """Writes the state of an SB3 model, its worlds and all random generators atomically.

    The previous checkpoint is moved only once the new one is on the disk: even after a power cut, one of the two is
    complete.

    Args:
        folder: of the checkpoint; an earlier one in it is replaced.
        model: after its last training step.
        env: its worlds.
        extra: JSON to keep with it.
        random: the `get_random_state` to resume from; None means the current one.
    """
    # 1. Write everything to `NAME.part` and sync it, so that a power cut cannot leave a partial checkpoint.
    partial = folder.with_name(folder.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    tensors, structure = _flatten_tree(_collect_torch_state(model))
    _write_synced(partial / "model.safetensors", lambda file: file.write(save(tensors)))
    arrays = {f"world/{k}": v for k, v in env.snapshot().items()} | _collect_loop_arrays(model)
    _write_synced(partial / "arrays.npz", lambda file: np.savez(file, allow_pickle=False, **arrays))
    counters = {k: getattr(model, k) for k in COUNTERS if hasattr(model, k)}
    value = {"counters": counters, "structure": structure, "random": random or get_random_state(), "extra": extra}
    _write_synced(partial / "checkpoint.json", lambda file: file.write(json.dumps(value).encode()))
    synchronise_folder(partial)
    # 2. Move the previous checkpoint to `NAME.old`, then rename; `load_checkpoint` undoes a move without a rename.
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    synchronise_folder(folder.parent)  # makes the renames durable before the previous checkpoint is deleted
    shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(folder: Path, model: Any, env: SB3VecEnv | RewardNormaliser) -> dict[str, Any] | None:
    """Restores what `save_checkpoint` wrote and returns its `extra`, or None where there is no checkpoint.

    Raises:
        BadArtifact: a file of it is missing or damaged, or belongs to another model or other worlds.
    """
    old = folder.with_name(folder.name + ".old")
    if not folder.exists() and old.exists():  # the process was killed between the two renames
        old.rename(folder)
    if not os.path.lexists(folder):
        return None
    path = folder / "checkpoint.json"
    form = load_json(path, CheckpointForm, remedy=REMEDY)
    if form is None:
        raise BadArtifact(folder, "it has no checkpoint.json", REMEDY)
    convert_json(form.extra, ProgressForm, path, REMEDY)
    with raise_as_bad_artifact(folder, REMEDY):
        _restore_model(model, form, _load_tensors(folder / "model.safetensors"))
        with open_arrays(folder / "arrays.npz", remedy=REMEDY) as arrays:
            env.restore({k.removeprefix("world/"): arrays[k] for k in arrays if k.startswith("world/")})
            _restore_loop(model, arrays)
        _restore_random_state(form.random)  # last, so that nothing above advances the generators
    return form.extra


def _write_synced(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Writes a file and waits until it is on the disk."""
    try:
        with path.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise with_file_name(error, path) from None


def _load_tensors(path: Path) -> dict[str, torch.Tensor]:
    data = read_bytes(path, MAX_MODEL)
    if data is None:
        raise BadArtifact(path, "there is no such file", REMEDY)
    try:
        return load(data)
    except SafetensorError as error:
        raise BadArtifact(path, f"it is not a complete safetensors file: {error}", REMEDY) from error


def _restore_model(model: Any, form: CheckpointForm, tensors: dict[str, torch.Tensor]) -> None:
    state, wanted = _unflatten_tree(tensors, form.structure), _collect_torch_state(model)
    if state.keys() != wanted.keys() or not form.counters.keys() <= {*COUNTERS}:
        raise ValueError(f"it holds {', '.join(map(str, state))}, expected {', '.join(wanted)}")
    for name, content in state.items():
        target = _resolve_attribute(model, name)
        if isinstance(target, torch.Tensor):
            target.data[...] = content  # in place: the optimiser refers to this tensor
        else:
            target.load_state_dict(content)
    for name, count in form.counters.items():
        setattr(model, name, count)


def _collect_torch_state(model: Any) -> dict[str, Any]:
    """Returns state dictionaries and tensors by attribute path, as SB3 itself lists them."""
    names, tensors = model._get_torch_save_params()
    state = {name: _resolve_attribute(model, name).state_dict() for name in names}
    return state | {name: _resolve_attribute(model, name).detach() for name in tensors}


def _resolve_attribute(model: Any, path: str) -> Any:
    for part in path.split("."):
        model = getattr(model, part)
    return model


def _flatten_tree(value: Any, path: str = "") -> tuple[dict[str, torch.Tensor], Any]:
    """Splits nested dictionaries and lists into tensors by path and a JSON skeleton that names them."""
    if isinstance(value, torch.Tensor):
        return {path: value.detach().clone().contiguous()}, {"tensor": path}
    if isinstance(value, dict):
        parts = {str(k): _flatten_tree(v, f"{path}/{k}") for k, v in value.items()}
        # JSON keys are strings, but optimiser states have integer keys: store the type too.
        keys = [[k, type(k).__name__] for k in value]
        merged = {name: t for tensors, _ in parts.values() for name, t in tensors.items()}
        return merged, {"dict": [[key, parts[str(key[0])][1]] for key in keys]}
    if isinstance(value, list | tuple):
        items = [_flatten_tree(v, f"{path}/{i}") for i, v in enumerate(value)]
        return {n: t for tensors, _ in items for n, t in tensors.items()}, {"list": [s for _, s in items]}
    return {}, {"value": value}


def _unflatten_tree(tensors: dict[str, torch.Tensor], skeleton: Any) -> Any:
    if "tensor" in skeleton:
        return tensors[skeleton["tensor"]]
    if "dict" in skeleton:
        return {int(k) if kind == "int" else k: _unflatten_tree(tensors, v) for (k, kind), v in skeleton["dict"]}
    if "list" in skeleton:
        return [_unflatten_tree(tensors, item) for item in skeleton["list"]]
    return skeleton["value"]


def _collect_loop_arrays(model: Any) -> dict[str, np.ndarray]:
    """Returns the arrays that the collection loop carries from one rollout to the next, replay buffer included."""
    arrays = {**_name_parts("last_obs", model._last_obs), "last_starts": model._last_episode_starts}
    # This generator samples the actions before `learning_starts`.
    arrays["action_space_rng"] = get_rng_words(model.action_space.np_random)
    buffer = getattr(model, "replay_buffer", None)
    if buffer is not None:
        # Before the buffer is full, only the first `pos` rows hold data.
        filled = buffer.buffer_size if buffer.full else buffer.pos
        names = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
        for name in names:
            parts = _name_parts(f"replay/{name}", getattr(buffer, name))
            arrays |= {key: part[:filled] for key, part in parts.items()}
        arrays["replay_position"] = np.array([buffer.pos, buffer.full])
    return arrays


def _restore_loop(model: Any, arrays: Any) -> None:
    own = {key.removeprefix("last_obs/"): arrays[key] for key in arrays if key.startswith("last_obs/")}
    model._last_obs, model._last_episode_starts = own or arrays["last_obs"], arrays["last_starts"]
    if "action_space_rng" in arrays:
        set_rng_words(model.action_space.np_random, arrays["action_space_rng"])
    if "replay_position" in arrays:
        position, full = arrays["replay_position"]
        model.replay_buffer.pos, model.replay_buffer.full = int(position), bool(full)
        for key in arrays:
            if key.startswith("replay/"):
                stored = arrays[key]
                name, _, part = key.removeprefix("replay/").partition("/")
                target = getattr(model.replay_buffer, name)
                (target[part] if part else target)[: len(stored)] = stored


def _name_parts(name: str, value: Any) -> dict[str, np.ndarray]:
    """Returns an array by its name, or the parts of an observation that has several as `NAME/PART`."""
    return {f"{name}/{part}": array for part, array in value.items()} if isinstance(value, dict) else {name: value}


def get_random_state() -> dict[str, Any]:
    """Returns the states of the global random generators as JSON."""
    name, keys, position, has_gauss, gauss = np.random.get_state()
    version, internal, gauss_next = random.getstate()
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": [name, np.asarray(keys).tolist(), position, has_gauss, gauss],
        "python": [version, list(internal), gauss_next],
    }


def _restore_random_state(value: RandomStateForm) -> None:
    torch.set_rng_state(torch.tensor(value.torch, dtype=torch.uint8))
    name, keys, position, has_gauss, gauss = value.numpy
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))
    version, internal, gauss_next = value.python
    random.setstate((version, tuple(internal), gauss_next))
