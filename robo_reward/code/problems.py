"""What is wrong with a program, said so that its writer can repair it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from robo_reward.errors import RoboRewardError

SHOWN = 40
"""More problems than this help nobody; the rest are counted."""
COMPARED = 200
"""Names that an unknown one is compared with: comparing takes some 0.04 ms each."""
LISTED = 40
"""Names that a remedy lists."""


class Problem(NamedTuple):
    """One refusal.

    Attributes:
        line: in the source, from 1; 0 when it is about the whole program.
        reason: what is not in the language.
        remedy: what to write instead.
    """

    line: int
    reason: str
    remedy: str

    def __str__(self) -> str:
        where = f"line {self.line}" if self.line else "program"
        return f"{where}: {self.reason}. Remedy: {self.remedy}."


class ProgramRefused(RoboRewardError):
    """A source that is not in the language; lists every problem that was found."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(dict.fromkeys(problems))
        lines = [str(problem) for problem in self.problems[:SHOWN]]
        if len(self.problems) > SHOWN:
            lines.append(f"... and {len(self.problems) - SHOWN} more")
        super().__init__("\n".join(["the reward program was refused:", *lines]))


def closest(name: str, valid: Iterable[str], prefix: str = "") -> str:
    """A remedy for an unknown name: the nearest valid ones, or all of them when none is near."""
    return _closest(name[:64], tuple(sorted(valid)), prefix)


@lru_cache(256)
def _closest(name: str, names: tuple[str, ...], prefix: str) -> str:
    near = difflib.get_close_matches(name, names[:COMPARED], n=3, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(prefix + n for n in near)}"
    if not names:
        return "there is none to choose from"
    listed = ", ".join(prefix + n for n in names[:LISTED])
    return f"choose from {listed}{f' and {len(names) - LISTED} more' if len(names) > LISTED else ''}"
