"""The training loop of all alignment methods; a stopped training resumes exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from robo_reward.errors import BadArtifact, RoboRewardError, UsageError
from robo_reward.files import load_tensors, raise_as_bad_artifact, write_bytes
from robo_reward.policies.process_state import keep_torch_state

FILE = "alignment.safetensors"
REMEDY = "Delete it to start the alignment from its beginning"
MAX_STATE = 8 << 30  # [bytes]
PERIOD = 20
"""Updates between two moments at which a training may stop."""
SAVE_PERIOD = 500
MOMENTS = ("exp_avg", "exp_avg_sq", "step")

ComputeLoss = Callable[[int], tuple[Tensor, Mapping[str, float]]]
"""Computes the loss of an update, given by its number, and numbers to show; random draws depend on the number alone."""


def copy_trainable(model: nn.Module) -> Any:
    """Returns a copy of a model whose weights can be trained; the model stays frozen, as the reference."""
    return deepcopy(model).requires_grad_(True).eval()


@keep_torch_state(1)  # the order of sums, and so the weights, would depend on the machine's cores
def train_model(
    model: nn.Module,
    compute_loss: ComputeLoss,
    folder: Path,
    steps: int,
    learning_rate: float,
    stop: Callable[[], bool],
    report: Callable[[int, Mapping[str, float]], None],
    fingerprint: str,
    shown: int = 5,
) -> int:
    """Trains a model in place with Adam and returns the number of updates done, less than `steps` if it was stopped.

    The learning rate falls to zero along a half cosine. The state is kept in `alignment.safetensors` of the folder.

    Args:
        model: to train.
        compute_loss: of each update.
        folder: of the run.
        steps: number of updates in all.
        learning_rate: at the beginning.
        stop: whether to stop; asked every `PERIOD` updates.
        report: called with the update and numbers, `shown` times in all.
        fingerprint: of what is learnt from, 64 hexadecimal digits; kept with the state.
        shown: how often.

    Raises:
        RoboRewardError: the loss is not finite.
        BadArtifact: the kept state does not belong to this model.
        UsageError: it has learnt from something else, such as fewer answers.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=learning_rate, betas=(0.9, 0.99))
    path = folder / FILE
    done = _restore_state(path, model, optimizer, fingerprint)
    every = max(1, steps // shown)
    while done < steps:
        if done % PERIOD == 0 and stop():
            break
        loss, numbers = compute_loss(done)
        if not torch.isfinite(loss):
            raise RoboRewardError(
                f"the loss is {float(loss.detach())} at update {done}; give a smaller settings.learning_rate or "
                "settings.beta"
            )
        optimizer.param_groups[0]["lr"] = learning_rate * compute_rate(done, steps)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        done += 1
        if done % every == 0 or done == steps:
            report(done, {"loss": float(loss.detach()), **numbers})
        if done % SAVE_PERIOD == 0:
            _save_state(path, model, optimizer, done, fingerprint)
    _save_state(path, model, optimizer, done, fingerprint)
    return done


def compute_rate(step: int, steps: int) -> float:
    """Returns the factor of the learning rate at an update: a half cosine from 1 to 0."""
    return 0.5 * (1 + math.cos(math.pi * min(step, steps) / steps))


def _save_state(path: Path, model: nn.Module, optimizer: torch.optim.Adam, done: int, fingerprint: str) -> None:
    tensors = {f"model.{name}": tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{number}.{name}": state[name].detach().contiguous() for name in MOMENTS}
    tensors["done"] = torch.tensor(done)
    tensors["fingerprint"] = torch.frombuffer(bytearray.fromhex(fingerprint), dtype=torch.uint8)
    write_bytes(path, save(tensors))


def _restore_state(path: Path, model: nn.Module, optimizer: torch.optim.Adam, fingerprint: str) -> int:
    """Restores weights and moments; returns the number of updates done, 0 if there is no state."""
    if not path.exists():
        return 0
    tensors = {name: torch.from_numpy(array) for name, array in load_tensors(path, MAX_STATE, REMEDY).items()}
    with raise_as_bad_artifact(path, REMEDY):
        known = bytes(tensors["fingerprint"].tolist()).hex()
    if known != fingerprint:
        raise UsageError(
            f"{path.parent} has learnt from other episodes, answers or settings, so that it cannot go on. Give another "
            f"run=NAME, or delete {path} to learn again"
        )
    with raise_as_bad_artifact(path, REMEDY):
        model.load_state_dict({name[6:]: t for name, t in tensors.items() if name.startswith("model.")})
        value = optimizer.state_dict()
        count = len(value["param_groups"][0]["params"])
        if any(name.startswith("adam.") for name in tensors):
            value["state"] = {i: {m: tensors[f"adam.{i}.{m}"] for m in MOMENTS} for i in range(count)}
            optimizer.load_state_dict(value)
        done = int(tensors["done"])
    if done < 0:
        raise BadArtifact(path, f"it is the state after {done} updates", REMEDY)
    return done
