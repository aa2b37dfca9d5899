"""Serves the labelling page on a given port."""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import Any

from robo_reward.errors import UsageError
from robo_reward.web.connections import make_limited_server
from robo_reward.web.guard import Application

_TRIES = 100


class PortTaken(UsageError):
    """The port is in use by another program; the message names the next free port."""


def listen(host: str, port: int) -> socket.socket:
    """Returns a listening socket.

    Args:
        host: a name or address of this machine; `127.0.0.1` cannot be reached from others.
        port: 1 to 65535, or 0 for any free port.

    Raises:
        PortTaken: the port is in use.
        UsageError: the address is not one of this machine, or permission for the port is denied.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"port={port}: expected 0 (any free one) to 65535")
    try:
        return _bind_socket(host, port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise UsageError(f"host={host} port={port} cannot be served: {error.strerror or error}") from error
    free = next((p for p in range(port + 1, min(port + _TRIES, 65536)) if _is_free(host, p)), 0)
    raise PortTaken(f"port {port} is in use by another program; port={free} is free")


def serve(app: Application, listening: socket.socket) -> None:
    """Serves until Ctrl-C or SIGTERM; requests in progress are answered first.

    Raises:
        MissingExtra: uvicorn is not installed.
    """
    server = make_server(app)
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listening])


def make_server(app: Application) -> Any:
    """Returns a `uvicorn.Server` for the application.

    Raises:
        MissingExtra: uvicorn is not installed.
    """
    return make_limited_server(
        app, access_log=False, lifespan="off", ws="none", server_header=False, proxy_headers=False,
        timeout_graceful_shutdown=3,
    )  # fmt: skip


def _bind_socket(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # despite TIME_WAIT
        listening.bind(address)
        listening.listen(128)
    except OSError:
        listening.close()
        raise
    return listening


def _is_free(host: str, port: int) -> bool:
    try:
        _bind_socket(host, port).close()
    except OSError:
        return False
    return True
