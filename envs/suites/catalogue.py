"""The suites by the first part of a task's id, such as `gymnasium` of `gymnasium/Hopper-v5`."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any

from robo_reward.errors import UnknownName, UsageError

if TYPE_CHECKING:
    from robo_reward.envs.suites.source import EnvironmentSource

SUITES = ("dm_control", "gymnasium", "metaworld", "robotics")
OWN_OPTIONS = ("horizon", "fast", "draft")
"""Options of every environment, besides those of its suite's `describe`."""


def is_environment(id: str) -> bool:
    """Returns whether an id names an environment of a suite."""
    suite, _, name = id.partition("/")
    return bool(name) and suite in SUITES


def list_environment_options(id: str) -> tuple[str, ...]:
    """Returns the names of an environment's options."""
    parameters = inspect.signature(_load_suite(id).describe).parameters
    return (*list(parameters)[1:], *OWN_OPTIONS)


def describe_environment(id: str, **options: Any) -> EnvironmentSource:
    """Returns what a suite tells about one of its environments.

    Raises:
        UnknownName: no such environment, or an option that the suite does not know.
        UsageError: the suite's package is not installed or does not fit others.
    """
    known = list_environment_options(id)
    for option in options:
        if option not in known:
            raise UnknownName(f"option of {id}", option, known)
    try:
        return _load_suite(id).describe(id.partition("/")[2], **options)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{id} cannot be made with the options {options}: {error}") from error


def list_environments() -> list[str]:
    """Returns the ids of the environments of all suites whose packages are installed."""
    found = []
    for suite in SUITES:
        try:
            found += [f"{suite}/{name}" for name in _load_suite(suite).list_names()]
        except (UsageError, ImportError):
            continue
    return found


def _load_suite(id: str) -> Any:
    return importlib.import_module(f"robo_reward.envs.suites.{id.partition('/')[0]}")
