"""The loggers of a run of the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from robo_reward.cli.terminal import Terminal
from robo_reward.files import load_json
from robo_reward.loggers.group import LoggerGroup, open_loggers


def read_logger_keys(config: DictConfig) -> tuple[Any, Any]:
    """Returns the values of `logger` and `logger_options`."""
    value: Any = OmegaConf.to_container(config)
    return value["logger"], value["logger_options"]


@contextmanager
def open_run_loggers(console: Terminal, config: DictConfig, folder: Path) -> Iterator[LoggerGroup]:
    """Makes the loggers of a run, says where they log to, and closes them after the block.

    Raises:
        UsageError: a logger that is not installed, or refuses the run.
    """
    settings: Any = OmegaConf.to_container(config)
    with open_loggers(folder, *read_logger_keys(config), settings) as loggers:
        for name, logger in loggers.loggers.items():
            console.print(f"{name}: {logger.place}", soft_wrap=True, highlight=False)
        yield loggers


def log_results(loggers: LoggerGroup, folder: Path) -> None:
    """Logs the films and `result.json` of a finished run; its curve is logged already."""
    loggers.log_videos(sorted((folder / "videos").glob("*.mp4")))
    result = load_json(folder / "result.json", dict[str, Any]) or {}
    loggers.finish({name: value for name, value in result.items() if name != "points"})
