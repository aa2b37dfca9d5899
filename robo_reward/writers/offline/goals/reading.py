"""The meaning of each word of a goal sentence, and what the writer cannot do about it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from robo_reward.writers.offline.goals.actions import Action, find_actions
from robo_reward.writers.offline.goals.phrases import TimePhrase
from robo_reward.writers.offline.lexicon import (
    AVOID,
    COLOURS,
    DIRECTIONS,
    FAST,
    GENTLE,
    NOISE,
    NUMBER_WORDS,
    ON,
    OTHER,
    STILL,
    SUPPORTS,
    TO,
    UNITS,
    UPRIGHT,
    split_words,
    stem_word,
)
from robo_reward.writers.offline.plans.places import find_place, find_reference, find_subject
from robo_reward.writers.offline.plans.prohibitions import find_limit
from robo_reward.writers.offline.scene import SceneFacts
from robo_reward.writers.offline.sentence import Sentence, is_verb

UNSUPPORTED = split_words(
    "not never while when whenever unless if except only either all every each both between around through beside near "
    "next nearby beneath across against before after back away other another opposite half halfway side edge corner "
    "middle who where faster slower until most"
)
"""Words that change what a sentence asks for in a way that the writer has no terms for."""
_NEGATIVE = re.compile(r"(?<![\w.])-\s*\d")
_COLOURED = re.compile(r"\b(" + "|".join(sorted(COLOURS)) + r")\b")


@dataclass(frozen=True)
class WordMeaning:
    """A word or phrase of a goal sentence, and what it stands for; empty: it is not understood."""

    text: str
    meaning: str


@dataclass(frozen=True)
class Reading:
    """A goal sentence as the offline writer reads it.

    Args:
        sentence: parsed.
        scene: with the hand that the sentence names.
        actions: what is to be done with what.
        words: each word and phrase with its meaning.
        problems: what keeps the writer from doing what the sentence says, one sentence each.
    """

    sentence: Sentence
    scene: SceneFacts
    actions: tuple[Action, ...]
    words: tuple[WordMeaning, ...]
    problems: tuple[str, ...]

    @property
    def unclear(self) -> tuple[str, ...]:
        """Words that are not understood."""
        return tuple(word.text for word in self.words if not word.meaning)

    @property
    def is_clear(self) -> bool:
        """True if each word is understood, and all of them can be done."""
        return not self.unclear and not self.problems


def read_goal(sentence: Sentence, scene: SceneFacts) -> Reading:
    """Returns the meaning of each word of a goal."""
    actions = tuple(find_actions(sentence, scene))
    words = tuple(_read_words(sentence, scene, actions)) + tuple(_read_phrases(sentence, scene))
    problems = tuple(dict.fromkeys(_find_problems(sentence, scene, actions)))
    return Reading(sentence, scene, actions, words, problems)


def _read_words(sentence: Sentence, scene: SceneFacts, actions: tuple[Action, ...]) -> Iterator[WordMeaning]:
    tokens = sentence.words
    starts = [i for i in range(len(tokens)) if is_verb(tokens, i)]
    first = starts[0] if starts else len(tokens)
    for i in range(first):
        yield from _read_word(tokens, i, scene, None, bool(actions) and actions[0].kind == "locomotion")
    subject = find_subject(scene, sentence)
    has_place = bool(sentence.phrases.places) and find_place(scene, sentence, subject) is not None
    placed = subject.name if has_place and subject is not None else ""
    for action, (start, end) in zip(actions, pairwise([*starts, len(tokens)]), strict=True):
        yield WordMeaning(tokens[start], f"{action.intent} {placed}" if placed else action.describe())
        for i in range(start + 1, end):
            yield from _read_word(tokens, i, scene, action, action.kind == "locomotion")


def _read_word(
    tokens: tuple[str, ...], i: int, scene: SceneFacts, action: Action | None, moves: bool
) -> Iterator[WordMeaning]:
    token = tokens[i]
    word, stem = token.rstrip("!"), stem_word(token.rstrip("!"))
    if not any(c.isalnum() or c in "%°" for c in token) or (word in ("s", "t") and not token.endswith("!")):
        return
    amount = _read_amount(tokens, i)
    if amount is not None:
        yield from [WordMeaning(amount, "amount")] if amount else []
    elif word in ("high", "tall", "far", "long", "wide") and i >= 2 and _read_amount(tokens, i - 2):
        return  # "30 cm high"
    elif word.isdigit():
        yield WordMeaning(word, _read_number_of_name(tokens, i, scene, action))
    elif word in UNSUPPORTED or _leads_away(tokens, i, action):
        yield WordMeaning(word, _find_name(scene, action, stem))
    elif word in COLOURS:
        yield WordMeaning(word, _read_colour(tokens, i, scene, action))
    elif name := _find_name(scene, action, stem):
        yield WordMeaning(word, name)
    elif word in SUPPORTS:
        yield WordMeaning(word, _read_support(tokens, i, action.intent if action is not None else ""))
    elif meaning := _read_modifier(token, action, moves):
        yield WordMeaning(word, meaning)
    elif word == "air":
        yield WordMeaning(word, "off its support")
    elif token in NOISE | TO | ON | OTHER:
        return
    elif moves and action is None:
        yield WordMeaning(word, "the robot")
    else:
        yield WordMeaning(word, "")


def _leads_away(tokens: tuple[str, ...], i: int, action: Action | None) -> bool:
    """Returns whether a word takes something away from an object: `off the goal`, `out of the box`."""
    if tokens[i] == "out":
        return tokens[i + 1 : i + 2] == ("of",)
    after = next((t for t in tokens[i + 1 :] if t not in NOISE), "")
    return tokens[i] in ("from", "off") and action is not None and action.target is not None and after not in SUPPORTS


def _read_amount(tokens: tuple[str, ...], i: int) -> str | None:
    """Returns an amount that begins at a token, empty for its unit; None where there is none."""

    def is_amount(at: int) -> bool:
        if not 0 <= at < len(tokens) - 1:
            return False
        is_number = tokens[at] in NUMBER_WORDS or re.fullmatch(r"\d+(\.\d+)?", tokens[at])
        return bool(is_number) and tokens[at + 1].rstrip("!") in UNITS

    if is_amount(i):
        return f"{tokens[i]} {tokens[i + 1].rstrip('!')}"
    return "" if is_amount(i - 1) else None


def _read_number_of_name(tokens: tuple[str, ...], i: int, scene: SceneFacts, action: Action | None) -> str:
    """Returns the object whose name a number belongs to, as in `knob 1`; empty for any other number."""
    noun = re.escape(stem_word(tokens[i - 1])) if i else ""
    objects = action.objects if action is not None else scene.items
    return next((t.fields[0].name for t in objects if noun and re.search(rf"{noun}\D{{0,8}}{tokens[i]}\b", t.name)), "")


def _find_name(scene: SceneFacts, action: Action | None, stem: str) -> str:
    """Returns the fields that a noun or adjective names; empty for none."""
    if not stem or stem in NOISE:
        return ""
    meant = [t for t in (action.objects if action is not None else ()) if scene.score_match(t, (stem,)) > 0]
    known = meant or [t for t in scene.items if scene.score_match(t, (stem,)) > 0]
    if not known:
        return ""
    best = max(known, key=lambda item: scene.score_match(item, (stem,)))
    return best.fields[0].name


def _read_colour(tokens: tuple[str, ...], i: int, scene: SceneFacts, action: Action | None) -> str:
    """Returns the object of a colour; empty where its description gives another colour."""
    after = tuple(stem_word(token.rstrip("!")) for token in tokens[i : i + 3])
    objects = (action.objects if action is not None else ()) or scene.items
    named = max(objects, key=lambda item: scene.score_match(item, after), default=None)
    if named is None or scene.score_match(named, after) <= 0:
        return ""
    colours = set(_COLOURED.findall(f"{named.name.replace('_', ' ')} {named.description}".lower()))
    return named.fields[0].name if not colours or after[0] in colours else ""


def _read_support(tokens: tuple[str, ...], i: int, intent: str) -> str:
    """Returns the meaning of the table: heights count from it; it is no place to go to and no edge to push over."""
    before = next((t for t in reversed(tokens[:i]) if t not in NOISE), "")
    known = ("above", "on", "from", "along", "over", *(("off",) if intent in ("lift", "grasp", "jump") else ()))
    return "the support, from which heights count" if before in known else ""


def _read_modifier(token: str, action: Action | None, moves: bool) -> str:
    if token in AVOID or token in UPRIGHT:
        return "stay upright"
    if token in STILL:
        return "come to rest"
    if token in FAST:
        return "faster is better"
    if token in GENTLE:
        return "less effort"
    if token in DIRECTIONS and action is not None and (moves or action.uses_direction):
        axis, sign = DIRECTIONS[token]
        return f"direction {'+' if sign > 0 else '-'}{'xyz'[axis]}"
    return ""


def _read_phrases(sentence: Sentence, scene: SceneFacts) -> Iterator[WordMeaning]:
    phrases = sentence.phrases
    item = find_subject(scene, sentence)
    for phrase in phrases.places:
        is_known = item is not None and (not phrase.reference or find_reference(scene, phrase, item) is not None)
        name = item.noun_phrase.removeprefix("the ") if item is not None else ""
        yield WordMeaning(phrase.text, f"place of the {name}" if is_known else "")
    for prohibition in phrases.prohibitions:
        limit = None if prohibition.kind == "fall" else find_limit(scene, sentence, prohibition)
        if prohibition.kind != "fall":
            yield WordMeaning(prohibition.text, f"failed if {limit.violation}" if limit is not None else "")
    for tool in phrases.tools:
        hand = scene.hand
        is_hand = hand is not None and tool.words and all(scene.score_match(hand, (word,)) > 0 for word in tool.words)
        yield WordMeaning(tool.text, hand.fields[0].name if is_hand and hand is not None else "")
    for time in phrases.times[:1]:
        yield WordMeaning(time.text, describe_time(time))
    for time in phrases.times[1:]:
        yield WordMeaning(time.text, "")


def describe_time(time: TimePhrase) -> str:
    """Returns the meaning of a duration or repetition; empty for "again and again", which gives no number."""
    if time.seconds:
        return f"held for {time.seconds:g} s at the end"
    return f"{time.times} times" if time.times else ""


def _find_problems(sentence: Sentence, scene: SceneFacts, actions: tuple[Action, ...]) -> Iterator[str]:
    phrases = sentence.phrases
    if not actions:
        if any(p.kind != "fall" for p in phrases.prohibitions):
            text = phrases.prohibitions[0].text
            yield f"{text!r} holds from the start: say what is to be done as well, as in '..., without touching it'"
        else:
            yield "no verb says what is to be done"
        return
    yield from _find_surplus(sentence)
    if phrases.places and find_place(scene, sentence, find_subject(scene, sentence)) is not None:
        yield from _find_misplaced_verbs(actions)
        return
    for action in actions:
        if action.problem:
            yield action.problem
    kinds = list(dict.fromkeys(action.kind for action in actions if action.kind))
    if len(kinds) > 1:
        verbs = ", ".join(f"'{action.verb}'" for action in actions)
        yield f"the actions {verbs} do not belong to one movement: ask for one of them"
    handled = {id(t): t for action in actions if action.kind == "handling" for t in action.objects[:1]}
    if len(handled) > 1:
        yield f"it acts on {' and '.join(t.noun_phrase for t in handled.values())}: ask for one of them"


def _find_surplus(sentence: Sentence) -> Iterator[str]:
    """Yields what a sentence holds twice, or with a sign or a bound, of which a condition would leave out a part."""
    phrases, words = sentence.phrases, set(sentence.words)
    amounts = [f"{amount.value:g} {amount.unit}" for amount in sentence.amounts]
    if len(phrases.places) > 1:
        yield "two places in one sentence"
    if len(amounts) > 1:
        yield f"the amounts {' and '.join(amounts)} in one sentence: give one"
    elif amounts and phrases.places:
        yield f"both an amount ({amounts[0]}) and a place ({phrases.places[0].text!r}): give one"
    if phrases.places and words & {"least", "more"}:
        yield "a place is met within a tolerance: it cannot be 'at least' or 'more than' a distance"
    if len({DIRECTIONS[word] for word in sentence.words if word in DIRECTIONS}) > 1:
        yield "two directions in one sentence"
    if _NEGATIVE.search(phrases.rest):
        yield "an amount cannot be negative: name the direction"


def _find_misplaced_verbs(actions: tuple[Action, ...]) -> Iterator[str]:
    for action in actions:
        if action.intent in ("open", "close", "turn", "jump", "swing", "release"):
            yield f"'{action.verb}' does not bring anything to a place"
