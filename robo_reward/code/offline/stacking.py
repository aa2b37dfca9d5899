"""The plan for putting one thing on another: grasp, raise, over it, down, let go."""

from __future__ import annotations

from robo_reward.code.offline import facts
from robo_reward.code.offline.manipulation import Workshop
from robo_reward.code.offline.scene import Thing
from robo_reward.code.offline.terms import Line, Term, near_term, number, weighted

USUAL = 0.02
"""Half the height of a thing whose text does not tell it [m]."""


def stack(shop: Workshop, thing: Thing, base: Thing) -> list[Term]:
    """A thing on top of another; once it lies there, the terms of the way stay fulfilled: the hand may leave."""
    if thing.position is None or base.position is None:
        return []
    stage, apart = shop.style.stage, height(thing, base)
    placed = _placed(shop, thing, base, apart)
    terms, held = shop.grasp(thing, placed[-1], placed)
    up = (*held, *shop.raised(thing, max(apart, 0.04)), Line("up", "held * np.maximum(raised, placed)"))
    raised = Line("raise_up", weighted(stage, "up"))
    terms.append(Term("raise_up", (*up, raised), f"Take {thing.said} off the table."))
    path = Line("path", "np.sqrt(aside ** 2 + np.minimum(above, 0.0) ** 2)")
    note = f"Bring it over {base.said}, never below its top."
    terms.append(near_term(shop.style, "align", 2.0 * stage, path, 0.125, note, *up, factor="up"))
    over = Line("over", "np.exp(-((aside / over_limit) ** 2))")
    depth = Line("depth", "np.abs(above)")
    limit = Line("over_limit", "0.03")
    terms.append(
        near_term(
            shop.style, "lower", 1.5 * stage, depth, 0.08, "Once over it, down.", *placed, limit, over, factor="over"
        )
    )
    terms.append(Term("place", (*placed, Line("place", weighted(3.0 * stage, "placed"))), "It lies where it should."))
    return terms + _release(shop, thing, placed)


def height(thing: Thing, base: Thing) -> float:
    """How far the centres are apart when one lies on the other [m]; a goal is itself the place for the centre."""
    if base.role == "goal":
        return 0.0
    return sum(USUAL if (half := facts.half_height(t.text)) is None else half for t in (thing, base))


def _placed(shop: Workshop, thing: Thing, base: Thing, apart: float) -> tuple[Line, ...]:
    """The assignments of a factor `placed`."""
    assert thing.position is not None and base.position is not None
    here, there = f"state.{thing.position.name}", f"state.{base.position.name}"
    return (
        Line("aside", f"np.linalg.norm(({here} - {there})[:, :2], axis=-1)"),
        Line("stack_height", number(apart)),
        Line("above", f"({here} - {there})[:, 2] - stack_height"),
        Line("off", "np.sqrt(aside ** 2 + (2.0 * above) ** 2)"),
        Line("placed_limit", number(shop.precision(0.02))),
        Line("placed", "np.exp(-((off / placed_limit) ** 2))"),
    )


def _release(shop: Workshop, thing: Thing, placed: tuple[Line, ...]) -> list[Term]:
    """Open fingers where the thing lies."""
    if not shop.can_grasp or shop.scene.gripper is None:
        return []
    _, wide = facts.open_end(shop.scene.gripper)
    grip = shop.grip(thing)
    opened = f"np.clip((state.{shop.scene.gripper.name} - {number(grip)}) / {number(0.5 * (wide - grip))}, 0.0, 1.0)"
    value = Line("release", weighted(4.0 * shop.style.stage, opened, "placed"))
    return [Term("release", (*placed, value), "Let go of it there.")]
