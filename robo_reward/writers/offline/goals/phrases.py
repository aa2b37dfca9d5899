"""Phrases whose meaning lies in several words: places, prohibitions, tools, durations and repetitions.

They are taken out of a sentence before its verbs are read: the `touch` of "without touching the cube" is no request.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from robo_reward.writers.offline.lexicon import (
    AVOID,
    DETERMINERS,
    NUMBER_WORDS,
    SUPPORTS,
    UNITS,
    split_words,
    stem_word,
)

_NUMBER = r"-?\d+(?:\.\d+)?"
_SPELLED = "|".join(NUMBER_WORDS)
_LENGTH = "|".join(sorted((unit for unit, (si, _) in UNITS.items() if si == "m"), key=len, reverse=True))
_AMOUNT = rf"(?P<n>{_NUMBER}|\b(?:{_SPELLED}))\s*(?P<u>{_LENGTH})\b"
_COORDINATE = re.compile(rf"\b(?P<a>[xyz])\s*=\s*(?P<n>{_NUMBER})\s*(?P<u>mm|cm|m\b)?", re.IGNORECASE)
_POINT = re.compile(rf"\b(?:at|to|in)\s+\(\s*({_NUMBER})\s*,\s*({_NUMBER})\s*(?:,\s*({_NUMBER})\s*)?\)", re.IGNORECASE)
_HEIGHT = re.compile(rf"\b(?:to|at)\s+(?:a|the)?\s*height\s+(?:of\s+)?{_AMOUNT}", re.IGNORECASE)
_GLUE = re.compile(r"(?:[\s,]|and\b|m\b)*", re.IGNORECASE)
_BEFORE = re.compile(
    r"(?:\b(?:to|at|in)\s+)?(?:the\s+)?(?:\b(?:point|position|place|location|spot)\s+)?(?:\b(?:at|where)\s+)?$", re.I
)
_RELATIONS = {
    "above": (2, 1), "over": (2, 1), "higher than": (2, 1), "below": (2, -1), "under": (2, -1), "lower than": (2, -1),
    "left of": (1, 1), "right of": (1, -1), "behind": (0, 1), "beyond": (0, 1), "in front of": (0, -1),
}  # fmt: skip
"""Relation -> (world axis, sign): as seen from the robot, x ahead, y to the left, z up."""
_OFFSET = re.compile(
    rf"(?:{_AMOUNT}\s+)?(?:\b(?:to|on|at)\s+the\s+)?\b(?P<r>{'|'.join(_RELATIONS)})\s+(?P<o>[^\d,.;:()]+)",
    re.IGNORECASE,
)
_PROHIBITION = re.compile(r"\b(?:without|do\s+not|not|never|avoid)\b\s*(?P<what>[^,.;:]*)", re.IGNORECASE)
_TOOL = re.compile(r"\b(?:with|using)\s+(?P<what>(?:the|a|an|its|your)\s+[^\d,.;:()]+)", re.IGNORECASE)
_DURATION = re.compile(
    rf"\bfor\s+(?:at\s+least\s+)?(?P<n>{_NUMBER}|{_SPELLED})\s*(?P<u>s|sec|seconds?|min|minutes?)\b", re.IGNORECASE
)
_REPETITION = re.compile(
    rf"\b(?:(?P<w>twice|thrice)|(?P<n>\d+|{_SPELLED})\s+times|again and again|repeatedly|back and forth)\b", re.I
)
_STOPS = split_words("and then while without by with to onto into at on in for until as so or but before after from of")
_PREVENTED = (
    ("touch", "touch touching hit hitting contact contacting bump bumping collide colliding"),
    ("lift", "lift lifting raise raising"),
    ("move", "move moving push pushing shift shifting disturb disturbing knock knocking"),
)


class PlacePhrase(NamedTuple):
    """A place that a sentence describes.

    Attributes:
        text: as written.
        coordinates: (axis, value [m]) of the world.
        reference: words of the object from which `offset` is counted; empty for coordinates.
        axis: of the offset.
        sign: of the offset.
        offset: distance from the reference [m], if given.
    """

    text: str
    coordinates: tuple[tuple[int, float], ...] = ()
    reference: tuple[str, ...] = ()
    axis: int = 0
    sign: int = 0
    offset: float | None = None


class ProhibitionPhrase(NamedTuple):
    """Something that must not happen: `touch`, `lift`, `move` or `fall`; empty for anything else."""

    text: str
    kind: Literal["touch", "lift", "move", "fall", ""]
    words: tuple[str, ...]


class ToolPhrase(NamedTuple):
    """With what something is done: `with the left gripper`."""

    text: str
    words: tuple[str, ...]


class TimePhrase(NamedTuple):
    """A duration [s] or a number of repetitions; both are 0 where the sentence gives no number."""

    text: str
    seconds: float = 0.0
    times: int = 0


@dataclass
class Phrases:
    """The phrases of a sentence, and the rest of it.

    Attributes:
        places: described places.
        prohibitions: what must not happen.
        tools: with what something is done.
        times: durations and repetitions.
        rest: the sentence without them; prohibitions of a fall stay, since verbs do not follow from them.
    """

    places: list[PlacePhrase] = field(default_factory=list)
    prohibitions: list[ProhibitionPhrase] = field(default_factory=list)
    tools: list[ToolPhrase] = field(default_factory=list)
    times: list[TimePhrase] = field(default_factory=list)
    rest: str = ""


def extract_phrases(text: str) -> Phrases:
    """Returns the phrases of a sentence."""
    found = Phrases()
    rest = re.sub(r"\b(do|does|must|should|ca|wo)n['’]?t\b", r"\1 not", text, flags=re.IGNORECASE)
    rest = _take_prohibitions(rest, found)
    rest = _take_times(rest, found)
    rest = _take_coordinates(rest, found)
    rest = _take_offsets(rest, found)
    found.rest = _take_tools(rest, found)
    return found


def _take_prohibitions(text: str, found: Phrases) -> str:
    def take(match: re.Match[str]) -> str:
        head = re.split(r"\b(?:and|but)\b", match["what"])[0]
        tokens = head.lower().split()
        kind = next((name for name, words in _PREVENTED if set(words.split()) & set(tokens)), "")
        if not kind and AVOID & set(tokens):
            found.prohibitions.append(ProhibitionPhrase(match[0].strip(), "fall", ()))
            return match[0]
        verbs = {word for _, words in _PREVENTED for word in words.split()}
        words = tuple(stem_word(w) for w in tokens if w not in verbs and w not in DETERMINERS)
        whole = match[0][: len(match[0]) - len(match["what"])] + head
        found.prohibitions.append(ProhibitionPhrase(whole.strip(), kind, words))  # type: ignore[arg-type]
        return f", {match[0][len(whole) :]}"

    return _PROHIBITION.sub(take, text)


def _take_times(text: str, found: Phrases) -> str:
    def take_duration(match: re.Match[str]) -> str:
        factor = 60.0 if match["u"].lower().startswith("min") else 1.0
        found.times.append(TimePhrase(match[0], seconds=factor * _parse_number(match["n"])))
        return " "

    def take_repetition(match: re.Match[str]) -> str:
        word = (match["w"] or "").lower()
        times = {"twice": 2, "thrice": 3}.get(word) or (int(_parse_number(match["n"])) if match["n"] else 0)
        found.times.append(TimePhrase(match[0], times=times))
        return " "

    return _REPETITION.sub(take_repetition, _DURATION.sub(take_duration, text))


def _take_coordinates(text: str, found: Phrases) -> str:
    match = _POINT.search(text)
    if match is not None:
        values = tuple((axis, float(number)) for axis, number in enumerate(match.groups()) if number is not None)
        found.places.append(PlacePhrase(match[0], values))
        return f"{text[: match.start()]} {text[match.end() :]}"
    match = _HEIGHT.search(text)
    if match is not None:
        height = round(_parse_number(match["n"]) * UNITS[match["u"].lower()][1], 6)
        found.places.append(PlacePhrase(match[0], ((2, height),)))
        return f"{text[: match.start()]} {text[match.end() :]}"
    matches = list(_COORDINATE.finditer(text))
    if not matches:
        return text
    run = list(_find_run(text, matches))
    start = (_BEFORE.search(text[: run[0].start()]) or run[0]).start()
    values = tuple(
        ("xyz".index(m["a"].lower()), round(float(m["n"]) * UNITS[(m["u"] or "m").lower()][1], 6)) for m in run
    )
    found.places.append(PlacePhrase(text[start : run[-1].end()].strip(), values))
    return f"{text[:start]} {text[run[-1].end() :]}"


def _find_run(text: str, matches: list[re.Match[str]]) -> Iterator[re.Match[str]]:
    """Yields the matches up to the first gap that holds more than a comma or an "and"."""
    end = matches[0].start()
    for match in matches:
        if not _GLUE.fullmatch(text[end : match.start()]):
            return
        end = match.end()
        yield match


def _take_offsets(text: str, found: Phrases) -> str:
    for match in _OFFSET.finditer(text):
        reference, end = _read_reference(match["o"])
        if not reference or (set(reference) & SUPPORTS):
            continue  # "10 cm above the table" is a height, as "10 cm" alone
        axis, sign = _RELATIONS[" ".join(match["r"].lower().split())]
        offset = _parse_number(match["n"]) * UNITS[match["u"].lower()][1] if match["n"] else None
        stop = match.start("o") + end
        whole = text[match.start() : stop].strip()
        found.places.append(PlacePhrase(whole, (), reference, axis, sign, None if offset is None else round(offset, 6)))
        return f"{text[: match.start()]} {_take_offsets(text[stop:], found)}"
    return text


def _take_tools(text: str, found: Phrases) -> str:
    def take(match: re.Match[str]) -> str:
        words, end = _read_reference(match["what"])
        found.tools.append(ToolPhrase(f"{match[0].split()[0]} {match['what'][:end]}".strip(), words))
        return f" {match['what'][end:]}"

    return _TOOL.sub(take, text)


def _read_reference(text: str) -> tuple[tuple[str, ...], int]:
    """Returns the words of an object at the beginning of a text, and where they end."""
    words: list[str] = []
    end = 0
    for match in re.finditer(r"[^\W_]+(?:['’]s)?", text):
        plain = match[0].lower()
        if plain in _STOPS:
            break
        if plain not in DETERMINERS or (len(match[0]) == 1 and match[0].isupper()):
            words.append(stem_word(plain))
        end = match.end()
    return tuple(words), end


def _parse_number(text: str) -> float:
    return float(NUMBER_WORDS.get(text.lower(), text))
