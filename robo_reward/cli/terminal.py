"""Output of the command line: text of users is never read as markup, and cannot command the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from robo_reward.finding import Finding
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


def build_findings_table(findings: Iterable[Finding]) -> Table:
    """Returns a table of findings: passed or not, what was found, and the remedy."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")  # wrap long paths and addresses instead of cutting them
    for finding in findings:
        mark = Text("ok", "green") if finding.ok else Text("--", "yellow")
        remedy = (f"\n{to_printable(finding.remedy)}", "dim") if finding.remedy else ""
        table.add_row(mark, finding.name, Text.assemble(to_printable(finding.value), remedy))
    return table
