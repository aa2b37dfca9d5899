"""The writers that come with robo-reward; each is imported only when it is made."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

from robo_reward.errors import UnknownName
from robo_reward.writers.writer import Writer, writers

BUILTIN = {
    "offline": "robo_reward.writers.offline.writer:OfflineWriter",
    "openai": "robo_reward.writers.openai:OpenAIWriter",
    "replay": "robo_reward.writers.replay:ReplayWriter",
    "mailbox": "robo_reward.writers.mailbox:MailboxWriter",
}


@cache
def register_writers() -> None:
    """Registers the built-in writers, once."""
    for name, place in BUILTIN.items():
        writers.register(name, _make_factory(name, place))


def _make_factory(name: str, place: str) -> Callable[..., Writer]:
    def create_writer(**options: Any) -> Writer:
        module, _, attribute = place.partition(":")
        kind = getattr(import_module(module), attribute)
        _check_options(name, kind, options)
        return kind(**options)

    return create_writer


def _check_options(name: str, kind: Callable[..., Any], options: dict[str, Any]) -> None:
    """Checks the options of a writer before it is made.

    Raises:
        UnknownName: an option is misspelt; the message names the nearest valid ones.
    """
    parameters = inspect.signature(kind).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    valid = {p.name for p in parameters} - {"folder"}
    for option in options:
        if option != "folder" and option not in valid:
            raise UnknownName(f"option of writer {name!r}", option, valid)
