"""A small TCP server: a line in, bytes out, for as many connections as there are."""

from __future__ import annotations

import logging
import socket
import threading
from typing import Self

from robo_reward.errors import UsageError

log = logging.getLogger(__name__)

MOST = 64
"""Clients at a time; further ones are turned away."""


class LineServer:
    """Answers every line of every connection. Use it in a `with` statement, or call `start` and `close`.

    Args:
        what: is served, for names and messages, such as `cameras`.
        host: the address to serve on.
        port: 0 for any that is free.
        longest: a line may be so long [bytes].
        deadline: a client that sends nothing for so long is left; none for never [s].

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
        self._thread = threading.Thread(target=self._accept, name=what, daemon=True)

    def answer(self, line: bytes) -> bytes:
        """What is said to one line; called from the connection's thread."""
        raise NotImplementedError

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._listening.getsockname()[1]

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def close(self) -> None:
        """Ends the service; closing twice is harmless."""
        _shut(self._listening)
        self._listening.close()
        self.hang_up()
        if self._thread.is_alive():
            self._thread.join(2)

    def hang_up(self) -> None:
        """Ends all connections; new ones are taken."""
        for connection in tuple(self._connections):
            _shut(connection)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            if len(self._connections) >= MOST:
                connection.close()
                continue
            self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), name=self._thread.name, daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(self._deadline)
            with connection, connection.makefile("rb") as lines:
                while line := lines.readline(self._longest):
                    connection.sendall(self.answer(line))
        except (OSError, ValueError) as error:  # hung up, by the other side or by `close`
            log.debug("connection ended: %s", error)
        finally:
            self._connections.discard(connection)


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError as error:
        log.debug("hung up already: %s", error)
