"""The named quantities that every reward reads."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from robo_reward.errors import UnknownName, UsageError, WrongShape
from robo_reward.files import convert_json

MAX_DIM, MAX_AXIS = 4096, 1024
"""Largest size of a state and of one axis of a field: a file must not cause arbitrarily large allocations."""
LONGEST_OUTLINE = 80
"""Most fields of a state that are described one by one."""
SHARED_ROLES = ("body", "joint", "part", "contact", "other")
"""Roles of fields that a long outline describes together; hands, objects and goals keep their own lines."""
ROLES = ("hand", "gripper", "object", "part", "goal", "body", "joint", "contact", "other", "hidden")
"""Roles of fields: the arm's `hand` and its `gripper`, a free `object`, a moving `part` of a mechanism
(a handle, a drawer), a `goal`, any other `body`, a robot `joint`, a `contact`, or something else. Written programs
neither see nor read a `hidden` field: what the code of an environment itself computes, such as its own reward."""


@dataclass(frozen=True)
class Field:
    """One named quantity of the state.

    Args:
        name: a Python identifier such as `cube_position`; by convention SUBJECT_QUANTITY.
        shape: of one world: `()` for a number, `(3,)` for a vector, `(4,)` for a unit quaternion (w, x, y, z).
        unit: `m`, `rad`, `m/s`, `rad/s`, `N`, `N m`, `quaternion` or `1`.
        description: one sentence for the reader, human or language model.
        role: one of `ROLES`.
        frame: reference frame, `world` by default.
        typical: the usual range of each component, for probes, plots and random states.
    """

    name: str
    shape: tuple[int, ...] = ()
    unit: str = "1"
    description: str = ""
    role: str = "other"
    frame: str = "world"
    typical: tuple[float, float] = (-1.0, 1.0)

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or self.name.startswith("_"):
            raise UsageError(f"field name {self.name!r} is not a public Python identifier, such as 'cube_position'")
        if self.role not in ROLES:
            raise UnknownName("field role", self.role, ROLES)
        object.__setattr__(self, "shape", tuple(self.shape))
        object.__setattr__(self, "typical", tuple(self.typical))
        if min(self.shape, default=1) < 0 or max(self.shape, default=1) > MAX_AXIS or len(self.shape) > 4:
            raise UsageError(f"field {self.name!r} has shape {self.shape}, expected up to 4 axes of at most {MAX_AXIS}")

    @property
    def size(self) -> int:
        """The number of components in one world."""
        return math.prod(self.shape)

    @property
    def subject(self) -> str:
        """The subject of the quantity: `cube` of `cube_position`."""
        return self.name.rpartition("_")[0] or self.name

    @property
    def quantity(self) -> str:
        """The quantity measured of the subject: `position` of `cube_position`."""
        return self.name.rpartition("_")[2]


class StateSpec:
    """The order of fields in one flat float array `(..., D)`."""

    def __init__(self, fields: tuple[Field, ...] | list[Field]) -> None:
        self.fields = tuple(fields)
        self._slices: dict[str, slice] = {}
        start = 0
        for field in self.fields:
            if field.name in self._slices:
                raise UsageError(f"field {field.name!r} appears twice in the state")
            self._slices[field.name] = slice(start, start + field.size)
            start += field.size
        self.dim = start
        if start > MAX_DIM:
            raise UsageError(f"the state has {start} numbers, at most {MAX_DIM} are supported")

    @property
    def names(self) -> tuple[str, ...]:
        """The field names in order."""
        return tuple(self._slices)

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    def __contains__(self, name: object) -> bool:
        return name in self._slices

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StateSpec) and self.fields == other.fields

    def __hash__(self) -> int:
        return hash(self.fields)

    def __repr__(self) -> str:
        return f"StateSpec({', '.join(self.names)}; D={self.dim})"

    def __getitem__(self, name: str) -> Field:
        self.slice(name)
        return next(field for field in self.fields if field.name == name)

    def slice(self, name: str) -> slice:
        """Returns the position of a field in the flat array.

        Raises:
            UnknownName: no field of that name.
        """
        try:
            return self._slices[name]
        except KeyError:
            raise UnknownName("state field", name, self.names) from None

    def view(self, array: np.ndarray) -> State:
        """Wraps a flat array `(..., D)` without copying.

        Raises:
            WrongShape: the last axis is not D.
        """
        return State(self, array)

    def pack(self, values: Mapping[str, Any]) -> State:
        """Builds a state from named arrays `(..., *shape)`; every field must be given.

        Raises:
            UnknownName: a value for a field that does not exist.
            UsageError: a field without a value.
        """
        for name in values:
            self.slice(name)
        missing = [name for name in self.names if name not in values]
        if missing:
            raise UsageError(f"no value for state field(s) {', '.join(missing)}")
        first = self.fields[0]
        batch = np.shape(values[first.name])[: np.ndim(values[first.name]) - len(first.shape)]
        flat = [np.reshape(np.asarray(values[f.name], float), (*batch, f.size)) for f in self.fields]
        return State(self, np.concatenate(flat, axis=-1))

    def outline(self) -> str:
        """Returns the text that a reward writer reads: a line per field with shape, unit, frame and meaning.

        Of more than `LONGEST_OUTLINE` fields, those of alike bodies and joints share their lines.
        """
        shown = tuple(field for field in self.fields if field.role != "hidden")
        groups = _group_alike(shown) if len(shown) > LONGEST_OUTLINE else {}
        width = max((len(f.name) for f in shown if f.name not in groups), default=0)
        lines = [_describe_field(f, f.name, width, f.description) for f in shown if f.name not in groups]
        for subjects in dict.fromkeys(groups.values()):
            lines.append(f"For each SUBJECT of {', '.join(subjects)}:")
            first = [f for f in shown if groups.get(f.name) == subjects and f.subject == subjects[0]]
            width = max(len(f"SUBJECT_{f.quantity}") for f in first)
            for f in first:
                said = re.sub(r"'[^']*'", "SUBJECT", f.description, count=1)
                lines.append("  " + _describe_field(f, f"SUBJECT_{f.quantity}", width, said))
        return "\n".join(lines)

    def to_json(self) -> list[dict[str, Any]]:
        """Returns a JSON value from which `from_json` rebuilds the same spec."""
        return [asdict(f) for f in self.fields]

    @classmethod
    def from_json(cls, value: list[dict[str, Any]]) -> StateSpec:
        """Rebuilds a spec from the value of `to_json`.

        Raises:
            BadArtifact: the value is of another form.
            UsageError: a field that is not valid, or a state that is too large.
        """
        fields = convert_json(value, list[Field], "state")
        for field in fields:
            if not all(math.isfinite(bound) for bound in field.typical):
                raise UsageError(f"field {field.name!r} has the typical range {field.typical}, expected finite numbers")
        return cls(fields)

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change when any field does."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @classmethod
    def from_model(cls, model: Any) -> StateSpec:
        """Returns a readable state for any MuJoCo model; see `envs.model_state`."""
        from robo_reward.envs.model.state import build_state_spec

        return build_state_spec(model)


def _describe_field(field: Field, name: str, width: int, description: str) -> str:
    shape = "(B,)" if field.shape == () else f"(B, {', '.join(map(str, field.shape))})"
    frame = "" if field.frame == "world" else f", in {field.frame}"
    return f"state.{name:<{width}}  {shape:<7} [{field.unit}{frame}]  {description}"


def _group_alike(fields: tuple[Field, ...]) -> dict[str, tuple[str, ...]]:
    """Returns, for each field that is described together with others, the subjects that have the same quantities."""
    kinds: dict[str, list[tuple[str, str, tuple[int, ...], str]]] = {}
    for f in fields:
        if f.subject != f.name:
            kinds.setdefault(f.subject, []).append((f.quantity, f.role, f.shape, f.unit))
    alike: dict[tuple[Any, ...], list[str]] = {}
    for subject, quantities in kinds.items():
        if all(role in SHARED_ROLES for _, role, _, _ in quantities):
            alike.setdefault(tuple(quantities), []).append(subject)
    shared = {subject: tuple(group) for group in alike.values() if len(group) > 2 for subject in group}
    return {f.name: shared[f.subject] for f in fields if f.subject in shared and f.subject != f.name}


class State:
    """Named views `(..., *shape)` on a flat array `(..., D)`."""

    __slots__ = ("array", "spec")

    def __init__(self, spec: StateSpec, array: np.ndarray) -> None:
        if np.ndim(array) < 1 or array.shape[-1] != spec.dim:
            raise WrongShape("state array", np.shape(array), f"(..., {spec.dim}) for {spec!r}")
        self.spec, self.array = spec, array

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The leading axes: worlds, time steps or both."""
        return self.array.shape[:-1]

    def __getitem__(self, name: str) -> np.ndarray:
        field = self.spec[name]
        return self.array[..., self.spec.slice(name)].reshape((*self.batch_shape, *field.shape))

    def __getattr__(self, name: str) -> np.ndarray:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __len__(self) -> int:
        return len(self.array)

    def rows(self, index: Any) -> State:
        """Returns the states at an index of the leading axes."""
        return State(self.spec, self.array[index])

    def __repr__(self) -> str:
        return f"State{self.batch_shape}({', '.join(self.spec.names)})"


class Transitions(NamedTuple):
    """B transitions in any order: worlds, time steps or both.

    Attributes:
        previous: the state before the action, batch shape (B,).
        action: what the policy chose, (B, A), each component in [-1, 1].
        state: the state after it, batch shape (B,).
    """

    previous: State
    action: np.ndarray
    state: State

    def rows(self, index: Any) -> Transitions:
        """Returns the transitions at an index of the batch axis."""
        return Transitions(self.previous.rows(index), self.action[index], self.state.rows(index))
