"""The sockets of the gripper, which is a separate device for libfranka: TCP 1338, and states on UDP."""

from __future__ import annotations

import logging
import threading
import time

import numpy as np

from robo_reward.configs.emulation import HandBehavior
from robo_reward.hardware.emulator.robot.session import RobotSession
from robo_reward.hardware.emulator.tools.faults import Faults
from robo_reward.hardware.emulator.wire.client_server import ClientServer
from robo_reward.hardware.emulator.wire.codec import (
    encode_record,
    gripper_framing,
    gripper_request_layout,
    gripper_response_layout,
    gripper_state_layout,
    make_blank_record,
)
from robo_reward.hardware.emulator.wire.versions import GRIPPER_PORT, GRIPPER_STATUSES, GRIPPER_VERSION
from robo_reward.hardware.emulator.world.plant import GripperCommand, PlantState

log = logging.getLogger(__name__)

STATE_PERIOD = 0.02
HOMING_SPEED, FASTEST = 0.05, 0.1
"""Speed of the opening during homing, and its maximum [m/s]."""
ARRIVED = 0.002
"""Difference from its width at which a move is complete [m]."""
SETTLE = 0.02
"""Simulated time without motion after which a command is complete [s]."""
SLOWEST = 30.0
"""Simulated time after which a command is abandoned [s]."""


class GripperServer(ClientServer):
    """Serves the gripper's port; commands block, as on the real hand, and a `Stop` or a newer command interrupts them.

    Args:
        session: the state machine of the arm that carries the gripper.
        host: the address to serve on.
        lock: the lock held while the session changes.
        faults: the faults to inject.
        port: the port of the gripper's service.
        behavior: how commands are treated; None for an ideal hand.

    Attributes:
        homed: whether the hand knows how far it opens.

    Raises:
        PortBusy: the address is taken.
    """

    def __init__(
        self,
        session: RobotSession,
        host: str,
        lock: threading.RLock,
        faults: Faults,
        port: int = GRIPPER_PORT,
        behavior: HandBehavior | None = None,
    ) -> None:
        super().__init__("gripper", host, port, faults, gripper_framing())
        self._session, self._lock = session, lock
        self._behavior = behavior or HandBehavior()
        self.homed = not self._behavior.needs_homing
        self._stopping = threading.Event()
        self._last: threading.Thread | None = None  # executes the newest command once the previous one has ended
        self._holds = False
        self._threads.append(threading.Thread(target=self._stream_states, name="gripper-udp", daemon=True))

    def close(self) -> None:
        """Closes all connections and sockets, and waits for the threads."""
        self._running = False
        self._stopping.set()
        super().close()

    def get_request_layout(self, command: str) -> np.dtype:
        """Returns the layout of a request's body."""
        return gripper_request_layout(command)

    def connect_client(self, identifier: int, version: int) -> bool:
        """Answers a Connect request; returns whether the client's protocol version fits."""
        fits = version == GRIPPER_VERSION
        self._send_response("Connect", identifier, 0 if fits else 1, version=GRIPPER_VERSION)
        return fits

    def handle_request(self, command: str, identifier: int, body: np.ndarray) -> None:
        """Starts a command, which interrupts the one before unless the hand lets that end first."""
        if not self._behavior.stop_waits:
            self._interrupt_command()
        task = self._last, command, identifier, body
        self._last = threading.Thread(target=self._run_command, args=task, name="gripper-work", daemon=True)
        self._last.start()

    def handle_disconnect(self, address: str) -> None:
        """Interrupts the command of a client that has left."""
        self._interrupt_command()

    def _stream_states(self) -> None:
        """Sends a state every `STATE_PERIOD`, fifty times a second."""
        record, number = make_blank_record(gripper_state_layout()), 0
        while self._running:
            time.sleep(STATE_PERIOD)
            if not self.is_connected or self._faults.is_stalled:
                continue
            state, number = self._session.state, number + 1
            record["message_id"], record["width"] = number, state.gripper_width
            record["max_width"], record["temperature"] = self._reported_max_width, 30
            record["is_grasped"] = self._holds and state.gripper_force > 0.1
            self.send_state(record.tobytes())

    @property
    def _reported_max_width(self) -> float:
        """The largest opening that the hand reports [m]; 0 before homing."""
        return self._session.state.gripper_max_width if self.homed else 0.0

    def _interrupt_command(self) -> None:
        """Interrupts the running command, if any, and waits for its end."""
        self._stopping.set()
        if self._last is not None:
            self._last.join(2.0)
        self._stopping.clear()

    def _run_command(self, before: threading.Thread | None, command: str, identifier: int, body: np.ndarray) -> None:
        """Executes a command after the previous one has ended, and answers it."""
        client = self._client
        if before is not None:
            before.join()
        if client is not None and self._client is client:
            self._send_response(command, identifier, self._status_code(self._execute_command(command, body)))

    def _execute_command(self, command: str, body: np.ndarray) -> str:
        """Executes a command; returns its status."""
        if command == "Stop":
            self._command_hand(GripperCommand(self._session.state.gripper_width, FASTEST))
            return "success"
        self._wait_robot_time(self._behavior.command_delay)
        if self._stopping.is_set():
            return "aborted"
        if self._faults.gripper_fails or not (self.homed or command == "Homing"):
            return "fail"
        status = {"Homing": self._execute_homing, "Move": self._execute_move, "Grasp": self._execute_grasp}[command](
            body
        )
        return "aborted" if self._stopping.is_set() else status

    def _wait_robot_time(self, seconds: float, begun: float | None = None) -> None:
        """Waits until `seconds` of robot time have passed since `begun` [s], or since now."""
        begun = self._session.state.time if begun is None else begun
        while self._running and not self._stopping.is_set() and self._session.state.time - begun < seconds:
            time.sleep(0.005)

    def _execute_homing(self, body: np.ndarray) -> str:
        widest = self._session.state.gripper_max_width
        self._holds = False
        for width in (0.0, widest):
            self._command_hand(GripperCommand(width, HOMING_SPEED))
            state = self._wait_until_settled(width)
        self.homed = abs(state.gripper_width - widest) < ARRIVED
        return "success" if self.homed else "unsuccessful"

    def _execute_move(self, body: np.ndarray) -> str:
        width, speed = float(body["width"]), float(body["speed"])
        if not (0 <= width <= self._session.state.gripper_max_width + 1e-3 and speed > 0):
            return "fail"
        self._holds = False
        begun = self._session.state.time
        self._command_hand(GripperCommand(width, min(speed, FASTEST)))
        self._wait_until_settled(width)
        while not self._has_arrived(width) and self._session.state.time - begun < self._behavior.blocked_move_hangs:
            if not self._running or self._stopping.is_set():
                break
            time.sleep(0.005)  # the fingers still press and continue once the obstacle is gone
        return "success" if self._has_arrived(width) else "unsuccessful"

    def _has_arrived(self, width: float) -> bool:
        return abs(self._session.state.gripper_width - width) < ARRIVED

    def _execute_grasp(self, body: np.ndarray) -> str:
        width, speed, force = float(body["width"]), float(body["speed"]), float(body["force"])
        if not (0 <= width <= self._session.state.gripper_max_width + 1e-3 and speed > 0 and force > 0):
            return "fail"
        self._holds = False
        self._command_hand(GripperCommand(0.0, min(speed, FASTEST), force))
        state = self._wait_until_settled(0.0)
        inside = width - float(body["epsilon_inner"]) <= state.gripper_width <= width + float(body["epsilon_outer"])
        self._holds = inside
        return "success" if inside else "unsuccessful"

    def _command_hand(self, command: GripperCommand) -> None:
        with self._lock:
            self._session.gripper = command

    def _wait_until_settled(self, width: float) -> PlantState:
        """Waits, by robot time, until the fingers rest; returns the state then."""
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
    def _status_code(name: str) -> int:
        return GRIPPER_STATUSES.index(name)

    def _send_response(self, command: str, identifier: int, status: int, **more: int) -> None:
        self.send_message(command, identifier, encode_record(gripper_response_layout(command), status=status, **more))
