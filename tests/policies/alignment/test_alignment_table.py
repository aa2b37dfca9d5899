"""The table of `benchmarks.alignment`: its order, its file, its rates, and that measured cells are not run again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks._alignment_cells import BEFORE, Cell, CellFile, format_table, plan_cells
from benchmarks.alignment import TableSettings, find_methods, measure_table
from robo_reward.envs.task import make_task
from robo_reward.errors import BadArtifact, UnknownName, UsageError
from robo_reward.policies.diffusion.model import create_model
from robo_reward.policies.diffusion.normaliser import MinMax
from robo_reward.policies.diffusion.policy import DiffusionPolicy
from robo_reward.policies.diffusion.settings import DiffusionSettings

SETTINGS = {"episodes": 8}


def behave(handle: int, rim: int, successes: int, episodes: int = 10) -> dict[str, Any]:
    return {"episodes": episodes, "successes": successes, "modes": {"handle": handle, "rim": rim}, "policy": "p"}


def test_a_table_that_is_cut_short_has_every_task() -> None:
    cells = list(plan_cells(["cup", "bag"], [0, 1], [20, 5], ["dpo", "clone"]))
    assert cells[:6] == [
        Cell(task, 0, labels, method)
        for task in ("cup", "bag")
        for labels, method in ((0, BEFORE), (20, "dpo"), (20, "clone"))
    ]
    assert [cell.labels for cell in cells[6:10]] == [5] * 4 and {cell.seed for cell in cells[:10]} == {0}
    assert len(cells) == len(set(cells)) == 2 * 2 * 2 * 2 + 4  # and one before for each task and seed


def test_rates_are_over_the_episodes_of_all_seeds(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    found = CellFile(path, SETTINGS)
    found.add(Cell("cup", 0, 20, "dpo"), behave(6, 2, 7))
    found.add(Cell("cup", 1, 20, "dpo"), behave(9, 0, 10))
    found.add(Cell("cup", 0, 5, "dpo"), behave(0, 0, 0))
    value = json.loads(path.read_text())
    assert value["preferred_rate_by_labels"] == {"dpo": {"cup": {"20": 15 / 17, "5": None}}}
    assert value["success_by_labels"] == {"dpo": {"cup": {"20": 17 / 20, "5": 0.0}}}
    again = CellFile(path, SETTINGS)
    assert again.cells == found.cells
    text = format_table(again, [*found.cells, Cell("bag", 2, 50, "clone")])
    assert "| cup | dpo | 20 | 0.88 (0.66 to 0.97) | 0.85 (0.64 to 0.95) | 20 | 0, 1 |" in text
    assert text.endswith("not run: bag, seed 2: clone after 50 rankings")


def test_files_of_other_settings_and_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    CellFile(path, SETTINGS).add(Cell("cup", 0, 20, "dpo"), behave(6, 2, 7))
    with pytest.raises(UsageError, match=r"settings .*'episodes': 8.*, now .*9"):
        CellFile(path, {"episodes": 9})
    for text in ("{", '{"cells": [{"task": "cup"}]}', "[]"):
        path.write_text(text)
        with pytest.raises(BadArtifact, match=r"table\.json"):
            CellFile(path, SETTINGS)
    with pytest.raises(UnknownName, match="rapl_dpo"):
        find_methods("rapl_dpp")


@pytest.mark.slow
def test_a_table_goes_on_and_repeats_nothing(tmp_path: Path) -> None:
    task, settings = make_task("panda/cup"), TableSettings(episodes=4, measured=2, size=32, steps=2)
    bounds = [MinMax(-torch.ones(n), torch.ones(n)) for n in (task.observation.dim, task.action.dim)]
    made: list[int] = []

    def make_policy(name: str, seed: int) -> DiffusionPolicy:
        made.append(seed)
        model = create_model(DiffusionSettings(sampling_steps=1), *bounds, seed=seed + 1)
        return DiffusionPolicy(model, task.observation, task.action, {})

    def measure(cells: list[Cell], make: Any = make_policy) -> list[str]:
        lines: list[str] = []
        file = CellFile(tmp_path / "table.json", settings.to_json())
        measure_table(cells, file, settings, make, tmp_path, tell=lines.append)
        return lines

    cells = list(plan_cells(["cup"], [0], [3], ["rapl_clone"]))
    (line,) = measure(cells[:1])
    assert line.startswith("cup, seed 0: before: ") and line.endswith("over 2 episodes")
    before = json.loads((tmp_path / "table.json").read_text())["cells"]
    assert measure(cells[:1]) == [] and made == [0]
    assert json.loads((tmp_path / "table.json").read_text())["cells"] == before
    with pytest.raises(UsageError, match="another clone"):
        measure(cells, lambda name, seed: make_policy(name, seed + 5))
