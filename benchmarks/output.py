"""Command line and output of every benchmark: a table for the reader, JSON for a script."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robo_reward.files import write_text


def arguments(description: str | None, argv: list[str] | None = None, **more: str) -> argparse.Namespace:
    """The command line `python -m benchmarks.NAME [--json FILE] [--quick]`.

    Args:
        description: the benchmark's docstring; its first line heads the table.
        argv: the arguments, from the command line unless given.
        more: further options, name -> help; empty unless given.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes, for a rough idea")
    for name, text in more.items():
        parser.add_argument(f"--{name}", default="", help=text)
    parser.set_defaults(title=(description or "").partition("\n")[0])
    return parser.parse_args(argv)


def report(args: argparse.Namespace, values: Mapping[str, Any], targets: Mapping[str, str] | None = None) -> None:
    """Prints a table of the numbers and writes them where `--json` says.

    Args:
        args: from `arguments`.
        values: key -> number, list of numbers, or None; the key names the unit. A nested mapping is a group, whose
            rows in the table are `group.key`.
        targets: row of the table -> target, such as "<= 150".
    """
    print(table(values, targets or {}, args.title))
    if args.json:
        write_json(args.json, {**values, "machine": machine()})


def table(values: Mapping[str, Any], targets: Mapping[str, str], title: str) -> str:
    """Returns the numbers as aligned text, with a mark behind each that has a target."""
    values = {key: value for key, value in flat(values).items() if not _is_list_of_groups(value)}
    width = max(map(len, values))
    lines = [title, ""]
    for key, value in values.items():
        target = targets.get(key, "")
        mark = f"{'✓' if met(value, target) else '✗'} {target}" if target else ""
        shown = f"{value:>12,.4g}" if isinstance(value, int | float) else f"{value!s:>12}"
        lines.append(f"{key:<{width}}  {shown}  {mark}".rstrip())
    return "\n".join(lines)


def _is_list_of_groups(value: Any) -> bool:
    """Returns whether a value is for scripts only: a list of mappings fits into no line."""
    return isinstance(value, list) and any(isinstance(part, Mapping) for part in value)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens nested groups into one mapping, `group.key` -> value."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def met(value: float, target: str) -> bool:
    """Returns whether a number satisfies a target such as "<= 150" or ">= 30"."""
    relation, bound = target.split()
    return {"<=": value <= float(bound), ">=": value >= float(bound)}[relation]


def machine() -> dict[str, Any]:
    """Returns a description of the machine."""
    return {"python": platform.python_version(), "platform": platform.platform(), "cores": os.cpu_count()}


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes the numbers as a whole, into a folder that is made if necessary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(values, indent=2) + "\n")
