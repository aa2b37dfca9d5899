"""The conditions of success and failure that follow from a goal sentence, as a person would write them.

    "Pick up the cube and lift it 15 cm."    cube_height > 0.17
    "Keep the hand 20 cm above the cube."    norm(hand_position - cube_position - np.array([0.0, 0.0, 0.2])) < 0.03

An amount is measured from the state in which episodes begin, as far as it is known, else from the descriptions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from robo_reward.envs.state import Field
from robo_reward.writers.offline import facts
from robo_reward.writers.offline.goals.actions import Action
from robo_reward.writers.offline.goals.reading import Reading
from robo_reward.writers.offline.plans import mechanisms, places, stacking
from robo_reward.writers.offline.plans.locomotion import find_angle_name, find_speed_expression
from robo_reward.writers.offline.plans.prohibitions import USUAL_RADIUS, find_limit
from robo_reward.writers.offline.scene import SceneFacts, SceneObject
from robo_reward.writers.offline.terms import format_number

AT_A_POINT, ALONG_THE_TABLE, AT_A_PLACE, STACKED = 0.02, 0.03, 0.03, 0.02
"""Distances that count as there [m]: of the hand from a point, of objects, of a described place, of stacked centres."""
USUAL_RISE, USUAL_PUSH, USUAL_SPEED, USUAL_SPIN = 0.1, 0.1, 0.5, 1.0
"""What counts where the sentence gives no amount [m], [m], [m/s] and [rad/s]."""
OPENED, CLOSED = 0.8, 0.1
"""Shares of a mechanism's range that count as open, and as closed."""
UPRIGHT, LEANING, RESTING = 0.95, 0.2, 0.05
"""Cosine of a body's tilt, angle of a pole [rad], and speed at rest [m/s], at most or at least."""


class NoCondition(Exception):
    """No condition follows from a sentence; the message says why, as part of a sentence."""


@dataclass(frozen=True)
class Conditions:
    """Conditions that follow from a sentence.

    Args:
        success: condition of success.
        failure: condition that ends an episode as failed; empty for none.
        notes: what the sentence left open and was assumed.
        may_hold_at_start: whether success at the start of an episode makes sense, as in "Balance the pole".
    """

    success: str
    failure: str = ""
    notes: tuple[str, ...] = ()
    may_hold_at_start: bool = False


def derive_conditions(reading: Reading) -> Conditions:
    """Returns the conditions of a goal.

    Raises:
        NoCondition: the sentence, or the state, leaves open what would count.
    """
    notes: list[str] = []
    if not reading.actions:
        raise NoCondition("no verb says what is to be done")
    if reading.sentence.phrases.places:
        success = _derive_place(reading, notes)
    else:
        success = _derive_actions(reading, notes)
    if reading.sentence.requires_rest and reading.actions[0].kind != "locomotion":
        success += _derive_rest(reading.actions[-1].item, " and ")
    success = _add_time(reading, success)
    limits = [find_limit(reading.scene, reading.sentence, phrase) for phrase in reading.sentence.phrases.prohibitions]
    failure = " or ".join(limit.violation for limit in limits if limit is not None)
    holds = all(action.intent == "balance" for action in reading.actions)
    return Conditions(success, failure, tuple(notes), holds)


def _add_time(reading: Reading, success: str) -> str:
    """Returns the condition, held for a while or fulfilled several times if the sentence asks for it."""
    times = reading.sentence.phrases.times
    if not times:
        return success
    if times[0].seconds:
        return f"held({success}, {format_number(times[0].seconds)})"
    if not times[0].times:
        raise NoCondition(f"{times[0].text!r} does not say how often")
    once = success.removeprefix("ever(").removesuffix(")") if success.startswith("ever(") else success
    return f"count({once}) >= {times[0].times}"


def _derive_actions(reading: Reading, notes: list[str]) -> str:
    last = reading.actions[-1]
    by_kind: dict[str, Callable[[Reading, Action, list[str]], str]] = {
        "mechanism": _derive_mechanism,
        "turning": _derive_turning,
        "handling": _derive_handling,
        "locomotion": _derive_locomotion,
    }
    if last.kind not in by_kind:
        raise NoCondition(last.problem or f"{last.verb!r} is not understood")
    return by_kind[last.kind](reading, last, notes)


def _derive_place(reading: Reading, notes: list[str]) -> str:
    """Returns the condition that something is at the place that the sentence describes."""
    scene, sentence = reading.scene, reading.sentence
    phrase = sentence.phrases.places[0]
    item = places.find_subject(scene, sentence)
    if item is None or places.find_place(scene, sentence, item) is None:
        raise NoCondition(f"{phrase.text!r} names no object of the state")
    here = format_field(item.position)
    limit = format_number(0.5 if item.role == "body" and scene.hand is None else AT_A_PLACE)
    if phrase.reference:
        base = places.find_reference(scene, phrase, item)
        assert base is not None
        offset = phrase.sign * (places.USUAL_OFFSET if phrase.offset is None else phrase.offset)
        if phrase.offset is None:
            notes.append(f"{phrase.text!r} gives no distance: {places.USUAL_OFFSET:g} m")
        shift = [offset if axis == phrase.axis else 0.0 for axis in range(3)]
        there = format_field(base.position)
        if phrase.axis != 2:
            flat = f"norm({here}[:2] - {there}[:2] - np.array([{format_number(shift[0])}, {format_number(shift[1])}]))"
            return f"{flat} < {limit}{_derive_lying(scene, item)}"
        numbers = ", ".join(format_number(value) for value in shift)
        return f"norm({here} - {there} - np.array([{numbers}])) < {limit}"
    parts = [
        f"abs({format_component(item.position, axis)} - {format_number(value)}) < {limit}"
        if value >= 0
        else f"abs({format_component(item.position, axis)} + {format_number(-value)}) < {limit}"
        for axis, value in phrase.coordinates
    ]
    has_height = any(axis == 2 for axis, _ in phrase.coordinates)
    released = _derive_release(scene, item) if "place" in sentence.intents and not has_height else ""
    return " and ".join(parts) + ("" if has_height else _derive_lying(scene, item)) + released


def _derive_lying(scene: SceneFacts, item: SceneObject) -> str:
    """Returns the condition that an object lies on its support, to be appended; empty for anything else."""
    rest = places.find_rest_height(scene, item) if item.role == "object" else None
    return "" if rest is None else f" and {format_component(item.position, 2)} < {format_number(rest + 0.015)}"


def _derive_release(scene: SceneFacts, item: SceneObject) -> str:
    """Returns the condition that the fingers are off an object, to be appended."""
    width = 2.0 * (facts.parse_radius(item.description) or 0.0)
    if scene.gripper is None or not width:
        return ""
    ends = facts.parse_closed_and_open(scene.gripper)
    return f" and {scene.gripper.name} > {format_number(width + 0.01)}" if width + 0.01 < max(ends) else ""


def _derive_rest(item: SceneObject | None, before: str = "") -> str:
    velocity = item.velocity if item is not None else None
    return f"{before}norm({format_field(velocity)}) < {format_number(RESTING)}" if velocity is not None else ""


def _derive_mechanism(reading: Reading, action: Action, notes: list[str]) -> str:
    assert action.item is not None and action.item.travel is not None
    travel, amount = action.item.travel, action.amount
    opening = not any(a.intent == "close" and a.item is action.item for a in reading.actions)
    amount = next((a.amount for a in reading.actions if a.item is action.item and a.amount is not None), amount)
    _, sign = reading.sentence.direction or (0, 1)
    if mechanisms.is_continuous(action.item):
        if action.item.rate is None or action.intent != "turn":
            raise NoCondition(f"{action.item.noun_phrase} has no end to which it could be moved")
        if amount is None:
            notes.append(f"no speed is given: {USUAL_SPIN:g} rad/s")
            return _compare(action.item.rate.name, sign * USUAL_SPIN, sign)
        if amount.unit == action.item.rate.unit:
            return _compare(action.item.rate.name, sign * amount.value, sign)
        start = _require_start(reading.scene, travel, 0, sign)
        return _compare(travel.name, start + sign * amount.value, sign)
    shut, wide = facts.parse_closed_and_open(travel)
    span = wide - shut
    if abs(span) < 1e-9:
        raise NoCondition(f"the range of {travel.name} is not known")
    if not opening:
        if amount is not None:
            raise NoCondition(f"{action.verb!r} with an amount: from which opening is not said")
        notes.append(f"closed means the last {CLOSED:.0%} of {travel.name}")
        return _compare(travel.name, shut + CLOSED * span, -1 if span > 0 else 1)
    if amount is None:
        notes.append(f"no amount is given: {OPENED:.0%} of the range of {travel.name}")
        return _compare(travel.name, shut + OPENED * span, 1 if span > 0 else -1)
    if amount.unit == "1":
        return _compare(travel.name, shut + min(amount.value, 0.98) * span, 1 if span > 0 else -1)
    if amount.unit != travel.unit:
        raise NoCondition(f"{travel.name} is measured in {travel.unit}, not in {amount.unit}")
    if amount.value > abs(span) * 1.001:
        raise NoCondition(f"{travel.name} has a range of only {abs(span):g} {travel.unit}")
    return _compare(travel.name, shut + (amount.value if span > 0 else -amount.value), 1 if span > 0 else -1)


def _derive_turning(reading: Reading, action: Action, notes: list[str]) -> str:
    item, target = action.item, action.target
    assert item is not None
    if target is not None and item.rotation is not None and target.rotation is not None:
        notes.append("turned means within 0.2 rad")
        return f"quat_angle({item.rotation.name}, {target.rotation.name}) < 0.2"
    _, sign = reading.sentence.direction or (0, 1)
    if item.angular_velocity is None:
        raise NoCondition(f"no field says how {item.noun_phrase} turns")
    notes.append(f"no speed is given: {USUAL_SPIN:g} rad/s about the vertical")
    return _compare(format_component(item.angular_velocity, 2), sign * USUAL_SPIN, sign)


def _derive_handling(reading: Reading, action: Action, notes: list[str]) -> str:
    scene, sentence = reading.scene, reading.sentence
    intents = {a.intent for a in reading.actions}
    item = next((a.item for a in reading.actions if a.item is not None), None)
    target = next((a.target for a in reversed(reading.actions) if a.target is not None), None)
    if item is None or item.position is None:
        raise NoCondition("no object is named")
    within = next((a.amount.value for a in reading.actions if a.amount is not None), None)
    within = within if "within" in sentence.words else None
    if item is scene.hand and "lift" not in intents and target is not None:
        return _derive_reach(item, target, within)
    shift = places.find_displacement(scene, sentence, item, {action.intent for action in reading.actions})
    if shift is not None and (target is None or shift.axis == 2):
        if shift.limit is None:
            raise NoCondition(f"it is not known where {item.noun_phrase} is at the start")
        if not shift.is_given:
            notes.append(f"no amount is given: {abs(shift.amount):g} m")
        if scene.find_start(item.position, shift.axis) is not None and shift.axis != 2:
            notes.append(f"counted from the start that lies furthest: {shift.limit - shift.sign * shift.amount:.3g} m")
        return _compare(format_component(item.position, shift.axis), shift.limit, shift.sign)
    if target is None or ("grasp" in intents and not intents & {"carry", "place", "move", "push"}):
        return _derive_grasp(scene, item)
    if target.position is None:
        raise NoCondition(f"the place of {target.noun_phrase} is not in the state")
    relation = next((a.clause.relation for a in reversed(reading.actions) if a.clause.target), "")
    if "place" in intents and relation == "on" and target.role != "goal":
        return _derive_stack(scene, item, target)
    flat = "[:2]" if intents <= {"push"} else ""
    limit = format_number(within or ALONG_THE_TABLE)
    return f"norm({format_field(item.position)}{flat} - {format_field(target.position)}{flat}) < {limit}"


def _derive_reach(hand: SceneObject, target: SceneObject, within: float | None) -> str:
    size = (facts.parse_radius(target.description) or USUAL_RADIUS) if target.role != "goal" else AT_A_POINT
    limit = within or max(size, AT_A_POINT)
    return f"norm({format_field(hand.position)} - {format_field(target.position)}) < {format_number(limit)}"


def _derive_grasp(scene: SceneFacts, item: SceneObject) -> str:
    if scene.hand is None or scene.gripper is None:
        raise NoCondition(f"no fingers of the state could hold {item.noun_phrase}")
    width = 2.0 * (facts.parse_radius(item.description) or 0.0)
    shut, wide = facts.parse_closed_and_open(scene.gripper)
    if not min(shut, wide) < width < max(shut, wide):
        raise NoCondition(f"the width of {item.noun_phrase} is not in its description")
    near = f"norm({format_field(scene.hand.position)} - {format_field(item.position)}) < 0.02"
    return f"{near} and abs({scene.gripper.name} - {format_number(width)}) < 0.005"


def _derive_stack(scene: SceneFacts, item: SceneObject, base: SceneObject) -> str:
    apart = stacking.compute_stack_height(item, base)
    here, there = format_field(item.position), format_field(base.position)
    above = f"abs({format_component(item.position, 2)} - {format_component(base.position, 2)} - {format_number(apart)})"
    over = f"norm({here}[:2] - {there}[:2]) < {format_number(STACKED)}"
    return f"{over} and {above} < 0.01{_derive_release(scene, item)}"


def _derive_locomotion(reading: Reading, action: Action, notes: list[str]) -> str:
    scene, sentence = reading.scene, reading.sentence
    if action.intent == "jump":
        return _derive_jump(scene, action, notes)
    words = tuple(word for clause in sentence.clauses for word in clause.item)
    if action.intent in ("run", "move"):
        axis, sign = sentence.direction or (0, 1)
        upright = _derive_upright(scene, ()) if sentence.requires_upright else ""
        return _derive_run(reading, action, axis, sign, notes) + (f" and {upright}" if upright else "")
    stands = action.intent == "balance" and not (sentence.requires_upright or words)
    parts = [] if stands else [_derive_upright(scene, words)]
    if sentence.requires_rest:
        parts.append(_derive_rest(action.item or scene.root))
    found = " and ".join(part for part in parts if part)
    if not found:
        raise NoCondition("no field of the state shows it")
    return found


def _derive_jump(scene: SceneFacts, action: Action, notes: list[str]) -> str:
    root = scene.root
    if root is None or root.position is None:
        raise NoCondition("the height of the trunk is not in the state")
    start = _require_start(scene, root.position, 2, 1)
    if action.amount is None:
        notes.append(f"no height is given: {USUAL_RISE:g} m")
    rise = USUAL_RISE if action.amount is None else action.amount.value
    return f"ever({_compare(format_component(root.position, 2), start + rise, 1)})"


def _derive_run(reading: Reading, action: Action, axis: int, sign: int, notes: list[str]) -> str:
    sentence, code = reading.sentence, find_speed_expression(reading.scene, axis)
    if code is None:
        raise NoCondition("no velocity of a trunk is in the state")
    speed = code.removeprefix("state.").replace("[:, ", "[")
    amount = action.amount
    if amount is None:
        notes.append(f"no speed is given: {USUAL_SPEED:g} m/s")
        return _compare(speed, sign * USUAL_SPEED, sign)
    if amount.unit == "m/s" and {"least", "more"} & set(sentence.words):
        return _compare(speed, sign * amount.value, sign)
    if amount.unit == "m/s":
        off = f"{speed} {'-' if sign > 0 else '+'} {format_number(amount.value)}"
        return f"abs({off}) < {format_number(amount.value / 5)}"
    root = reading.scene.root
    if root is None or root.position is None:
        raise NoCondition("the place of the trunk is not in the state")
    start = _require_start(reading.scene, root.position, axis, sign)
    return _compare(format_component(root.position, axis), start + sign * amount.value, sign)


def _derive_upright(scene: SceneFacts, words: tuple[str, ...]) -> str:
    item = scene.find_best_match(words, "rotation", ("body",)) if words else None
    root = item or (scene.root if scene.root is not None and scene.root.rotation is not None else None)
    root = root or next(iter(scene.find_objects("rotation", "body", "object", "other")), None)
    angle = find_angle_name(scene, words)
    if angle is not None and (root is None or (words and item is None)):
        return f"cos({angle}) > 0.98"
    if root is None or root.rotation is None:
        return ""
    return f"quat_to_axis({root.rotation.name}, 2)[2] > {format_number(UPRIGHT)}"


def _require_start(scene: SceneFacts, field: Field | None, axis: int, sign: int) -> float:
    """Returns the start value of a component that lies furthest along a direction."""
    start = scene.find_start(field, axis) if field is not None else None
    if start is None:
        raise NoCondition("it is not known where episodes begin")
    return start[1] if sign > 0 else start[0]


def _compare(value: str, limit: float, sign: int) -> str:
    return f"{value} {'>' if sign > 0 else '<'} {format_number(limit)}"


def format_field(field: Field | None) -> str:
    """Returns a field as a condition names it."""
    assert field is not None
    return field.name


def format_component(field: Field | None, axis: int) -> str:
    """Returns a component of a vector as a condition names it: `cube_x`, `cube_height`."""
    assert field is not None
    subject, _, quantity = field.name.rpartition("_")
    if quantity == "position" and subject:
        return f"{subject}_{('x', 'y', 'height')[axis]}"
    return f"{field.name}[{axis}]"
