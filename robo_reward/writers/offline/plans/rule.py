"""Terms from a success rule in the language of conditions: each comparison becomes a distance to go."""

from __future__ import annotations

import ast
import re
from typing import NamedTuple

from robo_reward.envs.state import StateSpec
from robo_reward.errors import UsageError
from robo_reward.scenes.operators import remove_operators
from robo_reward.scenes.rules import StateCondition
from robo_reward.writers.offline.plans.manipulation import TermBuilder
from robo_reward.writers.offline.terms import (
    SourceLine,
    Term,
    build_closeness_term,
    format_number,
    format_product,
)

MARGIN, RATE_MARGIN = 0.1, 0.5
"""Share of a limit by which a policy should exceed it, so that the state at the end still meets the rule; speeds vary
more from step to step than places."""
_SCALES = {"m": 0.2, "rad": 0.5, "m/s": 0.5, "rad/s": 2.0, "N": 5.0}
"""Distance within which closeness is felt, by unit."""
_SPEEDS = {"m": 1.0, "rad": 2.0, "m/s": 2.0, "rad/s": 10.0, "N": 50.0}
"""Usual rate of change, by unit and second."""
_ENDS = re.compile(r"; (?:an episode ends at once|success ends an episode).*", re.DOTALL)
"""What `reward_search.eureka.describe_rules` adds to a rule."""
_WORD = re.compile(r"\b[a-z]\w*")
_FIELD = re.compile(r"\bstate\.(\w+)")


class Requirement(NamedTuple):
    """One comparison of a rule.

    Attributes:
        text: the comparison as a program spells it.
        name: of its first quantity.
        gap: code of the amount by which it is missed, 0 where it holds with a margin.
        scale: distance within which closeness to it is felt.
        tight: distance at which it counts as met.
        speed: usual rate of change of the gap, per second.
    """

    text: str
    name: str
    gap: str
    scale: float
    tight: float
    speed: float


def parse_requirements(rule: str, spec: StateSpec) -> list[Requirement]:
    """Returns the comparisons of a rule that hold together; empty if the text is no condition, such as a sentence."""
    text = _ENDS.sub("", rule).strip()
    try:
        source = StateCondition(remove_operators(text), spec).source
    except (UsageError, SyntaxError, ValueError, RecursionError):
        return []
    condition = next(n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call)).args[0]
    return _collect_requirements(condition, spec)


def _collect_requirements(node: ast.expr, spec: StateSpec) -> list[Requirement]:
    """Returns the requirements of a conjunction; an alternative becomes the smaller one of two gaps."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd):
        return [*_collect_requirements(node.left, spec), *_collect_requirements(node.right, spec)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        left, right = _collect_requirements(node.left, spec), _collect_requirements(node.right, spec)
        if len(left) != 1 or len(right) != 1:
            return left or right
        gap = f"np.minimum({left[0].gap}, {right[0].gap})"
        return [left[0]._replace(gap=gap, text=f"{left[0].text} or {right[0].text}")]
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        found = _build_requirement(node, spec)
        return [] if found is None else [found]
    return []


def _build_requirement(node: ast.Compare, spec: StateSpec) -> Requirement | None:
    """Returns the requirement of one comparison; None for an equality or one without a state field."""
    less = isinstance(node.ops[0], ast.Lt | ast.LtE)
    if not less and not isinstance(node.ops[0], ast.Gt | ast.GtE):
        return None
    small, large = (node.left, node.comparators[0]) if less else (node.comparators[0], node.left)
    names = _FIELD.findall(ast.unparse(node))
    if not names:
        return None
    unit = spec[names[0]].unit
    scale, speed = _SCALES.get(unit, 0.2), _SPEEDS.get(unit, 1.0)
    limit, below = _read_number(large), _read_number(small)
    if limit is not None and limit > 0 and _is_distance(small):  # all the way, beyond what is asked
        gap, tight, scale = ast.unparse(small), limit, max(scale, limit)
    elif limit is not None:
        gap, tight = f"np.maximum({ast.unparse(small)} - {_shift(limit, -1, scale, unit)}, 0.0)", 0.5 * scale
        scale = max(scale, abs(limit) / 2)
    elif below is not None:
        gap, tight = f"np.maximum({_shift(below, 1, scale, unit)} - {_wrap(large)}, 0.0)", 0.5 * scale
        scale = max(scale, abs(below) / 2)
    else:
        gap, tight = f"np.maximum({ast.unparse(small)} - {_wrap(large)}, 0.0)", 0.5 * scale
    return Requirement(_FIELD.sub(r"\1", ast.unparse(node)), _name_quantity(node), gap, scale, tight, speed)


def _shift(limit: float, sign: int, scale: float, unit: str) -> str:
    """Returns the limit moved by the margin, as code; parentheses around a negative one."""
    value = limit + sign * (RATE_MARGIN if unit.endswith("/s") else MARGIN) * max(abs(limit), scale)
    return f"({format_number(value)})" if value < 0 else format_number(value)


def _wrap(node: ast.expr) -> str:
    code = ast.unparse(node)
    return f"({code})" if isinstance(node, ast.BinOp | ast.UnaryOp) else code


def _read_number(node: ast.expr) -> float | None:
    """Returns the value of a number, or None for any other code."""
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return None
    return float(value) if isinstance(value, int | float) else None


def _is_distance(node: ast.expr) -> bool:
    """Returns whether an expression is a norm, an absolute value or an angle between orientations."""
    return isinstance(node, ast.Call) and ast.unparse(node.func) in ("np.linalg.norm", "np.abs", "quat_angle")


def _name_quantity(node: ast.expr) -> str:
    """Returns a name for the first quantity of an expression, such as `torso_x` for `state.torso_position[:, 0]`."""
    code = ast.unparse(node)
    field = _FIELD.search(code)
    assert field is not None
    subject, _, quantity = field[1].rpartition("_")
    component = re.match(r"\[:, ([0-2])\]", code[field.end() :])
    if quantity == "position" and component is not None:
        return f"{subject}_{'xyz'[int(component[1])]}"
    return subject if quantity == "position" and subject else field[1]


def build_rule_terms(requirements: list[Requirement], builder: TermBuilder) -> list[Term]:
    """Returns terms that come close to all requirements: closeness to each, progress, and all of them met.

    An object moves only if it is touched: where a requirement is about an object, the hand is brought to it.
    """
    style, rate = builder.style, builder.scene.rate
    terms: list[Term] = []
    gaps: list[SourceLine] = []
    share = 1.0 / max(len(requirements), 1)
    for index, wanted in enumerate(requirements):
        again = any(wanted.name == other.name for other in requirements[:index])
        local = f"{wanted.name[:32]}_gap" + (f"_{index + 1}" if again else "")
        gap = SourceLine(local, wanted.gap)
        gaps.append(gap)
        name, note = local.replace("_gap", "_near"), f"Meet the rule {wanted.text}."
        terms.append(build_closeness_term(style, name, 2.0 * share * style.stage, gap, wanted.scale, note))
        note = "Progress towards it counts at once."
        terms.append(_build_progress_term(local.replace("_gap", "_progress"), share, gap, rate / wanted.speed, note))
    if requirements and style.precise:
        misses = [f"({gap.local} / {format_number(r.tight)}) ** 2" for gap, r in zip(gaps, requirements, strict=True)]
        met = SourceLine("met", format_product(style.stage, f"np.exp(-({' + '.join(misses)}))"))
        terms.append(Term("met", (*gaps, met), "All at once is what counts."))
    return [*_build_approach_terms(requirements, builder), *terms]


def _build_progress_term(name: str, weight: float, gap: SourceLine, steps: float, note: str) -> Term:
    """Returns a term for the decrease of a gap in one step, in units of 1 / `steps`; it leads from any distance."""
    past = SourceLine(f"{gap.local}_before", gap.code.replace("state.", "previous."))
    change = f"np.clip({format_number(steps)} * ({past.local} - {gap.local}), -1.0, 1.0)"
    return Term(name, (gap, past, SourceLine(name, format_product(weight, change))), note)


def _build_approach_terms(requirements: list[Requirement], builder: TermBuilder) -> list[Term]:
    """Returns terms that bring the hand to the first object that the requirements name."""
    hand, named = builder.scene.hand, [name for wanted in requirements for name in _WORD.findall(wanted.text)]
    items = builder.scene.find_objects("position", "object", "part")
    item = next((t for name in named for t in items if t is not hand and any(f.name == name for f in t.fields)), None)
    gap = builder.build_distance_line(hand, item)
    if item is None or gap is None:
        return []
    note = f"Bring {builder.hand_phrase} to {item.noun_phrase}."
    near = build_closeness_term(builder.style, "contact_near", 0.5, gap, 0.2, note)
    return [near, _build_progress_term("contact_progress", 1.0, gap, builder.scene.rate, note)]
