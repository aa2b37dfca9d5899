"""Calls a reward function of the user on a batch, in the form that suits it.

The forms differ in three ways: arrays of numpy or tensors of torch, all worlds in one call or one call per world, and
the state as an object with fields or as a flat array. The first form that works on a small batch is taken.
"""

from __future__ import annotations

import itertools
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from robo_reward.envs.state import State, Transitions
from robo_reward.errors import RoboRewardError, WrongShape
from robo_reward.rewards.contract import InvalidReward, RewardOutput, validate_output
from robo_reward.rewards.function.parameters import Parameter, read_parameters

Framework = Literal["auto", "numpy", "torch"]
PACKAGE = str(Path(__file__).parents[2])
"""The folder of robo-reward; errors are shown where the user's own code fails."""
TRIAL = 5
"""Least number of transitions on which the forms are tried."""


class CallForm(NamedTuple):
    """A form of calling a function.

    Attributes:
        framework: `numpy` or `torch`.
        is_batched: whether one call gets all transitions, and not one of them.
        is_flat: whether the state is a flat array, and not an object with fields.
    """

    framework: str
    is_batched: bool
    is_flat: bool

    def __str__(self) -> str:
        worlds = "all worlds in one call" if self.is_batched else "one call per world"
        state = "a flat array" if self.is_flat else "an object with fields"
        return f"{worlds}, {'tensors of torch' if self.framework == 'torch' else 'arrays of numpy'}, state as {state}"


class FunctionCall:
    """A function with the form in which it is called.

    Args:
        function: anything that can be called.
        parameters: of the function.
        form: of the call.
        name: of the function, for messages.
    """

    def __init__(
        self, function: Callable[..., Any], parameters: tuple[Parameter, ...], form: CallForm, name: str
    ) -> None:
        self.function, self.parameters, self.form, self.name = function, parameters, form, name

    def __call__(self, batch: Transitions) -> RewardOutput:
        """Returns the reward of each transition.

        Raises:
            InvalidReward: the function fails, or returns something outside the contract of a reward.
        """
        with _guard_framework(self.form.framework):
            if self.form.is_batched:
                total, terms = self.compute(batch)
            else:
                rows = [self.compute(batch, row) for row in range(len(batch.action))]
                total, terms = _join_rows(rows, self.name)
        try:
            return validate_output(total, terms, len(batch.action))
        except (InvalidReward, WrongShape) as error:
            raise InvalidReward(f"the reward function {self.name}: {error}") from None

    def compute(self, batch: Transitions, row: int | None = None) -> tuple[Any, dict[str, Any]]:
        """Returns what the function returns for a batch, or for one of its rows, as arrays.

        Raises:
            InvalidReward: the function fails, or returns something that cannot be a reward.
        """
        values = {p.name: self._find_value(p, batch, row) for p in self.parameters}
        positional = [values[p.name] for p in self.parameters if not p.by_name]
        try:
            result = self.function(*positional, **{p.name: values[p.name] for p in self.parameters if p.by_name})
        except (Exception, SystemExit) as error:
            raise InvalidReward(f"{self.name} fails: {describe_failure(error)}") from error
        total, terms = _split_result(result, self.name)
        return _to_array(total), {_clean_term_name(name): _to_array(value) for name, value in terms.items()}

    def _find_value(self, parameter: Parameter, batch: Transitions, row: int | None) -> Any:
        """Returns the argument for a parameter: a copy, which the function may change."""
        source: Any = batch.previous if parameter.role == "previous" else batch.state
        spec = source.spec
        array = np.array(batch.action if parameter.role == "action" else source.array, dtype=float)
        array = array if row is None else array[row]
        value: Any = _to_tensor(array) if self.form.framework == "torch" else array
        if parameter.role == "action":
            return value
        if parameter.role == "field":
            return State(spec, value)[parameter.name]
        return value if self.form.is_flat else State(spec, value)


def choose_call(
    function: Callable[..., Any], batch: Transitions, name: str, framework: Framework = "auto"
) -> FunctionCall:
    """Returns the call in the first form that works on some transitions.

    Args:
        function: anything that can be called.
        batch: on which the forms are tried, repeated where it is short.
        name: of the function, for messages.
        framework: what the function computes with; auto: numpy, and torch where its parameters are annotated so, or
            where numpy fails and its module imports torch.

    Raises:
        UnknownName: a parameter whose meaning is unknown.
        InvalidReward: no form works; the message holds the reasons.
    """
    parameters = read_parameters(function, batch.state.spec, name)
    trial = _make_trial(batch)
    problems: dict[str, str] = {}
    for form in _list_forms(function, parameters, framework):
        call = FunctionCall(function, parameters, form, name)
        try:
            problem = _find_misfit(call, trial)
        except InvalidReward as error:
            problem = str(error)
        if not problem:
            return call
        problems.setdefault(_describe_batch(form, trial), problem)
    raise InvalidReward(_explain_problems(name, problems))


def _explain_problems(name: str, problems: Mapping[str, str]) -> str:
    """Returns the message for a function that works in no form; a problem that all forms share is named once."""
    reasons = [f"  with {where}: {problem}" for where, problem in itertools.islice(problems.items(), 4)]
    if len(set(problems.values())) == 1:
        reasons = [f"  {next(iter(problems.values()))}"]
    form = "It gets arrays of B transitions, or of one, and returns a number for each, or (total, {name: term})"
    return "\n".join([f"the reward function {name} does not work:", *reasons, form])


def _list_forms(
    function: Callable[..., Any], parameters: tuple[Parameter, ...], framework: Framework
) -> list[CallForm]:
    """Returns the forms to try, the likeliest first."""
    frameworks = [framework] if framework != "auto" else ["numpy"]
    if framework == "auto" and any(p.is_tensor for p in parameters):
        frameworks = ["torch"]
    elif framework == "auto" and imports_torch(function):
        frameworks.append("torch")
    states = [p for p in parameters if p.role in ("state", "previous")]
    first = any(p.is_flat for p in states)
    views = [first, not first] if states else [False]
    return [CallForm(f, batched, flat) for f in frameworks for flat in views for batched in (True, False)]


def imports_torch(function: Callable[..., Any]) -> bool:
    """Returns whether the module that a function is from has imported torch."""
    if "torch" not in sys.modules:
        return False
    owners = [function, type(function), *(getattr(function, name, None) for name in ("func", "__func__"))]
    modules = [sys.modules.get(getattr(owner, "__module__", None) or "") for owner in owners]
    spaces = [getattr(function, "__globals__", {}), *(vars(module) for module in modules if module is not None)]
    return any(
        value is sys.modules["torch"] or str(getattr(value, "__module__", "")).startswith("torch")
        for space in spaces
        for value in list(space.values())
    )


def _make_trial(batch: Transitions) -> Transitions:
    """Returns a few transitions; their number is no width of the state, a field or the action."""
    spec = batch.state.spec
    widths = {1, spec.dim, batch.action.shape[1], *(size for field in spec for size in field.shape)}
    length = next(n for n in itertools.count(TRIAL) if n not in widths)
    return batch.rows(np.arange(length) % len(batch.action))


def _find_misfit(call: FunctionCall, trial: Transitions) -> str:
    """Returns why a form does not give one number for each transition; empty where it does.

    Raises:
        InvalidReward: the function fails in this form.
    """
    count = len(trial.action)
    with _guard_framework(call.form.framework):
        if not call.form.is_batched:
            _join_rows([call.compute(trial, row) for row in range(count)], call.name)
            return ""
        total, terms = call.compute(trial)
    if np.shape(total) == ():
        # One number for the batch is right for a constant only; else the function is for one world.
        alone = FunctionCall(call.function, call.parameters, call.form._replace(is_batched=False), call.name)
        is_constant = not _find_misfit(alone, trial) and np.all(alone(trial).total == total)
        return "" if is_constant else f"{call.name} returns one number for all transitions together"
    wrong = {name: np.shape(v) for name, v in {"total": total, **terms}.items() if np.shape(v) not in ((), (count,))}
    return "; ".join(f"{call.name} returns {name} of shape {shape}" for name, shape in wrong.items())


def _describe_batch(form: CallForm, trial: Transitions) -> str:
    count, spec = len(trial.action), trial.state.spec
    kind = "tensors" if form.framework == "torch" else "arrays"
    if not form.is_batched:
        return f"one transition ({kind}: state ({spec.dim},), action ({trial.action.shape[1]},))"
    return f"{count} transitions ({kind}: state ({count}, {spec.dim}), action ({count}, {trial.action.shape[1]}))"


def describe_failure(error: BaseException) -> str:
    """Returns the type, the text and the place of an error in the user's code."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(PACKAGE)] or frames
    kind = "" if isinstance(error, RoboRewardError) else f"{type(error).__name__}: "
    where = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    return f"{kind}{' '.join(str(error).split())[:300]}{where}"


def _split_result(result: Any, name: str) -> tuple[Any, Mapping[str, Any]]:
    """Returns the total and the terms of a function's result.

    Raises:
        InvalidReward: the result is of another form.
    """
    if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], Mapping):
        return result
    if result is None or isinstance(result, (Mapping, str, tuple)):
        kind = f"a tuple of {len(result)}" if isinstance(result, tuple) else type(result).__name__
        raise InvalidReward(f"{name} returns {kind}; expected the total, or (total, {{name: term}})")
    return result, {}


def _clean_term_name(name: Any) -> str:
    """Returns a term's name as an identifier: `reward/reach` is `reward_reach`."""
    text = re.sub(r"\W+", "_", str(name)).strip("_") or "term"
    return (text if not text[0].isdigit() else f"term_{text}")[:64]


def _to_array(value: Any) -> Any:
    """Returns a number or an array of numpy; (B, 1) becomes (B,)."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise InvalidReward(f"a reward or term cannot be an array: {error}") from None
    return array.reshape(array.shape[0]) if array.ndim == 2 and array.shape[1] == 1 else array


def _to_tensor(array: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(array)).to(torch.get_default_dtype())


def _guard_framework(framework: str) -> Any:
    """Returns a context without gradients, or without warnings about numbers that are checked afterwards."""
    if framework == "torch":
        import torch

        return torch.no_grad()
    return np.errstate(all="ignore")


def _join_rows(rows: list[tuple[Any, dict[str, Any]]], name: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Returns totals and terms of single transitions as arrays.

    Raises:
        InvalidReward: a transition gave several numbers, or other terms than the first.
    """
    names = rows[0][1].keys() if rows else ()
    for number, (total, terms) in enumerate(rows):
        for what, value in {"total": total, **terms}.items():
            if np.size(value) != 1:
                raise InvalidReward(f"{name} returns shape {np.shape(value)} as {what} of one transition, not a number")
        if terms.keys() != names:
            differing = ", ".join(sorted(terms.keys() ^ names))
            raise InvalidReward(f"{name} returns other terms at transition {number} than at the first: {differing}")
    columns = {key: np.array([np.reshape(terms[key], ()) for _, terms in rows]) for key in names}
    return np.array([np.reshape(total, ()) for total, _ in rows]), columns
