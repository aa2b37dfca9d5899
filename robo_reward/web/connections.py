"""Connection limits of a page, so that half-sent requests of some clients do not lock others out."""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
from collections import Counter
from typing import Any

from robo_reward.errors import MissingExtra
from robo_reward.web.guard import Application

log = logging.getLogger(__name__)

RECEIVE_SECONDS = 10.0
"""Time limit for receiving a request, and for the first request of a connection [s]."""
MOST = 256
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def connection_limits() -> tuple[int, int]:
    """Returns the number of connections open at once, and the size of the kernel's backlog."""
    # A quarter and an eighth of the files that this process may open: clips and the database need files, too.
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    files = 4 * MOST if files == resource.RLIM_INFINITY else files
    return max(8, min(MOST, files // 4)), max(4, min(64, files // 8))


def make_limited_server(app: Application, **options: Any) -> Any:
    """Returns a `uvicorn.Server` that ends connections whose requests do not arrive.

    If there are too many, the oldest waiting connection of the address with the most waiting connections is ended.
    A person's request is complete within milliseconds, and is therefore served however many others are open.

    Args:
        app: the application to serve.
        options: of `uvicorn.Config`.

    Raises:
        MissingExtra: uvicorn is not installed.
    """
    try:
        import uvicorn
    except ImportError:
        raise MissingExtra("uvicorn", "label", "the labelling page") from None
    most, backlog = connection_limits()

    class Server(uvicorn.Server):
        """A server that logs one line when too few file descriptors are left for more connections."""

        async def startup(self, sockets: Any = None) -> None:
            asyncio.get_running_loop().set_exception_handler(_log_exception)
            await super().startup(sockets)

    connection = _make_connection_class(most)
    return Server(uvicorn.Config(app, http=connection, backlog=backlog, log_level="error", **options))


def _make_connection_class(most: int) -> type[asyncio.Protocol]:
    """Returns uvicorn's HTTP protocol with a time limit for every request.

    Args:
        most: largest number of connections open at once.
    """
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Connection(H11Protocol):
        """One connection.

        Attributes:
            waiting: when it began to wait for a whole request [s], 0 while it is answered.
        """

        waiting = 0.0
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._start_waiting()
            if len(self.connections) > most:
                _end_oldest_waiting(self.connections, self)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._note_arrival()

        def on_response_complete(self) -> None:
            self._start_waiting()
            super().on_response_complete()
            self._note_arrival()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def _start_waiting(self) -> None:
            self._stop_waiting()
            self.waiting = self.loop.time()
            self._timer = self.loop.call_later(RECEIVE_SECONDS, self.transport.abort)

        def _stop_waiting(self) -> None:
            self.waiting = 0.0
            if self._timer:
                self._timer.cancel()

        def _note_arrival(self) -> None:
            if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
                self._stop_waiting()

    return Connection


def _end_oldest_waiting(connections: Any, newest: Any) -> None:
    """Ends the oldest waiting connection of the address that has the most of them; else the newest connection."""
    waiting = [one for one in connections if one.waiting and not one.transport.is_closing()]
    held = Counter(one.client and one.client[0] for one in waiting)
    chosen = max(waiting, key=lambda one: (held[one.client and one.client[0]], -one.waiting), default=newest)
    chosen.transport.abort()


def _log_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        log.info("no more connections are accepted for now: %s", error.strerror)
    else:
        loop.default_exception_handler(context)
