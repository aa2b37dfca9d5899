"""Problems of a program, each with a remedy, so that its writer can repair it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from robo_reward.errors import RoboRewardError

MAX_PROBLEMS_SHOWN = 40
"""Maximum number of problems in a message; the rest are only counted."""
MAX_NAMES_COMPARED = 200
"""Maximum number of names that an unknown one is compared with, at about 0.04 ms each."""
MAX_NAMES_LISTED = 40
"""Maximum number of names in a remedy."""


class Problem(NamedTuple):
    """A reason why a program is refused, with its remedy.

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


class Change(NamedTuple):
    """A change of a program by the normaliser.

    Attributes:
        line: in the source, from 1.
        what: was changed.
        why: it had to be.
    """

    line: int
    what: str
    why: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.what} ({self.why})"


class ProgramError(RoboRewardError):
    """Raised for a source that is not in the language; lists every problem that was found."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(dict.fromkeys(problems))
        lines = [str(problem) for problem in self.problems[:MAX_PROBLEMS_SHOWN]]
        if len(self.problems) > MAX_PROBLEMS_SHOWN:
            lines.append(f"... and {len(self.problems) - MAX_PROBLEMS_SHOWN} more")
        super().__init__("\n".join(["the reward program was refused:", *lines]))


def suggest_closest_name(name: str, valid: Iterable[str], prefix: str = "") -> str:
    """Returns a remedy for an unknown name: the nearest valid ones, or all of them when none is near."""
    return _suggest_from_names(name[:64], tuple(sorted(valid)), prefix)


@lru_cache(256)
def _suggest_from_names(name: str, names: tuple[str, ...], prefix: str) -> str:
    near = difflib.get_close_matches(name, names[:MAX_NAMES_COMPARED], n=3, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(prefix + n for n in near)}"
    if not names:
        return "there is none to choose from"
    listed = ", ".join(prefix + n for n in names[:MAX_NAMES_LISTED])
    return (
        f"choose from {listed}{f' and {len(names) - MAX_NAMES_LISTED} more' if len(names) > MAX_NAMES_LISTED else ''}"
    )
