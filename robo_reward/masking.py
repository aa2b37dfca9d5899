"""Masks passwords and keys in texts and values that go to files, terminals and error messages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

MASK = "***"
SECRET_NAMES = (
    r"(?:[\w.\-]*(?:password|passwd|secret|api_?key|access_?key|auth_?token|token|authorization|headers\.[\w\-]+))"
)
"""Pattern of the names whose values are secrets."""
VARIABLE = re.compile(r"\$[A-Za-z_]\w*")
"""A value that stands for an environment variable."""
_URL = re.compile(r"(?P<scheme>[A-Za-z][\w+.\-]*://?[^\s:/@'\"]*):(?P<secret>[^\s'\"]+)@")
_USER = re.compile(r"(?P<scheme>\b(?:https?|wss?)://)(?P<secret>[^\s:/@'\"]+)@")
_QUERY = re.compile(rf"(?P<name>[?&]{SECRET_NAMES}=)(?P<secret>[^\s&#'\"]+)", re.I)
_NAME = re.compile(rf"{SECRET_NAMES}\Z", re.I)


def mask_secrets(text: str) -> str:
    """Returns text with the passwords in its URLs masked."""
    text = _URL.sub(rf"\g<scheme>:{MASK}@", text)
    text = _USER.sub(rf"\g<scheme>{MASK}@", text)
    return _QUERY.sub(rf"\g<name>{MASK}", text)


def mask_value(value: Any, name: str = "") -> Any:
    """Returns a JSON-like value with its secrets masked, by the form of a text or the name of its key."""
    if isinstance(value, dict):
        inside = "headers." if name == "headers" else ""  # any header of a request may hold a key
        return {key: mask_value(item, f"{inside}{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mask_value(item, name) for item in value]
    if isinstance(value, str):
        is_secret = value and _NAME.match(name) and not VARIABLE.fullmatch(value)
        return MASK if is_secret else mask_secrets(value)
    return value


def find_secrets(value: Any, name: str = "") -> Iterator[str]:
    """Yields the texts in a JSON-like value that `mask_value` masks by the name of their key."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from find_secrets(item, str(key))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from find_secrets(item, name)
    elif isinstance(value, str) and value and _NAME.match(name):
        yield value
