"""Access control of the local pages: the secret token, a host name of this machine, and the same origin."""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_EVERYWHERE = ("", "0.0.0.0", "::")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),  # the URL contains the token
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_HELP = "Nothing here. Open the whole address that `robo-reward {}` printed.\n"

Application = Callable[[Any, Any, Any], Awaitable[None]]


class AccessGuard:
    """Wraps an ASGI application, which is then served below `/TOKEN/`.

    A request is refused (403) under a host name that is not this machine's: a foreign page whose name was pointed
    at this address (DNS rebinding) is detected in this way. A POST that says it comes from another page is refused
    too. Behind an SSH port-forward the name is `localhost` and any port, which is fine.

    Args:
        app: the guarded application; it sees paths without the token.
        token: the secret part of the address.
        host: host name or address that the server is bound to.
        verb: the command that printed the address.
    """

    def __init__(self, app: Application, token: str, host: str, verb: str = "label") -> None:
        self._app, self._token, self._names = app, token.encode(), host_names(host)
        self._help = _HELP.format(verb).encode()
        self._any_address = host in _EVERYWHERE

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handles one ASGI connection."""
        if scope["type"] != "http":
            return
        headers = {name.decode("latin1"): value.decode("latin1") for name, value in scope["headers"]}
        host, origin = headers.get("host", ""), headers.get("origin", "")
        if not self._is_own_host(host):
            await _send_text(send, 403, b"This name is not one of this machine.\n")
            return
        if scope["method"] not in ("GET", "HEAD") and origin and urlsplit(origin).netloc.lower() != host.lower():
            await _send_text(send, 403, b"This comes from another page.\n")
            return
        first, slash, rest = scope["path"].lstrip("/").partition("/")
        if not hmac.compare_digest(first.encode(), self._token):
            await _send_text(send, 404, self._help)
            return
        if not slash:
            await _send_text(send, 307, b"", ((b"location", b"/" + self._token + b"/"),))
            return
        inner = {**scope, "path": "/" + rest, "raw_path": None}

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
            await send(message)

        await self._app(inner, receive, send_with_headers)

    def _is_own_host(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._names or (self._any_address and _is_address(name))


def host_names(host: str) -> frozenset[str]:
    """Returns the names by which a server bound to `host` may be addressed; bound to all, also by any IP address."""
    names: Iterable[str] = (*LOOPBACK, host)
    if host not in LOOPBACK:
        names = (*names, socket.gethostname(), socket.getfqdn())
    return frozenset(name.lower() for name in names if name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def _send_text(send: Any, status: int, body: bytes, more: Iterable[tuple[bytes, bytes]] = ()) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *_HEADERS, *more]})
    await send({"type": "http.response.body", "body": body})
