"""A small TCP server that answers each line with bytes, for several connections at a time."""

from __future__ import annotations

import logging
import socket
import threading
from typing import Self

from robo_reward.errors import UsageError

log = logging.getLogger(__name__)

MAX_CLIENTS = 64
"""Largest number of clients at a time; further ones are disconnected."""


class LineServer:
    """A TCP server that answers every line of every connection.

    Use it in a `with` statement, or call `start` and `close`.

    Args:
        what: the name of the service in thread names and messages, such as `cameras`.
        host: the address to serve on.
        port: the port to serve on; 0 for any free one.
        longest: largest length of a line [bytes].
        deadline: a client that is silent for this long is disconnected [s]; None for never.

    Raises:
        UsageError: the address cannot be served.
    """

    def __init__(self, what: str, host: str, port: int, longest: int = 4096, deadline: float | None = None) -> None:
        self._longest, self._deadline = longest, deadline
        try:
            self._listening = socket.create_server((host, port))
        except OSError as error:
            raise UsageError(f"{what}: {host}:{port} cannot be served ({error.strerror or error})") from error
        self._connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept_clients, name=what, daemon=True)

    def answer_line(self, line: bytes) -> bytes:
        """Returns the answer to a line; called from the connection's thread."""
        raise NotImplementedError

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return self._listening.getsockname()[1]

    def start(self) -> None:
        """Starts to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stops the service; a second call has no effect."""
        _shut_down_socket(self._listening)
        self._listening.close()
        self.hang_up()
        if self._thread.is_alive():
            self._thread.join(2)

    def hang_up(self) -> None:
        """Closes all connections; new ones are accepted."""
        for connection in tuple(self._connections):
            _shut_down_socket(connection)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _accept_clients(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            if len(self._connections) >= MAX_CLIENTS:
                connection.close()
                continue
            self._connections.add(connection)
            threading.Thread(target=self._serve_client, args=(connection,), name=self._thread.name, daemon=True).start()

    def _serve_client(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(self._deadline)
            with connection, connection.makefile("rb") as lines:
                while line := lines.readline(self._longest):
                    connection.sendall(self.answer_line(line))
        except (OSError, ValueError) as error:  # disconnected by the client or by `close`
            log.debug("connection ended: %s", error)
        finally:
            self._connections.discard(connection)


def _shut_down_socket(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError as error:
        log.debug("connection already closed: %s", error)
