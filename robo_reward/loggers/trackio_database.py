"""Trackio: a database on this machine, shown by `trackio show`."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robo_reward.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    from robo_reward.loggers.logger import LoggedRun


class TrackioLogger:
    """Logs to Trackio's database, in `TRACKIO_DIR` or Trackio's own folder; with `space_id`, to a Space.

    Args:
        run: the run.
        project: project of Trackio.
        space_id: a Space of Hugging Face, such as `user/space`, that is logged to instead; empty: none.

    Raises:
        MissingExtra: trackio is not installed.
        UsageError: Trackio refuses the project, or the Space without a login.
    """

    def __init__(self, run: LoggedRun, project: str = "robo-reward", space_id: str = "") -> None:
        try:
            import trackio
        except ModuleNotFoundError:
            raise MissingExtra("trackio", "trackio", "logger=trackio") from None
        self._trackio = trackio
        try:
            with redirect_stdout(io.StringIO()):  # it prints several lines of instructions
                self._run = trackio.init(
                    project=project,
                    name=f"{run.folder.name}-{run.id}",
                    space_id=space_id or None,
                    config=dict(run.config),
                    resume="allow",
                    embed=False,
                )
        except (ValueError, OSError) as error:
            raise UsageError(f"logger=trackio: {error}") from error
        self.place = f"https://huggingface.co/spaces/{space_id}" if space_id else _describe_command(project)

    def log_scalars(self, curve: str, step: int, values: Mapping[str, float]) -> None:
        prefix = f"{curve}/" if curve else ""
        self._run.log({f"{prefix}{name}": value for name, value in values.items()}, step=step)

    def log_video(self, name: str, path: Path) -> None:
        self._run.log({name: self._trackio.Video(str(path), format="mp4")})

    def finish(self, result: Mapping[str, Any]) -> None:
        numbers = flatten_result(result)
        if numbers:
            self._run.log({f"result/{name}": value for name, value in numbers.items()})
        with redirect_stdout(io.StringIO()):
            self._trackio.finish()  # not that of the run: its exit handler would finish the run again


def _describe_command(project: str) -> str:
    folder = os.environ.get("TRACKIO_DIR", "")
    return f"{f'TRACKIO_DIR={folder} ' if folder else ''}trackio show --project {project}"


def flatten_result(value: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Returns the numbers and truth values in a nested result, by their path: `evaluation/success`."""
    found: dict[str, float] = {}
    for name, item in value.items():
        if isinstance(item, Mapping):
            found |= flatten_result(item, f"{prefix}{name}/")
        elif isinstance(item, bool | int | float):
            found[f"{prefix}{name}"] = float(item)
    return found
