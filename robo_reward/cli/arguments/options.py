"""The configuration of a verb with its options chosen, as Hydra composes it from dataclasses and `configs/`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robo_reward.cli.arguments.choices import list_group_options
from robo_reward.cli.arguments.quoting import quote_text
from robo_reward.cli.arguments.structured import (
    STRUCTURED,
    build_node,
    find_verb_groups,
    list_structured_keys,
    list_verb_keys,
)
from robo_reward.errors import UsageError

if TYPE_CHECKING:
    from omegaconf import DictConfig


def compose_options(verb: str, choices: Sequence[str], config_dir: str | None = None) -> DictConfig:
    """Returns the defaults of a verb; references in them are not resolved.

    Args:
        verb: one of `VERBS`.
        choices: `group=option`, one per group.
        config_dir: a folder of the user's own options, or none.

    Raises:
        UsageError: files that Hydra refuses.
    """
    built_in = all(option in list_group_options(group) for group, _, option in (c.partition("=") for c in choices))
    if built_in and not config_dir:
        return deepcopy(_compose_built_in(verb, tuple(choices)))
    return _compose_with_hydra(verb, choices, config_dir)


@cache
def _compose_built_in(verb: str, choices: tuple[str, ...]) -> DictConfig:
    return _compose_with_hydra(verb, choices, None)


@contextmanager
def silence_override_warning() -> Iterator[None]:
    """Silences Hydra's warning where a user's file `task/NAME.yaml` overrides single keys of the task NAME."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\s*'task/.*' is validated against ConfigStore schema", UserWarning)
        yield


def _compose_with_hydra(verb: str, choices: Sequence[str], config_dir: str | None) -> DictConfig:
    from hydra import compose, initialize_config_module
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    GlobalHydra.instance().clear()
    folder = quote_text(f"file://{Path(config_dir).resolve()}") if config_dir else ""
    search_path = [f"hydra.searchpath=[{folder}]"] if config_dir else []
    store_structured_configs(verb)
    with initialize_config_module("robo_reward.configs", version_base="1.3"), silence_override_warning():
        try:
            return compose(find_config_name(verb), overrides=[*choices, *search_path])
        except (HydraException, OmegaConfBaseException) as error:
            raise UsageError(str(error).splitlines()[0]) from error
        finally:
            GlobalHydra.instance().clear()


def find_config_name(verb: str) -> str:
    """Returns the name under which Hydra knows the keys of a verb: one that no file in a user's folder has."""
    return f"robo_reward_{verb}"


@cache
def store_structured_configs(verb: str) -> None:
    """Makes the keys of a verb, and of the options in its groups that dataclasses describe, known to Hydra."""
    from hydra.core.config_store import ConfigStore

    store, groups = ConfigStore.instance(), find_verb_groups(verb)
    choices: list[Any] = [{group: option} for group, option in groups.items()]
    store.store(
        name=find_config_name(verb), node={"defaults": [*choices, "_self_"], **build_node(list_verb_keys(verb))}
    )
    for group in groups:
        for option in STRUCTURED.get(group, ()):
            store.store(group=group, name=option, node=build_node(list_structured_keys(group, option)))
