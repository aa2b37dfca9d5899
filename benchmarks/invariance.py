"""Training on multiples of a reward: `python -m benchmarks.invariance --json FILE [--quick] [--only TEXT] [--raw yes]`.

The expert rewards of three tasks times seven scales, three seeds each, with the default settings of `robo-reward
train policy=ppo`. `worst_success_ratio` is the smallest mean success of a task and scale, divided by that of the same
task at scale 1; its target is marked once all cells are finished. They are kept in FILE: a stopped run goes on with
the next one.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.output import arguments, machine, table, write_json
from robo_reward.envs.state import Transitions
from robo_reward.envs.task import find_training_defaults, make_task
from robo_reward.language.language import compile_program
from robo_reward.policies.sb3 import train_policy
from robo_reward.rewards.contract import RewardOutput, StepReward

STEPS = {"panda/reach": 50_000, "panda/lift": 160_000, "panda/push": 150_000}
"""Budget of each task [environment steps]."""
SCALES = (0.01, 0.1, 1.0, 10.0, 100.0, 300.0, 1000.0)
SEEDS = (0, 1, 2)
EPISODES = 200
TARGETS = {"worst_success_ratio": ">= 0.95"}


class Cell(NamedTuple):
    """One training.

    Attributes:
        task: its id.
        scale: factor of the expert reward.
        seed: of the training.
    """

    task: str
    scale: float
    seed: int

    def __str__(self) -> str:
        return f"{self.task} x{self.scale:g} seed {self.seed}"


class ScaledReward:
    """A multiple of a step reward, terms included.

    Args:
        reward: the reward.
        scale: the factor.
    """

    def __init__(self, reward: StepReward, scale: float) -> None:
        self.reward, self.scale = reward, scale

    def __call__(self, batch: Transitions) -> RewardOutput:
        total, terms = self.reward(batch)
        return RewardOutput(self.scale * total, {name: self.scale * value for name, value in terms.items()})

    def spec(self) -> dict[str, Any]:
        """Returns the spec of the reward and the factor."""
        return {"kind": "scaled", "scale": self.scale, "reward": self.reward.spec()}


def train_cell(cell: Cell, is_normalised: bool) -> dict[str, Any]:
    """Trains one cell; returns its success, its mean return in units of the unscaled reward, and the time [s]."""
    task, begun = make_task(cell.task), time.process_time()
    reward = ScaledReward(compile_program(task.expert_reward, task.spec, task.action.dim), cell.scale)
    params = find_training_defaults(cell.task).ppo_params
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, Any] = {"params": params, "episodes": EPISODES, "normalise_reward": is_normalised}
        result = train_policy(task, reward, Path(folder), "ppo", STEPS[cell.task], cell.seed, **options)
    found = result.evaluation
    mean = None if found.mean_return is None else round(found.mean_return / cell.scale, 3)
    seconds = round(time.process_time() - begun, 1)
    return {"success": found.success, "return": mean, "steps": STEPS[cell.task], "cpu_seconds": seconds}


def list_cells(is_quick: bool) -> Iterator[Cell]:
    """Yields the cells; scale 1 of a task comes first, since the others are compared with it."""
    tasks, scales, seeds = (("panda/reach",), (0.01, 1.0, 1000.0), (0,)) if is_quick else (STEPS, SCALES, SEEDS)
    for task in tasks:
        for scale in sorted(scales, key=lambda value: value != 1.0):
            yield from (Cell(task, scale, seed) for seed in seeds)


def summarise(cells: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the worst ratio and the mean success of each task and scale over the cells that are finished.

    Only seeds that are finished at scale 1, too, are compared.
    """
    means, ratios = {}, []
    for task in STEPS:
        for scale in SCALES:
            seeds = [s for s in SEEDS if {str(Cell(task, k, s)) for k in (scale, 1.0)} <= cells.keys()]
            if not seeds:
                continue
            mean, base = (np.mean([cells[str(Cell(task, k, s))]["success"] for s in seeds]) for k in (scale, 1.0))
            means[f"{task} x{scale:g} success"] = round(float(mean), 4)
            if scale != 1.0:
                ratios.append(float(mean / base) if base else 0.0)
    total = len(STEPS) * len(SCALES) * len(SEEDS)
    return {"worst_success_ratio": round(min(ratios), 4) if ratios else None, **means, "cells_of": [len(cells), total]}


def load_cells(path: Path | None, group: str) -> dict[str, dict[str, Any]]:
    """Returns the finished cells of an earlier run that had the same budgets."""
    if path is None or not path.exists():
        return {}
    stored = json.loads(path.read_text()).get(group, {})
    return {name: cell for name, cell in stored.items() if cell["steps"] == STEPS[name.partition(" ")[0]]}


def main() -> None:
    """Measures, prints and writes."""
    args = arguments(__doc__, only="train only cells whose name holds this text", raw="yes: without normalised rewards")
    is_normalised = args.raw != "yes"
    group = "cells" if is_normalised else "raw_cells"
    cells = load_cells(args.json, group)
    for cell in list_cells(args.quick):
        if str(cell) in cells or args.only not in str(cell):
            continue
        cells[str(cell)] = train_cell(cell, is_normalised)
        print(cell, cells[str(cell)], flush=True)
        if args.json:
            write_json(args.json, {**_load_others(args.json, group), group: cells})
    found = summarise(cells)
    prefix = "" if is_normalised else "raw "
    values = {f"{prefix}{key}": value for key, value in found.items()}
    is_complete = found["cells_of"][0] == found["cells_of"][1]
    print(table(values, TARGETS if is_complete else {}, args.title))
    if args.json:
        write_json(args.json, {**_load_others(args.json, group), **values, group: cells, "machine": machine()})


def _load_others(path: Path, group: str) -> dict[str, Any]:
    """Returns what a file holds besides a group of cells."""
    return {k: v for k, v in json.loads(path.read_text()).items() if k != group} if path.exists() else {}


if __name__ == "__main__":
    main()
