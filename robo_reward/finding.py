"""What a doctor says of one thing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        name: what, such as `drawing with egl`.
        ok: whether it is as it should be.
        value: what was found.
        remedy: what to do; "" where nothing needs doing.
        needed: whether nothing goes without it; else it is advice.
    """

    name: str
    ok: bool
    value: str
    remedy: str = ""
    needed: bool = True
