"""The findings of `robo-reward doctor`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """The result of one check of the doctor.

    Args:
        name: what was checked, such as `drawing with egl`.
        ok: whether the check passed.
        value: what was found.
        remedy: what to do; "" where nothing needs doing.
        needed: whether it is required; otherwise the remedy is advice.
    """

    name: str
    ok: bool
    value: str
    remedy: str = ""
    needed: bool = True
