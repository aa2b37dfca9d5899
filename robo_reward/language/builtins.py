"""Everything a reward program may call: pure functions that act on each row of a batch by itself.

Programs write `np.tanh(x)`, but never meet numpy: names are resolved against `FUNCTIONS` when the program is compiled.
Two rules keep a program's memory and meaning bounded. No function makes an array larger than its arguments broadcast
against each other (or, where it joins a list, than the list), and none mixes rows: the first axis is the batch, so a
reduction or a join along it is refused.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from robo_reward.language import rotations
from robo_reward.language.tolerance import tolerance

MAX_CONSTANTS = 64
"""Maximum length of a constant array, `np.array([...])`."""


@dataclass(frozen=True)
class LanguageFunction:
    """A function that reward programs may call.

    Args:
        name: as programs spell it: `np.tanh`, `np.linalg.norm`, `quat_mul`.
        call: the implementation.
        required: its parameters without a default.
        optional: the others, in order.
        keywords: whether parameters may be given by name.
        doc: one line for the reader of a prompt.
        cost: time for each number of the arguments, broadcast against each other; roughly in ns.
    """

    name: str
    call: Callable[..., Any]
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    keywords: bool = True
    doc: str = ""
    cost: int = 1

    @property
    def parameters(self) -> tuple[str, ...]:
        """All parameters in order."""
        return self.required + self.optional

    @property
    def usage(self) -> str:
        """The shortest call, such as `np.sum(x, axis=-1)`."""
        return f"{self.name}({', '.join(self._argument_examples)})"

    @property
    def signature(self) -> str:
        """The call with everything that may be given, such as `np.sum(x, axis=-1, keepdims=...)`."""
        return f"{self.name}({', '.join([*self._argument_examples, *(f'{name}=...' for name in self.optional)])})"

    @property
    def _argument_examples(self) -> list[str]:
        habits = {"axis": "axis=-1", "arrays": "[a, b]"}
        return [habits.get(name, name) for name in self.required]


_UFUNCS = {
    "arithmetic of two arrays": "add subtract multiply divide power mod minimum maximum hypot arctan2 copysign",
    "comparison, true or false": "less less_equal greater greater_equal equal not_equal",
    "of truth values": "logical_and logical_or logical_xor logical_not",
    "element by element": "absolute fabs negative sign square sqrt cbrt reciprocal floor ceil rint",
    "exponential or logarithm": "exp exp2 expm1 log log2 log10 log1p",
    "of an angle [rad]": "sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh deg2rad rad2deg",
    "true where a number is what the name says": "isfinite isnan",
}
"""NumPy's element-wise functions. Arguments are positional only, so a program cannot pass `out=` or `where=`."""

_COSTS = {
    "quat_rotate": 32,
    "quat_angle": 16,
    **dict.fromkeys(("tolerance", "quat_mul", "quat_to_axis", "np.cross", "np.mod"), 8),
    **dict.fromkeys(("np.sin", "np.cos", "np.power", "np.hypot", "np.arctan2", "quat_conj"), 4),
    **dict.fromkeys(("np.arcsinh", "np.tan", "np.stack", "np.dot"), 2),
}
"""Relative cost of functions that take more than about 1 ns per number, measured on (4096,) and (4096, 4) arrays."""

CONSTANTS: Mapping[str, float] = MappingProxyType({"np.pi": float(np.pi), "np.e": float(np.e)})


def where(condition: Any, x: Any, y: Any) -> np.ndarray:
    """x where the condition holds, y elsewhere; the `if` of this language."""
    return np.where(condition, x, y)


def clip(x: Any, a_min: Any, a_max: Any) -> np.ndarray:
    """x held between two bounds."""
    return np.minimum(np.maximum(x, a_min), a_max)


def array(arrays: Sequence[float]) -> np.ndarray:
    """A constant vector of at most 64 numbers, such as np.array([0.5, 0.0, 0.1])."""
    vector = np.array(arrays, dtype=np.float64)
    if vector.ndim != 1 or len(vector) > MAX_CONSTANTS:
        raise ValueError(f"np.array takes a flat list of at most {MAX_CONSTANTS} numbers; join arrays with np.stack")
    return vector


def float64(x: Any) -> np.ndarray:
    """Truth values as 0.0 and 1.0."""
    return np.array(x, dtype=np.float64)


def zeros_like(x: Any) -> np.ndarray:
    """Zeros in the shape of x."""
    return np.zeros_like(x, dtype=np.float64)


def ones_like(x: Any) -> np.ndarray:
    """Ones in the shape of x."""
    return np.ones_like(x, dtype=np.float64)


def full_like(x: Any, fill_value: float) -> np.ndarray:
    """One number in the shape of x."""
    return np.full_like(x, fill_value, dtype=np.float64)


def nan_to_num(x: Any) -> np.ndarray:
    """x with zeros in the place of NaN."""
    return np.where(np.isnan(x), 0.0, x)


def sum(x: Any, axis: int, keepdims: bool = False) -> np.ndarray:
    """Sum over the components."""
    return np.sum(x, axis=_resolve_component_axis(x, axis), keepdims=keepdims)


def mean(x: Any, axis: int, keepdims: bool = False) -> np.ndarray:
    """Mean over the components."""
    return np.mean(x, axis=_resolve_component_axis(x, axis), keepdims=keepdims)


def prod(x: Any, axis: int, keepdims: bool = False) -> np.ndarray:
    """Product over the components."""
    return np.prod(x, axis=_resolve_component_axis(x, axis), keepdims=keepdims)


def max(x: Any, axis: int, keepdims: bool = False) -> np.ndarray:
    """Largest component."""
    return np.max(x, axis=_resolve_component_axis(x, axis), keepdims=keepdims)


def min(x: Any, axis: int, keepdims: bool = False) -> np.ndarray:
    """Smallest component."""
    return np.min(x, axis=_resolve_component_axis(x, axis), keepdims=keepdims)


def any(x: Any, axis: int, keepdims: bool = False) -> np.ndarray:
    """True where one component is."""
    return np.any(x, axis=_resolve_component_axis(x, axis), keepdims=keepdims)


def all(x: Any, axis: int, keepdims: bool = False) -> np.ndarray:
    """True where every component is."""
    return np.all(x, axis=_resolve_component_axis(x, axis), keepdims=keepdims)


def norm(x: Any, axis: int, keepdims: bool = False) -> np.ndarray:
    """Euclidean length of each row."""
    return np.sqrt(np.sum(np.square(x), axis=_resolve_component_axis(x, axis), keepdims=keepdims))


def dot(a: Any, b: Any) -> np.ndarray:
    """Inner product of each row of a with the same row of b: the sum of a * b over the last axis."""
    product = np.multiply(a, b)
    return np.sum(product, axis=_resolve_component_axis(product, -1))


def cross(a: Any, b: Any) -> np.ndarray:
    """Vector product of 3-vectors, row by row."""
    return rotations.cross_product(a, b)


def stack(arrays: Sequence[Any], axis: int) -> np.ndarray:
    """Numbers (B,) side by side as vectors: np.stack([x, y, z], axis=-1) is (B, 3)."""
    if axis not in (-1, np.ndim(arrays[0])) or np.ndim(arrays[0]) == 0:
        raise ValueError("np.stack joins arrays of the batch along a new last axis: axis=-1")
    return np.moveaxis(np.stack(arrays), 0, -1)  # each component stays contiguous in memory


def concatenate(arrays: Sequence[Any], axis: int) -> np.ndarray:
    """Vectors (B, n) and (B, m) joined to (B, n + m), with axis=-1."""
    return np.concatenate(arrays, axis=_resolve_component_axis(arrays[0], axis))


def _resolve_component_axis(x: Any, axis: int) -> int:
    """Returns the axis, counted from the front; never the batch axis.

    Raises:
        ValueError: it is the batch axis, or there is no such axis.
    """
    dimensions = np.ndim(x)
    front = axis + dimensions if axis < 0 else axis
    if not 0 < front < dimensions:
        raise ValueError(
            f"axis={axis} of an array with {dimensions} axes is not an axis of components: the first axis is the batch,"
            " and rows are never mixed"
        )
    return front


def _wrap_ufunc(name: str, meaning: str) -> LanguageFunction:
    call = getattr(np, name)
    required = ("x",) if call.nin == 1 else ("a", "b")
    doc = f"{name.replace('_', ' ')}, {meaning}"
    return LanguageFunction(f"np.{name}", call, required, keywords=False, doc=doc, cost=_COSTS.get(f"np.{name}", 1))


def _wrap_function(name: str, call: Callable[..., Any]) -> LanguageFunction:
    parameters = inspect.signature(call).parameters.values()
    required = tuple(p.name for p in parameters if p.default is p.empty)
    optional = tuple(p.name for p in parameters if p.default is not p.empty)
    doc = (call.__doc__ or "").partition("\n")[0]
    return LanguageFunction(name, call, required, optional, doc=doc, cost=_COSTS.get(name, 1))


def _build_function_table() -> dict[str, LanguageFunction]:
    ours = (where, clip, sum, mean, prod, max, min, any, all, dot, cross, stack, concatenate, array)
    ours += (zeros_like, ones_like, full_like, float64, nan_to_num)
    functions = [_wrap_function(f"np.{call.__name__}", call) for call in ours]
    functions.append(_wrap_function("np.linalg.norm", norm))
    functions += [_wrap_function(name, getattr(rotations, name)) for name in rotations.__all__]
    functions.append(_wrap_function("tolerance", tolerance))
    functions += [_wrap_ufunc(name, meaning) for meaning, names in _UFUNCS.items() for name in names.split()]
    functions += [
        LanguageFunction(name, np.absolute, ("x",), (), False, "absolute value") for name in ("np.abs", "abs")
    ]
    return {function.name: function for function in functions}


FUNCTIONS: Mapping[str, LanguageFunction] = MappingProxyType(_build_function_table())
"""Name in programs -> function."""


def format_function_reference() -> str:
    """Returns the list of functions for prompts: a line for each of ours, a line for each family of numpy's."""
    lines = [f"{f.signature}: {f.doc}" for f in FUNCTIONS.values() if f.keywords]
    families = [f"{meaning}: {', '.join(f'np.{n}' for n in names.split())}" for meaning, names in _UFUNCS.items()]
    constants = f"constants: {', '.join(CONSTANTS)}"
    shorter = "np.abs and abs: the same as np.absolute"
    wrapped = [textwrap.fill(line, 118, subsequent_indent="    ") for line in (*lines, *families, shorter, constants)]
    return "\n".join(wrapped)
