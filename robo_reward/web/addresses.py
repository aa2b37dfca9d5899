"""Addresses of servers, and the waits that servers ask for."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit


def is_loopback(url: str) -> bool:
    """Returns whether a server runs on this machine."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:  # not a URL: another check reports it
        return False
    return host in ("localhost", "::1", "0.0.0.0") or host.startswith("127.")


def read_retry_after(headers: Mapping[str, str] | None) -> float | None:
    """Returns the wait that a server asks for in the headers of its answer [s], or `None` if it does not ask for one.

    Args:
        headers: whose names are found in any case, or `None`.
    """
    headers = headers or {}
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        if math.isfinite(seconds):
            return max(seconds, 0.0)
    try:
        return max(parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time(), 0.0)
    except (KeyError, ValueError, TypeError, IndexError, OverflowError):
        return None
