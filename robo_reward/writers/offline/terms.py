"""Terms: named, bounded, smooth pieces of a reward, each with the local variables that it needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple


class SourceLine(NamedTuple):
    """One assignment: `local = code`."""

    local: str
    code: str


@dataclass(frozen=True)
class Term:
    """One named part of a reward.

    Args:
        name: of the term, and of the last local.
        lines: assignments in order; the last one is the term's value.
        note: purpose of the term, written as a comment.
    """

    name: str
    lines: tuple[SourceLine, ...]
    note: str = ""


@dataclass(frozen=True)
class Recipe:
    """A reward: the sum of its terms.

    Args:
        terms: in the order in which they are read.
        summary: for the docstring.
    """

    terms: tuple[Term, ...]
    summary: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the terms."""
        return tuple(term.name for term in self.terms)

    def remove_term(self, name: str) -> Recipe:
        """Returns the recipe without a term."""
        return replace(self, terms=tuple(t for t in self.terms if t.name != name))


@dataclass(frozen=True)
class Style:
    """The choices in which compositions of one plan differ.

    Args:
        shape: how closeness falls with distance: `tanh`, `exp` or `inverse`.
        width: factor on every scale; above 1, closeness is rewarded from farther away.
        gate: `hard` (on or off) or `soft` conditions between stages.
        stage: factor on the weights of later stages.
        effort: weight of the squared action.
        precise: whether a narrow bonus marks the goal.
        ready: whether first steps count more: a mechanism that begins to move, a body that stays tall.
        progress: whether motion towards the goal is rewarded as it happens.
        contact: whether the hand approaches the side from which the object must be moved.
        basis: what the terms come from, where the success rule is a condition on the state: `sentence`, `rule` or
            `both`.
    """

    shape: str = "tanh"
    width: float = 1.0
    gate: str = "hard"
    stage: float = 1.0
    effort: float = 0.01
    precise: bool = True
    ready: bool = False
    progress: bool = False
    contact: bool = True
    basis: str = "both"


def format_number(value: float) -> str:
    """Returns a constant as the program spells it."""
    return repr(float(f"{value:.4g}"))


def format_closeness(style: Style, distance: str, scale: str) -> str:
    """Returns code that is 1 at distance 0 and goes towards 0 beyond the scale."""
    if style.shape == "exp":
        return f"np.exp(-{distance} / {scale})"
    if style.shape == "inverse":
        return f"1.0 / (1.0 + ({distance} / {scale}) ** 2)"
    return f"(1.0 - np.tanh({distance} / {scale}))"


def format_product(weight: float, code: str, *factors: str) -> str:
    """Returns code for a weight times an expression times gates."""
    plain = code.isidentifier() or code.startswith("np.") or (code.startswith("(") and code.endswith(")"))
    body = code if plain else f"({code})"
    return " * ".join([format_number(weight), *factors, body])


def build_gate(style: Style, local: str, distance: str, limit: float) -> tuple[SourceLine, SourceLine]:
    """Returns the lines of a factor that is 1 while a distance is below a limit."""
    knob = SourceLine(f"{local}_limit", format_number(limit))
    if style.gate == "soft":
        return knob, SourceLine(local, f"np.exp(-(({distance} / {local}_limit) ** 2))")
    return knob, SourceLine(local, f"np.where({distance} < {local}_limit, 1.0, 0.0)")


def build_closeness_term(
    style: Style,
    name: str,
    weight: float,
    distance: SourceLine,
    scale: float,
    note: str,
    *before: SourceLine,
    factor: str = "",
) -> Term:
    """Returns a term for closeness in a distance."""
    knob = SourceLine(f"{name}_scale", format_number(scale * style.width))
    factors = (factor,) if factor else ()
    value = SourceLine(name, format_product(weight, format_closeness(style, distance.local, knob.local), *factors))
    return Term(name, (*before, distance, knob, value), note)


def build_precision_term(
    name: str, weight: float, distance: SourceLine, scale: float, note: str, *before: SourceLine, factor: str = ""
) -> Term:
    """Returns a narrow bonus around zero distance."""
    knob = SourceLine(f"{name}_scale", format_number(scale))
    factors = (factor,) if factor else ()
    value = SourceLine(name, format_product(weight, f"np.exp(-(({distance.local} / {knob.local}) ** 2))", *factors))
    return Term(name, (*before, distance, knob, value), note)


def build_effort_term(style: Style, gentle: bool = False) -> Term:
    """Returns a small cost of large actions."""
    cost = format_number(-style.effort * (3.0 if gentle else 1.0))
    return Term(
        "effort", (SourceLine("effort", f"{cost} * np.sum(action ** 2, axis=-1)"),), "Move no more than needed."
    )


def rename_conflicts(terms: Iterable[Term]) -> tuple[Term, ...]:
    """Returns the terms with conflicting locals renamed: of two meanings, the later one gets another name."""
    meaning: dict[str, str] = {}
    result: list[Term] = []
    for term in terms:
        renamed: dict[str, str] = {}
        lines: list[SourceLine] = []
        for line in term.lines:
            code = rename_locals(line.code, renamed)
            local, count = line.local, 2
            while meaning.get(local, code) != code:
                local, count = f"{line.local}_{count}", count + 1
            if local != line.local:
                renamed[line.local] = local
            meaning[local] = code
            lines.append(SourceLine(local, code))
        result.append(Term(lines[-1].local, tuple(lines), term.note))
    return tuple(result)


def rename_locals(code: str, names: Mapping[str, str]) -> str:
    """Returns code with local variables renamed; fields and functions keep their names."""
    if not names:
        return code
    return re.sub(r"(?<![\w.])[A-Za-z_]\w*", lambda match: names.get(match[0], match[0]), code)
