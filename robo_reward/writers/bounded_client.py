"""An HTTP client that gives up on time, reads a bounded reply, and sends a prompt to one place only.

The timeouts of HTTP libraries count from byte to byte, so a server that sends one byte per second can block a caller
indefinitely. Here a timer shuts the connection down when the time for the whole request is over. Redirects are not
followed: the next address would get the prompt. Replies are requested uncompressed, so that their size is known while
they are read.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

MAX_REPLY = 8 << 20
"""Maximum size of a reply [bytes]."""


class UnreadableReply(ValueError):
    """Raised for a reply that cannot be read; the message is for the user."""


class _Deadline:
    """Shuts a request's connection down when its time is over.

    Args:
        seconds: for the whole request [s].
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._sockets: list[Any] = []
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True
        self.expired = False

    def __enter__(self) -> _Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def record_connection(self, event: str, info: Mapping[str, Any]) -> None:
        """Records the connection; the HTTP library calls this at each of its steps."""
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            with self._lock:
                self._sockets.append(info["return_value"].get_extra_info("socket"))
            if self.expired:
                self._shut_down()

    def is_over(self) -> bool:
        """Returns whether the time is over."""
        return self.expired or time.monotonic() >= self._end

    def _expire(self) -> None:
        self.expired = True
        self._shut_down()

    def _shut_down(self) -> None:
        with self._lock:
            for connection in self._sockets:
                with suppress(OSError):  # already closed
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)  # not TLS's own, which waits for the peer


def make_bounded_client(api: Any, seconds: float, local: bool) -> Any:
    """Returns an HTTP client for `openai.OpenAI(http_client=...)`.

    Args:
        api: the package `openai`.
        seconds: for a whole request, from the first byte sent to the last byte read [s].
        local: the server runs on this machine, so no proxy is asked.
    """

    class BoundedClient(api.DefaultHttpxClient):
        """Sends each request on a connection of its own, which the deadline may shut down."""

        def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
            """Returns the reply, read whole.

            Raises:
                APITimeoutError: the time is over.
                UnreadableReply: it is too long, or compressed although that was not asked for.
            """
            options["follow_redirects"] = False
            request.headers["Accept-Encoding"] = "identity"
            request.headers["Connection"] = "close"
            with _Deadline(seconds) as deadline:
                request.extensions = {**request.extensions, "trace": deadline.record_connection}
                try:
                    reply = super().send(request, stream=True, **options)
                    try:
                        body = _read_body(reply, deadline)
                    finally:
                        reply.close()
                except UnreadableReply:
                    raise
                except Exception as error:
                    if deadline.is_over():
                        raise api.APITimeoutError(request=request) from error
                    raise
                if deadline.is_over():  # a connection that was shut down can look like the end of a reply
                    raise api.APITimeoutError(request=request)
            return type(reply)(reply.status_code, headers=reply.headers, content=body, request=request)

    return BoundedClient(timeout=seconds, **({"trust_env": False} if local else {}))


def _read_body(reply: Any, deadline: _Deadline) -> bytes:
    """Returns the body of a reply.

    Raises:
        UnreadableReply: it is too long or compressed.
    """
    encoding = reply.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise UnreadableReply(f"a reply compressed as {encoding[:20]!r}, although an uncompressed reply was requested")
    parts, length = [], 0
    for part in reply.iter_raw():
        parts.append(part)
        length += len(part)
        if length > MAX_REPLY:
            raise UnreadableReply(f"a reply of more than {MAX_REPLY} bytes")
        if deadline.is_over():
            break
    return b"".join(parts)
