"""Composes a reward from a sentence and a scene: chooses the plans for the verbs, in a given style."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from robo_reward.writers.offline.plans import locomotion, mechanisms, places, prohibitions, stacking, turning
from robo_reward.writers.offline.plans.manipulation import TermBuilder
from robo_reward.writers.offline.plans.rule import build_rule_terms, parse_requirements
from robo_reward.writers.offline.scene import SceneFacts, SceneObject
from robo_reward.writers.offline.sentence import Amount, Clause, Sentence
from robo_reward.writers.offline.terms import Recipe, SourceLine, Style, Term, build_effort_term, rename_conflicts

STYLES = (
    Style(),
    Style(gate="soft", stage=1.5, ready=True, basis="rule"),
    Style(width=0.6, stage=1.5, precise=True, progress=True, effort=0.005),
    Style(shape="exp", width=1.3, gate="soft", stage=2.0, precise=False, basis="sentence"),
    Style(contact=False, stage=2.0, width=1.5, ready=True, basis="rule"),
    Style(shape="inverse", width=1.2, progress=True, stage=1.5, effort=0.02),
)
"""The first compositions, most common first."""

OBJECTS = ("object", "part", "other", "body")
PLACES = ("goal", "object", "part", "other")
MECHANISMS = ("part", "object", "other", "joint")
_HANDLING = frozenset({"reach", "grasp", "lift", "carry", "move", "push", "place", "release"})


def choose_style(index: int, rng: np.random.Generator) -> Style:
    """Returns the style of a composition by its index: the usual ones first, then random ones."""
    if index < len(STYLES):
        return STYLES[index]
    return Style(
        shape=str(rng.choice(["tanh", "tanh", "exp", "inverse"])),
        width=float(np.round(np.exp(rng.uniform(np.log(0.5), np.log(2.0))), 2)),
        gate=str(rng.choice(["hard", "soft"])),
        stage=float(np.round(np.exp(rng.uniform(np.log(0.7), np.log(3.0))), 2)),
        effort=float(rng.choice([0.003, 0.005, 0.01, 0.02])),
        precise=bool(rng.random() < 0.7),
        ready=bool(rng.random() < 0.5),
        progress=bool(rng.random() < 0.4),
        contact=bool(rng.random() < 0.7),
        basis=str(rng.choice(["both", "both", "rule", "sentence"])),
    )


def compose_recipe(sentence: Sentence, scene: SceneFacts, style: Style, rule: str = "") -> Recipe:
    """Returns a reward for a goal.

    Args:
        sentence: the goal.
        scene: the contents of the state.
        style: the choices in which compositions differ.
        rule: the task's success rule, or empty: of an English one only the numbers are used; of a condition on the
            state each comparison becomes a term.
    """
    builder = TermBuilder(scene, style, rule)
    wanted = parse_requirements(rule, scene.spec) if rule and style.basis != "sentence" else []
    terms = [] if wanted and style.basis == "rule" else _plan_sentence(builder, sentence)
    terms += build_rule_terms(wanted, builder)
    terms = [
        *terms,
        *_build_rest_terms(builder, sentence, terms),
        *prohibitions.build_prohibition_terms(builder, sentence),
        build_effort_term(style, sentence.requires_low_effort),
    ]
    return Recipe(rename_conflicts(_drop_duplicates(terms)), _join_notes(terms))


def _plan_sentence(builder: TermBuilder, sentence: Sentence) -> list[Term]:
    """Returns the terms of the first plan that applies to a sentence."""
    return _apply_first_plan(
        lambda: places.build_place_terms(builder, sentence) if sentence.phrases.places else [],
        lambda: _plan_mechanisms(builder, sentence),
        lambda: _plan_turning(builder, sentence),
        lambda: _plan_handling(builder, sentence),
        lambda: _plan_locomotion(builder, sentence),
        lambda: _plan_without_verb(builder, sentence),
    )


def _apply_first_plan(*plans: Callable[[], list[Term]]) -> list[Term]:
    """Returns the terms of the first plan that applies."""
    return next((terms for plan in plans if (terms := plan())), [])


def _build_rest_terms(builder: TermBuilder, sentence: Sentence, terms: list[Term]) -> list[Term]:
    """Returns terms that bring the handled object to rest, if the sentence asks for it."""
    subject = next((clause.item for clause in sentence.clauses if clause.item), ())
    item = (
        builder.scene.find_best_match(subject, "velocity", ("object",)) if subject and sentence.requires_rest else None
    )
    known = {term.name for term in terms}
    return (
        [] if item is None or "still" in known or not terms else locomotion.build_rest_terms(item, builder.style, 0.5)
    )


def _drop_duplicates(terms: list[Term]) -> list[Term]:
    """Returns the first term of each name."""
    return list({term.name: term for term in reversed(terms)}.values())[::-1]


def _join_notes(terms: list[Term]) -> str:
    """Returns the notes of all terms as one text."""
    return " ".join(term.note for term in terms if term.note)


def _plan_mechanisms(builder: TermBuilder, sentence: Sentence) -> list[Term]:
    """Returns terms for the openings and angles that clauses name; the last one has the largest weight."""
    found: list[tuple[SceneObject, bool, Amount | None]] = []
    for clause in sentence.clauses:
        opening = clause.intent != "close"
        if clause.intent not in ("open", "close", "turn") and not (clause.intent == "push" and not clause.target):
            continue
        item = find_mechanism(builder.scene, clause)
        if item is None:
            continue
        if found and found[-1][0] is item:  # as in "push the drawer closed": two verbs, one mechanism
            found[-1] = (item, opening and found[-1][1], clause.amount or found[-1][2])
        else:
            found.append((item, opening, clause.amount))
    if not found:
        return []
    first, last = found[0], found[-1]
    part = mechanisms.find_grasp_part(builder, first[0])
    hold = [] if part is None else mechanisms.build_hold_terms(builder, part, first[0], first[1])
    if last[1] and (last[2] is None or last[2].unit == "rad/s") and mechanisms.is_continuous(last[0]):
        _, sign = sentence.direction or (0, 1)
        main = mechanisms.build_spin_terms(builder, last[0], sign, 5.0, last[2])
    else:
        main = mechanisms.build_travel_terms(builder, *last, name="opened" if last[1] else "closing", weight=5.0)
    if first is last:
        return [*hold, *main]
    note = f"First move {first[0].noun_phrase}; it may spring back later."
    before = mechanisms.build_travel_terms(replace(builder, rule=""), *first, name="unlatched", weight=2.0, note=note)[
        :1
    ]
    if not before or not main:
        return [*hold, *before, *main]
    return [*hold, mechanisms.hold_first_stage(before[0], main[0]), *main]


def find_mechanism(scene: SceneFacts, clause: Clause) -> SceneObject | None:
    """Returns the object with an opening or an angle that a clause refers to."""
    fingers = clause.item and all(word == "gripper" for word in clause.item)
    candidates = [t for t in scene.find_objects("travel") if (t.role == "gripper") == bool(fingers)]
    scored = [(scene.score_match(t, clause.item), -i, t) for i, t in enumerate(candidates)]
    best = max(scored, key=lambda entry: entry[:2], default=None)
    if best is not None and best[0] > 0:
        return best[2]
    parts = [t for t in candidates if t.role == "part"]
    named = scene.find_best_match(clause.item, "position", ()) if clause.item else None
    if named is not None and named.role not in ("part", "goal"):
        return None  # the sentence names something that is not a mechanism
    return parts[0] if parts else None


def _plan_turning(builder: TermBuilder, sentence: Sentence) -> list[Term]:
    """Returns terms for an object to turn that has an orientation but no angle."""
    clause = next((c for c in sentence.clauses if c.intent == "turn"), None)
    item = None if clause is None else builder.scene.find_best_match(clause.item, "rotation", OBJECTS)
    if clause is None or item is None or item.role == "body":
        return []
    target = (
        builder.scene.find_best_match(clause.target, "rotation", PLACES, besides=(item,)) if clause.target else None
    )
    goals = [t for t in builder.scene.find_objects("rotation", "goal") if t is not item]
    _, sign = sentence.direction or (0, 1)
    return turning.build_turn_terms(builder, item, target or next(iter(goals), None), sign)


def _plan_handling(builder: TermBuilder, sentence: Sentence) -> list[Term]:
    """Returns terms for reaching, grasping, lifting, carrying, pushing and placing one object, from all clauses."""
    clauses = [c for c in sentence.clauses if c.intent in _HANDLING or (c.intent == "open" and c.item)]
    if not clauses or not builder.scene.items:
        return []
    subject = next((c.item for c in clauses if c.item), ())
    where = next((c for c in reversed(clauses) if c.target), None)
    item = builder.scene.find_best_match(subject, "position", OBJECTS) if subject else builder.scene.only_object
    intents = [c.intent for c in clauses]
    amount = next((c.amount.value for c in clauses if c.amount is not None and c.amount.unit == "m"), None)
    hand = builder.scene.hand
    item = hand if item is not None and builder.scene.is_hand(item) else item
    if item is not None and (
        (where is None and sentence.direction is not None) or (item is hand and "lift" in intents)
    ):
        moved = places.find_goal_of_displacement(builder.scene, sentence, item, set(intents))
        if moved is not None and {"push", "move", "carry", "open", "lift"} & set(intents):
            return builder.build_reach_terms(moved) if item is hand else builder.build_push_terms(item, moved)
    if hand is not None and (item is hand or set(intents) <= {"reach"}):
        words = where.target if where is not None else subject if item is not hand else ()
        target = builder.scene.find_best_match(words, "position", PLACES, besides=(hand,))
        return [] if target is None else builder.build_reach_terms(target)
    if item is None or (hand is None and item.role in ("body", "joint")):
        return []
    if (
        "lift" in intents
        and not ({"carry", "place", "move", "push"} & set(intents))
        and not (where and where.relation == "to")
    ):
        return builder.build_lift_terms(item, amount)
    target = _find_target(builder.scene, where, item)
    if target is None:
        return _plan_without_target(builder, intents, item, amount, sentence)
    if "place" in intents and where is not None and where.relation == "on" and target.role != "goal":
        return stacking.build_stack_terms(builder, item, target)
    pushed = "push" in intents and not {"lift", "grasp", "carry", "place"} & set(intents)
    high = "lift" in intents or "air" in sentence.words or "air" in target.description.lower().split()
    return (
        builder.build_carry_terms(item, target, high)
        if builder.can_grasp and not pushed
        else builder.build_push_terms(item, target)
    )


def _find_target(scene: SceneFacts, where: Clause | None, item: SceneObject) -> SceneObject | None:
    """Returns the target of an object: the one that the sentence names, else the goal in the state."""
    besides = [item, *([scene.hand] if scene.hand else [])]
    if where is not None:
        return scene.find_best_match(where.target, "position", PLACES, besides)
    return next(iter(scene.find_objects("position", "goal")), None)


def _plan_without_target(
    builder: TermBuilder, intents: list[str], item: SceneObject, amount: float | None, sentence: Sentence
) -> list[Term]:
    """Returns terms for handling an object that has no target."""
    if {"lift", "carry", "place"} & set(intents):
        return builder.build_lift_terms(item, amount)
    if "grasp" in intents:
        return builder.build_grasp_terms(item)[0]
    if "open" in intents:
        return builder.build_drag_terms(
            item, *(sentence.direction or (0, -1))
        )  # by default pulled along -x, towards the robot
    return builder.build_drag_terms(item, *(sentence.direction or (0, 1)))


def _plan_locomotion(builder: TermBuilder, sentence: Sentence) -> list[Term]:
    """Returns terms for running, jumping, standing, swinging up and keeping still."""
    scene, style, intents = builder.scene, builder.style, set(sentence.intents)
    words = tuple(word for clause in sentence.clauses for word in clause.item)
    terms: list[Term] = []
    if intents & {"run"} or ("move" in intents and sentence.direction is not None):
        terms += locomotion.build_run_terms(scene, style, sentence)
        terms += locomotion.build_upright_terms(scene, style)
        if style.ready or sentence.requires_upright:
            terms += locomotion.build_stand_terms(scene, style)
    elif "jump" in intents:
        terms += locomotion.build_jump_terms(scene, style) + locomotion.build_upright_terms(scene, style)
    elif "swing" in intents:
        terms += locomotion.build_swing_up_terms(scene, style, words)
    elif "balance" in intents or sentence.requires_upright or sentence.requires_rest:
        named = scene.find_best_match(words, "rotation", ())
        terms += locomotion.build_upright_terms(scene, style, words)
        terms += locomotion.build_stand_terms(scene, style) if named is None or named is scene.root else []
        terms += locomotion.build_rest_terms(scene.root, style)
    return terms


def _plan_without_verb(builder: TermBuilder, sentence: Sentence) -> list[Term]:
    """Returns terms that the state suggests, for a sentence without a known verb."""
    scene = builder.scene
    goals, objects = scene.find_objects("position", "goal"), scene.find_objects("position", "object")
    named = scene.find_best_match(sentence.words, "position", ())
    if objects and goals:
        return (
            builder.build_carry_terms(objects[0], goals[0])
            if builder.can_grasp
            else builder.build_push_terms(objects[0], goals[0])
        )
    if scene.hand is not None:
        target = next(
            iter([*goals, *([named] if named is not None and named is not scene.hand else []), *objects]), None
        )
        if target is not None:
            return builder.build_reach_terms(target)
    parts = [t for t in scene.find_objects("travel") if t.role == "part"]
    if parts:
        return mechanisms.build_travel_terms(builder, parts[0], True, None, "opened", 3.0)
    return locomotion.build_upright_terms(scene, builder.style) + locomotion.build_rest_terms(
        scene.root, builder.style
    ) or _plan_regulation(scene)


def _plan_regulation(scene: SceneFacts) -> list[Term]:
    """Returns a term that keeps the first field small, for a state of which nothing else is known."""
    field = next((f for t in scene.items for f in t.fields if f.size), None)
    if field is None:
        return []
    size = f"state.{field.name} ** 2" if field.shape == () else f"np.sum(state.{field.name} ** 2, axis=-1)"
    if len(field.shape) > 1:
        return []
    return [Term("calm", (SourceLine("calm", f"-np.tanh({size})"),), "Keep near the middle.")]
