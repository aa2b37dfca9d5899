"""Small changes to a recipe: one number, one gate, one term."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from robo_reward.writers.offline.terms import Recipe, SourceLine, Term, format_number, rename_conflicts

_KNOB = re.compile(r"_(scale|limit)(_\d+)?$")
_KNOWN = re.compile(
    r"_(goal|rise|rest|height|span)(_\d+)?$"
)  # given by the goal or the description, so no edit may change it
_HARD = re.compile(r"np\.where\((\w+) < (\w+), 1\.0, 0\.0\)")
_SOFT = re.compile(r"np\.exp\(-\(?\((\w+) / (\w+)\) \*\* 2\)?\)")
_NUMBERS = re.compile(r"\b\d+(\.\d+)?(e-?\d+)?|[() ]")
MAX_TERMS = 24
"""Maximum number of terms of a program made by crossing."""


def find_tunable_locals(recipe: Recipe, term: str | None = None) -> list[str]:
    """Returns the locals that hold a scale or a limit, of all terms or of one; the term's own comes last."""
    found: dict[str, None] = {}
    for part in recipe.terms:
        if term in (None, part.name):
            found |= {
                line.local: None
                for line in part.lines
                if _KNOB.search(line.local) and _parse_positive(line.code) is not None
            }
    return list(found)


def replace_line(recipe: Recipe, local: str, code: str) -> Recipe:
    """Returns the recipe with another right-hand side for a local, wherever it is used."""

    def replace_in_term(term: Term) -> Term:
        return replace(
            term, lines=tuple(SourceLine(local, code) if line.local == local else line for line in term.lines)
        )

    return replace(recipe, terms=tuple(replace_in_term(term) for term in recipe.terms))


def scale_tunable_local(recipe: Recipe, local: str, factor: float) -> tuple[Recipe, str]:
    """Multiplies a scale or limit by a factor.

    Returns:
        The new recipe, and a phrase that describes the change.
    """
    old = next(
        v
        for term in recipe.terms
        for line in term.lines
        if line.local == local and (v := _parse_positive(line.code)) is not None
    )
    new = format_number(float(np.clip(old * factor, min(1e-3, old), max(20.0, old))))
    return replace_line(recipe, local, new), f"{local} from {format_number(old)} to {new}"


def parse_weight(term: Term) -> float:
    """Returns the leading factor of a term, 1 if it has none."""
    return _split_leading_factor(ast.parse(term.lines[-1].code, mode="eval").body)[0]


def scale_weight(recipe: Recipe, name: str, factor: float) -> tuple[Recipe, str]:
    """Multiplies the weight of a term by a factor.

    Returns:
        The new recipe, and a phrase that describes the change.
    """
    term = next(term for term in recipe.terms if term.name == name)
    old, rest = _split_leading_factor(ast.parse(term.lines[-1].code, mode="eval").body)
    new = float(np.clip(old * factor, -50.0, 50.0))
    code = (
        format_number(new)
        if rest is None
        else ast.unparse(ast.BinOp(ast.Constant(float(format_number(new))), ast.Mult(), rest))
    )
    return replace_line(
        recipe, term.lines[-1].local, code
    ), f"weight of {name} from {format_number(old)} to {format_number(new)}"


def toggle_gate(recipe: Recipe, rng: np.random.Generator) -> tuple[Recipe, str] | None:
    """Makes a randomly chosen hard gate soft, or a soft gate hard.

    Returns:
        The new recipe and a phrase that describes the change, or None when the recipe has no gate.
    """
    gates = {
        line.local: line.code
        for term in recipe.terms
        for line in term.lines
        if _HARD.fullmatch(line.code) or _is_soft_gate(line)
    }
    if not gates:
        return None
    local = str(rng.choice(sorted(gates)))
    if match := _HARD.fullmatch(gates[local]):
        return replace_line(recipe, local, f"np.exp(-(({match[1]} / {match[2]}) ** 2))"), f"gate {local} made smooth"
    match = _SOFT.fullmatch(gates[local])
    assert match is not None
    return replace_line(recipe, local, f"np.where({match[1]} < {match[2]}, 1.0, 0.0)"), f"gate {local} made sharp"


def add_term(recipe: Recipe, term: Term, at: int | None = None) -> Recipe:
    """Returns the recipe with one more term, which shares the variables that the recipe has already.

    Args:
        recipe: to extend.
        term: to add.
        at: position of the new term; before the last one by default.
    """
    terms = list(recipe.terms)
    terms.insert(len(terms) - 1 if at is None else at, _reuse_shared_lines(recipe, term))
    return replace(recipe, terms=rename_conflicts(terms))


def _reuse_shared_lines(recipe: Recipe, term: Term) -> Term:
    """Returns the term with the recipe's own version of each local that both compute alike, up to numbers."""
    prefixes = {line.local: part.lines[: i + 1] for part in recipe.terms for i, line in enumerate(part.lines)}
    lines: dict[str, SourceLine] = {}
    for line in term.lines:
        own = prefixes.get(line.local, ())
        same = bool(own) and _NUMBERS.sub("#", own[-1].code) == _NUMBERS.sub("#", line.code)
        lines |= {each.local: each for each in (own if same else (line,)) if each.local not in lines}
    return replace(term, lines=tuple(lines.values()))


def cross_recipes(a: Recipe, b: Recipe, rng: np.random.Generator) -> Recipe:
    """Returns a child recipe.

    Terms that both parents have come from either; of the other terms, most of the first parent's and half of the
    second's are kept.
    """
    other = {term.name: term for term in b.terms}
    terms = []
    for term in a.terms:
        if term.name in other and rng.random() < 0.5:
            terms.append(other[term.name])
        elif term.name in other or rng.random() < 0.85:
            terms.append(term)
    taken = {term.name for term in a.terms}
    terms += [term for term in b.terms if term.name not in taken and rng.random() < 0.5]
    return replace(a, terms=rename_conflicts(terms[:MAX_TERMS] or a.terms))


def jitter_constants(source: str, rng: np.random.Generator, count: int = 2) -> str:
    """Returns the program with some of its decimal numbers changed slightly.

    Works on any program, also on one that cannot be parsed into a recipe.
    """
    tree = ast.parse(source)
    numbers = [
        node for node in ast.walk(tree) if isinstance(node, ast.Constant) and type(node.value) is float and node.value
    ]
    for i in rng.permutation(len(numbers))[:count]:
        numbers[i].value = float(format_number(float(numbers[i].value) * _draw_factor(rng)))
    return ast.unparse(tree) + "\n"


def perturb_constant(recipe: Recipe, rng: np.random.Generator) -> tuple[Recipe, str] | None:
    """Changes one randomly chosen decimal number inside an expression slightly.

    Returns:
        The new recipe and a phrase that describes the change, or None when there is no such number.
    """
    places = [
        (line, i)
        for term in recipe.terms
        for line in term.lines
        if not _KNOWN.search(line.local)
        for i, _ in enumerate(_find_decimals(ast.parse(line.code, mode="eval")))
    ]
    if not places:
        return None
    line, at = places[int(rng.integers(len(places)))]
    tree = ast.parse(line.code, mode="eval")
    node = list(_find_decimals(tree))[at]
    old = float(node.value)  # type: ignore[arg-type]
    node.value = float(format_number(old * _draw_factor(rng)))
    return replace_line(
        recipe, line.local, ast.unparse(tree)
    ), f"{format_number(old)} in {line.local} to {format_number(node.value)}"


def _draw_factor(rng: np.random.Generator) -> float:
    """Returns a random factor in [1.2, 1.6] or its reciprocal."""
    return float(rng.uniform(1.2, 1.6)) ** int(rng.choice([-1, 1]))


def _find_decimals(tree: ast.AST) -> Iterator[ast.Constant]:
    """Returns the float constants of an expression except 0.0 and 1.0."""
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return (node for node in constants if type(node.value) is float and node.value not in (0.0, 1.0))


def _parse_positive(code: str) -> float | None:
    """Returns the value of a plain positive number, or None for any other code."""
    try:
        value = float(code)
    except ValueError:
        return None
    return value if value > 0.0 else None


def _split_leading_factor(node: ast.expr) -> tuple[float, ast.expr | None]:
    """Splits an expression into (factor, rest); the rest is None for a plain number."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value), None
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        factor, rest = _split_leading_factor(node.operand)
        return -factor, rest
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        factor, rest = _split_leading_factor(node.left)
        return factor, node.right if rest is None else ast.BinOp(rest, ast.Mult(), node.right)
    return 1.0, node


def _is_soft_gate(line: SourceLine) -> bool:
    """Returns whether a line computes a soft gate."""
    return _SOFT.fullmatch(line.code) is not None and not line.local.startswith("precise")
