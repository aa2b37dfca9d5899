"""`robo-reward identify`: delay, damping and friction of a real arm, for the next training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from robo_reward.cli.terminal import Terminal
from robo_reward.data.episode import EpisodeStore
from robo_reward.envs.arm.dynamics import Dynamics
from robo_reward.envs.task import make_task
from robo_reward.errors import UsageError
from robo_reward.files import find_folder, write_text
from robo_reward.hardware.deployment.identification import (
    compute_replay_error,
    extract_recordings,
    identify_dynamics,
    plot_replay,
)


def run(config: DictConfig, arguments: list[str]) -> int:
    """Writes `dynamics.json` and `gap.svg` into the run.

    Raises:
        UsageError: no episodes there, or none that was recorded on an arm.
    """
    console = Terminal()
    folder = Path(config.run)
    if not folder.is_dir():
        raise UsageError(f"run={config.run}: no such folder; give a run of `robo-reward deploy`")
    episodes = find_folder(folder, "episodes", "store.json")
    if not (episodes / "store.json").is_file():
        raise UsageError(f"{folder} holds no episodes; give a run of `robo-reward deploy`")
    kept = [e for e in EpisodeStore(episodes).iterate_without_frames() if len(e)][: config.most]
    if not kept:
        raise UsageError(f"{episodes} holds no episodes; give a run of `robo-reward deploy`")
    recordings = extract_recordings(kept)
    task: Any = make_task(kept[0].task_id)
    tempo = float(kept[0].meta.get("tempo", 1.0))
    _print_line(console, f"{task.id}: {len(recordings)} episodes, {sum(len(r.q) for r in recordings)} measurements")
    found = identify_dynamics(task, recordings)
    found = Dynamics(found.delay, found.damping, found.friction, tempo)
    found.save(folder / "dynamics.json")
    write_text(folder / "gap.svg", plot_replay(task, recordings[0], found))
    before, after = (1e3 * compute_replay_error(task, recordings, d).max() for d in (Dynamics.from_task(task), found))
    _print_line(
        console,
        f"gap between replay and arm, worst joint: {before:.1f} mrad, {after:.1f} mrad with the identified values",
    )
    _print_line(console, f"delay {1e3 * found.delay:.0f} ms; damping {_format_row(found.damping, 0)} N m s/rad")
    _print_line(console, f"friction {_format_row(found.friction, 1)} N m")
    _print_line(console, f"plot: {folder / 'gap.svg'}\ndynamics: {folder / 'dynamics.json'}")
    _print_line(
        console, f"train on it: robo-reward train task={task.id} task.options.dynamics={folder / 'dynamics.json'}"
    )
    return 0


def _format_row(values: Any, digits: int) -> str:
    return " ".join(f"{value:.{digits}f}" for value in values)


def _print_line(console: Terminal, text: str) -> None:
    console.print(text, soft_wrap=True, highlight=False, markup=False)
