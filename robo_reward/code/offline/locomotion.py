"""Plans for bodies: run, jump, stand, balance, swing up, keep still."""

from __future__ import annotations

from robo_reward.code.offline.scene import Scene, Thing
from robo_reward.code.offline.sentence import Sentence
from robo_reward.code.offline.terms import Line, Style, Term, number, weighted

_AXES = ("forward", "sideways", "upward")


def run(scene: Scene, style: Style, sentence: Sentence) -> list[Term]:
    """Speed along a direction of the world, forward unless said."""
    axis, sign = sentence.direction or (0, 1)
    speed = _speed(scene, axis)
    if speed is None:
        return []
    lines = [Line("speed", f"{speed}" if sign > 0 else f"-{speed}")]
    wanted = next((a.value for a in sentence.amounts if a.unit == "m/s"), None)
    name = _AXES[axis] if sign > 0 or axis else "backward"
    if wanted is not None:
        lines += [Line("speed_goal", number(wanted)), Line("speed_scale", number(0.5 * wanted * style.width))]
        value = "np.exp(-(((speed - speed_goal) / speed_scale) ** 2))"
        note = "Move at the speed asked for."
    elif style.shape == "tanh":
        lines += [Line("speed_limit", number((8.0 if sentence.fast else 5.0) * style.width))]
        value = "np.clip(speed, -1.0, speed_limit)"
        note = "The faster, the better; no more is paid beyond any sensible speed."
    else:
        lines += [Line("speed_scale", number(2.0 * style.width))]
        value = "np.tanh(speed / speed_scale)"
        note = "The faster, the better, with less and less gain."
    return [Term(name, (*lines, Line(name, weighted(style.stage, value))), note)]


def _speed(scene: Scene, axis: int) -> str | None:
    """The velocity of the trunk along an axis, or of a sliding root joint."""
    root = scene.root
    if root is not None and root.velocity is not None:
        return f"state.{root.velocity.name}[:, {axis}]"
    sliding = [f for t in scene.things for f in t.fields if f.shape == () and f.unit == "m/s"]
    named = [f for f in sliding if f.name.replace("_velocity", "").endswith("xyz"[axis])]
    return f"state.{(named or sliding)[0].name}" if sliding else None


def upright(scene: Scene, style: Style, words: tuple[str, ...] = ()) -> list[Term]:
    """The body's own up axis along the world's, or an angle near zero."""
    note = "Stay upright."
    thing = scene.match(words, "rotation", ("body",)) if words else None
    root = thing or (scene.root if scene.root is not None and scene.root.rotation is not None else None)
    root = root or next(iter(scene.having("rotation", "body", "object", "other")), None)
    angle = _angle(scene, words)
    if angle is not None and (root is None or (words and thing is None)):
        return [Term("upright", (Line("upright", weighted(1.0, f"np.cos(state.{angle})")),), note)]
    if root is None or root.rotation is None:
        return []
    tilt = Line("tilt", f"quat_to_axis(state.{root.rotation.name}, 2)[:, 2]")
    value = "np.clip(tilt, 0.0, 1.0) ** 2" if style.gate == "hard" else "0.5 * (1.0 + tilt)"
    return [Term("upright", (tilt, Line("upright", weighted(1.0, value))), note)]


def _angle(scene: Scene, words: tuple[str, ...]) -> str | None:
    """The angle that words name, else the only one."""
    angles = [t for t in scene.having("travel") if t.travel is not None and t.travel.unit == "rad"]
    named = [t for t in angles if scene.score(t, words) > 0]
    chosen = named or (angles if len(angles) == 1 else [])
    return chosen[0].travel.name if chosen and chosen[0].travel is not None else None


def swing_up(scene: Scene, style: Style, words: tuple[str, ...]) -> list[Term]:
    """Up, and slow once there."""
    terms = upright(scene, style, words)
    if not terms:
        return []
    last = terms[0].lines[-1].local
    angle = _angle(scene, words)
    rate = next((t.rate for t in scene.having("rate") if t.travel is not None and t.travel.name == angle), None)
    if rate is None:
        return terms
    value = f"np.exp(-((state.{rate.name} / settle_scale) ** 2))"
    settle = Line("settle", weighted(0.3, value, f"np.clip({last}, 0.0, 1.0)"))
    lines = (*terms[0].lines, Line("settle_scale", number(2.0 * style.width)), settle)
    return [*terms, Term("settle", lines, "Slow down once it is up.")]


def jump(scene: Scene, style: Style) -> list[Term]:
    """Height of the trunk, and speed upwards."""
    root = scene.root
    if root is None or root.velocity is None:
        return []
    terms = [
        Term(
            "rise", (Line("rise", weighted(0.5, f"np.clip(state.{root.velocity.name}[:, 2], -1.0, 5.0)")),), "Push off."
        )
    ]
    if root.position is not None:
        lines = (
            Line("height_scale", number(style.width)),
            Line("height", weighted(1.0, f"np.tanh(state.{root.position.name}[:, 2] / height_scale)")),
        )
        terms.append(Term("height", lines, "Be high."))
    return terms


def tall(scene: Scene, style: Style) -> list[Term]:
    """The trunk off the ground."""
    root = scene.root
    if root is None or root.position is None:
        return []
    value = f"np.clip(state.{root.position.name}[:, 2] / height_goal, 0.0, 1.0)"
    lines = (Line("height_goal", number(style.width)), Line("stand", weighted(0.5, value)))
    return [Term("stand", lines, "Keep the trunk off the ground.")]


def keep_still(thing: Thing | None, style: Style, weight: float = 0.3) -> list[Term]:
    """Little speed of a thing."""
    field = None if thing is None else thing.velocity or thing.rate
    if field is None:
        return []
    speed = f"np.linalg.norm(state.{field.name}, axis=-1)" if field.shape else f"np.abs(state.{field.name})"
    lines = (Line("pace", speed), Line("still_scale", number(0.2 * style.width)))
    value = Line("still", weighted(weight, "np.exp(-((pace / still_scale) ** 2))"))
    return [Term("still", (*lines, value), "Come to rest.")]
