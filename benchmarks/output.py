"""What every benchmark does with its results: a table for the reader, JSON for a script."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Row(NamedTuple):
    """One measured number.

    Attributes:
        key: its name in the JSON.
        value: the number.
        meaning: what was measured, with its unit.
        target: what we want, such as "<= 150"; empty when there is no target.
    """

    key: str
    value: float
    meaning: str
    target: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target."""
        if not self.target:
            return None
        relation, bound = self.target.split()
        return {"<=": self.value <= float(bound), ">=": self.value >= float(bound)}[relation]


def run(measure: Callable[[bool], list[Row]], description: str, argv: list[str] | None = None) -> None:
    """The command line `python -m benchmarks.NAME [--json FILE] [--quick]` of a benchmark.

    Args:
        measure: `quick -> rows`.
        description: its first line is printed above the table.
        argv: the arguments, from the command line unless given.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes, for a rough idea")
    arguments = parser.parse_args(argv)
    rows = measure(arguments.quick)
    print(table(rows, description.partition("\n")[0]))
    if arguments.json:
        write_json(arguments.json, {row.key: row.value for row in rows} | {"machine": machine()})


def table(rows: list[Row], title: str) -> str:
    """The rows as aligned text, with a mark for each target."""
    lines = [title, ""]
    key_width = max(len(row.key) for row in rows)
    target_width = max(len(row.target) for row in rows)
    for row in rows:
        mark = {None: " ", True: "✓", False: "✗"}[row.met]
        lines.append(f"{row.key:<{key_width}}  {row.value:>12,.4g}  {row.target:<{target_width}} {mark}  {row.meaning}")
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """Where the numbers were taken."""
    return {"python": platform.python_version(), "platform": platform.platform(), "cores": os.cpu_count()}


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes the numbers under a temporary name and renames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)
