"""Plans for objects that open, close and turn."""

from __future__ import annotations

import math
import re
from dataclasses import replace

from robo_reward.writers.offline import facts
from robo_reward.writers.offline.plans.manipulation import FINGER_RADIUS, TermBuilder
from robo_reward.writers.offline.scene import SceneObject, share_beginning
from robo_reward.writers.offline.sentence import Amount
from robo_reward.writers.offline.terms import SourceLine, Term, build_closeness_term, format_number, format_product

MAX_SPIN = 3.0
"""Angular velocity above which the reward no longer grows [rad/s]."""
CLEARANCE = 0.05
"""Height at which the hand passes over a part [m]."""


def find_grasp_part(builder: TermBuilder, mechanism: SceneObject) -> SceneObject | None:
    """Returns the object by which a mechanism can be grasped: itself, or a part whose text or name refers to it."""
    if mechanism.position is not None:
        return mechanism
    parts = [
        t for t in builder.scene.find_objects("position", "part", "object", "other") if t is not builder.scene.hand
    ]
    speaking = [
        t
        for t in parts
        if any(re.search(rf"\b{re.escape(token)}", t.description.lower()) for token in mechanism.name_tokens)
    ]
    alike = [t for t in parts if any(share_beginning(a, b) for a in t.name_tokens for b in mechanism.name_tokens)]
    held = [t for t in parts if t.role == "part"]
    return next(iter(speaking + alike + (held if len(held) == 1 else [])), None)


def build_travel_terms(
    builder: TermBuilder,
    mechanism: SceneObject,
    opening: bool,
    amount: Amount | None,
    name: str,
    weight: float,
    note: str = "",
) -> list[Term]:
    """Returns terms that move an opening or an angle towards its open or closed end.

    Args:
        builder: scene and style.
        mechanism: an object with a displacement or an angle.
        opening: to which end.
        amount: how far, if given.
        name: of the term.
        weight: of the term.
        note: comment of the term.
    """
    travel = mechanism.travel
    if travel is None:
        return []
    shut, wide = facts.parse_closed_and_open(travel)
    if is_continuous(mechanism):  # its range has no end: an amount counts from where it starts
        start = builder.scene.find_start(travel)
        shut = 0.0 if start is None else start[1]
        wide = shut + 2.0 * math.pi
    if amount is None and (least := facts.parse_minimum(builder.rule, travel.unit)) is not None and opening:
        amount = Amount(least, travel.unit)
    target = wide
    if opening and amount is None and (limit := facts.parse_threshold(travel.description)) is not None:
        amount = Amount(abs(limit - shut) / 1.2, travel.unit)
    if opening and amount is not None and amount.unit in (travel.unit, "1"):
        span = amount.value * (wide - shut) if amount.unit == "1" else amount.value * (1 if wide >= shut else -1)
        target = shut + 1.4 * span if abs(1.4 * span) <= abs(wide - shut) else wide
    start, end = (shut, target) if opening else (wide, shut)
    if abs(end - start) < 1e-9:
        end = start + 1.0
    value = f"state.{travel.name}"
    if not opening:
        done = f"({format_number(start)} - {value})" if start else f"(-{value})"
    else:
        done = f"({value} - {format_number(start)})" if start else value
    local = f"{mechanism.local_name}_done"
    scale = SourceLine(f"{mechanism.local_name}_goal", format_number((end - start) if opening else (start - end)))
    share = SourceLine(local, f"np.clip({done} / {scale.local}, 0.0, 1.0)")
    lines = (scale, share, SourceLine(name, format_product(weight * builder.style.stage, local)))
    what = "open" if opening else "closed"
    terms = [Term(name, lines, note or f"Bring {mechanism.noun_phrase} to its {what} end: this counts most.")]
    rate = mechanism.rate
    if builder.style.progress and rate is not None:
        sign = 1.0 if end > start else -1.0
        moving = f"np.clip({'-' if sign < 0 else ''}state.{rate.name} / 0.2, -1.0, 1.0)"
        speed = SourceLine("advance", format_product(2.0, moving, f"(1.0 - {local})"))
        terms.append(Term("advance", (scale, share, speed), "Motion the right way counts at once."))
    if builder.style.ready:
        begun = SourceLine("begun", format_product(1.0, f"np.clip({local} / 0.15, 0.0, 1.0)"))
        terms.append(Term("begun", (scale, share, begun), "The first bit is the hardest."))
    return terms


def is_continuous(mechanism: SceneObject) -> bool:
    """Returns whether a mechanism is a hinge without limits, whose typical range is a whole turn."""
    travel = mechanism.travel
    if travel is None or travel.unit != "rad" or mechanism.rate is None:
        return False
    low, high = travel.typical
    return high - low >= 2.0 * math.pi - 1e-3


def build_spin_terms(
    builder: TermBuilder, mechanism: SceneObject, sign: int, weight: float, wanted: Amount | None = None
) -> list[Term]:
    """Returns a term that keeps a continuous mechanism turning.

    It rewards angular velocity, up to a little more than the wanted one, since no angle is further than another.
    """
    rate = mechanism.rate
    assert rate is not None
    enough = MAX_SPIN if wanted is None else 1.2 * wanted.value
    speed = f"{'-' if sign < 0 else ''}state.{rate.name} / {format_number(enough)}"
    value = SourceLine("spin", format_product(weight * builder.style.stage, f"np.clip({speed}, -1.0, 1.0)"))
    return [Term("spin", (value,), f"Keep {mechanism.noun_phrase} turning: this counts most.")]


def hold_first_stage(first: Term, then: Term) -> Term:
    """Returns the first stage of two, kept fulfilled by the progress of the second: a latch springs back."""
    *_, share, value = first.lines
    *lines, progress, _ = then.lines
    begun = SourceLine("then_begun", f"np.clip({progress.local} / 0.15, 0.0, 1.0)")
    both = value._replace(code=value.code.replace(share.local, f"np.maximum({share.local}, {begun.local})"))
    return replace(first, lines=(*lines, progress, begun, *first.lines[:-1], both))


def build_hold_terms(
    builder: TermBuilder, part: SceneObject, mechanism: SceneObject, opening: bool = True
) -> list[Term]:
    """Returns terms that bring the hand to a part: around it, or to the side from which it can be moved."""
    hand = builder.scene.hand
    if hand is None or hand is part or hand.position is None or part.position is None:
        return []
    direction = facts.parse_motion_direction(part.description) or facts.parse_motion_direction(mechanism.description)
    if direction is not None and not opening:
        direction = direction[0], -direction[1]
    if builder.can_grasp and (direction is None or not builder.style.contact):
        return builder.build_grasp_terms(part)[0]
    if direction is None or not builder.style.contact:
        gap = builder.build_distance_line(hand, part)
        return (
            []
            if gap is None
            else [
                build_closeness_term(
                    builder.style, "approach", 1.0, gap, 0.125, f"Bring {builder.hand_phrase} to {part.noun_phrase}."
                )
            ]
        )
    return _build_hook_terms(builder, part, direction)


def _build_hook_terms(builder: TermBuilder, part: SceneObject, direction: tuple[int, int]) -> list[Term]:
    """Returns terms that bring the finger tips behind a part from above, so that they can pull it."""
    hand = builder.scene.hand
    assert hand is not None and hand.position is not None and part.position is not None
    axis, sign = direction
    thickness = facts.parse_radius(part.description) or 0.01
    shift = [0.0, 0.0, 0.0 if axis == 2 else -(thickness + FINGER_RADIUS / 3)]
    shift[axis] -= sign * (thickness + 1.2 * FINGER_RADIUS)
    said = facts.parse_hand_offset(part.description, hand.name_tokens)
    shift = (
        list(said) if said is not None and said[axis] * sign < 0 else shift
    )  # used only if it lies on the side opposite to `direction`
    contact = SourceLine("contact", f"state.{part.position.name} + np.array([{', '.join(map(format_number, shift))}])")
    offset = SourceLine("offset", f"state.{hand.position.name} - contact")
    note = f"Bring {builder.hand_phrase} behind {part.noun_phrase}: the side from which it can be pulled along."
    along = facts.parse_bar_axis(part.description)
    flat = [f"({format_number(0.5)} * offset[:, {i}]) ** 2" if i == along else f"offset[:, {i}] ** 2" for i in range(2)]
    aside = SourceLine("aside", f"np.sqrt({' + '.join(flat)})")
    over = build_closeness_term(builder.style, "over", 1.0, aside, 0.125, note, contact, offset)
    lines = (contact, offset, aside)
    return [
        over,
        *(_build_guarded_descent(builder, lines) if builder.style.progress else [_build_descent_path(builder, lines)]),
    ]


def _build_guarded_descent(builder: TermBuilder, lines: tuple[SourceLine, ...]) -> list[Term]:
    """Returns terms that lower the hand only above the gap: low positions elsewhere are penalised."""
    beside = (
        SourceLine("low", f"np.clip((low_limit - offset[:, 2]) / {format_number(CLEARANCE)}, 0.0, 1.0)"),
        SourceLine("beside", format_product(-2.0, "low", "np.clip((aside - 0.012) / 0.01, 0.0, 1.0)")),
    )
    keep = Term(
        "beside",
        (*lines, SourceLine("low_limit", format_number(1.4 * CLEARANCE)), *beside),
        "Do not run into it from the side.",
    )
    above = SourceLine("above", "np.exp(-((aside / above_limit) ** 2))")
    depth = SourceLine("depth", "np.abs(offset[:, 2])")
    note = "Go down behind it once above the gap."
    before = (*lines, SourceLine("above_limit", "0.02"), above)
    return [keep, build_closeness_term(builder.style, "down", 1.0, depth, 0.125, note, *before, factor="above")]


def _build_descent_path(builder: TermBuilder, lines: tuple[SourceLine, ...]) -> Term:
    """Returns a term for closeness to a path that comes in from above."""
    rise = SourceLine("clearance", f"{format_number(CLEARANCE)} * np.clip((aside - 0.008) / 0.015, 0.0, 1.0)")
    height = SourceLine("height_off", "np.abs(offset[:, 2] - clearance)")
    both = SourceLine("hook_off", "height_off + 0.7 * aside")
    note = "Come in from above the gap."
    return build_closeness_term(builder.style, "hook", 1.0, both, 0.085, note, *lines, rise, height)
