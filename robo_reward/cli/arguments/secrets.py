"""Keeps passwords and keys out of commands that are stored or shown."""

from __future__ import annotations

import re

from robo_reward.masking import MASK, SECRET_NAMES, mask_secrets, mask_value

__all__ = ["mask_argument", "mask_value"]

_PAIR = re.compile(
    rf"(?P<name>(?<![\w.\-]){SECRET_NAMES})(?P<mark>\s*[=:]\s*)(?!'?\$[A-Za-z_])(?P<secret>'[^']*'|[^\s,&;'\"}}]+)",
    re.I,
)
_AS_TYPED = ("goal=", "instructions=", "run=", "runs=", "policy=", "reward=", "demos=", "source=")


def mask_argument(argument: str) -> str:
    """Returns an argument of a command line with its secrets masked, by its form or the name of its key."""
    name, equals, value = argument.partition("=")
    if equals and (name.endswith("headers") or mask_value(value, name.lstrip("+")) == MASK):
        return f"{name}={MASK}"  # the whole value: `reward.headers.Authorization=Bearer KEY`
    masked = mask_secrets(argument)
    return masked if masked.startswith(_AS_TYPED) else _PAIR.sub(rf"\g<name>\g<mark>{MASK}", masked)
