"""The sockets of the arm: requests and answers on TCP, states and commands on UDP."""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading

import numpy as np

from robo_reward.hardware.emulator.robot.session import RobotReply, RobotSession
from robo_reward.hardware.emulator.tools.faults import Faults
from robo_reward.hardware.emulator.wire.client_server import ClientServer
from robo_reward.hardware.emulator.wire.codec import (
    MalformedMessage,
    command_layout,
    decode_record,
    encode_record,
    request_layout,
    response_layout,
    robot_framing,
)
from robo_reward.hardware.emulator.wire.versions import ROBOT_PORT

log = logging.getLogger(__name__)

DESCRIPTIONS = ("GetRobotModel", "LoadModelLibrary")
"""Requests that do not change the session and may take long."""


class RobotServer(ClientServer):
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
        super().__init__("robot", host, port, faults, robot_framing(session.version))
        self._session, self._lock = session, lock
        self._udp.setblocking(False)
        self._command = command_layout(session.version)
        self._waker, self._wakes = socket.socketpair()
        self._wakes.setblocking(False)
        self.changed = threading.Event()

    def close(self) -> None:
        """Closes all connections and sockets, and waits for the thread."""
        super().close()
        self._waker.close()
        self._wakes.close()

    def get_request_layout(self, command: str) -> np.dtype:
        """Returns the layout of a request's body."""
        return request_layout(self._session.version, command)

    def connect_client(self, identifier: int, version: int) -> bool:
        """Answers a Connect request; returns whether the client's protocol version fits."""
        own = self._session.version
        claimed = self._faults.claimed_version or own.number
        fits = version == claimed == own.number
        status = own.status_code("Connect", "success" if fits else "incompatible")
        answer = encode_record(response_layout("Connect"), status=status, version=claimed)
        self.send_message("Connect", identifier, answer)
        return fits

    def handle_request(self, command: str, identifier: int, body: np.ndarray) -> None:
        """Passes a request to the session and sends its answer, unless this waits for a state."""
        guard = contextlib.nullcontext() if command in DESCRIPTIONS else self._lock
        with guard:
            answer = self._session.handle_request(command, identifier, body)
            log.info("%s %s", command, "" if answer is None else answer.body[:1].hex())
            if answer is not None:
                self.send_replies([answer])
        self.changed.set()
        self.wake()

    def handle_disconnect(self, address: str) -> None:
        """Ends the session of a client that has left."""
        with self._lock:
            self._session.lose_client()
        self.wake()
        log.info("client %s left", address)

    def send_replies(self, answers: list[RobotReply]) -> None:
        """Sends replies that had to wait for a state."""
        for answer in answers:
            self.send_message(answer.command, answer.identifier, answer.body)

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
