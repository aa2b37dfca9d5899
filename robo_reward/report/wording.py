"""Formats numbers for people."""

from __future__ import annotations

import math


def format_percent(rate: float | None, digits: int = 0) -> str:
    """Formats `0.973` as `97 %`; only exactly 0 and exactly 1 are shown as 0 and 100."""
    if rate is None or not math.isfinite(rate):
        return "–"
    value = round(100 * rate, digits)
    if digits == 0 and value in (0, 100) and rate not in (0.0, 1.0):
        return format_percent(rate, 1)
    return f"{value:.{digits}f} %"


def format_duration(seconds: float | None) -> str:
    """Formats seconds as `8.4 s`, `4 min 12 s` or `2 h 05 min`."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def format_count(number: float | None) -> str:
    """Formats `1234567` as `1.23 M`, `45600` as `45.6 k`."""
    if number is None or not math.isfinite(number):
        return "–"
    for size, suffix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(number) >= size * 0.9995:
            return f"{number / size:.3g}{suffix}"
    return f"{number:.0f}"


def format_integer(number: float | None) -> str:
    """Formats `1234567` with thin spaces between thousands."""
    return "–" if number is None else f"{number:,.0f}".replace(",", "\u202f")


def format_plural(number: int, one: str, many: str = "") -> str:
    """Formats a number and its noun: `1 candidate`, `3 candidates`."""
    return f"{number} {one if number == 1 else many or one + 's'}"
