"""Parses numbers out of field descriptions: rest heights, extents, directions of motion."""

from __future__ import annotations

import re

from robo_reward.envs.state import Field
from robo_reward.writers.offline.sentence import parse_amounts

_NUMBER = r"(?P<n>\d+(?:\.\d+)?)\s*(?P<u>mm|cm|m)\b"
_FACTOR = {"mm": 0.001, "cm": 0.01, "m": 1.0}
_HIGH = re.compile(_NUMBER + r"(?:[^.;,]|\.\d){0,20}?\b(high|above|over|tall when)", re.IGNORECASE)
_WIDE = re.compile(_NUMBER + r"\s*(wide|cube|thick|across|edge|side|in diameter)", re.IGNORECASE)
_TALL = re.compile(_NUMBER + r"\s*(tall|height)", re.IGNORECASE)
_RADIUS = re.compile(
    _NUMBER + r"\s*(in\s+)?radius|radius\s*(of\s*)?" + _NUMBER.replace("?P<n>", "?P<n2>").replace("?P<u>", "?P<u2>"),
    re.IGNORECASE,
)
_MOVES = re.compile(r"moves?[^.;]*?\(?(?P<sign>[+-])\s*(?P<axis>[xyz])\b", re.IGNORECASE)
_SIGNED = r"(-?\d+(?:\.\d+)?)\s*(?:m|rad)?\s*(?:is |=\s*)?"
_ENDS = re.compile(_SIGNED + r"closed\D{0,12}?" + _SIGNED + r"(?:wide |fully )?open")
_WITHIN = re.compile(r"(within|closer than|less than|precision of|at most)\s+(?:about\s+)?" + _NUMBER, re.IGNORECASE)


def _parse_length(match: re.Match[str] | None) -> float | None:
    """Returns the length of a match [m], or None when there is no match or the length is not in (0, 100)."""
    if match is None:
        return None
    groups = match.groupdict()
    number, unit = groups.get("n") or groups.get("n2"), groups.get("u") or groups.get("u2")
    value = float(number or 0) * _FACTOR[(unit or "m").lower()]
    return round(value, 6) if 0.0 < value < 100.0 else None


def parse_rest_height(text: str) -> float | None:
    """Returns the height of an object's centre at rest [m]: `0.02 m high when it lies on the table`."""
    return _parse_length(_HIGH.search(text))


def parse_radius(text: str) -> float | None:
    """Returns half of an object's horizontal extent [m]."""
    if (found := _parse_length(_RADIUS.search(text))) is not None:
        return found
    width = _parse_length(_WIDE.search(text))
    return None if width is None else width / 2


def parse_half_height(text: str) -> float | None:
    """Returns half of an object's vertical extent [m]: as described, else its height at rest, else its radius."""
    tall = _parse_length(_TALL.search(text))
    if tall is not None:
        return tall / 2
    return parse_rest_height(text) if parse_rest_height(text) is not None else parse_radius(text)


def parse_motion_direction(text: str) -> tuple[int, int] | None:
    """Returns (axis, sign) of `moves toward the robot (-x)`."""
    match = _MOVES.search(text)
    if match is None:
        return None
    return "xyz".index(match["axis"].lower()), -1 if match["sign"] == "-" else 1


def parse_tolerance(text: str) -> float | None:
    """Returns the precision that a success rule asks for [m]: `within 3 cm`."""
    return _parse_length(_WITHIN.search(text))


def is_planar(text: str) -> bool:
    """Returns whether only distances along the table count."""
    return re.search(r"along the (table|floor|ground)|horizontal|on the (table|floor|ground)", text) is not None


def parse_minimum(text: str, unit: str) -> float | None:
    """Returns the first amount of a rule in a unit: 0.1 of `open by at least 10 cm`."""
    return next((a.value for a in parse_amounts(text) if a.unit == unit), None)


def parse_closed_and_open(field: Field) -> tuple[float, float]:
    """Returns the (closed, open) values of an opening [m or rad].

    They come from the description, else from the typical range, whose end nearer to zero counts as closed.
    """
    text = field.description.lower()
    said = _ENDS.search(text)
    if said:
        return float(said[1]), float(said[2])
    low, high = field.typical
    return (low, high) if abs(low) <= abs(high) else (high, low)


def parse_heading(text: str) -> tuple[int, int] | None:
    """Returns (axis, sign) of `straight ahead (+x)`, if a text names exactly one direction of the world."""
    found = set(re.findall(r"\(\s*([+-])\s*([xyz])\s*\)", text))
    if len(found) != 1:
        return None
    sign, axis = found.pop()
    return "xyz".index(axis), -1 if sign == "-" else 1


def parse_bar_axis(text: str) -> int | None:
    """Returns the axis of a bar `along y`."""
    match = re.search(r"along (?:the )?([xyz])\b", text)
    return "xyz".index(match[1]) if match else None


def parse_hand_offset(text: str, hand: tuple[str, ...]) -> tuple[float, float, float] | None:
    """Returns the position of the hand relative to an object [m]: `the hand 0.024 m further away (+x) than the bar`.

    Args:
        text: description of the object.
        hand: words that name the hand.
    """
    who = "(?:" + "|".join(re.escape(word) for word in hand) + r")\b"
    gap = r"[^.;()\d]*?"
    axis = rf"{_NUMBER}{gap}\(\s*(?P<sign>[+-])\s*(?P<axis>[xyz])\s*\)"
    offset = [0.0, 0.0, 0.0]
    ahead = re.search(rf"{who}\s+(?:is\s+)?{axis}", text)
    back = re.search(rf"{axis}\s+of\s+(?:the\s+)?{who}", text)
    for match, side in ((ahead, 1.0), (back, -1.0)):
        if match is not None:
            value = (_parse_length(match) or 0.0) * (side if match["sign"] == "+" else -side)
            offset["xyz".index(match["axis"])] = value
    if (match := re.search(rf"{who}(?:[^.;]|\.\d)*?{_NUMBER}\s+(?P<way>lower|below|higher|above)", text)) is not None:
        offset[2] = (_parse_length(match) or 0.0) * (-1.0 if match["way"] in ("lower", "below") else 1.0)
    return (offset[0], offset[1], offset[2]) if any(offset) else None


def parse_threshold(text: str) -> float | None:
    """Returns the value beyond which an effect sets in: 0.55 of `the bolt is free above 0.55`."""
    match = re.search(
        r"(?:free|released|unlocked|unlatched|open|on|pressed) (?:above|beyond|from|past) (\d+(?:\.\d+)?)", text
    )
    return float(match[1]) if match else None
