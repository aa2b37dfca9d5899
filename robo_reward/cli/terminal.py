"""Output of the command line: text of users is never read as markup, and cannot command the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from robo_reward.printable import to_printable


class Terminal(Console):
    """A console on which text is text: no markup, no emoji names, no highlighting; long lines are left whole.

    Styles are given by `style=` or as `rich.text.Text`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, soft_wrap=True, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Returns text as it is, made printable; rich calls this for every string, in tables as well."""
        return super().render_str(to_printable(text), **{**options, "markup": False, "emoji": False})
