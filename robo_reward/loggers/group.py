"""All loggers of one run as one: nothing is logged twice, and a logger that fails does not end the run."""

from __future__ import annotations

import importlib.util
import inspect
import json
import logging
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from robo_reward.errors import MissingExtra, UnknownName
from robo_reward.files import load_json, write_json
from robo_reward.loggers.logger import LOGGERS, TENSORBOARD, LoggedRun, RunLogger
from robo_reward.masking import mask_value

STATE = "loggers.json"
OWN_EXTRAS = ("wandb", "trackio", "rerun")
"""Loggers whose name is also that of their package and of the extra that installs it."""

log = logging.getLogger(__name__)


class LoggerState(msgspec.Struct):
    """The content of `loggers.json`.

    Attributes:
        id: of the run, the same for all of its sittings.
        sittings: number of starts of the run so far.
        logged: logger -> curve -> the last step that was logged.
    """

    id: str
    sittings: int = 0
    logged: dict[str, dict[str, int]] = {}


class LoggerGroup:
    """Forwards curves, videos and results to the loggers of a run.

    Args:
        loggers: by name.
        path: of `loggers.json`.
        state: its content.
    """

    def __init__(self, loggers: Mapping[str, RunLogger], path: Path, state: LoggerState) -> None:
        self.loggers, self._path, self._state = dict(loggers), path, state

    def log_point(self, point: Mapping[str, Any], curve: str = "") -> None:
        """Logs a point of a learning curve, with the fields of `policies.sb3.CurvePoint`.

        A point that a logger already has from an earlier sitting is not sent again.
        """
        step = int(point["steps"])
        values = {"success": point["success"], "return": point["episode_return"], "seconds": point["seconds"]}
        values |= {f"terms/{name}": value for name, value in point["terms"].items()}
        changed = False
        for name in list(self.loggers):
            last = self._state.logged.setdefault(name, {})
            if step > last.get(curve, -1):
                last[curve], changed = step, True
                self._call(name, lambda logger: logger.log_scalars(curve, step, values))
        if changed:
            self._save_state()

    def log_videos(self, paths: Sequence[Path]) -> None:
        """Logs mp4 files under the names `videos/FILE`."""
        for path in paths:
            for name in list(self.loggers):
                self._call(name, lambda logger, path=path: logger.log_video(f"videos/{path.stem}", path))

    def finish(self, result: Mapping[str, Any]) -> None:
        """Logs the result, empty for a run that was stopped, and closes all loggers."""
        plain = json.loads(json.dumps(dict(result), default=str))
        for name in list(self.loggers):
            self._call(name, lambda logger: logger.finish(plain))
        self.loggers.clear()

    def _call(self, name: str, action: Callable[[RunLogger], None]) -> None:
        try:
            action(self.loggers[name])
        except Exception as error:  # noqa: BLE001 - code of other packages: the run is worth more than its log
            self.loggers.pop(name)
            log.warning("logger=%s failed and gets nothing more of this run: %s: %s", name, type(error).__name__, error)

    def _save_state(self) -> None:
        write_json(self._path, msgspec.to_builtins(self._state), sync=False)


def check_loggers(names: str | Sequence[str], options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the loggers of the values of `logger=` and `logger_options=`: name -> options.

    Raises:
        UnknownName: no such logger, options of a logger that is not chosen, or an option that it does not have.
        BrokenPlugin: a logger of another package that cannot be imported.
        MissingExtra: the package of a logger is not installed.
    """
    chosen = [names] if isinstance(names, str) else list(names)
    found: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(chosen):
        if name not in (known := (TENSORBOARD, *LOGGERS.list_names())):
            raise UnknownName("logger", name, known)
        if name != TENSORBOARD:
            found[name] = dict(options.get(name, {}))
            _check_options(name, found[name])
            if name in OWN_EXTRAS and importlib.util.find_spec(name) is None:
                raise MissingExtra(name, name, f"logger={name}")  # before there is a run folder
    for name in options:
        if name not in found:
            raise UnknownName("logger in logger_options", name, found, f"Choose it with logger={name}.")
    return found


def _check_options(name: str, options: Mapping[str, Any]) -> None:
    parameters = list(inspect.signature(LOGGERS.load(name)).parameters.values())[1:]
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        for option in options:
            if option not in (known := [parameter.name for parameter in parameters]):
                raise UnknownName(f"option of logger {name}", option, known)


@contextmanager
def open_loggers(
    folder: Path, names: str | Sequence[str], options: Mapping[str, Any], config: Mapping[str, Any]
) -> Iterator[LoggerGroup]:
    """Makes the loggers of a run and closes them after the block.

    Args:
        folder: of the run.
        names: value of `logger=`.
        options: value of `logger_options=`.
        config: all settings of the run; secrets in it are masked.

    Raises:
        UnknownName: see `check_loggers`.
        MissingExtra: the package of a logger is not installed.
        UsageError: a logger refuses the run, such as for a missing API key.
    """
    chosen, path = check_loggers(names, options), folder / STATE
    if not chosen:
        yield LoggerGroup({}, path, LoggerState(""))
        return
    remedy = f"Delete {path}: the run is then logged as a new one"
    state = load_json(path, LoggerState, remedy=remedy) or LoggerState(secrets.token_hex(4))
    state.sittings += 1
    run = LoggedRun(folder, state.id, state.sittings, mask_value(dict(config)))
    group = LoggerGroup({}, path, state)
    try:
        for name, given in chosen.items():
            group.loggers[name] = LOGGERS.create(name, run, **given)
        write_json(path, msgspec.to_builtins(state))
        yield group
    finally:
        group.finish({})  # a run that has ended has called it with its result, and nothing is left to close
