"""Plans for bodies: run, jump, stand, balance, swing up, keep still."""

from __future__ import annotations

from robo_reward.writers.offline.scene import SceneFacts, SceneObject
from robo_reward.writers.offline.sentence import Sentence
from robo_reward.writers.offline.terms import SourceLine, Style, Term, format_number, format_product

_AXES = ("forward", "sideways", "upward")


def build_run_terms(scene: SceneFacts, style: Style, sentence: Sentence) -> list[Term]:
    """Returns terms for speed along a direction of the world, forward by default."""
    axis, sign = sentence.direction or (0, 1)
    speed = find_speed_expression(scene, axis)
    if speed is None:
        return []
    lines = [SourceLine("speed", f"{speed}" if sign > 0 else f"-{speed}")]
    wanted = next((a.value for a in sentence.amounts if a.unit == "m/s"), None)
    name = _AXES[axis] if sign > 0 or axis else "backward"
    if wanted is not None:
        lines += [
            SourceLine("speed_goal", format_number(wanted)),
            SourceLine("speed_scale", format_number(0.5 * wanted * style.width)),
        ]
        value = "np.exp(-(((speed - speed_goal) / speed_scale) ** 2))"
        note = "Move at the speed asked for."
    elif style.shape == "tanh":
        lines += [SourceLine("speed_limit", format_number((8.0 if sentence.requires_speed else 5.0) * style.width))]
        value = "np.clip(speed, -1.0, speed_limit)"
        note = "The faster, the better; with a constant reward beyond the speed limit."
    else:
        lines += [SourceLine("speed_scale", format_number(2.0 * style.width))]
        value = "np.tanh(speed / speed_scale)"
        note = "The faster, the better, with less and less gain."
    return [Term(name, (*lines, SourceLine(name, format_product(style.stage, value))), note)]


def find_speed_expression(scene: SceneFacts, axis: int) -> str | None:
    """Returns the code of the trunk's velocity along an axis, or of a sliding root joint's velocity."""
    root = scene.root
    if root is not None and root.velocity is not None:
        return f"state.{root.velocity.name}[:, {axis}]"
    sliding = [f for t in scene.items for f in t.fields if f.shape == () and f.unit == "m/s"]
    named = [f for f in sliding if f.name.replace("_velocity", "").endswith("xyz"[axis])]
    return f"state.{(named or sliding)[0].name}" if sliding else None


def build_upright_terms(scene: SceneFacts, style: Style, words: tuple[str, ...] = ()) -> list[Term]:
    """Returns a term that aligns the body's up axis with the world's, or keeps an angle near zero."""
    note = "Stay upright."
    item = scene.find_best_match(words, "rotation", ("body",)) if words else None
    root = item or (scene.root if scene.root is not None and scene.root.rotation is not None else None)
    root = root or next(iter(scene.find_objects("rotation", "body", "object", "other")), None)
    angle = find_angle_name(scene, words)
    if angle is not None and (root is None or (words and item is None)):
        return [Term("upright", (SourceLine("upright", format_product(1.0, f"np.cos(state.{angle})")),), note)]
    if root is None or root.rotation is None:
        return []
    tilt = SourceLine("tilt", f"quat_to_axis(state.{root.rotation.name}, 2)[:, 2]")
    value = "np.clip(tilt, 0.0, 1.0) ** 2" if style.gate == "hard" else "0.5 * (1.0 + tilt)"
    return [Term("upright", (tilt, SourceLine("upright", format_product(1.0, value))), note)]


def find_angle_name(scene: SceneFacts, words: tuple[str, ...]) -> str | None:
    """Returns the name of the angle that words refer to, else of the only angle."""
    angles = [t for t in scene.find_objects("travel") if t.travel is not None and t.travel.unit == "rad"]
    named = [t for t in angles if scene.score_match(t, words) > 0]
    chosen = named or (angles if len(angles) == 1 else [])
    return chosen[0].travel.name if chosen and chosen[0].travel is not None else None


def build_swing_up_terms(scene: SceneFacts, style: Style, words: tuple[str, ...]) -> list[Term]:
    """Returns terms for being upright, and for being slow once upright."""
    terms = build_upright_terms(scene, style, words)
    if not terms:
        return []
    last = terms[0].lines[-1].local
    angle = find_angle_name(scene, words)
    rate = next((t.rate for t in scene.find_objects("rate") if t.travel is not None and t.travel.name == angle), None)
    if rate is None:
        return terms
    value = f"np.exp(-((state.{rate.name} / settle_scale) ** 2))"
    settle = SourceLine("settle", format_product(0.3, value, f"np.clip({last}, 0.0, 1.0)"))
    lines = (*terms[0].lines, SourceLine("settle_scale", format_number(2.0 * style.width)), settle)
    return [*terms, Term("settle", lines, "Slow down once it is up.")]


def build_jump_terms(scene: SceneFacts, style: Style) -> list[Term]:
    """Returns terms for the height of the trunk and its upward speed."""
    root = scene.root
    if root is None or root.velocity is None:
        return []
    terms = [
        Term(
            "rise",
            (SourceLine("rise", format_product(0.5, f"np.clip(state.{root.velocity.name}[:, 2], -1.0, 5.0)")),),
            "Push off.",
        )
    ]
    if root.position is not None:
        lines = (
            SourceLine("height_scale", format_number(style.width)),
            SourceLine("height", format_product(1.0, f"np.tanh(state.{root.position.name}[:, 2] / height_scale)")),
        )
        terms.append(Term("height", lines, "Be high."))
    return terms


def build_stand_terms(scene: SceneFacts, style: Style) -> list[Term]:
    """Returns a term that keeps the trunk off the ground."""
    root = scene.root
    if root is None or root.position is None:
        return []
    value = f"np.clip(state.{root.position.name}[:, 2] / height_goal, 0.0, 1.0)"
    lines = (SourceLine("height_goal", format_number(style.width)), SourceLine("stand", format_product(0.5, value)))
    return [Term("stand", lines, "Keep the trunk off the ground.")]


def build_rest_terms(item: SceneObject | None, style: Style, weight: float = 0.3) -> list[Term]:
    """Returns a term for a low speed of an object."""
    field = None if item is None else item.velocity or item.rate
    if field is None:
        return []
    speed = f"np.linalg.norm(state.{field.name}, axis=-1)" if field.shape else f"np.abs(state.{field.name})"
    lines = (SourceLine("pace", speed), SourceLine("still_scale", format_number(0.2 * style.width)))
    value = SourceLine("still", format_product(weight, "np.exp(-((pace / still_scale) ** 2))"))
    return [Term("still", (*lines, value), "Come to rest.")]
