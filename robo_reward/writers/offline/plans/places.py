"""Plans for places that the sentence describes: coordinates, and offsets from objects."""

from __future__ import annotations

from dataclasses import dataclass

from robo_reward.envs.state import Field
from robo_reward.writers.offline import facts
from robo_reward.writers.offline.goals.phrases import PlacePhrase
from robo_reward.writers.offline.lexicon import SUPPORTS
from robo_reward.writers.offline.plans import locomotion, stacking
from robo_reward.writers.offline.plans.manipulation import TermBuilder
from robo_reward.writers.offline.scene import SceneFacts, SceneObject
from robo_reward.writers.offline.sentence import Sentence
from robo_reward.writers.offline.terms import Term, build_closeness_term, format_number

USUAL_OFFSET = 0.1
"""Distance of a place from an object where the sentence gives none [m]."""
_SUBJECTS = ("hand", "object", "part", "other", "body")


def build_place_terms(builder: TermBuilder, sentence: Sentence) -> list[Term]:
    """Returns terms that bring hand, object or body to the place that the sentence describes."""
    scene = builder.scene
    item = find_subject(scene, sentence)
    place = find_place(scene, sentence, item)
    if place is None or item is None:
        return []
    if item is scene.hand:
        return builder.build_reach_terms(place)
    intents = set(sentence.intents)
    if scene.hand is None or item.role == "body":
        gap = builder.build_distance_line(item, place, flat=not _has_height(sentence))
        if gap is None:
            return []
        note = f"Bring {item.noun_phrase} to {place.noun_phrase}."
        near = build_closeness_term(builder.style, "reach", 2.0, gap, 1.0, note)
        return [near, *(locomotion.build_upright_terms(scene, builder.style) if scene.hand is None else [])]
    if not builder.can_grasp or "push" in intents:
        return builder.build_push_terms(item, place)
    if "place" in intents and not _has_height(sentence):
        return stacking.build_stack_terms(builder, item, place)
    return builder.build_carry_terms(item, place, high=_has_height(sentence))


def find_subject(scene: SceneFacts, sentence: Sentence) -> SceneObject | None:
    """Returns what is to be brought to a place: the first object that a clause acts on, else the hand or the trunk."""
    words = next((clause.item for clause in sentence.clauses if clause.item), ())
    found = scene.find_best_match(words, "position", _SUBJECTS) if words else None
    if found is not None and (scene.score_match(found, words) > 0):
        return scene.hand if scene.hand is not None and scene.is_hand(found) else found
    return scene.hand if scene.hand is not None else scene.root


def find_place(scene: SceneFacts, sentence: Sentence, item: SceneObject | None) -> SceneObject | None:
    """Returns the place that the sentence describes, or None; for an object, it lies where the object can rest."""
    phrase = next(iter(sentence.phrases.places), None)
    if phrase is None or item is None or item.position is None:
        return None
    own = [f"{item.position_code}[:, {axis}]" for axis in range(3)]
    rest = find_rest_height(scene, item) if item.role == "object" else None
    if phrase.reference:
        base = find_reference(scene, phrase, item)
        if base is None:
            return None
        offset = phrase.sign * (USUAL_OFFSET if phrase.offset is None else phrase.offset)
        shift = [format_number(offset if axis == phrase.axis else 0.0) for axis in range(3)]
        code = f"({base.position_code} + np.array([{', '.join(shift)}]))"
        if phrase.axis != 2 and rest is not None:
            own = [f"{code}[:, 0]", f"{code}[:, 1]", f"np.full_like({own[2]}, {format_number(rest)})"]
            code = f"np.stack([{', '.join(own)}], axis=-1)"
    else:
        given = dict(phrase.coordinates)
        if 2 not in given and rest is not None:
            given[2] = rest
        return _build_place(item, given, phrase.text)
    return SceneObject("place", (Field("place_position", (3,), "m", phrase.text, "goal"),), code)


def _build_place(item: SceneObject, given: dict[int, float], text: str) -> SceneObject:
    """Returns the place with some coordinates given [m], and the others as they are of an object."""
    own = [f"{item.position_code}[:, {axis}]" for axis in range(3)]
    parts = [f"np.full_like({own[i]}, {format_number(given[i])})" if i in given else own[i] for i in range(3)]
    code = f"np.stack([{', '.join(parts)}], axis=-1)"
    if len(given) == 3:
        code = f"np.array([{', '.join(format_number(given[axis]) for axis in range(3))}])"
    return SceneObject("place", (Field("place_position", (3,), "m", text, "goal"),), code)


def find_goal_of_displacement(
    scene: SceneFacts, sentence: Sentence, item: SceneObject, intents: set[str]
) -> SceneObject | None:
    """Returns the place to which a movement by an amount leads, a little further than asked.

    None where it is not known from where.
    """
    shift = find_displacement(scene, sentence, item, intents)
    if shift is None or shift.limit is None:
        return None
    further = shift.limit + shift.sign * max(0.1 * shift.amount, 0.01)
    return _build_place(item, {shift.axis: further}, "a movement by an amount")


def find_reference(scene: SceneFacts, phrase: PlacePhrase, item: SceneObject) -> SceneObject | None:
    """Returns the object from which a place is counted, if its words name one."""
    found = scene.find_best_match(phrase.reference, "position", ("object", "goal", "part", "other"), besides=(item,))
    return found if found is not None and scene.score_match(found, phrase.reference) > 0 else None


def find_rest_height(scene: SceneFacts, item: SceneObject) -> float | None:
    """Returns the height of an object's centre at rest [m]: at the start of an episode, else as described."""
    assert item.position is not None
    start = scene.find_start(item.position, 2)
    if start is not None:
        return start[1]
    said = facts.parse_rest_height(item.description)
    return said if said is not None else facts.parse_half_height(item.description)


def _has_height(sentence: Sentence) -> bool:
    phrase = sentence.phrases.places[0]
    return (bool(phrase.reference) and phrase.axis == 2) or any(axis == 2 for axis, _ in phrase.coordinates)


@dataclass(frozen=True)
class Displacement:
    """A movement of an object along an axis of the world, by an amount.

    Args:
        axis: of the world.
        sign: of the direction.
        amount: how far [m].
        is_given: whether the sentence gives the amount.
        limit: the coordinate that is to be passed [m], from every start; None where the start is not known.
    """

    axis: int
    sign: int
    amount: float
    is_given: bool
    limit: float | None


def find_displacement(
    scene: SceneFacts, sentence: Sentence, item: SceneObject, intents: set[str]
) -> Displacement | None:
    """Returns the movement that a sentence asks for: lift by an amount, push to the left; None for another goal."""
    if item.position is None:
        return None
    given = next((c.amount.value for c in sentence.clauses if c.amount is not None and c.amount.unit == "m"), None)
    amount = given or USUAL_OFFSET
    goes_to = any(c.relation == "to" and not set(c.target) <= SUPPORTS for c in sentence.clauses)
    if "lift" in intents and not intents & {"carry", "place", "move", "push"} and not goes_to:
        rest = find_rest_height(scene, item)
        return Displacement(2, 1, amount, given is not None, None if rest is None else round(rest + amount, 6))
    if sentence.direction is None and not ({"push", "open"} & intents and scene.hand is not item):
        return None
    axis, sign = sentence.direction or (0, -1 if "open" in intents else 1)
    start = scene.find_start(item.position, axis)
    limit = None if start is None else round((start[1] if sign > 0 else start[0]) + sign * amount, 6)
    return Displacement(axis, sign, amount, given is not None, limit)
