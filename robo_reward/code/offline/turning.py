"""Plans for orientation: turn a thing as another one lies, or keep it spinning."""

from __future__ import annotations

from robo_reward.code.offline.manipulation import Workshop
from robo_reward.code.offline.scene import Thing
from robo_reward.code.offline.terms import Line, Term, near_term, precise_term, weighted


def turn(shop: Workshop, thing: Thing, target: Thing | None, sign: int) -> list[Term]:
    """A thing into the orientation of a target; without one, about the vertical as fast as can be."""
    hand = shop.scene.hand
    terms = shop.grasp(thing)[0] if hand is not None and hand is not thing else []
    if target is not None and thing.rotation is not None and target.rotation is not None:
        code = f"quat_angle(state.{thing.rotation.name}, state.{target.rotation.name})"
        angle = Line(f"{thing.label}_turn", code)
        note = f"Turn {thing.said} as {target.said} lies."
        terms.append(near_term(shop.style, "turn", 3.0 * shop.style.stage, angle, 1.0, note))
        if shop.style.precise:
            terms.append(precise_term("precise", 1.0, angle, 0.2, "Be exact at the end."))
    elif thing.spin is not None:
        speed = f"{'-' if sign < 0 else ''}state.{thing.spin.name}[:, 2]"
        value = Line("spin", weighted(2.0 * shop.style.stage, f"np.clip({speed} / 3.0, -1.0, 1.0)"))
        terms.append(Term("spin", (value,), f"Turn {thing.said} about the vertical."))
    else:
        return []
    return terms
