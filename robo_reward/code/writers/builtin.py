"""The writers that come with robo-reward; each is imported only when it is made."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

from robo_reward.code.writers.writer import Writer, writers
from robo_reward.errors import UnknownName

BUILTIN = {
    "offline": "robo_reward.code.writers.offline:OfflineWriter",
    "openai": "robo_reward.code.writers.openai:OpenAIWriter",
    "replay": "robo_reward.code.writers.replay:ReplayWriter",
    "mailbox": "robo_reward.code.writers.mailbox:MailboxWriter",
}


@cache
def load() -> None:
    """Registers them, once."""
    for name, place in BUILTIN.items():
        writers.register(name, _factory(name, place))


def _factory(name: str, place: str) -> Callable[..., Writer]:
    def make(**options: Any) -> Writer:
        module, _, attribute = place.partition(":")
        kind = getattr(import_module(module), attribute)
        _check_options(name, kind, options)
        return kind(**options)

    return make


def _check_options(name: str, kind: Callable[..., Any], options: dict[str, Any]) -> None:
    """Answers a misspelt option with the nearest valid ones, before Python does with a traceback."""
    parameters = inspect.signature(kind).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    valid = {p.name for p in parameters} - {"folder"}
    for option in options:
        if option != "folder" and option not in valid:
            raise UnknownName(f"option of writer {name!r}", option, valid)
