"""From a sentence and a scene to a reward: which plans the verbs ask for, and in which style."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from robo_reward.code.offline import locomotion, mechanisms, stacking, turning
from robo_reward.code.offline.manipulation import Workshop
from robo_reward.code.offline.scene import Scene, Thing
from robo_reward.code.offline.sentence import Amount, Clause, Sentence
from robo_reward.code.offline.terms import Line, Recipe, Style, Term, effort_term, reconciled

STYLES = (
    Style(),
    Style(gate="soft", stage=1.5, ready=True),
    Style(width=0.6, stage=1.5, precise=True, progress=True, effort=0.005),
    Style(shape="exp", width=1.3, gate="soft", stage=2.0, precise=False),
    Style(contact=False, stage=2.0, width=1.5, ready=True),
    Style(shape="inverse", width=1.2, progress=True, stage=1.5, effort=0.02),
)
"""The first compositions, from the most usual one on."""

OBJECTS = ("object", "part", "other", "body")
PLACES = ("goal", "object", "part", "other")
MECHANISMS = ("part", "object", "other", "joint")
_HANDLING = frozenset({"reach", "grasp", "lift", "carry", "move", "push", "place", "release"})


def style(index: int, rng: np.random.Generator) -> Style:
    """The composition of a number: the usual ones first, then random ones."""
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
    )


def compose(sentence: Sentence, scene: Scene, style: Style, rule: str = "") -> Recipe:
    """A reward for a goal.

    Args:
        sentence: the goal.
        scene: what the state holds.
        style: the choices in which compositions differ.
        rule: how success is told, or nothing; only its numbers are used.
    """
    shop = Workshop(scene, style, rule)
    terms = _first(
        lambda: _mechanisms(shop, sentence),
        lambda: _turning(shop, sentence),
        lambda: _handling(shop, sentence),
        lambda: _moving(shop, sentence),
        lambda: _guess(shop, sentence),
    )
    terms = [*terms, *_rest(shop, sentence, terms), effort_term(style, sentence.gentle)]
    return Recipe(reconciled(_once(terms)), _summary(terms))


def _first(*plans: Callable[[], list[Term]]) -> list[Term]:
    """What the first plan that fits has to say."""
    return next((terms for plan in plans if (terms := plan())), [])


def _rest(shop: Workshop, sentence: Sentence, terms: list[Term]) -> list[Term]:
    """Rest for what was handled, where the sentence asks for it."""
    subject = next((clause.thing for clause in sentence.clauses if clause.thing), ())
    thing = shop.scene.match(subject, "velocity", ("object",)) if subject and sentence.still else None
    known = {term.name for term in terms}
    return [] if thing is None or "still" in known or not terms else locomotion.keep_still(thing, shop.style, 0.5)


def _once(terms: list[Term]) -> list[Term]:
    """The first term of each name."""
    return list({term.name: term for term in reversed(terms)}.values())[::-1]


def _summary(terms: list[Term]) -> str:
    return " ".join(term.note for term in terms if term.note)


def _mechanisms(shop: Workshop, sentence: Sentence) -> list[Term]:
    """Openings and angles that clauses name, the last one counting most."""
    found: list[tuple[Thing, bool, Amount | None]] = []
    for clause in sentence.clauses:
        opening = clause.intent != "close"
        if clause.intent not in ("open", "close", "turn") and not (clause.intent == "push" and not clause.target):
            continue
        thing = _mechanism(shop.scene, clause)
        if thing is None:
            continue
        if found and found[-1][0] is thing:  # "push the drawer closed"
            found[-1] = (thing, opening and found[-1][1], clause.amount or found[-1][2])
        else:
            found.append((thing, opening, clause.amount))
    if not found:
        return []
    first, last = found[0], found[-1]
    part = mechanisms.part_of(shop, first[0])
    hold = [] if part is None else mechanisms.take_hold(shop, part, first[0], first[1])
    if last[1] and last[2] is None and mechanisms.has_no_end(last[0]):
        _, sign = sentence.direction or (0, 1)
        main = mechanisms.spin(shop, last[0], sign, weight=5.0)
    else:
        main = mechanisms.operate(shop, *last, name="opened" if last[1] else "closing", weight=5.0)
    if first is last:
        return [*hold, *main]
    note = f"First move {first[0].said}; it may spring back later."
    before = mechanisms.operate(replace(shop, rule=""), *first, name="unlatched", weight=2.0, note=note)[:1]
    if not before or not main:
        return [*hold, *before, *main]
    return [*hold, mechanisms.after(before[0], main[0]), *main]


def _mechanism(scene: Scene, clause: Clause) -> Thing | None:
    """The thing with an opening or an angle that a clause is about."""
    fingers = clause.thing and all(word == "gripper" for word in clause.thing)
    candidates = [t for t in scene.having("travel") if (t.role == "gripper") == bool(fingers)]
    scored = [(scene.score(t, clause.thing), -i, t) for i, t in enumerate(candidates)]
    best = max(scored, key=lambda entry: entry[:2], default=None)
    if best is not None and best[0] > 0:
        return best[2]
    parts = [t for t in candidates if t.role == "part"]
    named = scene.match(clause.thing, "position", ()) if clause.thing else None
    if named is not None and named.role not in ("part", "goal"):
        return None  # the sentence names something that is no mechanism
    return parts[0] if parts else None


def _turning(shop: Workshop, sentence: Sentence) -> list[Term]:
    """Things that shall be turned and have an orientation but no angle."""
    clause = next((c for c in sentence.clauses if c.intent == "turn"), None)
    thing = None if clause is None else shop.scene.match(clause.thing, "rotation", OBJECTS)
    if clause is None or thing is None or thing.role == "body":
        return []
    target = shop.scene.match(clause.target, "rotation", PLACES, besides=(thing,)) if clause.target else None
    goals = [t for t in shop.scene.having("rotation", "goal") if t is not thing]
    _, sign = sentence.direction or (0, 1)
    return turning.turn(shop, thing, target or next(iter(goals), None), sign)


def _handling(shop: Workshop, sentence: Sentence) -> list[Term]:
    """Reach, grasp, lift, carry, push, place: what the clauses together want of one thing."""
    clauses = [c for c in sentence.clauses if c.intent in _HANDLING or (c.intent == "open" and c.thing)]
    if not clauses or not shop.scene.things:
        return []
    subject = next((c.thing for c in clauses if c.thing), ())
    where = next((c for c in reversed(clauses) if c.target), None)
    thing = shop.scene.match(subject, "position", OBJECTS) if subject else None
    intents = [c.intent for c in clauses]
    amount = next((c.amount.value for c in clauses if c.amount is not None and c.amount.unit == "m"), None)
    hand = shop.scene.hand
    if hand is not None and (thing is hand or set(intents) <= {"reach"}):
        words = where.target if where is not None else subject if thing is not hand else ()
        target = shop.scene.match(words, "position", PLACES, besides=(hand,))
        return [] if target is None else shop.reach(target)
    if thing is None or (hand is None and thing.role in ("body", "joint")):
        return []
    if (
        "lift" in intents
        and not ({"carry", "place", "move", "push"} & set(intents))
        and not (where and where.relation == "to")
    ):
        return shop.lift(thing, amount)
    target = _target(shop.scene, where, thing)
    if target is None:
        return _without_target(shop, intents, thing, amount, sentence)
    if "place" in intents and where is not None and where.relation == "on" and target.role != "goal":
        return stacking.stack(shop, thing, target)
    pushed = "push" in intents and not {"lift", "grasp", "carry", "place"} & set(intents)
    high = "lift" in intents or "air" in sentence.words or "air" in target.text.lower().split()
    return shop.carry(thing, target, high) if shop.can_grasp and not pushed else shop.push(thing, target)


def _target(scene: Scene, where: Clause | None, thing: Thing) -> Thing | None:
    """Where a thing shall go: what the sentence names, else the state's goal."""
    besides = [thing, *([scene.hand] if scene.hand else [])]
    if where is not None:
        return scene.match(where.target, "position", PLACES, besides)
    goals = scene.having("position", "goal")
    return goals[0] if goals else None


def _without_target(
    shop: Workshop, intents: list[str], thing: Thing, amount: float | None, sentence: Sentence
) -> list[Term]:
    """What can be done to a thing that has nowhere to go."""
    if {"lift", "carry", "place"} & set(intents):
        return shop.lift(thing, amount)
    if "grasp" in intents:
        return shop.grasp(thing)[0]
    if "open" in intents:
        return shop.drag(thing, *(sentence.direction or (0, -1)))  # pulled, towards a robot that looks along x
    return shop.drag(thing, *(sentence.direction or (0, 1)))


def _moving(shop: Workshop, sentence: Sentence) -> list[Term]:
    """Run, jump, stand, swing up, keep still."""
    scene, style, intents = shop.scene, shop.style, set(sentence.intents)
    words = tuple(word for clause in sentence.clauses for word in clause.thing)
    terms: list[Term] = []
    if intents & {"run"} or ("move" in intents and sentence.direction is not None):
        terms += locomotion.run(scene, style, sentence)
        terms += locomotion.upright(scene, style)
        if style.ready or sentence.upright:
            terms += locomotion.tall(scene, style)
    elif "jump" in intents:
        terms += locomotion.jump(scene, style) + locomotion.upright(scene, style)
    elif "swing" in intents:
        terms += locomotion.swing_up(scene, style, words)
    elif "balance" in intents or sentence.upright or sentence.still:
        named = scene.match(words, "rotation", ())
        terms += locomotion.upright(scene, style, words)
        terms += locomotion.tall(scene, style) if named is None or named is scene.root else []
        terms += locomotion.keep_still(scene.root, style)
    return terms


def _guess(shop: Workshop, sentence: Sentence) -> list[Term]:
    """No verb was understood: what the state suggests."""
    scene = shop.scene
    goals, objects = scene.having("position", "goal"), scene.having("position", "object")
    named = scene.match(sentence.words, "position", ())
    if objects and goals:
        return shop.carry(objects[0], goals[0]) if shop.can_grasp else shop.push(objects[0], goals[0])
    if scene.hand is not None:
        target = next(
            iter([*goals, *([named] if named is not None and named is not scene.hand else []), *objects]), None
        )
        if target is not None:
            return shop.reach(target)
    parts = [t for t in scene.having("travel") if t.role == "part"]
    if parts:
        return mechanisms.operate(shop, parts[0], True, None, "opened", 3.0)
    return locomotion.upright(scene, shop.style) + locomotion.keep_still(scene.root, shop.style) or _regulate(scene)


def _regulate(scene: Scene) -> list[Term]:
    """Nothing is known but numbers: keep the first of them small."""
    field = next((f for t in scene.things for f in t.fields if f.size), None)
    if field is None:
        return []
    size = f"state.{field.name} ** 2" if field.shape == () else f"np.sum(state.{field.name} ** 2, axis=-1)"
    if len(field.shape) > 1:
        return []
    return [Term("calm", (Line("calm", f"-np.tanh({size})"),), "Keep near the middle.")]
