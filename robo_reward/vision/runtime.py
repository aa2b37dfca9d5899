"""Inference runtimes of a network: torch, or OpenVINO, which is about three times as fast on a CPU."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from robo_reward.errors import MissingExtra

RUNTIMES = ("auto", "torch", "openvino")

Run = Callable[[torch.Tensor], np.ndarray]


def compile_network(network: torch.nn.Module, runtime: str, size: int, threads: int) -> Run:
    """Returns a function from normalised pictures (n, 3, size, size) float32 to features (n, ...) float32.

    Args:
        network: frozen.
        runtime: `torch`, `openvino`, or `auto`: OpenVINO if it is installed.
        size: side of the pictures [pixels].
        threads: number of threads of OpenVINO; torch has its own setting.

    Raises:
        MissingExtra: OpenVINO is not installed.
    """
    if runtime == "openvino" or (runtime == "auto" and find_spec("openvino")):
        return _compile_openvino(network, size, threads)
    return lambda pictures: network(pictures).numpy()


def _compile_openvino(network: torch.nn.Module, size: int, threads: int) -> Run:
    example = torch.zeros(1, 3, size, size)
    run = compile_openvino(network, (example,), threads, "the encoder runtime 'openvino'", any_batch=True)
    return lambda pictures: run(pictures)


def compile_openvino(
    network: torch.nn.Module, examples: Sequence[torch.Tensor], threads: int, purpose: str, any_batch: bool = False
) -> Callable[..., np.ndarray]:
    """Returns a network compiled by OpenVINO for one core or several, in float32.

    Args:
        network: frozen; maps tensors to one tensor.
        examples: an input for each argument, of the sizes in use.
        threads: number of threads.
        purpose: what it is for, for the error's message.
        any_batch: let the first axis have any size. An attention layer does not: tracing makes the size a constant.

    Raises:
        MissingExtra: OpenVINO is not installed.
    """
    try:
        import openvino
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
    except ImportError:
        raise MissingExtra("openvino", "fast", purpose) from None
    # Not `openvino.convert_model`, which sends usage data to a server.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about traced shapes, which are the shapes in use
        decoder = TorchScriptPythonDecoder(network, example_input=tuple(examples))
    front: Any = FrontEndManager().load_by_framework("pytorch")
    model = front.convert(front.load(decoder))
    shapes = [[-1 if any_batch else len(example), *example.shape[1:]] for example in examples]
    model.reshape(dict(zip(model.inputs, shapes, strict=True)))
    options = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",  # otherwise bfloat16 where supported: features differ by 1 %
        "PERFORMANCE_HINT": "LATENCY",  # all threads work on one batch
    }
    run: Any = openvino.Core().compile_model(model, "CPU", options)
    return lambda *inputs: run([each.numpy() for each in inputs])[0]
