"""`robo-reward import` and `robo-reward export`: episodes from and to the formats of other projects, and policies."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from robo_reward.cli.terminal import Terminal
from robo_reward.data.formats import export_episodes, import_episodes, open_episodes
from robo_reward.data.minari import find_minari
from robo_reward.data.output import require_absent
from robo_reward.data.summary import DataSummary
from robo_reward.envs.task import make_task
from robo_reward.policies.policy import load_policy
from robo_reward.policies.portable import describe_interface, export_onnx, export_torchscript, require_portable


def run_import(config: DictConfig, arguments: list[str]) -> int:
    """Copies the episodes of a data set into a new episode store.

    Raises:
        UsageError: there is no data set, the store exists, or the data does not fit the task.
        BadArtifact: the data is damaged; nothing is left of the store.
    """
    out = Path(config.out or f"demos/{_make_name(config.source)}")
    require_absent(out)
    task = make_task(config.task) if config.task else None
    source = open_episodes(config.source, list(config.cameras))
    summary = import_episodes(source, out, config.frames, task)
    console = Terminal()
    _print_summary(console, summary)
    console.print(f"imported to {out}")
    if summary.cameras and config.frames != "drop":
        console.print(f"next: robo-reward discover demos={out}")
    return 0


def run_export(config: DictConfig, arguments: list[str]) -> int:
    """Writes episodes as a new data set of another project, or a policy as a file that runs without robo-reward.

    Raises:
        UsageError: there are no episodes or no policy, `out` exists, or the episodes do not belong together.
        MissingExtra: the package for the format is not installed.
    """
    out = Path(config.out)
    require_absent(out)
    if config.to in ("onnx", "torchscript"):
        return _export_policy(config, out)
    source = open_episodes(config.source, list(config.cameras))
    summary = export_episodes(source, config.to, out, config.frames == "keep")
    console = Terminal()
    _print_summary(console, summary)
    console.print(f"exported to {out}")
    console.print(f"open it with: {_format_opening(config.to, out)}")
    return 0


def _export_policy(config: DictConfig, out: Path) -> int:
    policy = require_portable(load_policy(config.source))
    out.parent.mkdir(parents=True, exist_ok=True)
    export = export_onnx if config.to == "onnx" else export_torchscript
    export(policy, out, config.input)
    console = Terminal()
    for end in ("input", "output"):
        about = describe_interface(policy, config.input)[end]
        console.print(f"{end}: {about['name']} {about['dtype']} (N, {about['shape'][1]})", highlight=False)
        for part in about["parts"]:
            console.print(f"  {_format_part(part)}", highlight=False, markup=False)
    console.print(f"exported to {out}", soft_wrap=True)
    return 0


def _format_part(part: dict[str, Any]) -> str:
    """Returns the meaning of a block of a portable policy's input or output on one line."""
    minus = f" - {part['minus']}" if part.get("minus") else f" - {part['centre']}" if part.get("centre") else ""
    if "scale_unit" in part:
        return f"{part['size']} x ({part['name']}{minus}) / ({part['scale']:g} {part['scale_unit']})"
    if "scale" in part:
        unit = "" if part["unit"] == "1" else f" {part['unit']}"
        return f"{part['name']}: 1.0 is {part['scale']:g}{unit}"
    return f"{part['size']} x {part['name']} [{part['unit']}]"


def _print_summary(console: Terminal, summary: DataSummary) -> None:
    for line in summary.format_lines():
        console.print(line)
    if summary.success.unknown:
        console.print(
            "success unknown: these episodes are neither counted as successes nor as failures", style="yellow"
        )


def _make_name(source: str) -> str:
    """Returns a plain folder name for a source, such as `pick-place` for `data/pick-place.hdf5`."""
    return re.sub(r"[^\w-]+", "-", Path(source.removeprefix("minari:")).stem).strip("-") or "imported"


def _format_opening(to: str, out: Path) -> str:
    """Returns the line of Python, or of a shell, that opens the data set with the project's own reader."""
    if to == "lerobot":
        return f"LeRobotDataset({f'local/{out.name}'!r}, root={str(out)!r})"
    if to == "robomimic":
        return f"h5py.File({str(out / 'demo.hdf5')!r})"
    data = find_minari(out)
    name = data.parent.relative_to(out).as_posix() if data else ""
    return f"MINARI_DATASETS_PATH={out} python -c \"import minari; print(minari.load_dataset('{name}'))\""
