"""The sockets of the arm: one client at a time on TCP, states and commands on UDP."""

from __future__ import annotations

import contextlib
import errno
import logging
import select
import socket
import struct
import threading
from collections.abc import Callable

import numpy as np

from robo_reward.errors import RoboRewardError
from robo_reward.hardware.emulator.robot.session import RobotReply, RobotSession
from robo_reward.hardware.emulator.tools.faults import Faults
from robo_reward.hardware.emulator.wire.codec import (
    Framing,
    MalformedMessage,
    command_layout,
    decode_record,
    make_blank_record,
    request_layout,
    response_layout,
    robot_framing,
)
from robo_reward.hardware.emulator.wire.versions import ROBOT_PORT

log = logging.getLogger(__name__)

DESCRIPTIONS = ("GetRobotModel", "LoadModelLibrary")
"""Requests that do not change the session and may take long."""
POLL = 0.2
"""Interval at which waiting threads check whether to end [s]."""


class PortBusy(RoboRewardError):
    """Raised where the address is taken, or not of this machine."""

    def __init__(self, host: str, port: int, why: OSError) -> None:
        remedy = "every address 127.x.x.x is this machine"
        if why.errno == errno.EADDRINUSE:
            remedy = "another emulator uses this address; a second arm needs a second address, such as host=127.0.0.2"
        super().__init__(f"cannot serve on {host}:{port} ({why.strerror or why}): {remedy}")


def open_listener(host: str, port: int) -> socket.socket:
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


def receive_exactly(connection: socket.socket, size: int, running: Callable[[], bool]) -> bytes:
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


def accept_connection(
    server: socket.socket, running: Callable[[], bool]
) -> tuple[socket.socket, tuple[str, int]] | None:
    """Waits for the next connection; returns it with its peer, or None at the end of the service."""
    while running():
        try:
            connection, peer = server.accept()
        except TimeoutError:
            continue
        except OSError:
            return None
        connection.settimeout(POLL)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, peer
    return None


def reset_connection(connection: socket.socket) -> None:
    """Breaks a connection as a pulled cable or a restart does: the other side gets a reset instead of an end."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    except OSError as error:
        log.debug("the other side had left: %s", error)


class RobotServer:
    """Serves one client at a time for one session.

    Args:
        session: the state machine of the arm.
        host: the address to serve on.
        lock: the lock held while the session changes.
        faults: the faults to inject.
        port: the port of the robot's service.

    Raises:
        PortBusy: the address is taken.
    """

    def __init__(
        self, session: RobotSession, host: str, lock: threading.RLock, faults: Faults, port: int = ROBOT_PORT
    ) -> None:
        self._session, self._lock, self._faults = session, lock, faults
        self._framing: Framing = robot_framing(session.version)
        self._server = open_listener(host, port)
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((host, 0))
        self._udp.setblocking(False)
        self._command = command_layout(session.version)
        self._waker, self._wakes = socket.socketpair()
        self._wakes.setblocking(False)
        self._client: socket.socket | None = None
        self._peer: tuple[str, int] | None = None
        self._running = True
        self.changed = threading.Event()
        faults.on_refuse(self.hang_up)
        faults.on_cut("robot", self._reset_client)
        self._thread = threading.Thread(target=self._serve_clients, name="fci-tcp", daemon=True)

    def start(self) -> None:
        """Starts to accept connections."""
        self._thread.start()

    def close(self) -> None:
        """Closes all connections and sockets, and waits for the thread."""
        self._running = False
        self._server.close()
        self.hang_up()
        if self._thread.is_alive():
            self._thread.join(2.0)
        for each in (self._udp, self._waker, self._wakes):
            each.close()

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

    def send_replies(self, answers: list[RobotReply]) -> None:
        """Sends replies that had to wait for a state."""
        for answer in answers:
            self._send_reply(answer)

    def receive_commands(self) -> list[np.ndarray]:
        """Returns the commands received since the last call, oldest first; lost ones are left out."""
        commands = []
        while True:
            try:
                data = self._udp.recv(4096)
            except (BlockingIOError, OSError):
                return commands
            if self._faults.is_stalled or self._faults.take_drop():
                continue
            try:
                commands.append(decode_record(self._command, data))
            except MalformedMessage as error:
                log.warning("command ignored: %s", error)

    def wait_for_event(self, seconds: float) -> None:
        """Waits until a command comes, `wake` is called, or `seconds` have passed."""
        ready, _, _ = select.select([self._udp, self._wakes], [], [], seconds)
        if self._wakes in ready:
            self._wakes.recv(4096)

    def wake(self) -> None:
        """Ends a `wait_for_event`."""
        try:
            self._waker.send(b"x")
        except OSError:
            log.debug("no waiting thread to wake")

    def _serve_clients(self) -> None:
        while self._running:
            accepted = accept_connection(self._server, lambda: self._running)
            if accepted is None:
                return
            connection, (address, _) = accepted
            if self._faults.refused:
                connection.close()
                continue
            with connection:
                self._client = connection
                self._handle_client(connection, address)
                self._peer, self._client = None, None
            with self._lock:
                self._session.lose_client()
            self.wake()
            log.info("client %s left", address)

    def _handle_client(self, connection: socket.socket, address: str) -> None:
        running: Callable[[], bool] = lambda: self._running and not self._faults.refused  # noqa: E731
        while True:
            head = receive_exactly(connection, self._framing.header.size, running)
            if not head:
                return
            try:
                command, identifier, size = self._framing.unpack_header(head)
                data = receive_exactly(connection, size, running) if size else b""
                body = decode_record(request_layout(self._session.version, command), data)
            except MalformedMessage as error:
                log.warning("connection ended: %s", error)
                return
            if command == "Connect":
                if not self._connect_client(address, identifier, body):
                    return
                continue
            guard = contextlib.nullcontext() if command in DESCRIPTIONS else self._lock
            with guard:
                answer = self._session.handle_request(command, identifier, body)
                log.info("%s %s", command, "" if answer is None else answer.body[:1].hex())
                if answer is not None:
                    self._send_reply(answer)
            self.changed.set()
            self.wake()

    def _connect_client(self, address: str, identifier: int, body: np.ndarray) -> bool:
        """Answers a Connect request; returns whether the client's protocol version fits."""
        version = self._session.version
        ours = self._faults.claimed_version or version.number
        fits = int(body["version"]) == ours == version.number
        response = make_blank_record(response_layout("Connect"))
        response["status"], response["version"] = (
            version.status_code("Connect", "success" if fits else "incompatible"),
            ours,
        )
        self._send_reply(RobotReply("Connect", identifier, response.tobytes()))
        if fits:
            self._peer = (address, int(body["udp_port"]))
            log.info("client %s connected, version %d", address, ours)
        return fits

    def _send_reply(self, answer: RobotReply) -> None:
        client = self._client
        if client is None:
            return
        try:
            client.sendall(self._framing.pack_message(answer.command, answer.identifier, answer.body))
        except OSError as error:
            log.debug("answer not sent: %s", error)

    def _reset_client(self) -> None:
        client = self._client
        if client is not None:
            reset_connection(client)

    def hang_up(self) -> None:
        """Ends the client's connection."""
        client = self._client
        if client is not None:
            try:
                client.shutdown(socket.SHUT_RDWR)
            except OSError:
                log.debug("client had left")
