"""The protocol of a logger, and the registry of all loggers.

TensorBoard files are no logger of this kind: every training writes them into its own folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from robo_reward.loggers.rerun_file import RerunLogger
from robo_reward.loggers.trackio_database import TrackioLogger
from robo_reward.loggers.wandb_run import WandbLogger
from robo_reward.registry import Registry

TENSORBOARD = "tensorboard"
"""Name that stands for the TensorBoard files of a training, which are always written."""


@dataclass(frozen=True)
class LoggedRun:
    """The run that a logger describes.

    Args:
        folder: of the run.
        id: eight hexadecimal digits, the same for all sittings of the run.
        sitting: 1 at the first start of the run, 2 when it is resumed, and so on.
        config: all settings, with passwords and keys masked.
    """

    folder: Path
    id: str
    sitting: int
    config: Mapping[str, Any]


class RunLogger(Protocol):
    """Receives the curves and results of one run.

    Its factory takes a `LoggedRun` and the options of the user; it raises a `UsageError` if the run cannot be logged.

    Attributes:
        place: where the results are found, for the user.
    """

    place: str

    def log_scalars(self, curve: str, step: int, values: Mapping[str, float]) -> None:
        """Logs one point of a curve.

        Args:
            curve: name of the curve, such as the id of a candidate; empty: the only one of the run.
            step: environment steps so far; they increase within a curve.
            values: name -> value, such as `success`, `return` and `terms/reach`.
        """
        ...

    def log_video(self, name: str, path: Path) -> None:
        """Logs an mp4 file."""
        ...

    def finish(self, result: Mapping[str, Any]) -> None:
        """Logs the final result, empty for a run that was stopped, and writes what is left."""
        ...


LOGGERS: Registry[RunLogger] = Registry("logger", "robo_reward.loggers")
LOGGERS.register("wandb", WandbLogger)
LOGGERS.register("trackio", TrackioLogger)
LOGGERS.register("rerun", RerunLogger)
