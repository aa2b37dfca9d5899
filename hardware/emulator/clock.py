"""The clock of the emulator: it steps the arm by the wall clock, or by the client's answers (lock-step)."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque

import numpy as np

from robo_reward.hardware.emulator.robot.session import RobotSession
from robo_reward.hardware.emulator.tools.cycle_log import CycleLog
from robo_reward.hardware.emulator.tools.faults import Faults
from robo_reward.hardware.emulator.tools.telemetry import Telemetry
from robo_reward.hardware.emulator.wire.server import RobotServer
from robo_reward.hardware.emulator.world.plant import DT

log = logging.getLogger(__name__)

PATIENCE = 0.5
"""Lock-step: time that a cycle waits for the client before its command counts as lost [s]. libfranka waits 1 s."""
FIRST_COMMAND_PATIENCE = 0.03
"""Lock-step: the same for the first command of a motion, before which a client reads two or more states [s]."""
MIN_ANSWER_TIME = 0.5e-3
"""Time that a client has to answer before its command counts as lost, even if the emulator itself is late [s]."""
MAX_CATCH_UP = 0.1
"""Free-running: largest delay that the emulator catches up; after a longer one, the deadlines are moved [s]."""
WARNING_INTERVAL = 10.0
"""Shortest time between two warnings that the clock slips [s]."""


class EmulatorClock:
    """The thread that steps the session once per millisecond of robot time.

    Free-running, a cycle begins at every millisecond of the wall clock. In lock-step, a cycle begins when the command
    that answers the last state is there: time is what the message identifiers say, and runs as fast as client and
    plant can, or as fast as `speed` allows. While no command is due (no motion, the start or end of one, asynchronous
    targets) lock-step is free-running.

    Args:
        session: the state machine of the arm.
        server: the arm's sockets.
        lock: the lock held while the session changes.
        faults: the faults to inject.
        cycles: the log that receives every cycle.
        lockstep: whether to wait for the client.
        patience: how long lock-step waits for a command [s].
        speed: in lock-step, the largest ratio of robot time to wall clock time; 0 for no bound.

    Attributes:
        failure: the exception that stopped the thread, or None.
    """

    def __init__(
        self,
        session: RobotSession,
        server: RobotServer,
        lock: threading.RLock,
        faults: Faults,
        cycles: CycleLog,
        lockstep: bool = False,
        patience: float = PATIENCE,
        speed: float = 0.0,
    ) -> None:
        self._session, self._server, self._lock, self._faults = session, server, lock, faults
        self._cycles, self._lockstep, self._patience = cycles, lockstep, patience
        self._step = DT / speed if speed > 0 else 0.0
        self._telemetry = Telemetry(session)
        self._late: deque[tuple[int, np.ndarray]] = deque()
        self._running = True
        self._deadline = 0.0
        self._sent = 0.0
        self._slips, self._warned = 0, -WARNING_INTERVAL
        self.failure: Exception | None = None
        self._thread = threading.Thread(target=self._run_guarded, name="fci-clock", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stops the thread and waits for its end."""
        self._running = False
        self._server.wake()
        if self._thread.is_alive():
            self._thread.join(2.0)

    def _run_guarded(self) -> None:
        try:
            self._run_cycles()
        except Exception as error:  # kept for the thread that closes the emulator
            self.failure = error
            log.exception("the emulator stopped")
            self._server.hang_up()

    def _run_cycles(self) -> None:
        self._deadline = time.perf_counter()
        patient = True
        while self._running:
            if self._lockstep and patient and self._is_command_due():
                commands, lateness, came = self._await_command(self._patience)
                self._limit_speed()
            elif self._lockstep and self._session.is_motion_starting and not self._faults.is_stalled:
                commands, lateness, came = self._await_command(FIRST_COMMAND_PATIENCE)
                self._deadline = time.perf_counter()
            else:
                commands, lateness = self._sleep_until_deadline()
                came = False
            # After a wait without an answer, do not wait again until the client has answered a state.
            patient = self._is_state_answered(commands) or not self._is_command_due() or came
            self._run_cycle(commands, lateness)

    def _limit_speed(self) -> None:
        """Lock-step: waits as long as `speed` demands; time that was lost is not caught up."""
        self._deadline = max(self._deadline + self._step, time.perf_counter())
        if self._step and (left := self._deadline - time.perf_counter()) > 0:
            time.sleep(left)

    def _is_command_due(self) -> bool:
        """Returns whether a client that keeps up is about to answer."""
        return self._session.expects_command and self._server.is_connected and not self._faults.is_stalled

    def _await_command(self, patience: float) -> tuple[list[np.ndarray], float, bool]:
        """Lock-step: returns the commands received, how long that took [s], and whether anything came at all."""
        begun, drops = time.perf_counter(), self._faults.dropped
        commands: list[np.ndarray] = []
        while True:
            commands += self._server.receive_commands()
            waited = time.perf_counter() - begun
            if self._is_state_answered(commands) or self._faults.dropped != drops:
                return commands, waited, True
            if (
                # Give up after `patience`, or when no command is expected any more.
                waited > patience
                or not (self._is_command_due() or self._session.is_motion_starting)
                or not self._running
            ):
                return commands, waited, False
            self._server.wait_for_event(min(0.05, patience))

    def _is_state_answered(self, commands: list[np.ndarray]) -> bool:
        """Returns whether the last of these commands answers the last state."""
        return bool(commands) and int(commands[-1]["message_id"]) >= self._session.time

    def _sleep_until_deadline(self) -> tuple[list[np.ndarray], float]:
        """Free-running: sleeps until the next deadline; returns the commands received and the lateness [s].

        If the cycle is late already, the client still gets `MIN_ANSWER_TIME` to answer, and the arm catches up
        gradually.
        """
        self._deadline += DT
        now = time.perf_counter()
        if self._deadline > now:
            time.sleep(self._deadline - now)
            now = time.perf_counter()
        lateness = now - self._deadline
        # Too late: move the deadlines; smaller delays are caught up with cycles that follow at once.
        if lateness > MAX_CATCH_UP:
            self._warn_of_slip(lateness, now)
            self._deadline = now
        commands = self._server.receive_commands()
        while (
            self._is_command_due()
            and not self._is_state_answered(commands)
            and (left := self._sent + MIN_ANSWER_TIME - time.perf_counter()) > 0
        ):
            self._server.wait_for_event(left)
            commands += self._server.receive_commands()
        return commands, lateness

    def _warn_of_slip(self, lateness: float, now: float) -> None:
        """Logs that the clock slipped, at most once per `WARNING_INTERVAL`."""
        self._slips += 1
        if now - self._warned > WARNING_INTERVAL:
            log.warning("%.0f ms late: the clock slips, %d times so far", lateness * 1e3, self._slips)
            self._warned = now

    def _run_cycle(self, commands: list[np.ndarray], lateness: float) -> None:
        with self._lock:
            command = self._select_command(commands)
            self._session.tick(command)
            data = self._telemetry.fill_record()
            answers, self._session.outbox = self._session.outbox, []
            wall = time.monotonic()
            self._server.send_state(data)
            self._sent = time.perf_counter()
            if answers:
                self._server.send_replies(answers)
            cycle = self._telemetry.fill_cycle(command, wall, lateness)  # while the client works on the state
        self._cycles.append(cycle)

    def _select_command(self, commands: list[np.ndarray]) -> np.ndarray | None:
        """Returns the newest command that has arrived by now, injected delays included, or None."""
        delay = self._faults.delay_ms
        if not delay and not self._late:
            return commands[-1] if commands else None
        # Injected delay: hold each command back for `delay` cycles.
        self._late.extend((self._session.time + 1 + delay, command) for command in commands)
        newest = None
        while self._late and self._late[0][0] <= self._session.time + 1:
            newest = self._late.popleft()[1]
        return newest
