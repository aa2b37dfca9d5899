"""Terms and conditions for what must not happen: "without touching the cube"."""

from __future__ import annotations

from typing import NamedTuple

from robo_reward.writers.offline import facts
from robo_reward.writers.offline.goals.phrases import ProhibitionPhrase
from robo_reward.writers.offline.plans.manipulation import FINGER_RADIUS, TermBuilder
from robo_reward.writers.offline.plans.places import find_rest_height
from robo_reward.writers.offline.scene import SceneFacts, SceneObject
from robo_reward.writers.offline.sentence import Sentence
from robo_reward.writers.offline.terms import SourceLine, Term, format_number, format_product

USUAL_RADIUS = 0.03
"""Half the size of an object whose description does not give it [m]."""
MAX_RISE, MAX_SPEED = 0.03, 0.1
"""What counts as lifted [m], and as moved [m/s]."""


class Limit(NamedTuple):
    """A measure of the state that must stay on one side of a limit.

    Attributes:
        name: of its term.
        code: expression of the measure in a program, (B,).
        rule: the same in a condition of success.
        is_minimum: whether it must stay above the limit, else below.
        limit: in the measure's unit.
        note: what must not happen.
    """

    name: str
    code: str
    rule: str
    is_minimum: bool
    limit: float
    note: str

    @property
    def violation(self) -> str:
        """The condition that it is violated."""
        return f"{self.rule} {'<' if self.is_minimum else '>'} {format_number(self.limit)}"


def build_prohibition_terms(builder: TermBuilder, sentence: Sentence) -> list[Term]:
    """Returns a cost for each prohibition of the sentence: it begins before the limit is reached."""
    terms = []
    for phrase in sentence.phrases.prohibitions:
        limit = find_limit(builder.scene, sentence, phrase)
        if limit is None:
            continue
        distance = f"({limit.code}) / {format_number(limit.limit)}"
        cost = f"np.clip(1.5 - {distance}, 0.0, 1.0)" if limit.is_minimum else f"np.clip({distance} - 0.5, 0.0, 1.0)"
        terms.append(Term(limit.name, (SourceLine(limit.name, format_product(-2.0, cost)),), limit.note))
    return terms


def find_limit(scene: SceneFacts, sentence: Sentence, phrase: ProhibitionPhrase) -> Limit | None:
    """Returns the limit that a prohibition means, or None where the state does not show it."""
    item = find_prohibited_object(scene, sentence, phrase)
    if item is None or item.position is None:
        return None
    what, name = item.noun_phrase, item.position.name
    if phrase.kind == "touch" and scene.hand is not None and scene.hand.position is not None and item is not scene.hand:
        hand = scene.hand.position.name
        limit = (facts.parse_radius(item.description) or USUAL_RADIUS) + FINGER_RADIUS
        code = f"np.linalg.norm(state.{hand} - state.{name}, axis=-1)"
        return Limit("clear", code, f"norm({hand} - {name})", True, limit, f"Keep clear of {what}.")
    if phrase.kind == "lift" and (rest := find_rest_height(scene, item)) is not None:
        note = f"Leave {what} on its support."
        return Limit("low", f"state.{name}[:, 2]", f"{name}[2]", False, rest + MAX_RISE, note)
    clauses = [clause.item for clause in sentence.clauses]
    acted_on = [scene.find_best_match(words, "position", ()) if words else scene.only_object for words in clauses]
    if phrase.kind == "move" and item.velocity is not None and not any(item is other for other in acted_on):
        speed = item.velocity.name
        code = f"np.linalg.norm(state.{speed}, axis=-1)"
        return Limit("unmoved", code, f"norm({speed})", False, MAX_SPEED, f"Leave {what} where it is.")
    return None


def find_prohibited_object(scene: SceneFacts, sentence: Sentence, phrase: ProhibitionPhrase) -> SceneObject | None:
    """Returns the object of a prohibition; `it` is the last object of the sentence besides the hand."""
    if not phrase.words or phrase.words == ("it",):
        named = [scene.find_best_match(words, "position", ()) for c in sentence.clauses for words in (c.item, c.target)]
        found = [item for item in named if item is not None and not scene.is_hand(item)]
        found = [item for item in found if item.role != "goal"] or found
        return found[-1] if found else scene.only_object
    found = scene.find_best_match(phrase.words, "position", ("object", "part", "other"))
    is_named = found is not None and all(scene.score_match(found, (word,)) > 0 for word in phrase.words)
    return found if is_named else None  # what else a prohibition says would be left out
