"""Sends requests to a reward server: time limits, retries, and one clear error for what goes wrong."""

from __future__ import annotations

import http.client
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from robo_reward.errors import RoboRewardError, UsageError
from robo_reward.masking import MASK, mask_secrets
from robo_reward.web.addresses import is_loopback, read_retry_after

log = logging.getLogger(__name__)

MAX_REPLY = 64 << 20  # [bytes]
MAX_WAIT = 60.0  # [s] between two tries, unless the server asks for another
MAX_RETRY_AFTER = 600.0  # [s]: a server that asks for a longer wait is given up
RETRYABLE = (408, 409, 425, 429, 500, 502, 503, 504)
"""Answers after which the same request may succeed."""
ONE_REQUEST = (400, 413, 422, 500)
"""Answers that are about one request; after others, the next request would fail as well."""


class RewardServerError(RoboRewardError):
    """A reward server cannot be reached, refuses, or answers something that is no reward."""


class ServerUnavailable(RewardServerError):
    """A reward server that cannot be reached or refuses us: it will not answer the next request either."""


@dataclass(frozen=True)
class ServerSettings:
    """The address of a reward server, and the patience with it.

    Args:
        url: such as http://127.0.0.1:8001.
        timeout: for one request, from the connection to the last byte [s].
        retries: after the first try.
        backoff: wait before the first retry [s]; each further one is twice as long.
        key_env: environment variable with a key that is sent as `Authorization: Bearer KEY`; empty: none.
        headers: further headers; `$NAME` as a value stands for an environment variable.

    Raises:
        UsageError: an address that cannot be one.
    """

    url: str
    timeout: float = 120.0
    retries: int = 4
    backoff: float = 1.0
    key_env: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
            is_address = is_address and min(self.url) > " " and max(self.url) <= "~"
        except ValueError:
            is_address = False
        if not is_address:
            raise UsageError(f"url={mask_secrets(self.url)} is no web address, such as http://127.0.0.1:8001")
        if parts.username or parts.password or mask_secrets(self.url) != self.url:
            raise UsageError(
                f"url={mask_secrets(self.url)} holds a password or key, which run folders would keep. "
                "Put the key into an environment variable and name it: reward.key_env=NAME"
            )

    def build_headers(self) -> dict[str, str]:
        """Returns the headers with their secrets, read from the environment.

        Raises:
            UsageError: a variable that is not set, or a value that no header can hold.
        """
        found = {str(name): str(value) for name, value in self.headers.items()}
        if self.key_env:
            found["Authorization"] = f"Bearer ${self.key_env}"
        for name, value in found.items():
            head, mark, variable = value.rpartition("$")
            if mark:
                if variable not in os.environ:
                    raise UsageError(f"the environment variable {variable}, for the header {name}, is not set")
                found[name] = value = head + os.environ[variable]
            if not all(" " <= character <= "~" for character in name + value):
                raise UsageError(f"the header {name} holds line breaks or letters outside ASCII, which cannot be sent")
        return found


class RewardServer:
    """A reward server that answers requests.

    Args:
        settings: address and patience.
        sleep: waits between tries.
    """

    def __init__(self, settings: ServerSettings, sleep: Callable[[float], None] = time.sleep) -> None:
        self.settings, self._sleep = settings, sleep
        self.requests = 0
        proxies = [urllib.request.ProxyHandler({})] if is_loopback(settings.url) else []
        self._opener = urllib.request.build_opener(_NoRedirect(), *proxies)

    def post(self, path: str, body: bytes, content_type: str) -> bytes:
        """Returns the answer to a request.

        Raises:
            ServerUnavailable: there was no answer, also after the retries; the message says why and what to do.
            RewardServerError: it cannot answer this request.
        """
        headers = {"User-Agent": "robo-reward", **self.settings.build_headers(), "Content-Type": content_type}
        url = self.settings.url.rstrip("/") + path
        for attempt in range(self.settings.retries + 1):
            self.requests += 1
            try:
                return self._send(urllib.request.Request(url, body, headers, method="POST"))
            except (OSError, http.client.HTTPException) as error:
                pause = self._find_pause(error, attempt)
                if pause is None:
                    code = error.code if isinstance(error, urllib.error.HTTPError) else 0
                    kind = RewardServerError if code in ONE_REQUEST else ServerUnavailable
                    raise kind(self._explain(url, error, attempt + 1)) from error
                log.warning("%s: %s; next try in %.1f s", mask_secrets(url), self._describe(error), pause)
                self._sleep(pause)
        raise AssertionError("unreachable")

    def _send(self, request: urllib.request.Request) -> bytes:
        """Returns the body of the answer to one request, read until the time is over."""
        end = time.monotonic() + self.settings.timeout
        with self._opener.open(request, timeout=self.settings.timeout) as answer:
            parts, length = [], 0
            while part := answer.read1(1 << 16):
                parts.append(part)
                length += len(part)
                if length > MAX_REPLY:
                    raise RewardServerError(f"{mask_secrets(request.full_url)} answers more than {MAX_REPLY} bytes")
                if time.monotonic() > end:
                    raise TimeoutError("the answer is not complete")
            expected = answer.headers.get("Content-Length")
            if expected is not None and expected.isdigit() and length < int(expected):
                raise http.client.IncompleteRead(b"".join(parts), int(expected) - length)
        return b"".join(parts)

    def _find_pause(self, error: Exception, attempt: int) -> float | None:
        """Returns the wait before the next try [s], or None where another try is useless."""
        if attempt >= self.settings.retries:
            return None
        asked = None
        if isinstance(error, urllib.error.HTTPError):
            if error.code not in RETRYABLE:
                return None
            asked = read_retry_after({name.lower(): value for name, value in error.headers.items()})
            if asked is not None and asked > MAX_RETRY_AFTER:
                return None
        return asked if asked is not None else min(self.settings.backoff * 2.0**attempt, MAX_WAIT)

    def _explain(self, url: str, error: Exception, tries: int) -> str:
        """Returns the message for the user: what happened, and what to do."""
        where, times = mask_secrets(url), f" ({tries} tries)" if tries > 1 else ""
        text = f"{where}: {self._describe(error)}{times}. "
        if not isinstance(error, urllib.error.HTTPError):
            if _is_timeout(error):
                return text + "Raise reward.timeout, or lower reward.batch or reward.max_frames"
            return text + "Start the server, or check url=... and the network; the same command goes on from here"
        if 300 <= error.code < 400:
            target = mask_secrets(str(error.headers.get("Location", "another address")))
            return text + f"It points to {target}, to which frames are not sent unasked. Give that address as url=..."
        if error.code in (401, 403):
            return text + "Name the environment variable with your key: reward.key_env=NAME, or reward.headers"
        if error.code == 404:
            return text + "Check that url=... is the server's base address, and that protocol=... is the one it speaks"
        if error.code == 413:
            return text + "The request is too large for it: lower reward.batch, reward.max_frames or reward.size"
        if error.code in (400, 422):
            return text + "It does not understand the request: check protocol=..., and lower reward.batch to 1"
        return text + "Look at the server's own log; reward.batch=1 asks for less at once"

    def _describe(self, error: Exception) -> str:
        """Returns what happened, with the beginning of the server's answer and without secrets."""
        if isinstance(error, urllib.error.HTTPError):
            try:
                said = " ".join(error.read(2000).decode("utf-8", "replace").split())[:300]
            except (OSError, http.client.HTTPException):
                said = ""
            text = f"the server answers {error.code} {error.reason}{f': {said}' if said else ''}"
        elif _is_timeout(error):
            text = f"no answer within {self.settings.timeout:g} s"
        else:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            text = f"no connection: {getattr(reason, 'strerror', None) or reason or type(error).__name__}"
        for value in self.settings.build_headers().values():
            for secret in (value, value.removeprefix("Bearer ")):
                text = text.replace(secret, MASK) if len(secret) > 3 else text
        return mask_secrets(text)


def _is_timeout(error: Exception) -> bool:
    reason = getattr(error, "reason", None)
    return isinstance(error, TimeoutError) or isinstance(reason, TimeoutError)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Does not follow redirects: the next address would get frames and keys."""

    def redirect_request(self, *args: Any, **options: Any) -> None:
        return None
