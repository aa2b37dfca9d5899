"""Small changes to a recipe: one number, one gate, one term."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from robo_reward.code.offline.terms import Line, Recipe, Term, number, reconciled

_KNOB = re.compile(r"_(scale|limit)(_\d+)?$")
_KNOWN = re.compile(
    r"_(goal|rise|rest|height|span)(_\d+)?$"
)  # what was asked for or described, which no edit may change
_HARD = re.compile(r"np\.where\((\w+) < (\w+), 1\.0, 0\.0\)")
_SOFT = re.compile(r"np\.exp\(-\(?\((\w+) / (\w+)\) \*\* 2\)?\)")
_NUMBERS = re.compile(r"\b\d+(\.\d+)?(e-?\d+)?|[() ]")
MAX_TERMS = 24
"""Crossing never makes longer programs than this."""


def knobs(recipe: Recipe, term: str | None = None) -> list[str]:
    """Locals that hold a temperature or a limit, of all terms or of one, its own last."""
    found: dict[str, None] = {}
    for part in recipe.terms:
        if term in (None, part.name):
            found |= {
                line.local: None for line in part.lines if _KNOB.search(line.local) and _value(line.code) is not None
            }
    return list(found)


def with_line(recipe: Recipe, local: str, code: str) -> Recipe:
    """The same with another right-hand side for a local, wherever it is used."""

    def changed(term: Term) -> Term:
        return replace(term, lines=tuple(Line(local, code) if line.local == local else line for line in term.lines))

    return replace(recipe, terms=tuple(changed(term) for term in recipe.terms))


def scaled_knob(recipe: Recipe, local: str, factor: float) -> tuple[Recipe, str]:
    """A temperature or limit times a factor, and what was done, in words."""
    old = next(
        v
        for term in recipe.terms
        for line in term.lines
        if line.local == local and (v := _value(line.code)) is not None
    )
    new = number(float(np.clip(old * factor, min(1e-3, old), max(20.0, old))))
    return with_line(recipe, local, new), f"{local} from {number(old)} to {new}"


def weight(term: Term) -> float:
    """The leading factor of a term, 1 if it has none."""
    return _leading(ast.parse(term.lines[-1].code, mode="eval").body)[0]


def scaled_weight(recipe: Recipe, name: str, factor: float) -> tuple[Recipe, str]:
    """A term's weight times a factor, and what was done, in words."""
    term = next(term for term in recipe.terms if term.name == name)
    old, rest = _leading(ast.parse(term.lines[-1].code, mode="eval").body)
    new = float(np.clip(old * factor, -50.0, 50.0))
    code = number(new) if rest is None else ast.unparse(ast.BinOp(ast.Constant(float(number(new))), ast.Mult(), rest))
    return with_line(recipe, term.lines[-1].local, code), f"weight of {name} from {number(old)} to {number(new)}"


def toggled_gate(recipe: Recipe, rng: np.random.Generator) -> tuple[Recipe, str] | None:
    """One hard gate made soft, or the other way round; nothing if there is none."""
    gates = {
        line.local: line.code
        for term in recipe.terms
        for line in term.lines
        if _HARD.fullmatch(line.code) or _is_soft(line)
    }
    if not gates:
        return None
    local = str(rng.choice(sorted(gates)))
    if match := _HARD.fullmatch(gates[local]):
        return with_line(recipe, local, f"np.exp(-(({match[1]} / {match[2]}) ** 2))"), f"gate {local} made smooth"
    match = _SOFT.fullmatch(gates[local])
    assert match is not None
    return with_line(recipe, local, f"np.where({match[1]} < {match[2]}, 1.0, 0.0)"), f"gate {local} made sharp"


def with_term(recipe: Recipe, term: Term, at: int | None = None) -> Recipe:
    """The same with one more term, before the last unless said; it shares the variables that are there already."""
    terms = list(recipe.terms)
    terms.insert(len(terms) - 1 if at is None else at, _adopting(recipe, term))
    return replace(recipe, terms=reconciled(terms))


def _adopting(recipe: Recipe, term: Term) -> Term:
    """A term that uses the recipe's own version of what both compute, numbers aside."""
    prefixes = {line.local: part.lines[: i + 1] for part in recipe.terms for i, line in enumerate(part.lines)}
    lines: dict[str, Line] = {}
    for line in term.lines:
        own = prefixes.get(line.local, ())
        same = bool(own) and _NUMBERS.sub("#", own[-1].code) == _NUMBERS.sub("#", line.code)
        lines |= {each.local: each for each in (own if same else (line,)) if each.local not in lines}
    return replace(term, lines=tuple(lines.values()))


def crossed(a: Recipe, b: Recipe, rng: np.random.Generator) -> Recipe:
    """A child that takes terms of the same name from either parent and keeps most of the first one's others."""
    other = {term.name: term for term in b.terms}
    terms = []
    for term in a.terms:
        if term.name in other and rng.random() < 0.5:
            terms.append(other[term.name])
        elif term.name in other or rng.random() < 0.85:
            terms.append(term)
    taken = {term.name for term in a.terms}
    terms += [term for term in b.terms if term.name not in taken and rng.random() < 0.5]
    return replace(a, terms=reconciled(terms[:MAX_TERMS] or a.terms))


def jittered(source: str, rng: np.random.Generator, count: int = 2) -> str:
    """Any program with some of its decimal numbers changed a little: for programs of a form that was not foreseen."""
    tree = ast.parse(source)
    numbers = [
        node for node in ast.walk(tree) if isinstance(node, ast.Constant) and type(node.value) is float and node.value
    ]
    for i in rng.permutation(len(numbers))[:count]:
        numbers[i].value = float(number(float(numbers[i].value) * _factor(rng)))
    return ast.unparse(tree) + "\n"


def loose_numbers(recipe: Recipe, rng: np.random.Generator) -> tuple[Recipe, str] | None:
    """One decimal number inside an expression, changed a little; nothing if there is none."""
    places = [
        (line, i)
        for term in recipe.terms
        for line in term.lines
        if not _KNOWN.search(line.local)
        for i, _ in enumerate(_floats(ast.parse(line.code, mode="eval")))
    ]
    if not places:
        return None
    line, at = places[int(rng.integers(len(places)))]
    tree = ast.parse(line.code, mode="eval")
    node = list(_floats(tree))[at]
    old = float(node.value)  # type: ignore[arg-type]
    node.value = float(number(old * _factor(rng)))
    return with_line(recipe, line.local, ast.unparse(tree)), f"{number(old)} in {line.local} to {number(node.value)}"


def _factor(rng: np.random.Generator) -> float:
    """Somewhere between two thirds and one and a half, never near 1."""
    return float(rng.uniform(1.2, 1.6)) ** int(rng.choice([-1, 1]))


def _floats(tree: ast.AST) -> Iterator[ast.Constant]:
    return (
        n
        for n in ast.walk(tree)
        if isinstance(n, ast.Constant) and type(n.value) is float and n.value not in (0.0, 1.0)
    )


def _value(code: str) -> float | None:
    """A plain positive number."""
    try:
        value = float(code)
    except ValueError:
        return None
    return value if value > 0.0 else None


def _leading(node: ast.expr) -> tuple[float, ast.expr | None]:
    """(factor, rest) of an expression, the rest nothing for a plain number."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value), None
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        factor, rest = _leading(node.operand)
        return -factor, rest
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        factor, rest = _leading(node.left)
        return factor, node.right if rest is None else ast.BinOp(rest, ast.Mult(), node.right)
    return 1.0, node


def _is_soft(line: Line) -> bool:
    return _SOFT.fullmatch(line.code) is not None and not line.local.startswith("precise")
