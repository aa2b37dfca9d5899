"""Plans for orientation: turn an object into the orientation of another, or keep it spinning."""

from __future__ import annotations

from robo_reward.writers.offline.plans.manipulation import TermBuilder
from robo_reward.writers.offline.scene import SceneObject
from robo_reward.writers.offline.terms import (
    SourceLine,
    Term,
    build_closeness_term,
    build_precision_term,
    format_product,
)


def build_turn_terms(builder: TermBuilder, item: SceneObject, target: SceneObject | None, sign: int) -> list[Term]:
    """Returns terms that turn an object into the orientation of a target.

    Without a target, they reward turning about the vertical, the faster the better.
    """
    hand = builder.scene.hand
    terms = builder.build_grasp_terms(item)[0] if hand is not None and hand is not item else []
    if target is not None and item.rotation is not None and target.rotation is not None:
        code = f"quat_angle(state.{item.rotation.name}, state.{target.rotation.name})"
        angle = SourceLine(f"{item.local_name}_turn", code)
        note = f"Turn {item.noun_phrase} as {target.noun_phrase} lies."
        terms.append(build_closeness_term(builder.style, "turn", 3.0 * builder.style.stage, angle, 1.0, note))
        if builder.style.precise:
            terms.append(build_precision_term("precise", 1.0, angle, 0.2, "Be exact at the end."))
    elif item.angular_velocity is not None:
        speed = f"{'-' if sign < 0 else ''}state.{item.angular_velocity.name}[:, 2]"
        value = SourceLine("spin", format_product(2.0 * builder.style.stage, f"np.clip({speed} / 3.0, -1.0, 1.0)"))
        terms.append(Term("spin", (value,), f"Turn {item.noun_phrase} about the vertical."))
    else:
        return []
    return terms
