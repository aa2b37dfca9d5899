"""Weights & Biases: one run of its own per run folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robo_reward.errors import MissingExtra, UnknownName, UsageError

if TYPE_CHECKING:
    from robo_reward.loggers.logger import LoggedRun

MODES = ("online", "offline", "disabled")


class WandbLogger:
    """Logs to Weights & Biases; offline, to a folder `wandb/` in the run folder that `wandb sync` uploads.

    Each curve has environment steps of its own as its horizontal axis.

    Args:
        run: the run.
        project: project of Weights & Biases.
        entity: user or team; empty: that of the account.
        mode: online, offline or disabled; empty: `WANDB_MODE`, else online.

    Raises:
        MissingExtra: wandb is not installed.
        UsageError: no API key is known, or the server refuses the run.
    """

    def __init__(self, run: LoggedRun, project: str = "robo-reward", entity: str = "", mode: str = "") -> None:
        try:
            import wandb
        except ModuleNotFoundError:
            raise MissingExtra("wandb", "wandb", "logger=wandb") from None
        mode = mode or os.environ.get("WANDB_MODE", "") or "online"
        if mode not in MODES:
            raise UnknownName("mode of wandb", mode, MODES)
        try:
            if mode == "online" and not wandb.login(prompt=False):
                raise UsageError(
                    "logger=wandb has no API key: run `wandb login`, set WANDB_API_KEY, or log to files with "
                    "logger_options.wandb.mode=offline"
                )
            quiet = wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True)
            self._run = wandb.init(
                project=project,
                entity=entity or None,
                name=run.folder.name,
                id=run.id,
                resume="allow" if mode == "online" else None,  # offline, `wandb sync` joins the sittings by the id
                dir=str(run.folder),
                config=dict(run.config),
                mode=mode,
                settings=quiet,
            )
        except wandb.Error as error:
            raise UsageError(f"logger=wandb: {error}. Or log to files: logger_options.wandb.mode=offline") from error
        self._wandb = wandb
        self.place = str(self._run.url if mode == "online" else Path(self._run.dir).parent)
        self._curves: set[str] = set()

    def log_scalars(self, curve: str, step: int, values: Mapping[str, float]) -> None:
        prefix = f"{curve}/" if curve else ""
        if curve not in self._curves:
            self._curves.add(curve)
            escaped = prefix.replace(".", "\\.")  # a plain dot would be a level of a nested metric
            self._run.define_metric(f"{escaped}steps", hidden=True)
            self._run.define_metric(f"{escaped}*", step_metric=f"{escaped}steps")
        self._run.log({f"{prefix}steps": step, **{f"{prefix}{name}": value for name, value in values.items()}})

    def log_video(self, name: str, path: Path) -> None:
        self._run.log({name: self._wandb.Video(str(path), format="mp4")})

    def finish(self, result: Mapping[str, Any]) -> None:
        self._run.summary.update(dict(result))
        self._run.finish()
