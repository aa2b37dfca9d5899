"""The actions that the verbs of a sentence ask for: kind of movement, object, target and amount."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from robo_reward.writers.offline.lexicon import STILL, SUPPORTS, UPRIGHT
from robo_reward.writers.offline.plan import OBJECTS, PLACES, find_mechanism
from robo_reward.writers.offline.plans import mechanisms
from robo_reward.writers.offline.plans.locomotion import find_speed_expression
from robo_reward.writers.offline.plans.manipulation import TermBuilder
from robo_reward.writers.offline.scene import SceneFacts, SceneObject
from robo_reward.writers.offline.sentence import Amount, Clause, Sentence, is_verb
from robo_reward.writers.offline.terms import Style

_LOCOMOTION = ("run", "jump", "balance", "swing")
_TO_PLACES = ("carry", "place", "move", "push", "release")
_SPINS = ("spin", "twist", "rotate", "turn")


@dataclass(frozen=True)
class Action:
    """One verb, grounded in the state.

    Args:
        clause: the verb with its words.
        verb: as written.
        kind: `mechanism`, `turning`, `handling` or `locomotion`; empty if the writer has no terms for it.
        item: the object that it acts on.
        target: the object to which, or like which.
        parts: further objects that take part, such as a handle.
        uses_direction: whether a direction of the world matters.
        problem: why it cannot be done.
    """

    clause: Clause
    verb: str
    kind: str = ""
    item: SceneObject | None = None
    target: SceneObject | None = None
    parts: tuple[SceneObject, ...] = ()
    uses_direction: bool = False
    problem: str = ""

    @property
    def intent(self) -> str:
        """The intent of its clause."""
        return self.clause.intent

    @property
    def amount(self) -> Amount | None:
        """The amount of its clause, or None."""
        return self.clause.amount

    @property
    def objects(self) -> tuple[SceneObject, ...]:
        """All objects that take part."""
        return tuple(t for t in (self.item, self.target, *self.parts) if t is not None)

    def describe(self) -> str:
        """Returns what the verb asks for, such as `lift cube`; empty if it cannot be done."""
        if not self.kind:
            return ""
        return f"{self.intent} {self.item.name}" if self.item is not None else self.intent


def find_actions(sentence: Sentence, scene: SceneFacts) -> Iterator[Action]:
    """Yields the action of each clause."""
    starts = [i for i in range(len(sentence.words)) if is_verb(sentence.words, i)]
    for start, clause in zip(starts, sentence.clauses, strict=True):
        action = Action(clause, sentence.words[start])
        found = (
            _find_mechanism_action(action, sentence, scene)
            or _find_turning_action(action, scene)
            or _find_locomotion_action(action, sentence, scene)
            or _find_handling_action(action, sentence, scene)
        )
        yield _check_amount(found, sentence)


def _find_mechanism_action(action: Action, sentence: Sentence, scene: SceneFacts) -> Action | None:
    clause = action.clause
    if clause.intent not in ("open", "close", "turn") and not (clause.intent == "push" and not clause.target):
        return None
    item = find_mechanism(scene, clause)
    if item is None or (clause.intent == "push" and sentence.direction is not None):
        return None
    part = mechanisms.find_grasp_part(TermBuilder(scene, Style()), item)
    found = replace(action, kind="mechanism", item=item, parts=() if part is None else (part,), uses_direction=True)
    if mechanisms.is_continuous(item) and (clause.intent != "turn" and action.amount is None):
        problem = f"{item.noun_phrase} turns without limits, so that it has no end to {action.verb} it to"
        return replace(found, problem=problem)
    return found


def _find_turning_action(action: Action, scene: SceneFacts) -> Action | None:
    if action.intent != "turn":
        return None
    words = action.clause.item
    item = scene.find_best_match(words, "rotation", OBJECTS) if words else None
    if item is None or item.role == "body" or scene.score_match(item, words) <= 0:
        return replace(action, problem=f"nothing in the state is what {action.verb!r} should turn")
    named = scene.find_best_match(action.clause.target, "rotation", PLACES, (item,)) if action.clause.target else None
    target = named or next((t for t in scene.find_objects("rotation", "goal") if t is not item), None)
    if target is None and (item.angular_velocity is None or action.amount is not None or action.verb not in _SPINS):
        problem = f"no field of the state says how far {item.noun_phrase} has been turned since the start"
        return replace(action, item=item, problem=f"{action.verb!r}: {problem}")
    return replace(action, kind="turning", item=item, target=target, uses_direction=target is None)


def _find_locomotion_action(action: Action, sentence: Sentence, scene: SceneFacts) -> Action | None:
    words, moves = action.clause.item, action.intent in _LOCOMOTION
    named = scene.find_best_match(words, "position", OBJECTS) if words else None
    named = named if named is not None and scene.score_match(named, words) > 0 else None
    is_thing = named is not None and (named.role in ("object", "part", "goal") or scene.is_hand(named))
    if action.intent == "move" and sentence.direction is not None and named is None and scene.hand is None:
        moves = True
    if not moves:
        return None
    if action.intent in ("run", "jump") or action.intent == "move":
        axis = sentence.direction[0] if sentence.direction is not None else 0
        if is_thing or find_speed_expression(scene, axis) is None:
            what = named.noun_phrase if named is not None else "the robot"
            return replace(action, item=named, problem=f"{action.verb!r} is a movement of a trunk, not of {what}")
    words = action.clause.target
    target = scene.find_best_match(words, "position", PLACES) if words and action.intent in ("run", "jump") else None
    if target is not None and target.role != "body" and scene.score_match(target, words) > 0:
        return replace(action, item=named, problem=f"{action.verb!r} to {target.noun_phrase} has no terms: use 'move'")
    if action.intent == "balance" and is_thing and not (UPRIGHT | STILL) & set(sentence.words) - {"stand", "balance"}:
        assert named is not None
        if action.verb not in ("balance", "stand"):
            problem = f"{action.verb!r} does not say where {named.noun_phrase} should be"
            return replace(action, item=named, problem=problem)
    if named is not None and named.role == "object" and (action.intent == "swing" or action.clause.target):
        return replace(action, item=named, problem=f"{action.verb!r} with {named.noun_phrase} has no terms")
    return replace(action, kind="locomotion", item=named or scene.root, uses_direction=True)


def _find_handling_action(action: Action, sentence: Sentence, scene: SceneFacts) -> Action:
    clause = action.clause
    words = clause.item
    item = scene.find_best_match(words, "position", OBJECTS) if words else scene.only_object
    if item is not None and scene.is_hand(item):
        item = scene.hand
    besides = [t for t in (item, scene.hand) if t is not None]
    where = next((c for c in reversed(sentence.clauses) if c.target), None)
    if item is scene.hand or (clause.intent == "reach" and len(sentence.clauses) == 1):
        own = words if item is not scene.hand else ()
        wanted = clause.target or (where.target if where is not None else ()) or own
        others = [t for t in (scene.hand,) if t is not None]
        target = scene.find_best_match(wanted, "position", PLACES, others) if wanted else None
        item = scene.hand
    else:
        target = scene.find_best_match(where.target, "position", PLACES, besides) if where is not None else None
        if where is None and sentence.direction is None:
            target = next(iter(scene.find_objects("position", "goal")), None)
    found = replace(action, kind="handling", item=item, target=target)
    if item is None:
        return replace(found, kind="", problem=f"nothing in the state is what {action.verb!r} should act on")
    if target is item:
        return replace(found, problem=f"{action.verb!r} names {item.noun_phrase} as object and as target")
    is_support = bool(clause.target) and set(clause.target) <= SUPPORTS
    if target is not None and is_support and not scene.score_match(target, clause.target):
        target, found = None, replace(found, target=None)
        if action.intent in _TO_PLACES:
            problem = f"{action.verb!r} does not say where on the {clause.target[0]}: give it as in 'at x = 0.6'"
            return replace(found, problem=problem)
    is_direct = target is None and sentence.direction is not None
    if is_direct and action.intent in ("push", "move", "open", "carry"):
        return replace(found, uses_direction=True)
    if target is None and action.intent in ("place", "carry", "release", "reach", "move"):
        return replace(found, problem=f"{action.verb!r} does not say where {item.noun_phrase} should go")
    return replace(found, uses_direction=target is None and action.intent in ("push", "open"))


def _check_amount(action: Action, sentence: Sentence) -> Action:
    """Returns the action, with a problem if its amount has no use."""
    amount = action.amount
    if amount is None or action.problem or not action.kind:
        return action
    travel = action.item.travel if action.item is not None else None
    is_used = {
        "mechanism": travel is not None
        and (amount.unit in (travel.unit, "1") or (action.intent == "turn" and amount.unit == f"{travel.unit}/s")),
        "locomotion": amount.unit in ("m", "m/s") and action.intent in ("run", "jump", "move"),
        "handling": amount.unit == "m"
        and ("lift" in sentence.intents or action.uses_direction or "within" in sentence.words),
    }.get(action.kind, False)
    if is_used:
        return action
    return replace(action, problem=f"{action.verb!r} has no use for {amount.value:g} {amount.unit}")
