"""The sockets of the gripper, which is a device of its own for libfranka: TCP 1338 and states on UDP."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable

import numpy as np

from robo_reward.hardware.emulator.codec import (
    BadMessage,
    blank,
    decode,
    encode,
    gripper_framing,
    gripper_request_layout,
    gripper_response_layout,
    gripper_state_layout,
)
from robo_reward.hardware.emulator.faults import Faults
from robo_reward.hardware.emulator.hand_manners import HandManners
from robo_reward.hardware.emulator.plant import GripperCommand, PlantState
from robo_reward.hardware.emulator.server import accept, listen, receive, reset
from robo_reward.hardware.emulator.session import Session
from robo_reward.hardware.emulator.versions import GRIPPER_PORT, GRIPPER_STATUSES, GRIPPER_VERSION

log = logging.getLogger(__name__)

STATE_PERIOD = 0.02
HOMING_SPEED, FASTEST = 0.05, 0.1
"""Of the fingers' opening [m/s]."""
ARRIVED = 0.002
"""A move is done this near to its width [m]."""
SETTLE = 0.02
"""Simulated time in which nothing may move before a command counts as done [s]."""
SLOWEST = 30.0
"""Simulated time after which a command is given up [s]."""


class GripperServer:
    """Serves the gripper's port; commands block, as on the real hand, and a `Stop` or a newer one interrupts them.

    Args:
        session: the arm whose gripper it is.
        host: the address to serve on.
        lock: held while the session changes.
        faults: what shall go wrong.
        port: of the gripper's service.
        manners: how commands are treated; none for ideally.

    Attributes:
        homed: whether the hand knows how far it opens.

    Raises:
        PortBusy: the address is taken.
    """

    def __init__(
        self,
        session: Session,
        host: str,
        lock: threading.RLock,
        faults: Faults,
        port: int = GRIPPER_PORT,
        manners: HandManners | None = None,
    ) -> None:
        self._session, self._lock, self._faults = session, lock, faults
        self._manners = manners or HandManners()
        self.homed = not self._manners.needs_homing
        self._framing = gripper_framing()
        self._server = listen(host, port)
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((host, 0))
        self._running = True
        self._client: socket.socket | None = None
        self._peer: tuple[str, int] | None = None
        self._stopping = threading.Event()
        self._last: threading.Thread | None = None  # carries out the newest command, after the one before
        self._holds = False
        self._sending = threading.Lock()
        faults.on_refuse(self._disconnect)
        faults.on_cut("gripper", self._cut)
        self._threads = [
            threading.Thread(target=self._serve, name="gripper-tcp", daemon=True),
            threading.Thread(target=self._report, name="gripper-udp", daemon=True),
        ]

    def start(self) -> None:
        """Begins to accept."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Ends everything."""
        self._running = False
        self._stopping.set()
        self._server.close()
        self._disconnect()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(2.0)
        self._udp.close()

    def _report(self) -> None:
        """States, fifty times a second."""
        record, number = blank(gripper_state_layout()), 0
        while self._running:
            time.sleep(STATE_PERIOD)
            peer, state = self._peer, self._session.state
            if peer is None or self._faults.stalled:
                continue
            number += 1
            record["message_id"], record["width"] = number, state.gripper_width
            record["max_width"], record["temperature"] = self._widest, 30
            record["is_grasped"] = self._holds and state.gripper_force > 0.1
            try:
                self._udp.sendto(record.tobytes(), peer)
            except OSError as error:
                log.debug("gripper state not sent: %s", error)

    def _serve(self) -> None:
        while self._running:
            accepted = accept(self._server, lambda: self._running)
            if accepted is None:
                return
            connection, (address, _) = accepted
            if self._faults.refused:
                connection.close()
                continue
            with connection:
                self._client = connection
                self._talk(connection, address)
                self._peer, self._client = None, None
            self._interrupt()

    @property
    def _widest(self) -> float:
        """The widest opening, as the hand tells [m]."""
        return self._session.state.gripper_max_width if self.homed else 0.0

    def _talk(self, connection: socket.socket, address: str) -> None:
        running: Callable[[], bool] = lambda: self._running and not self._faults.refused  # noqa: E731
        while True:
            head = receive(connection, self._framing.header.size, running)
            if not head:
                return
            try:
                command, identifier, size = self._framing.unpack(head)
                data = receive(connection, size, running) if size else b""
                body = decode(gripper_request_layout(command), data)
            except BadMessage as error:
                log.warning("connection ended: %s", error)
                return
            if command == "Connect":
                fits = int(body["version"]) == GRIPPER_VERSION
                self._send(command, identifier, 0 if fits else 1, version=GRIPPER_VERSION)
                if not fits:
                    return
                self._peer = (address, int(body["udp_port"]))
            else:
                if not self._manners.stop_waits:
                    self._interrupt()
                task = self._last, command, identifier, body
                self._last = threading.Thread(target=self._carry_out, args=task, name="gripper-work", daemon=True)
                self._last.start()

    def _interrupt(self) -> None:
        """Ends the command that runs, if one does, and waits for that."""
        self._stopping.set()
        if self._last is not None:
            self._last.join(2.0)
        self._stopping.clear()

    def _carry_out(self, before: threading.Thread | None, command: str, identifier: int, body: np.ndarray) -> None:
        """Does a command after the one before and answers it."""
        client = self._client
        if before is not None:
            before.join()
        if client is not None and self._client is client:
            self._send(command, identifier, self._status(self._done(command, body)))

    def _done(self, command: str, body: np.ndarray) -> str:
        """Carries a command out; returns its status."""
        if command == "Stop":
            self._tell(GripperCommand(self._session.state.gripper_width, FASTEST))
            return "success"
        self._wait(self._manners.command_delay)
        if self._stopping.is_set():
            return "aborted"
        if self._faults.gripper_fails or not (self.homed or command == "Homing"):
            return "fail"
        status = {"Homing": self._home, "Move": self._move, "Grasp": self._grasp}[command](body)
        return "aborted" if self._stopping.is_set() else status

    def _wait(self, seconds: float, begun: float | None = None) -> None:
        """Waits until that much of the robot's time went by, from now or from an earlier time [s]."""
        begun = self._session.state.time if begun is None else begun
        while self._running and not self._stopping.is_set() and self._session.state.time - begun < seconds:
            time.sleep(0.005)

    def _home(self, body: np.ndarray) -> str:
        widest = self._session.state.gripper_max_width
        self._holds = False
        for width in (0.0, widest):
            self._tell(GripperCommand(width, HOMING_SPEED))
            state = self._settle(width)
        self.homed = abs(state.gripper_width - widest) < ARRIVED
        return "success" if self.homed else "unsuccessful"

    def _move(self, body: np.ndarray) -> str:
        width, speed = float(body["width"]), float(body["speed"])
        if not (0 <= width <= self._session.state.gripper_max_width + 1e-3 and speed > 0):
            return "fail"
        self._holds = False
        begun = self._session.state.time
        self._tell(GripperCommand(width, min(speed, FASTEST)))
        if abs(self._settle(width).gripper_width - width) < ARRIVED:
            return "success"
        self._wait(self._manners.blocked_move_hangs, begun)
        return "unsuccessful"

    def _grasp(self, body: np.ndarray) -> str:
        width, speed, force = float(body["width"]), float(body["speed"]), float(body["force"])
        if not (0 <= width <= self._session.state.gripper_max_width + 1e-3 and speed > 0 and force > 0):
            return "fail"
        self._holds = False
        self._tell(GripperCommand(0.0, min(speed, FASTEST), force))
        state = self._settle(0.0)
        inside = width - float(body["epsilon_inner"]) <= state.gripper_width <= width + float(body["epsilon_outer"])
        self._holds = inside
        return "success" if inside else "unsuccessful"

    def _tell(self, command: GripperCommand) -> None:
        with self._lock:
            self._session.gripper = command

    def _settle(self, width: float) -> PlantState:
        """Waits until the fingers are there, or rest, by the robot's own time."""
        begun = self._session.state.time
        quiet = begun
        while self._running and not self._stopping.is_set():
            state = self._session.state
            if state.gripper_moving or state.time == begun:
                quiet = state.time
            if state.time - quiet >= SETTLE or state.time - begun > SLOWEST:
                break
            time.sleep(0.005)
        return self._session.state

    @staticmethod
    def _status(name: str) -> int:
        return GRIPPER_STATUSES.index(name)

    def _send(self, command: str, identifier: int, status: int, **more: int) -> None:
        body = encode(gripper_response_layout(command), status=status, **more)
        client = self._client
        with self._sending:
            try:
                if client is not None:
                    client.sendall(self._framing.pack(command, identifier, body))
            except OSError as error:
                log.debug("answer not sent: %s", error)

    def _cut(self) -> None:
        client = self._client
        if client is not None:
            reset(client)

    def _disconnect(self) -> None:
        client = self._client
        if client is not None:
            try:
                client.shutdown(socket.SHUT_RDWR)
            except OSError:
                log.debug("client had left")
