"""Parses the goal sentence: its verbs, the objects they act on, the targets and the amounts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from robo_reward.writers.offline.goals.phrases import Phrases, extract_phrases
from robo_reward.writers.offline.lexicon import (
    AVOID,
    COLOURS,
    DETERMINERS,
    DIRECTIONS,
    FAST,
    GENTLE,
    NOISE,
    NUMBER_WORDS,
    ON,
    OTHER,
    STILL,
    TO,
    UNITS,
    UPRIGHT,
    VERBS,
    are_synonyms,
    stem_word,
)

INTENTS = {verb: intent for intent, verbs in reversed(list(VERBS.items())) for verb in verbs.split()}
_TOKEN = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+/[^\W\d_]+|[^\W\d_]+(?:['’]s)?|[%°.,;:]", re.UNICODE)
MAX_TOKENS = 200
"""Maximum number of tokens of a goal; the rest is ignored."""


@dataclass(frozen=True)
class Amount:
    """A number with its unit, in SI: 10 cm is 0.1 m."""

    value: float
    unit: str


@dataclass(frozen=True)
class Clause:
    """One verb and what belongs to it.

    Args:
        intent: a key of `lexicon.VERBS`.
        item: words of the object that it acts on; empty when the sentence names none.
        target: words of the target.
        relation: `to`, `on` or empty.
        amount: how far, if given.
    """

    intent: str
    item: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    relation: str = ""
    amount: Amount | None = None


@dataclass(frozen=True)
class Sentence:
    """A parsed goal.

    Args:
        clauses: in order.
        words: all that is outside of phrases, lower case.
        amounts: every number with a unit.
        direction: (axis, sign) of the world, if one is named.
        phrases: places, prohibitions and others.
    """

    clauses: tuple[Clause, ...]
    words: tuple[str, ...]
    amounts: tuple[Amount, ...] = ()
    direction: tuple[int, int] | None = None
    phrases: Phrases = field(default_factory=Phrases)

    def contains_any(self, group: frozenset[str]) -> bool:
        """Returns whether one of these words occurs."""
        return not group.isdisjoint(self.words)

    @property
    def requires_upright(self) -> bool:
        """True if the goal is that something does not fall."""
        return self.contains_any(AVOID) or self.contains_any(UPRIGHT)

    @property
    def requires_rest(self) -> bool:
        """True if the goal is that something comes to rest."""
        return self.contains_any(STILL)

    @property
    def requires_speed(self) -> bool:
        """True if the goal asks for speed."""
        return self.contains_any(FAST)

    @property
    def requires_low_effort(self) -> bool:
        """True if the goal asks for little effort."""
        return self.contains_any(GENTLE)

    @property
    def intents(self) -> tuple[str, ...]:
        """Intents of the clauses in order."""
        return tuple(clause.intent for clause in self.clauses)


def parse_sentence(text: str) -> Sentence:
    """Parses a goal sentence; never fails, whatever the text."""
    phrases = extract_phrases(text)
    tokens = _mark_sides(_split_tokens(phrases.rest))
    starts = [i for i in range(len(tokens)) if is_verb(tokens, i)]
    clauses: list[Clause] = []
    for start, end in pairwise([*starts, len(tokens)]):
        clause = _parse_clause(INTENTS[tokens[start]], tokens[start + 1 : end])
        if clauses and not clause.item:
            clause = replace(clause, item=clauses[-1].item)
        if clauses and not clauses[-1].item:  # as in "open and empty the box": both verbs have one object
            clauses[-1] = replace(clauses[-1], item=clause.item)
        clauses.append(clause)
    if starts and clauses and not clauses[0].item:  # "make the hopper hop": the subject stands before the verb
        clauses[0] = replace(clauses[0], item=_filter_nouns(tokens[: starts[0]]))
    direction = next((DIRECTIONS[word] for word in tokens if word in DIRECTIONS), None)
    return Sentence(tuple(clauses), tuple(tokens), tuple(parse_amounts(phrases.rest)), direction, phrases)


def find_hand_words(sentence: Sentence) -> tuple[str, ...]:
    """Returns the words that tell the hand of a sentence from another one: left or right."""
    groups = [tool.words for tool in sentence.phrases.tools]
    groups += [words for clause in sentence.clauses for words in (clause.item, clause.target)]
    for words in groups:
        if any(are_synonyms(word, "hand") for word in words):
            return tuple(word for word in words if word in ("left", "right"))
    return ()


def parse_amounts(text: str) -> list[Amount]:
    """Returns every number with a unit, in the order of the text."""
    return [amount for amount, _ in _find_amounts(_split_tokens(text))]


def extract_nouns(text: str) -> tuple[str, ...]:
    """Returns the words of a text that may name objects: no articles, verbs or numbers."""
    return _filter_nouns(_split_tokens(text))


def _split_tokens(text: str) -> list[str]:
    """Splits a text into lower-case tokens; a lone capital, such as the A of `cube A`, is marked by `!`."""
    found = _TOKEN.findall(text)[:MAX_TOKENS]
    # A single capital, such as the A of "cube A", is a name and not an article.
    return [f"{t.lower()}!" if i and len(t) == 1 and t.isupper() else t.lower() for i, t in enumerate(found)]


def _mark_sides(tokens: list[str]) -> list[str]:
    """Returns the tokens with `!` after a direction that belongs to a name, such as the left of `the left gripper`."""
    marked = list(tokens)
    for i in range(1, len(tokens) - 1):
        after = tokens[i + 1]
        is_noun = after.isalpha() and after not in NOISE | TO | ON | OTHER and after not in INTENTS
        if tokens[i] in ("left", "right") and tokens[i - 1] in DETERMINERS and is_noun:
            marked[i] = f"{tokens[i]}!"
    return marked


def is_verb(tokens: Sequence[str], i: int) -> bool:
    """Returns whether a token is a verb here: `the push button` holds none."""
    if tokens[i] not in INTENTS:
        return False
    before = tokens[i - 1] if i else ""
    return before not in DETERMINERS and before not in COLOURS and before not in ("let", "top")


def _parse_clause(intent: str, tokens: list[str]) -> Clause:
    """Splits the tokens after a verb at their prepositions."""
    amounts = _find_amounts(tokens)
    skipped = {i for _, span in amounts for i in span}
    parts: dict[str, list[str]] = {"": []}
    current = ""
    for i, token in enumerate(tokens):
        if token == "of" and tokens[i - 1] == "top":  # "on top of" is one preposition
            continue
        if token in TO or token in ON or token in OTHER:
            kind = "to" if token in TO else "on" if token in ON else "of"
            current = kind if kind not in parts else "rest"
            parts.setdefault(current, [])
        elif token in (".", ";", ":"):
            current = "rest"
            parts.setdefault(current, [])
        elif i not in skipped:
            parts[current].append(token)
    relation = next((kind for kind in ("to", "on") if _filter_nouns(parts.get(kind, []))), "")
    amount = amounts[0][0] if amounts else None
    return Clause(
        intent, _filter_nouns(parts[""]), _filter_nouns(parts.get(relation, [])) if relation else (), relation, amount
    )


def _find_amounts(tokens: list[str]) -> list[tuple[Amount, tuple[int, ...]]]:
    """Returns every number with a unit, and the indices of its tokens."""
    found: list[tuple[Amount, tuple[int, ...]]] = []
    for i in range(len(tokens) - 1):
        number, unit = tokens[i], tokens[i + 1].rstrip("!")
        if unit not in UNITS:
            continue
        if re.fullmatch(r"\d+(\.\d+)?", number):
            value = float(number)
        elif number in NUMBER_WORDS:
            value = float(NUMBER_WORDS[number])
        else:
            continue
        name, factor = UNITS[unit]
        if 0.0 < value * factor < 1e4:
            found.append((Amount(round(value * factor, 6), name), (i, i + 1)))
    return found


def _filter_nouns(tokens: list[str]) -> tuple[str, ...]:
    """Returns the stems of the tokens that may name objects."""
    ignored = NOISE | FAST | STILL | UPRIGHT | AVOID | GENTLE | DIRECTIONS.keys() | UNITS.keys() | TO | ON | OTHER
    return tuple(
        stem_word(token.removesuffix("!"))
        for token in tokens
        if token not in ignored and stem_word(token.rstrip("!")).isalpha()
    )
