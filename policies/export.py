"""From a trained SB3 model to a policy of plain numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from robo_reward.envs.task import Task
from robo_reward.errors import RoboRewardError
from robo_reward.policies.policy import MLPPolicy

_ACTIVATIONS = {nn.Tanh: "tanh", nn.ReLU: "relu", nn.ELU: "elu"}


def export_policy(model: Any, task: Task, meta: dict[str, Any]) -> MLPPolicy:
    """The deterministic actor of an SB3 or sb3-contrib model.

    Raises:
        RoboRewardError: the actor is not a plain perceptron (recurrent or batch-normalised ones are not).
    """
    modules, squash = _actor(model.policy)
    linear = [m for m in modules if isinstance(m, nn.Linear)]
    others = {type(m) for m in modules} - {nn.Linear, nn.Flatten, nn.Identity}
    between = {_ACTIVATIONS.get(kind, kind.__name__) for kind in others}
    if not linear or len(between) > 1 or not between <= set(_ACTIVATIONS.values()):
        raise RoboRewardError(
            f"the actor of {type(model).__name__} is made of {sorted(map(str, between))}; only perceptrons with one of "
            f"{sorted(_ACTIVATIONS.values())} can be saved as policy.json + policy.safetensors"
        )
    return MLPPolicy(
        tuple(np.ascontiguousarray(_array(layer.weight).T) for layer in linear),
        tuple(
            np.zeros(layer.out_features, np.float32) if layer.bias is None else _array(layer.bias) for layer in linear
        ),
        between.pop() if between else "tanh",
        squash,
        task.observation,
        task.action,
        meta,
    )


def _actor(policy: Any) -> tuple[list[nn.Module], bool]:
    """The layers of the actor in order, and whether its output is squashed by a tanh."""
    if hasattr(policy, "lstm_actor"):
        return [policy.lstm_actor], False
    if hasattr(policy, "mlp_extractor"):
        return [*policy.mlp_extractor.policy_net, policy.action_net], False
    if hasattr(policy, "actor") and hasattr(policy.actor, "latent_pi"):
        return [*policy.actor.latent_pi, policy.actor.mu], True
    layers = list(policy.actor.mu if hasattr(policy, "actor") else policy.action_net)
    squash = isinstance(layers[-1], nn.Tanh)
    return layers[:-1] if squash else layers, squash


def _array(parameter: torch.Tensor) -> np.ndarray:
    return parameter.detach().cpu().numpy().astype(np.float32)
