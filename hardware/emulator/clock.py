"""What drives the arm: a millisecond by the wall clock, or by the client's answers."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque

import numpy as np

from robo_reward.hardware.emulator.cycle_log import CycleLog
from robo_reward.hardware.emulator.faults import Faults
from robo_reward.hardware.emulator.plant import DT
from robo_reward.hardware.emulator.server import RobotServer
from robo_reward.hardware.emulator.session import Session
from robo_reward.hardware.emulator.telemetry import Telemetry

log = logging.getLogger(__name__)

PATIENCE = 0.5
"""In lock-step: how long a cycle waits for the client before its command counts as lost [s]. libfranka waits 1 s."""
FIRST = 0.03
"""In lock-step: likewise for the first command of a motion, before which a client reads two states or more [s]."""
FAIR = 0.5e-3
"""A command counts as lost only if the client had this long to answer; else it was the emulator that was late [s]."""
SLIP = 0.1
"""Free-running: later than this, the emulator gives up catching up [s]."""
QUIET = 10.0
"""Between two warnings that the clock slips [s]."""


class Clock:
    """The thread that steps the session.

    Free-running, a cycle begins at every millisecond of the wall clock. In lock-step, a cycle begins when the command
    that answers the last state is there: time is what the message identifiers say, and runs as fast as client and body
    can, or as fast as told. While no command is due (no motion, the start or end of one, asynchronous targets)
    lock-step is free-running.

    Args:
        session: the arm.
        server: its sockets.
        lock: held while the session changes.
        faults: what shall go wrong.
        cycles: where each is written down.
        lockstep: whether to wait for the client.
        patience: how long [s].
        speed: in lock-step, at most so many times as fast as the wall clock; 0 for no bound.

    Attributes:
        failure: what stopped the thread, or none.
    """

    def __init__(
        self,
        session: Session,
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
        self._slips, self._warned = 0, -QUIET
        self.failure: Exception | None = None
        self._thread = threading.Thread(target=self._guarded, name="fci-clock", daemon=True)

    def start(self) -> None:
        """Begins to tick."""
        self._thread.start()

    def close(self) -> None:
        """Ends the thread."""
        self._running = False
        self._server.wake()
        if self._thread.is_alive():
            self._thread.join(2.0)

    def _guarded(self) -> None:
        try:
            self._run()
        except Exception as error:  # whoever closes the emulator gets it
            self.failure = error
            log.exception("the emulator stopped")
            self._server.hang_up()

    def _run(self) -> None:
        self._deadline = time.perf_counter()
        patient = True
        while self._running:
            if self._lockstep and patient and self._due():
                commands, lateness, came = self._await(self._patience)
                self._hold_back()
            elif self._lockstep and self._session.opening and not self._faults.stalled:
                commands, lateness, came = self._await(FIRST)
                self._deadline = time.perf_counter()
            else:
                commands, lateness = self._sleep()
                came = False
            patient = self._answered(commands) or not self._due() or came
            self._cycle(commands, lateness)

    def _hold_back(self) -> None:
        """Lock-step: not faster than told; time that was lost is not caught up."""
        self._deadline = max(self._deadline + self._step, time.perf_counter())
        if self._step and (left := self._deadline - time.perf_counter()) > 0:
            time.sleep(left)

    def _due(self) -> bool:
        """Whether a client that keeps up is about to answer."""
        return self._session.expects_command and self._server.connected and not self._faults.stalled

    def _await(self, patience: float) -> tuple[list[np.ndarray], float, bool]:
        """Lock-step: the answer to the last state, how long it took, and whether something came at all."""
        begun, drops = time.perf_counter(), self._faults.dropped
        commands: list[np.ndarray] = []
        while True:
            commands += self._server.newest_command()
            waited = time.perf_counter() - begun
            if self._answered(commands) or self._faults.dropped != drops:
                return commands, waited, True
            if waited > patience or not (self._due() or self._session.opening) or not self._running:
                return commands, waited, False
            self._server.wait(min(0.05, patience))

    def _answered(self, commands: list[np.ndarray]) -> bool:
        """Whether the last of these answers the last state."""
        return bool(commands) and int(commands[-1]["message_id"]) >= self._session.time

    def _sleep(self) -> tuple[list[np.ndarray], float]:
        """Free-running: until the next deadline. Returns what came and how late it became [s].

        If it is late already, the client still gets `FAIR` to answer, and the arm catches up bit by bit.
        """
        self._deadline += DT
        now = time.perf_counter()
        if self._deadline > now:
            time.sleep(self._deadline - now)
            now = time.perf_counter()
        lateness = now - self._deadline
        if lateness > SLIP:
            self._slipped(lateness, now)
            self._deadline = now
        commands = self._server.newest_command()
        while self._due() and not self._answered(commands) and (left := self._sent + FAIR - time.perf_counter()) > 0:
            self._server.wait(left)
            commands += self._server.newest_command()
        return commands, lateness

    def _slipped(self, lateness: float, now: float) -> None:
        """Warns, but not all the time."""
        self._slips += 1
        if now - self._warned > QUIET:
            log.warning("%.0f ms late: the clock slips, %d times so far", lateness * 1e3, self._slips)
            self._warned = now

    def _cycle(self, commands: list[np.ndarray], lateness: float) -> None:
        with self._lock:
            command = self._newest(commands)
            self._session.tick(command)
            data = self._telemetry.fill()
            answers, self._session.outbox = self._session.outbox, []
            wall = time.monotonic()
            self._server.send_state(data)
            self._sent = time.perf_counter()
            if answers:
                self._server.send_answers(answers)
            cycle = self._telemetry.cycle(command, wall, lateness)  # while the client works on the state
        self._cycles.append(cycle)

    def _newest(self, commands: list[np.ndarray]) -> np.ndarray | None:
        """The newest command that has arrived by now, delays counted in."""
        delay = self._faults.delay_ms
        if not delay and not self._late:
            return commands[-1] if commands else None
        self._late.extend((self._session.time + 1 + delay, command) for command in commands)
        newest = None
        while self._late and self._late[0][0] <= self._session.time + 1:
            newest = self._late.popleft()[1]
        return newest
