"""The sockets that the services of the arm and of the gripper share: a client on TCP, and states for it on UDP."""

from __future__ import annotations

import errno
import logging
import socket
import struct
import threading
from collections.abc import Callable

import numpy as np

from robo_reward.errors import RoboRewardError
from robo_reward.hardware.emulator.tools.faults import Faults
from robo_reward.hardware.emulator.wire.codec import Framing, MalformedMessage, decode_record

log = logging.getLogger(__name__)

POLL = 0.2
"""Interval at which waiting threads check whether to end [s]."""


class PortBusy(RoboRewardError):
    """Raised where the address is taken, or not of this machine."""

    def __init__(self, host: str, port: int, why: OSError) -> None:
        remedy = "every address 127.x.x.x is this machine"
        if why.errno == errno.EADDRINUSE:
            remedy = "another emulator uses this address; a second arm needs a second address, such as host=127.0.0.2"
        super().__init__(f"cannot serve on {host}:{port} ({why.strerror or why}): {remedy}")


class ClientServer:
    """Serves one client at a time; the base class of the services of the arm and of the gripper.

    A subclass says how requests are laid out and handles them.

    Args:
        name: of the service, for its threads and for the fault that cuts its connection.
        host: the address to serve on.
        port: the port to serve on.
        faults: the faults to inject.
        framing: the framing of the messages on TCP.

    Raises:
        PortBusy: the address is taken.
    """

    def __init__(self, name: str, host: str, port: int, faults: Faults, framing: Framing) -> None:
        self._faults, self._framing = faults, framing
        self._server = _open_listener(host, port)
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((host, 0))
        self._client: socket.socket | None = None
        self._peer: tuple[str, int] | None = None  # where the client receives states
        self._sending = threading.Lock()
        self._running = True
        faults.on_refuse(self.hang_up)
        faults.on_cut(name, self._reset_client)
        self._threads = [threading.Thread(target=self._serve_clients, name=f"{name}-tcp", daemon=True)]

    def get_request_layout(self, command: str) -> np.dtype:
        """Returns the layout of a request's body."""
        raise NotImplementedError

    def connect_client(self, identifier: int, version: int) -> bool:
        """Answers a Connect request; returns whether the client's protocol version fits."""
        raise NotImplementedError

    def handle_request(self, command: str, identifier: int, body: np.ndarray) -> None:
        """Handles any other request; called from the thread of the connection."""
        raise NotImplementedError

    def handle_disconnect(self, address: str) -> None:
        """Called when a client has left."""
        raise NotImplementedError

    def start(self) -> None:
        """Starts to accept connections."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Closes all connections and sockets, and waits for the threads."""
        self._running = False
        self._server.close()
        self.hang_up()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(2.0)
        self._udp.close()

    @property
    def is_connected(self) -> bool:
        """True if a client receives states."""
        return self._peer is not None

    def send_state(self, data: bytes) -> None:
        """Sends one state to the client, if there is one and the network is not down."""
        peer = self._peer
        if peer is None or self._faults.is_stalled:
            return
        try:
            self._udp.sendto(data, peer)
        except OSError as error:
            log.debug("state not sent: %s", error)

    def send_message(self, command: str, identifier: int, body: bytes) -> None:
        """Sends an answer to the client, if there is one."""
        client = self._client
        if client is None:
            return
        try:
            with self._sending:
                client.sendall(self._framing.pack_message(command, identifier, body))
        except OSError as error:
            log.debug("answer not sent: %s", error)

    def hang_up(self) -> None:
        """Ends the client's connection."""
        client = self._client
        if client is not None:
            try:
                client.shutdown(socket.SHUT_RDWR)
            except OSError:
                log.debug("client had left")

    def _serve_clients(self) -> None:
        while self._running:
            accepted = self._accept_connection()
            if accepted is None:
                return
            connection, address = accepted
            if self._faults.refused:
                connection.close()
                continue
            with connection:
                self._client = connection
                self._serve_client(connection, address)
                self._peer, self._client = None, None
            self.handle_disconnect(address)

    def _serve_client(self, connection: socket.socket, address: str) -> None:
        """Handles the requests of a client until it leaves, sends something else, or speaks another version."""
        running: Callable[[], bool] = lambda: self._running and not self._faults.refused  # noqa: E731
        while True:
            head = _receive_exactly(connection, self._framing.header.size, running)
            if not head:
                return
            try:
                command, identifier, size = self._framing.unpack_header(head)
                data = _receive_exactly(connection, size, running) if size else b""
                body = decode_record(self.get_request_layout(command), data)
            except MalformedMessage as error:
                log.warning("connection ended: %s", error)
                return
            if command != "Connect":
                self.handle_request(command, identifier, body)
            elif self.connect_client(identifier, int(body["version"])):
                self._peer = (address, int(body["udp_port"]))
                log.info("client %s connected, version %d", address, body["version"])
            else:
                return

    def _accept_connection(self) -> tuple[socket.socket, str] | None:
        """Waits for the next connection; returns it with the client's address, or None at the end of the service."""
        while self._running:
            try:
                connection, (address, _) = self._server.accept()
            except TimeoutError:
                continue
            except OSError:
                return None
            connection.settimeout(POLL)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection, address
        return None

    def _reset_client(self) -> None:
        """Breaks the connection as a pulled cable or a restart does: the client gets a reset instead of an end."""
        client = self._client
        if client is None:
            return
        try:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        except OSError as error:
            log.debug("the other side had left: %s", error)


def _open_listener(host: str, port: int) -> socket.socket:
    """Returns a listening TCP socket.

    Raises:
        PortBusy: the address is taken, or not of this machine.
    """
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((host, port))
        server.listen(4)
    except OSError as error:
        server.close()
        raise PortBusy(host, port, error) from error
    server.settimeout(POLL)
    return server


def _receive_exactly(connection: socket.socket, size: int, running: Callable[[], bool]) -> bytes:
    """Receives exactly `size` bytes; returns no bytes if the connection ends first."""
    parts = b""
    while len(parts) < size and running():
        try:
            part = connection.recv(size - len(parts))
        except TimeoutError:
            continue
        except OSError:
            return b""  # closed by the server, or reset by the client
        if not part:
            return b""
        parts += part
    return parts if len(parts) == size else b""
