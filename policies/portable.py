"""Policies as ONNX and TorchScript files, which run without robo-reward: state or observation in, action out.

The file holds the whole chain: the affine map of the state to the observation with its limits, the network, and the
tanh or the limit that keeps the deterministic action in [-1, 1]. Its metadata is the JSON of `describe_interface`.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np

from robo_reward.errors import MissingExtra, UsageError
from robo_reward.files import atomic_path
from robo_reward.policies.policy import MLPPolicy

FORMAT = 1
OPSET, IR_VERSION = 17, 8  # of 2022, which onnxruntime 1.12 and later, and TensorRT 8.6 and later, read
METADATA = "robo_reward"
"""Key of the metadata in an ONNX file; a TorchScript file has it as the extra file `robo_reward.json`."""

Inputs = Literal["state", "observation"]


def require_portable(policy: Any) -> MLPPolicy:
    """Returns a policy that can be written as a file.

    Raises:
        UsageError: a policy of another kind, such as one that plans chunks of actions or looks at pictures.
    """
    if isinstance(policy, MLPPolicy):
        return policy
    raise UsageError(
        f"a {type(policy).__name__} cannot be exported: ONNX and TorchScript files hold perceptrons that map one state "
        "to one action. Run it with `robo_reward.load_policy(FOLDER).act(observations)`, `robo-reward deploy`, or over "
        "the network with `robo-reward serve-policy policy=FOLDER`"
    )


def describe_interface(policy: MLPPolicy, inputs: Inputs) -> dict[str, Any]:
    """Returns names, shapes and units of a portable policy's input and output as JSON.

    Args:
        policy: the policy.
        inputs: whether the file takes the state, or the observation that `ObservationSpec` makes of it.
    """
    action = policy.action
    described = {"state": _describe_state, "observation": _describe_observation}[inputs](policy)
    return {
        "format": FORMAT,
        "input": {
            "name": inputs,
            "dtype": "float32",
            "shape": ["N", sum(f["size"] for f in described)],
            "parts": described,
        },
        "output": {
            "name": "action",
            "dtype": "float32",
            "shape": ["N", action.dim],
            "range": [-1.0, 1.0],
            "kind": action.kind,
            "rate_hz": action.rate_hz,
            "parts": [
                {"name": name, "scale": scale, "unit": unit}
                for name, scale, unit in zip(action.names, action.scale, action.units, strict=True)
            ],
        },
        "observation": policy.observation.to_json(),
        "meta": policy.meta,
    }


def _describe_state(policy: MLPPolicy) -> list[dict[str, Any]]:
    return [
        {"name": field.name, "size": field.size, "shape": list(field.shape), "unit": field.unit, "frame": field.frame}
        for field in policy.observation.state
    ]


def _describe_observation(policy: MLPPolicy) -> list[dict[str, Any]]:
    state = policy.observation.state
    return [
        {
            "name": part.field,
            "size": state[part.field].size,
            "minus": part.minus,
            "centre": list(part.centre),
            "scale": part.scale,
            "scale_unit": state[part.field].unit,
        }
        for part in policy.observation.parts
    ]


def export_onnx(policy: MLPPolicy, path: Path, inputs: Inputs = "state") -> None:
    """Writes an ONNX model with the input `state` or `observation` (N, D) and the output `action` (N, A), float32.

    Raises:
        MissingExtra: onnx is not installed.
        UsageError: a policy that is no perceptron.
    """
    require_portable(policy)
    try:
        import onnx
        from onnx import helper, numpy_helper
    except ModuleNotFoundError:
        raise MissingExtra("onnx", "onnx", "to=onnx") from None
    nodes, constants = [], []
    layers = _list_layers(policy, inputs)
    for number, (kind, *arrays) in enumerate(layers):
        names = [f"{kind}{number}_{k}" for k in range(len(arrays))]
        constants += [numpy_helper.from_array(array, name) for array, name in zip(arrays, names, strict=True)]
        before = f"hidden{number - 1}" if number else inputs
        after = f"hidden{number}" if number < len(layers) - 1 else "action"
        nodes.append(helper.make_node(kind, [before, *names], [after]))
    about = describe_interface(policy, inputs)
    size, number = about["input"]["shape"][1], onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "policy",
        [helper.make_tensor_value_info(inputs, number, ["N", size])],
        [helper.make_tensor_value_info("action", number, ["N", policy.action.dim])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="robo-reward")
    model.ir_version = IR_VERSION
    helper.set_model_props(model, {METADATA: json.dumps(about)})
    onnx.checker.check_model(model)
    with atomic_path(path, exclusive=True) as temporary:
        temporary.write_bytes(model.SerializeToString())


def export_torchscript(policy: MLPPolicy, path: Path, inputs: Inputs = "state") -> None:
    """Writes a TorchScript module that maps a state or an observation (N, D) to an action (N, A), float32.

    Raises:
        UsageError: a policy that is no perceptron.
    """
    import torch
    from torch import nn

    require_portable(policy)
    modules: list[nn.Module] = []
    for kind, *arrays in _list_layers(policy, inputs):
        if kind == "Gemm":
            weight, bias = map(torch.from_numpy, arrays)
            linear = nn.Linear(weight.shape[0], weight.shape[1])
            linear.weight.data, linear.bias.data = weight.T.contiguous(), bias
            modules.append(linear)
        elif kind == "Clip":
            modules.append(nn.Hardtanh(float(arrays[0]), float(arrays[1])))
        else:
            modules.append({"Tanh": nn.Tanh, "Relu": nn.ReLU, "Elu": nn.ELU}[kind]())
    network = nn.Sequential(*modules).eval().requires_grad_(False)
    about = json.dumps(describe_interface(policy, inputs))
    with atomic_path(path, exclusive=True) as temporary, warnings.catch_warnings():
        # torch advises torch.export since 2.13; C++ programs and robots read TorchScript all the same.
        warnings.filterwarnings("ignore", r".*`torch\.jit\.", FutureWarning)
        warnings.filterwarnings("ignore", r".*`torch\.jit\.", DeprecationWarning)
        torch.jit.save(torch.jit.script(network), str(temporary), _extra_files={f"{METADATA}.json": about})


def _list_layers(policy: MLPPolicy, inputs: Inputs) -> list[tuple[Any, ...]]:
    """Returns the layers as the name of an ONNX operator with its constants, in order."""
    between = policy.activation.capitalize()
    layers: list[tuple[Any, ...]] = []
    if inputs == "state":
        spec = policy.observation
        layers += [("Gemm", spec.matrix.astype(np.float32), spec.offset.astype(np.float32)), _clip(spec.bound)]
    for number, (weight, bias) in enumerate(zip(policy.weights, policy.biases, strict=True)):
        layers += [(between,)] if number else []
        layers.append(("Gemm", weight, bias))
    return [*layers, ("Tanh",) if policy.squash else _clip(1.0)]


def _clip(bound: float) -> tuple[Any, ...]:
    return "Clip", np.array(-bound, np.float32), np.array(bound, np.float32)
