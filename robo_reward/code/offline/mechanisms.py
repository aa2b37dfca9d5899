"""Plans for things that open, close and turn."""

from __future__ import annotations

import math
import re
from dataclasses import replace

from robo_reward.code.offline import facts
from robo_reward.code.offline.manipulation import FINGER, Workshop
from robo_reward.code.offline.scene import Thing
from robo_reward.code.offline.sentence import Amount
from robo_reward.code.offline.terms import Line, Term, near_term, number, weighted

SPIN = 3.0
"""Angular velocity from which on more is not worth more [rad/s]."""
CLEAR = 0.05
"""How far above a part a hand passes over it [m]."""


def part_of(shop: Workshop, mechanism: Thing) -> Thing | None:
    """Where to take hold of a mechanism: itself, or a part whose text or name speaks of it."""
    if mechanism.position is not None:
        return mechanism
    parts = [t for t in shop.scene.having("position", "part", "object", "other") if t is not shop.scene.hand]
    speaking = [
        t for t in parts if any(re.search(rf"\b{re.escape(token)}", t.text.lower()) for token in mechanism.tokens)
    ]
    held = [t for t in parts if t.role == "part"]
    return next(iter(speaking + held), None)


def operate(
    shop: Workshop, mechanism: Thing, opening: bool, amount: Amount | None, name: str, weight: float, note: str = ""
) -> list[Term]:
    """Moves an opening or an angle towards its open or closed end.

    Args:
        shop: scene and style.
        mechanism: a thing with a displacement or an angle.
        opening: to which end.
        amount: how far, if said.
        name: of the term.
        weight: of the term.
        note: what to say of it.
    """
    travel = mechanism.travel
    if travel is None:
        return []
    shut, wide = facts.open_end(travel)
    if amount is None and (least := facts.least(shop.rule, travel.unit)) is not None and opening:
        amount = Amount(least, travel.unit)
    target = wide
    if opening and amount is None and (limit := facts.threshold(travel.description)) is not None:
        amount = Amount(abs(limit - shut) / 1.2, travel.unit)
    if opening and amount is not None and amount.unit in (travel.unit, "1"):
        span = amount.value * (wide - shut) if amount.unit == "1" else amount.value * (1 if wide >= shut else -1)
        target = shut + 1.4 * span if abs(1.4 * span) <= abs(wide - shut) else wide
    start, end = (shut, target) if opening else (wide, shut)
    if abs(end - start) < 1e-9:
        end = start + 1.0
    value = f"state.{travel.name}"
    if not opening:
        done = f"({number(start)} - {value})" if start else f"(-{value})"
    else:
        done = f"({value} - {number(start)})" if start else value
    local = f"{mechanism.label}_done"
    scale = Line(f"{mechanism.label}_goal", number((end - start) if opening else (start - end)))
    share = Line(local, f"np.clip({done} / {scale.local}, 0.0, 1.0)")
    lines = (scale, share, Line(name, weighted(weight * shop.style.stage, local)))
    what = "open" if opening else "closed"
    terms = [Term(name, lines, note or f"Bring {mechanism.said} to its {what} end: this counts most.")]
    rate = mechanism.rate
    if shop.style.progress and rate is not None:
        sign = 1.0 if end > start else -1.0
        moving = f"np.clip({'-' if sign < 0 else ''}state.{rate.name} / 0.2, -1.0, 1.0)"
        speed = Line("advance", weighted(2.0, moving, f"(1.0 - {local})"))
        terms.append(Term("advance", (scale, share, speed), "Motion the right way counts at once."))
    if shop.style.ready:
        begun = Line("begun", weighted(1.0, f"np.clip({local} / 0.15, 0.0, 1.0)"))
        terms.append(Term("begun", (scale, share, begun), "The first bit is the hardest."))
    return terms


def has_no_end(mechanism: Thing) -> bool:
    """Whether a mechanism turns round and round: a hinge without limits, whose usual range is a whole turn."""
    travel = mechanism.travel
    if travel is None or travel.unit != "rad" or mechanism.rate is None:
        return False
    low, high = travel.typical
    return high - low >= 2.0 * math.pi - 1e-3


def spin(shop: Workshop, mechanism: Thing, sign: int, weight: float) -> list[Term]:
    """Keeps a mechanism without end turning: its velocity is paid, since no angle is further than another."""
    rate = mechanism.rate
    assert rate is not None
    speed = f"{'-' if sign < 0 else ''}state.{rate.name} / {number(SPIN)}"
    value = Line("spin", weighted(weight * shop.style.stage, f"np.clip({speed}, -1.0, 1.0)"))
    return [Term("spin", (value,), f"Keep {mechanism.said} turning: this counts most.")]


def after(first: Term, then: Term) -> Term:
    """The first stage of two, which stays fulfilled by the progress of the second: a latch springs back."""
    *_, share, value = first.lines
    *lines, progress, _ = then.lines
    begun = Line("then_begun", f"np.clip({progress.local} / 0.15, 0.0, 1.0)")
    both = value._replace(code=value.code.replace(share.local, f"np.maximum({share.local}, {begun.local})"))
    return replace(first, lines=(*lines, progress, begun, *first.lines[:-1], both))


def take_hold(shop: Workshop, part: Thing, mechanism: Thing, opening: bool = True) -> list[Term]:
    """The hand to the part to move: gripping it, or at the side from which it can be moved."""
    hand = shop.scene.hand
    if hand is None or hand is part or hand.position is None or part.position is None:
        return []
    way = facts.motion(part.text) or facts.motion(mechanism.text)
    if way is not None and not opening:
        way = way[0], -way[1]
    if shop.can_grasp and (way is None or not shop.style.contact):
        return shop.grasp(part)[0]
    if way is None or not shop.style.contact:
        gap = shop.distance(hand, part)
        return (
            []
            if gap is None
            else [near_term(shop.style, "approach", 1.0, gap, 0.125, f"Bring {shop.hand_said} to {part.said}.")]
        )
    return _hook(shop, part, way)


def _hook(shop: Workshop, part: Thing, way: tuple[int, int]) -> list[Term]:
    """The finger tips behind a part, from above, so that they can drag it along."""
    hand = shop.scene.hand
    assert hand is not None and hand.position is not None and part.position is not None
    axis, sign = way
    thickness = facts.radius(part.text) or 0.01
    shift = [0.0, 0.0, 0.0 if axis == 2 else -(thickness + FINGER / 3)]
    shift[axis] -= sign * (thickness + 1.2 * FINGER)
    said = facts.hold(part.text, hand.tokens)
    shift = (
        list(said) if said is not None and said[axis] * sign < 0 else shift
    )  # it may tell of pulling, not of pushing
    contact = Line("contact", f"state.{part.position.name} + np.array([{', '.join(map(number, shift))}])")
    offset = Line("offset", f"state.{hand.position.name} - contact")
    note = f"Bring {shop.hand_said} behind {part.said}: the side from which it can be pulled along."
    along = facts.lies_along(part.text)
    flat = [f"({number(0.5)} * offset[:, {i}]) ** 2" if i == along else f"offset[:, {i}] ** 2" for i in range(2)]
    aside = Line("aside", f"np.sqrt({' + '.join(flat)})")
    over = near_term(shop.style, "over", 1.0, aside, 0.125, note, contact, offset)
    lines = (contact, offset, aside)
    return [over, *(_down(shop, lines) if shop.style.progress else [_descent(shop, lines)])]


def _down(shop: Workshop, lines: tuple[Line, ...]) -> list[Term]:
    """Down only where there is room: a cost of being low elsewhere, closeness in height above the gap."""
    beside = (
        Line("low", f"np.clip((low_limit - offset[:, 2]) / {number(CLEAR)}, 0.0, 1.0)"),
        Line("beside", weighted(-2.0, "low", "np.clip((aside - 0.012) / 0.01, 0.0, 1.0)")),
    )
    keep = Term(
        "beside", (*lines, Line("low_limit", number(1.4 * CLEAR)), *beside), "Do not run into it from the side."
    )
    above = Line("above", "np.exp(-((aside / above_limit) ** 2))")
    depth = Line("depth", "np.abs(offset[:, 2])")
    note = "Go down behind it once above the gap."
    before = (*lines, Line("above_limit", "0.02"), above)
    return [keep, near_term(shop.style, "down", 1.0, depth, 0.125, note, *before, factor="above")]


def _descent(shop: Workshop, lines: tuple[Line, ...]) -> Term:
    """Closeness to a path that comes in from above."""
    rise = Line("clearance", f"{number(CLEAR)} * np.clip((aside - 0.008) / 0.015, 0.0, 1.0)")
    height = Line("height_off", "np.abs(offset[:, 2] - clearance)")
    both = Line("hook_off", "height_off + 0.7 * aside")
    note = "Come in from above the gap."
    return near_term(shop.style, "hook", 1.0, both, 0.085, note, *lines, rise, height)
