"""Keeps passwords and keys out of files and terminals."""

from __future__ import annotations

import re
from typing import Any

MASK = "***"
_URL = re.compile(r"(?P<scheme>[A-Za-z][\w+.\-]*://?[^\s:/@'\"]*):(?P<secret>[^\s'\"]+)@")
_USER = re.compile(r"(?P<scheme>\b(?:https?|wss?)://)(?P<secret>[^\s:/@'\"]+)@")
_NAMES = r"(?:[\w.\-]*(?:password|passwd|secret|api_?key|access_?key|auth_?token|token|authorization))"
_PAIR = re.compile(rf"(?P<name>(?<![\w.\-]){_NAMES})(?P<mark>\s*[=:]\s*)(?P<secret>'[^']*'|[^\s,&;'\"}}]+)", re.I)
_QUERY = re.compile(rf"(?P<name>[?&]{_NAMES}=)(?P<secret>[^\s&#'\"]+)", re.I)
_NAME = re.compile(rf"{_NAMES}\Z", re.I)
_AS_TYPED = ("goal=", "instructions=", "run=", "runs=", "policy=", "reward=", "demos=", "source=")


def mask_secrets(text: str) -> str:
    """Returns text with the passwords in its URLs masked."""
    text = _URL.sub(rf"\g<scheme>:{MASK}@", text)
    text = _USER.sub(rf"\g<scheme>{MASK}@", text)
    return _QUERY.sub(rf"\g<name>{MASK}", text)


def mask_argument(argument: str) -> str:
    """Returns an argument of a command line with its secrets masked, by its form or the name of its key."""
    masked = mask_secrets(argument)
    return masked if masked.startswith(_AS_TYPED) else _PAIR.sub(rf"\g<name>\g<mark>{MASK}", masked)


def mask_value(value: Any, name: str = "") -> Any:
    """Returns a JSON-like value with its secrets masked, by the form of a text or the name of its key."""
    if isinstance(value, dict):
        return {key: mask_value(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mask_value(item, name) for item in value]
    if isinstance(value, str):
        return MASK if value and _NAME.match(name) else mask_secrets(value)
    return value
