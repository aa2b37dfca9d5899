"""A diffusion policy whose network runs on OpenVINO, which is several times as fast as torch on a CPU."""

from __future__ import annotations

import copy
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robo_reward.errors import MissingExtra, UnknownName, UsageError
from robo_reward.policies.diffusion.policy import DiffusionPolicy
from robo_reward.vision.runtime import RUNTIMES, compile_openvino

MOST_SIZES = 8
"""Batch sizes for which a network is compiled; torch computes those that come after."""


class CompiledNetwork(nn.Module):
    """A frozen network whose forward pass is OpenVINO's; its weights are saved as those of the network itself.

    The network is compiled when a batch of a new size comes, which takes about a second.

    Args:
        network: of a `DiffusionModel`.
        threads: of OpenVINO.
    """

    def __init__(self, network: nn.Module, threads: int) -> None:
        super().__init__()
        self._network = (network,)  # in a tuple: no part of this module, whose tensors would have other names
        self._threads = threads
        self._compiled: dict[int, Callable[..., np.ndarray]] = {}

    def forward(self, sample: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        """Returns (B, Tp, A) for a chunk (B, Tp, A), times (B,) and a condition (B, C), without gradients."""
        inputs, size = (sample.contiguous(), time.contiguous(), condition.contiguous()), len(sample)
        if size not in self._compiled:
            if len(self._compiled) == MOST_SIZES:
                return self._network[0](*inputs)
            self._compiled[size] = compile_openvino(
                self._network[0], inputs, self._threads, "the policy runtime 'openvino'"
            )
        return torch.from_numpy(self._compiled[size](*inputs))

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the weights of the network."""
        return self._network[0].state_dict(*args, **kwargs)


def with_runtime(policy: Any, runtime: str = "auto", threads: int = 1) -> Any:
    """Returns the policy with its network run by `torch`, `openvino`, or `auto`: OpenVINO if it is installed.

    The network's outputs differ by less than 1e-5, the actions by less than 1e-4. A policy that runs on OpenVINO cannot
    be trained further. With `torch` and `auto`, a policy of another kind is returned as it is.

    Raises:
        UnknownName: no such runtime.
        UsageError: `openvino` is asked for, and the policy is neither a diffusion nor a flow policy.
        MissingExtra: `openvino` is asked for and not installed.
    """
    if runtime not in RUNTIMES:
        raise UnknownName("runtime", runtime, RUNTIMES)
    if runtime == "torch" or (runtime == "auto" and not find_spec("openvino")):
        return policy
    if not isinstance(policy, DiffusionPolicy):
        if runtime == "auto":
            return policy
        raise UsageError(
            f"runtime=openvino runs diffusion and flow policies, and this one is {type(policy).__name__}; take "
            "runtime=torch"
        )
    if not find_spec("openvino"):
        raise MissingExtra("openvino", "fast", "the policy runtime 'openvino'")
    model = copy.copy(policy.model)
    model._modules = dict(policy.model._modules)  # a shallow copy of a module shares this table
    model.network = CompiledNetwork(policy.model.network, threads)
    return DiffusionPolicy(model, policy.observation, policy.action, policy.meta, policy.frames)
