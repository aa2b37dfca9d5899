"""The values of a published program as its authors run it: plain Python, with numpy or torch."""

from __future__ import annotations

import contextlib
import inspect
import io
import math
import typing
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from benchmarks.published_programs.program import PublishedProgram
from robo_reward.envs.state import State, Transitions

_STATES = ("state", "obs")
_ACTIONS = ("action", "actions")


def evaluate_original(program: PublishedProgram, batch: Transitions) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Returns the total (B,) and the named terms of the original on each transition.

    A program for one world is called once for each transition. Terms that are missing in some worlds are 0 there.
    """
    function = _load_function(program.source)
    if program.arrays == "batch":
        result = _split_result(_call_original(function, program, batch, slice(None)))
        size = len(batch.action)
        return np.broadcast_to(_as_numbers(result[0]), (size,)), {k: _as_numbers(v) for k, v in result[1].items()}
    results = [_split_result(_call_original(function, program, batch, row)) for row in range(len(batch.action))]
    names = {name for _, terms in results for name in terms}
    total = np.array([float(total) for total, _ in results])
    return total, {n: np.array([float(terms.get(n, 0.0)) for _, terms in results]) for n in names}


def _load_function(source: str) -> Any:
    """Returns the function of a program that computes the reward; TorchScript is left out."""
    namespace: dict[str, Any] = {"np": np, "torch": torch, "math": math, "Tensor": torch.Tensor} | vars(typing)
    known = set(namespace)
    script, torch.jit.script = torch.jit.script, lambda function: function
    try:
        exec(compile(source, "<published program>", "exec"), namespace)
    finally:
        torch.jit.script = script
    functions = {n: f for n, f in namespace.items() if n not in known and inspect.isfunction(f)}
    return functions.get("compute_reward") or next(f for n, f in reversed(functions.items()) if "reward" in n)


def _call_original(function: Any, program: PublishedProgram, batch: Transitions, rows: Any) -> Any:
    state, before = (_view_rows(part, program, rows) for part in (batch.state, batch.previous))
    action = _as_array(batch.action[rows], program)
    arguments = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name in ("self", *_STATES):
            arguments.append(SimpleNamespace(**state))
        elif name in _ACTIONS:
            arguments.append(action)
        elif name == "previous":
            arguments.append(SimpleNamespace(**before))
        elif name in state:
            arguments.append(state[name])
        elif name.startswith("prev_"):
            arguments.append(before[name.removeprefix("prev_")])
        elif parameter.default is inspect.Parameter.empty:
            raise TypeError(f"{program.name} has a parameter {name}")
        else:
            arguments.append(parameter.default)
    previous_type = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with np.errstate(all="ignore"), contextlib.redirect_stdout(io.StringIO()):
            return function(*arguments)
    finally:
        torch.set_default_dtype(previous_type)


def _view_rows(state: State, program: PublishedProgram, rows: Any) -> dict[str, Any]:
    return {field.name: _as_array(state[field.name][rows], program) for field in state.spec}


def _as_array(values: Any, program: PublishedProgram) -> Any:
    copied = np.array(values, dtype=np.float64)
    if program.library == "torch":
        return torch.from_numpy(copied)
    return copied if copied.ndim else np.float64(copied)


def _split_result(result: Any) -> tuple[Any, dict[str, Any]]:
    """Returns the total and the terms of a result."""
    if isinstance(result, tuple | list):
        return result[0], result[1] if isinstance(result[1], dict) else {}
    return result, {}


def _as_numbers(values: Any) -> np.ndarray:
    return np.asarray(values.numpy() if isinstance(values, torch.Tensor) else values, dtype=np.float64)
