"""Plan for putting one object on another: grasp, raise, move over it, lower, release."""

from __future__ import annotations

from robo_reward.writers.offline import facts
from robo_reward.writers.offline.plans.manipulation import TermBuilder
from robo_reward.writers.offline.scene import SceneObject
from robo_reward.writers.offline.terms import SourceLine, Term, build_closeness_term, format_number, format_product

DEFAULT_HALF_HEIGHT = 0.02
"""Half the height of an object whose description does not give it [m]."""


def build_stack_terms(builder: TermBuilder, item: SceneObject, base: SceneObject) -> list[Term]:
    """Returns terms that put an object on top of another.

    Once the object lies there, the terms of the approach stay fulfilled, so that the hand may leave.
    """
    if item.position is None or base.position is None:
        return []
    stage, apart = builder.style.stage, compute_stack_height(item, base)
    placed = _build_placed_lines(builder, item, base, apart)
    terms, held = builder.build_grasp_terms(item, placed[-1], placed)
    up = (
        *held,
        *builder.build_raised_lines(item, max(apart, 0.04)),
        SourceLine("up", "held * np.maximum(raised, placed)"),
    )
    raised = SourceLine("raise_up", format_product(stage, "up"))
    terms.append(Term("raise_up", (*up, raised), f"Take {item.noun_phrase} off the table."))
    path = SourceLine("path", "np.sqrt(aside ** 2 + np.minimum(above, 0.0) ** 2)")
    note = f"Bring it over {base.noun_phrase}, never below its top."
    terms.append(build_closeness_term(builder.style, "align", 2.0 * stage, path, 0.125, note, *up, factor="up"))
    over = SourceLine("over", "np.exp(-((aside / over_limit) ** 2))")
    depth = SourceLine("depth", "np.abs(above)")
    limit = SourceLine("over_limit", "0.03")
    terms.append(
        build_closeness_term(
            builder.style, "lower", 1.5 * stage, depth, 0.08, "Once over it, down.", *placed, limit, over, factor="over"
        )
    )
    terms.append(
        Term("place", (*placed, SourceLine("place", format_product(3.0 * stage, "placed"))), "It lies where it should.")
    )
    return terms + _build_release_terms(builder, item, placed)


def compute_stack_height(item: SceneObject, base: SceneObject) -> float:
    """Returns the distance of the centres when one object lies on the other [m]; 0 for a goal, which marks it."""
    if base.role == "goal":
        return 0.0
    halves = (facts.parse_half_height(thing.description) for thing in (item, base))
    return sum(DEFAULT_HALF_HEIGHT if half is None else half for half in halves)


def _build_placed_lines(
    builder: TermBuilder, item: SceneObject, base: SceneObject, apart: float
) -> tuple[SourceLine, ...]:
    """Returns the assignments of a factor `placed`."""
    assert item.position is not None and base.position is not None
    here, there = item.position_code, base.position_code
    return (
        SourceLine("aside", f"np.linalg.norm(({here} - {there})[:, :2], axis=-1)"),
        SourceLine("stack_height", format_number(apart)),
        SourceLine("above", f"({here} - {there})[:, 2] - stack_height"),
        SourceLine("off", "np.sqrt(aside ** 2 + (2.0 * above) ** 2)"),
        SourceLine("placed_limit", format_number(builder.choose_tolerance(0.02))),
        SourceLine("placed", "np.exp(-((off / placed_limit) ** 2))"),
    )


def _build_release_terms(builder: TermBuilder, item: SceneObject, placed: tuple[SourceLine, ...]) -> list[Term]:
    """Returns a term for open fingers where the object lies."""
    if not builder.can_grasp or builder.scene.gripper is None:
        return []
    _, wide = facts.parse_closed_and_open(builder.scene.gripper)
    grip = builder.compute_grip_opening(item)
    width = f"(state.{builder.scene.gripper.name} - {format_number(grip)})"
    opened = f"np.clip({width} / {format_number(0.5 * (wide - grip))}, 0.0, 1.0)"
    value = SourceLine("release", format_product(4.0 * builder.style.stage, opened, "placed"))
    return [Term("release", (*placed, value), "Let go of it there.")]
