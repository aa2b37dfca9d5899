"""The measured cells of the alignment table: kept in a file after each, so that a stopped benchmark goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.output import machine, write_json
from robo_reward.checks.proportion import wilson_interval
from robo_reward.errors import BadArtifact, UsageError

BEFORE = "before"
"""Name of the policy as it came, in place of a method; it has 0 rankings."""


class Cell(NamedTuple):
    """One place of the table: a method after a number of rankings, on one task and with one seed."""

    task: str
    seed: int
    labels: int
    method: str

    def __str__(self) -> str:
        after = "" if self.method == BEFORE else f" after {self.labels} rankings"
        return f"{self.task}, seed {self.seed}: {self.method}{after}"


def plan_cells(
    tasks: Sequence[str], seeds: Sequence[int], labels: Sequence[int], methods: Sequence[str]
) -> Iterator[Cell]:
    """Yields all cells in an order in which a table that is cut short is of use.

    First all tasks with the first number of rankings, then the other numbers, then the other seeds.
    """
    for seed in seeds:
        for number, count in enumerate(labels):
            for task in tasks:
                if number == 0:
                    yield Cell(task, seed, 0, BEFORE)
                for method in methods:
                    yield Cell(task, seed, count, method)


@dataclass
class CellFile:
    """Measured cells, in a JSON file that is written after each.

    Args:
        path: of the file, or None to keep the cells in memory.
        settings: everything that decides the numbers but the cell itself, as JSON.

    Raises:
        UsageError: the file holds cells of other settings.
        BadArtifact: the file is no such table.
    """

    path: Path | None
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        self.cells: dict[Cell, dict[str, Any]] = {}
        if self.path is None or not self.path.exists():
            return
        try:
            value = json.loads(self.path.read_text("utf-8"))
            rows = [(Cell(**{name: row[name] for name in Cell._fields}), row) for row in value.get("cells", [])]
            found = value.get("alignment_settings")
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise BadArtifact(self.path, f"it is no table of this benchmark: {error!r}", "Give another FILE") from error
        if rows and found != json.loads(json.dumps(self.settings)):
            raise UsageError(f"{self.path} holds cells of the settings {found}, now {self.settings}. Give another FILE")
        self.cells = dict(rows)

    def __contains__(self, cell: object) -> bool:
        return cell in self.cells

    def add(self, cell: Cell, values: Mapping[str, Any]) -> None:
        """Adds the numbers of a cell and writes the file."""
        self.cells[cell] = {**values, **cell._asdict()}
        if self.path is not None:
            write_json(self.path, {**self.to_json(), "machine": machine()})

    def to_json(self) -> dict[str, Any]:
        """Returns the tables, the cells, and the settings.

        `preferred_rate_by_labels` and `success_by_labels` are method -> task -> number of rankings -> rate over the
        episodes of all seeds.
        """
        tables: dict[str, Any] = {"preferred_rate_by_labels": {}, "success_by_labels": {}}
        for name in tables:
            for cell in sorted(self.cells):
                group = tables[name].setdefault(cell.method, {}).setdefault(cell.task, {})
                if str(cell.labels) not in group:
                    group[str(cell.labels)] = self.pool(name, cell)[0]
        return {**tables, "alignment_settings": dict(self.settings), "cells": list(self.cells.values())}

    def pool(self, table: str, cell: Cell) -> tuple[float | None, float, float]:
        """Returns the rate over the episodes of all seeds of a cell, with its 95 % Wilson interval; None: no episode.

        Args:
            table: `preferred_rate_by_labels`, the share of the preferred mode among the episodes that used a mode, or
                `success_by_labels`.
            cell: whose seed does not matter.
        """
        rows = [row for known, row in self.cells.items() if known._replace(seed=cell.seed) == cell]
        if table == "success_by_labels":
            hits, total = sum(row["successes"] for row in rows), sum(row["episodes"] for row in rows)
        else:
            hits = sum(next(iter(row["modes"].values()), 0) for row in rows)
            total = sum(sum(row["modes"].values()) for row in rows)
        return (hits / total, *wilson_interval(hits, total)) if total else (None, 0.0, 1.0)


def format_table(found: CellFile, planned: Sequence[Cell]) -> str:
    """Returns the cells as a Markdown table, and which of the planned ones were not run."""
    lines = [
        "| task | method | rankings | preferred mode | success | episodes | seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    for cell in sorted({cell._replace(seed=0) for cell in found.cells}, key=lambda c: (c.task, c.method, c.labels)):
        seeds = [known.seed for known in found.cells if known._replace(seed=0) == cell]
        rates = [
            "-" if rate is None else f"{rate:.2f} ({low:.2f} to {high:.2f})"
            for rate, low, high in (found.pool(f"{name}_by_labels", cell) for name in ("preferred_rate", "success"))
        ]
        episodes = sum(found.cells[cell._replace(seed=seed)]["episodes"] for seed in seeds)
        shown = "" if cell.method == BEFORE else str(cell.labels)
        lines.append(
            f"| {cell.task} | {cell.method} | {shown} | {rates[0]} | {rates[1]} | {episodes} | "
            f"{', '.join(map(str, sorted(seeds)))} |"
        )
    missing = [cell for cell in planned if cell not in found]
    lines += [f"not run: {cell}" for cell in missing]
    return "\n".join(lines)
