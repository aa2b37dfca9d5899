"""Exact checkpoints of a training run: a resumed run gives the same bits as one that was never stopped.

A checkpoint is a folder of JSON, safetensors and plain npz. Nothing in it is pickled.
"""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from robo_reward.envs.batch import rng_words, set_rng_words
from robo_reward.envs.vec import SB3VecEnv


def save_checkpoint(
    folder: Path, model: Any, env: SB3VecEnv, extra: dict[str, Any], random: dict[str, Any] | None = None
) -> None:
    """Writes the state of an SB3 model, its worlds and all random generators; the last step of it is a rename.

    Args:
        folder: where.
        model: after its last training step.
        env: its worlds.
        extra: JSON to keep with it.
        random: a `random_state` to go on from in place of the present one.
    """
    partial = folder.with_name(folder.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    tensors, structure = _flatten(_torch_state(model))
    save_file(tensors, partial / "model.safetensors")
    arrays = {f"world/{k}": v for k, v in env.snapshot().items()} | _loop_arrays(model)
    with (partial / "arrays.npz").open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    counters = {k: getattr(model, k) for k in ("num_timesteps", "_n_updates", "_episode_num") if hasattr(model, k)}
    value = {"counters": counters, "structure": structure, "random": random or random_state(), "extra": extra}
    (partial / "checkpoint.json").write_text(json.dumps(value))
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(folder: Path, model: Any, env: SB3VecEnv) -> dict[str, Any] | None:
    """Restores what `save_checkpoint` wrote and returns its `extra`; none if there is no checkpoint."""
    old = folder.with_name(folder.name + ".old")
    if not folder.exists() and old.exists():  # killed between the two renames
        old.rename(folder)
    if not (folder / "checkpoint.json").is_file():
        return None
    value = json.loads((folder / "checkpoint.json").read_text())
    state = _unflatten(load_file(folder / "model.safetensors"), value["structure"])
    for name, content in state.items():
        target = _attribute(model, name)
        if isinstance(target, torch.Tensor):
            target.data[...] = content
        else:
            target.load_state_dict(content)
    for name, count in value["counters"].items():
        setattr(model, name, count)
    with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
        env.restore({k.removeprefix("world/"): arrays[k] for k in arrays.files if k.startswith("world/")})
        _restore_loop(model, arrays)
    _restore_random(value["random"])
    return value["extra"]


def _torch_state(model: Any) -> dict[str, Any]:
    """State dictionaries and tensors by attribute path, as SB3 itself lists them."""
    names, tensors = model._get_torch_save_params()
    state = {name: _attribute(model, name).state_dict() for name in names}
    return state | {name: _attribute(model, name).detach() for name in tensors}


def _attribute(model: Any, path: str) -> Any:
    for part in path.split("."):
        model = getattr(model, part)
    return model


def _flatten(value: Any, path: str = "") -> tuple[dict[str, torch.Tensor], Any]:
    """Splits nested dictionaries and lists into tensors by path and a JSON skeleton that names them."""
    if isinstance(value, torch.Tensor):
        return {path: value.detach().clone().contiguous()}, {"tensor": path}
    if isinstance(value, dict):
        parts = {str(k): _flatten(v, f"{path}/{k}") for k, v in value.items()}
        keys = [[k, type(k).__name__] for k in value]
        merged = {name: t for tensors, _ in parts.values() for name, t in tensors.items()}
        return merged, {"dict": [[key, parts[str(key[0])][1]] for key in keys]}
    if isinstance(value, list | tuple):
        items = [_flatten(v, f"{path}/{i}") for i, v in enumerate(value)]
        return {n: t for tensors, _ in items for n, t in tensors.items()}, {"list": [s for _, s in items]}
    return {}, {"value": value}


def _unflatten(tensors: dict[str, torch.Tensor], skeleton: Any) -> Any:
    if "tensor" in skeleton:
        return tensors[skeleton["tensor"]]
    if "dict" in skeleton:
        return {int(k) if kind == "int" else k: _unflatten(tensors, v) for (k, kind), v in skeleton["dict"]}
    if "list" in skeleton:
        return [_unflatten(tensors, item) for item in skeleton["list"]]
    return skeleton["value"]


def _loop_arrays(model: Any) -> dict[str, np.ndarray]:
    """What the collection loop carries from one rollout to the next, replay buffer included."""
    arrays = {"last_obs": model._last_obs, "last_starts": model._last_episode_starts}
    arrays["action_space_rng"] = rng_words(model.action_space.np_random)  # draws the actions before learning starts
    buffer = getattr(model, "replay_buffer", None)
    if buffer is not None:
        filled = buffer.buffer_size if buffer.full else buffer.pos
        names = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
        arrays |= {f"replay/{name}": getattr(buffer, name)[:filled] for name in names}
        arrays["replay_position"] = np.array([buffer.pos, buffer.full])
    return arrays


def _restore_loop(model: Any, arrays: Any) -> None:
    model._last_obs, model._last_episode_starts = arrays["last_obs"], arrays["last_starts"]
    if "action_space_rng" in arrays:
        set_rng_words(model.action_space.np_random, arrays["action_space_rng"])
    if "replay_position" in arrays:
        position, full = arrays["replay_position"]
        model.replay_buffer.pos, model.replay_buffer.full = int(position), bool(full)
        for key in arrays.files:
            if key.startswith("replay/"):
                stored = arrays[key]
                getattr(model.replay_buffer, key.removeprefix("replay/"))[: len(stored)] = stored


def random_state() -> dict[str, Any]:
    """Returns the states of the global random generators as JSON."""
    name, keys, position, has_gauss, gauss = np.random.get_state()
    version, internal, gauss_next = random.getstate()
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": [name, np.asarray(keys).tolist(), position, has_gauss, gauss],
        "python": [version, list(internal), gauss_next],
    }


def _restore_random(value: dict[str, Any]) -> None:
    torch.set_rng_state(torch.tensor(value["torch"], dtype=torch.uint8))
    name, keys, position, has_gauss, gauss = value["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))
    version, internal, gauss_next = value["python"]
    random.setstate((version, tuple(internal), gauss_next))
