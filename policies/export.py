"""From a trained SB3 model to a policy of plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from robo_reward.envs.task import Task
from robo_reward.errors import RoboRewardError
from robo_reward.policies.policy import MLPPolicy

_ACTIVATIONS = {nn.Tanh: "tanh", nn.ReLU: "relu", nn.ELU: "elu"}
Layers = list[tuple[np.ndarray, np.ndarray]]
"""Weight (in, out) and bias (out,) of each layer, float64."""


class Perceptron(NamedTuple):
    """The layers of an actor.

    Attributes:
        weights: (in, out) per layer, float32.
        biases: (out,) per layer, float32.
        activation: between layers.
        squash: whether a tanh follows the last layer.
    """

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    activation: str
    squash: bool


def export_policy(model: Any, task: Task, meta: dict[str, Any]) -> MLPPolicy:
    """Returns the deterministic actor of an SB3 or sb3-contrib model that sees the task's own observation.

    Raises:
        RoboRewardError: the actor is not a perceptron, or one that policy.json cannot describe.
    """
    return MLPPolicy(*export_perceptron(model), task.observation, task.action, meta)


def export_perceptron(model: Any) -> Perceptron:
    """Returns the deterministic actor of an SB3 or sb3-contrib model, without its features extractor.

    Batch normalisation becomes part of the next linear layer, and the limits that gSDE puts on the mean action become a
    layer of their own; the policy's actions are the model's own but for rounding.

    Raises:
        RoboRewardError: the actor is not a perceptron, or one that policy.json cannot describe.
    """
    modules, squash = _extract_actor(model.policy)
    kinds = {_ACTIVATIONS[type(m)] for m in modules if type(m) in _ACTIVATIONS}
    others = {type(m).__name__ for m in modules if not _is_known(m)}
    limit: Any = modules.pop() if modules and isinstance(modules[-1], nn.Hardtanh) else None
    if others or len(kinds) > 1 or not any(isinstance(m, nn.Linear) for m in modules):
        raise RoboRewardError(
            f"the actor of {type(model).__name__} is made of {sorted(others | kinds)}; only perceptrons with one of "
            f"{sorted(_ACTIVATIONS.values())} can be saved as policy.json + policy.safetensors"
        )
    layers = _fold_normalisation(modules)
    if limit is not None:
        if kinds - {"relu"}:
            raise RoboRewardError(
                f"the actor of {type(model).__name__} limits its mean action, which can be saved with relu alone, not "
                f"with {sorted(kinds)}. Give policy.params.policy_kwargs.clip_mean=0"
            )
        # A clipped output needs two relu layers, hence relu throughout.
        layers = _clip_output(layers, float(limit.min_val), float(limit.max_val))
        kinds = {"relu"}
    return Perceptron(
        tuple(np.ascontiguousarray(weight, np.float32) for weight, _ in layers),
        tuple(bias.astype(np.float32) for _, bias in layers),
        kinds.pop() if kinds else "tanh",
        squash,
    )


def _extract_actor(policy: Any) -> tuple[list[nn.Module], bool]:
    """Returns the modules of the actor in order, and whether its output is squashed by a tanh."""
    # Recurrent actors are returned as they are; `export_policy` then reports that they cannot be saved.
    if hasattr(policy, "lstm_actor"):
        return [policy.lstm_actor], False
    if hasattr(policy, "mlp_extractor"):
        # On-policy: PPO, A2C, TRPO
        return _flatten_modules([*policy.mlp_extractor.policy_net, policy.action_net]), bool(policy.squash_output)
    if hasattr(policy, "actor") and hasattr(policy.actor, "latent_pi"):
        # SAC and its variants
        return _flatten_modules([*policy.actor.latent_pi, policy.actor.mu]), True
    # TD3, DDPG; ARS
    layers = _flatten_modules(policy.actor.mu if hasattr(policy, "actor") else policy.action_net)
    squash = isinstance(layers[-1], nn.Tanh)
    return layers[:-1] if squash else layers, squash


def _flatten_modules(modules: Any) -> list[nn.Module]:
    """Returns modules with those inside sequences in their place, without those that change nothing."""
    found = []
    for module in modules:
        found += _flatten_modules(module) if isinstance(module, nn.Sequential) else [module]
    return [m for m in found if not isinstance(m, nn.Flatten | nn.Identity)]


def _is_known(module: nn.Module) -> bool:
    return type(module) in _ACTIVATIONS or isinstance(module, nn.Linear | nn.Hardtanh) or _is_renorm(module)


def _is_renorm(module: nn.Module) -> bool:
    """Returns whether a module is sb3-contrib's BatchRenorm."""
    return hasattr(module, "ra_mean") and hasattr(module, "ra_var")


def _fold_normalisation(modules: Sequence[nn.Module]) -> Layers:
    """Returns the linear layers, with the batch normalisation before each folded into it.

    W (s ∘ x + t) + b = (W diag(s)) x + (W t + b), with s = γ / √(var + ε) and t = β - s mean.
    """
    layers: Layers = []
    scale, shift = np.ones(1), np.zeros(1)
    for module in modules:
        if _is_renorm(module):
            s, t = _renorm_to_affine(module)
            scale, shift = s * scale, s * shift + t  # composes consecutive normalisations
        elif isinstance(module, nn.Linear):
            weight = _to_array(module.weight).T  # (in, out)
            bias = np.zeros(module.out_features) if module.bias is None else _to_array(module.bias)
            layers.append((weight * scale[:, None], bias + np.broadcast_to(shift, len(weight)) @ weight))
            scale, shift = np.ones(1), np.zeros(1)
        elif (scale != 1).any() or shift.any():
            raise RoboRewardError("the actor normalises between a linear layer and its activation; that is not saved")
    return layers


def _renorm_to_affine(module: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns s and t of a BatchRenorm in evaluation mode, y = s ∘ x + t."""
    gamma = _to_array(module.scale) if module.affine else 1.0
    beta = _to_array(module.bias) if module.affine else 0.0
    s = gamma / np.sqrt(_to_array(module.ra_var) + module.eps)
    return s, beta - s * _to_array(module.ra_mean)


def _clip_output(layers: Layers, low: float, high: float) -> Layers:
    """Returns layers that clip the output of `layers` to [low, high]: low + relu(x - low) - relu(x - high)."""
    *before, (weight, bias) = layers
    eye = np.eye(len(bias))
    # Two copies of the output, shifted by -low and -high; the last layer subtracts the second and adds low.
    doubled = np.concatenate([weight, weight], axis=1), np.concatenate([bias - low, bias - high])
    return [*before, doubled, (np.concatenate([eye, -eye]), np.full(len(bias), low))]


def _to_array(parameter: torch.Tensor) -> np.ndarray:
    return parameter.detach().cpu().double().numpy()
