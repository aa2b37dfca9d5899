"""The goal sentence: which verbs it holds, what they act on, where to, and how far."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import pairwise

from robo_reward.code.offline.lexicon import (
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
    stem,
)

_INTENT = {verb: intent for intent, verbs in reversed(list(VERBS.items())) for verb in verbs.split()}
_TOKEN = re.compile(r"\d+(?:\.\d+)?|m/s|[^\W\d_]+(?:['’]s)?|[%°.,;:]", re.UNICODE)
MAX_TOKENS = 200
"""Longer goals are read up to here."""


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
        thing: words of what it acts on; empty when the sentence names none.
        target: words of where to.
        relation: `to`, `on` or nothing.
        amount: how far, if said.
    """

    intent: str
    thing: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    relation: str = ""
    amount: Amount | None = None


@dataclass(frozen=True)
class Sentence:
    """A goal, read.

    Args:
        clauses: in order.
        words: all of it, lower case.
        amounts: every number with a unit.
        direction: (axis, sign) of the world, if one is named.
    """

    clauses: tuple[Clause, ...]
    words: tuple[str, ...]
    amounts: tuple[Amount, ...] = ()
    direction: tuple[int, int] | None = None

    def says(self, group: frozenset[str]) -> bool:
        """Whether one of these words occurs."""
        return not group.isdisjoint(self.words)

    @property
    def upright(self) -> bool:
        """Whether something shall not fall."""
        return self.says(AVOID) or self.says(UPRIGHT)

    @property
    def still(self) -> bool:
        """Whether something shall come to rest."""
        return self.says(STILL)

    @property
    def fast(self) -> bool:
        """Whether speed is the point."""
        return self.says(FAST)

    @property
    def gentle(self) -> bool:
        """Whether little effort is the point."""
        return self.says(GENTLE)

    @property
    def intents(self) -> tuple[str, ...]:
        """The intents in order."""
        return tuple(clause.intent for clause in self.clauses)


def read_sentence(text: str) -> Sentence:
    """Reads a goal sentence; never fails, whatever the text."""
    tokens = _tokens(text)
    starts = [i for i in range(len(tokens)) if _is_verb(tokens, i)]
    clauses: list[Clause] = []
    for start, end in pairwise([*starts, len(tokens)]):
        clause = _clause(_INTENT[tokens[start]], tokens[start + 1 : end])
        if clauses and not clause.thing:
            clause = replace(clause, thing=clauses[-1].thing)
        if clauses and not clauses[-1].thing:  # "open and empty the box"
            clauses[-1] = replace(clauses[-1], thing=clause.thing)
        clauses.append(clause)
    if starts and clauses and not clauses[0].thing:  # "make the hopper hop": the subject stands before the verb
        clauses[0] = replace(clauses[0], thing=_nouns(tokens[: starts[0]]))
    direction = next((DIRECTIONS[word] for word in tokens if word in DIRECTIONS), None)
    return Sentence(tuple(clauses), tuple(tokens), tuple(amounts_in(text)), direction)


def amounts_in(text: str) -> list[Amount]:
    """Every number with a unit, in the order of the text."""
    return [amount for amount, _ in _amounts(_tokens(text))]


def nouns_of(text: str) -> tuple[str, ...]:
    """The words of a text that may name things: no articles, verbs or numbers."""
    return _nouns(_tokens(text))


def _tokens(text: str) -> list[str]:
    found = _TOKEN.findall(text)[:MAX_TOKENS]
    # a lone capital such as the A of "cube A" is a name, not an article
    return [f"{t.lower()}!" if i and len(t) == 1 and t.isupper() else t.lower() for i, t in enumerate(found)]


def _is_verb(tokens: list[str], i: int) -> bool:
    """Whether a token is a verb here: `the push button` holds none."""
    if tokens[i] not in _INTENT:
        return False
    before = tokens[i - 1] if i else ""
    return before not in DETERMINERS and before not in COLOURS and before not in ("let", "top")


def _clause(intent: str, tokens: list[str]) -> Clause:
    """Splits what follows a verb at its prepositions."""
    amounts = _amounts(tokens)
    skipped = {i for _, span in amounts for i in span}
    parts: dict[str, list[str]] = {"": []}
    current = ""
    for i, token in enumerate(tokens):
        if token in TO or token in ON or token in OTHER:
            kind = "to" if token in TO else "on" if token in ON else "of"
            current = kind if kind not in parts else "rest"
            parts.setdefault(current, [])
        elif token in (".", ";", ":"):
            current = "rest"
            parts.setdefault(current, [])
        elif i not in skipped:
            parts[current].append(token)
    relation = next((kind for kind in ("to", "on") if _nouns(parts.get(kind, []))), "")
    amount = amounts[0][0] if amounts else None
    return Clause(intent, _nouns(parts[""]), _nouns(parts.get(relation, [])) if relation else (), relation, amount)


def _amounts(tokens: list[str]) -> list[tuple[Amount, tuple[int, ...]]]:
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


def _nouns(tokens: list[str]) -> tuple[str, ...]:
    ignored = NOISE | FAST | STILL | UPRIGHT | AVOID | GENTLE | DIRECTIONS.keys() | UNITS.keys() | TO | ON | OTHER
    return tuple(
        stem(token.removesuffix("!")) for token in tokens if token not in ignored and token.rstrip("!").isalpha()
    )
