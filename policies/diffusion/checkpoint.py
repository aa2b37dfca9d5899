"""Checkpoints of cloning: one file, replaced as a whole, from which training continues bit for bit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from robo_reward.errors import BadArtifact
from robo_reward.files import Count, Finite, load_tensors, parse_json, raise_as_bad_artifact, write_bytes
from robo_reward.policies.diffusion.model import DiffusionModel
from robo_reward.policies.diffusion.windows import Windows

REMEDY = "Delete it to start the training from its beginning"
MAX_BYTES = 16 << 30
HEADER, GENERATOR, GLOBAL = "header", "generator", "global_generator"


class ClonePointForm(msgspec.Struct):
    """A point of the learning curve, see `policies.diffusion.train.ClonePoint`."""

    steps: Count
    success: Finite
    episode_return: Finite
    loss: Finite
    seconds: Finite


class CloneProgress(msgspec.Struct):
    """The state of a training besides its tensors.

    Args:
        fingerprint: of settings and data.
        update: number of updates done.
        seconds: of training so far, over all sittings.
        points: the learning curve.
        losses: sum of the losses since the last point.
        counted: number of these losses.
    """

    fingerprint: str
    update: Count = 0
    seconds: Finite = 0.0
    points: list[ClonePointForm] = []
    losses: Finite = 0.0
    counted: Count = 0


def compute_fingerprint(windows: Windows, described: dict[str, Any]) -> str:
    """Returns a hash of the training data and of everything else that decides the weights."""
    found = hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode())
    for array in (windows.observation, windows.action, windows.mask, windows.episode, windows.step):
        found.update(f"{array.shape}{array.dtype}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()[:16]


def save_clone_checkpoint(
    path: Path,
    model: nn.Module,
    average: DiffusionModel,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
    progress: CloneProgress,
) -> None:
    """Writes weights, their average, the optimiser's state, both random generators and the progress."""
    tensors = {name: tensor.contiguous() for name, tensor in _list_tensors(model, average, optimiser)}
    tensors[GENERATOR], tensors[GLOBAL] = generator.get_state(), torch.get_rng_state()
    tensors[HEADER] = torch.frombuffer(bytearray(msgspec.json.encode(progress)), dtype=torch.uint8)
    write_bytes(path, save(tensors))


def load_clone_checkpoint(
    path: Path,
    model: nn.Module,
    average: DiffusionModel,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
    fingerprint: str,
) -> CloneProgress | None:
    """Restores what `save_clone_checkpoint` wrote; returns None where there is no checkpoint.

    Raises:
        BadArtifact: it is damaged, or belongs to other settings or other data.
    """
    if not path.exists():
        return None
    tensors = {name: torch.from_numpy(array) for name, array in load_tensors(path, MAX_BYTES, REMEDY).items()}
    with raise_as_bad_artifact(path, REMEDY):
        progress = parse_json(tensors.pop(HEADER).numpy().tobytes(), CloneProgress, path, REMEDY)
        if progress.fingerprint != fingerprint:
            remedy = "Give another folder (run=NAME), or delete it to start from the beginning"
            raise BadArtifact(path, "it belongs to a training with other settings or other demonstrations", remedy)
        states = tensors.pop(GENERATOR), tensors.pop(GLOBAL)
        if progress.update:
            _create_optimiser_state(optimiser)
        expected = dict(_list_tensors(model, average, optimiser))
        if tensors.keys() != expected.keys():
            raise ValueError(f"{', '.join(sorted(tensors.keys() ^ expected.keys())[:4])}: missing or unknown")
        with torch.no_grad():
            for name, target in expected.items():
                if tensors[name].shape != target.shape or tensors[name].dtype != target.dtype:
                    raise ValueError(f"{name} has shape {tuple(tensors[name].shape)}, expected {tuple(target.shape)}")
                target.copy_(tensors[name])
        generator.set_state(states[0])
        torch.set_rng_state(states[1])
    return progress


def _list_tensors(
    model: nn.Module, average: DiffusionModel, optimiser: torch.optim.Optimizer
) -> Iterator[tuple[str, Tensor]]:
    """Yields the tensors that training changes, by name; writing into them changes the originals."""
    for kind, module in (("model", model), ("average", average)):
        for name, tensor in module.state_dict().items():
            yield f"{kind}.{name}", tensor
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for index, parameter in enumerate(parameters):
        for name, tensor in optimiser.state.get(parameter, {}).items():
            yield f"optimiser.{index}.{name}", tensor


def _create_optimiser_state(optimiser: torch.optim.Optimizer) -> None:
    """Makes the state of AdamW, which it otherwise creates at its first step."""
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            optimiser.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
