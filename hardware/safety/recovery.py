"""State machine of a deployment's faults, which lets nothing move again before it is safe."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from robo_reward.errors import RoboRewardError, UsageError
from robo_reward.hardware.arm import ArmFault, ArmState, FaultKind, Mode
from robo_reward.hardware.safety.fault_messages import KINDS, make_fault, make_guiding_fault, make_locked_fault

FINAL = (FaultKind.VERSION, FaultKind.UNREACHABLE)
"""Kinds of faults that no recovery clears: a person must change the setup, then connect again."""


class Phase(Enum):
    """Phase of a deployment. Commands may be streamed in `RUNNING` and `HOLDING` only."""

    IDLE = "idle"
    READY = "ready"
    RUNNING = "running"
    HOLDING = "holding"
    STOPPED = "stopped"
    FAULT = "fault"
    RECOVERING = "recovering"
    CLOSED = "closed"


class Reaction(Enum):
    """Action that the caller must take next."""

    NOTHING = "nothing"
    RECOVER = "recover"
    ASK = "ask"
    END = "end"


class RecoveryStep(NamedTuple):
    """Reaction of the state machine to an event.

    Attributes:
        reaction: what to do.
        message: for the operator: cause and remedy; empty if there is nothing to say.
    """

    reaction: Reaction
    message: str = ""


class WrongPhase(RoboRewardError):
    """Raised for an event that must not happen in this phase."""

    def __init__(self, event: str, phase: Phase, allowed: tuple[Phase, ...], why: str = "") -> None:
        names = " or ".join(p.value for p in allowed)
        super().__init__(f"cannot {event} while {phase.value}, only while {names}{'. ' + why if why else ''}")


class FaultMachine:
    """Enforces the order of events. It moves nothing itself; the caller does what each `RecoveryStep` says.

        IDLE --seed--> READY --start--> RUNNING <--hold / resume--> HOLDING
        RUNNING, HOLDING, READY --stop--> STOPPED --confirm--> IDLE
        any --handle_fault--> FAULT --confirm--> RECOVERING --finish_recovery--> IDLE
        any --handle_fault (communication, at most `retries` within `window`)--> RECOVERING without a person

    Recovery always ends in IDLE, from which only `seed` with a state measured afterwards leads on: a target from
    before a fault is never streamed after it. A user stop, a reflex and every other fault but a communication
    error waits in FAULT for `confirm`. A fault of a kind in `FINAL`, or one that is not recoverable, ends the
    deployment: no confirmation is requested that cannot help.

    Args:
        retries: how many communication errors in `window` are recovered from without a person.
        window: [s].
        clock: [s].

    Attributes:
        phase: the present phase.
        last_fault: the last fault, or None.

    Raises:
        UsageError: numbers that make no sense.
    """

    def __init__(self, retries: int = 3, window: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        if retries < 0 or not window > 0:
            raise UsageError(f"retries={retries} window={window}: expected 0 or more, and a positive time")
        self.retries, self.window, self._clock = retries, window, clock
        self.phase, self.last_fault = Phase.IDLE, None
        self._seeded_after = -1.0
        self._retried: list[float] = []

    def seed(self, state: ArmState) -> None:
        """Records that the targets were set to the measured pose.

        Raises:
            WrongPhase: not idle.
            UsageError: the state is older than the recovery, or the robot's mode reports a problem.
        """
        self._require_phase("seed", Phase.IDLE)
        if state.stamp < self._seeded_after:
            raise UsageError("the state was measured before the recovery; read a new one")
        if state.mode not in (Mode.IDLE, Mode.MOVING):
            raise UsageError(f"the robot is in mode {state.mode.value}, expected idle")
        self.phase = Phase.READY

    def start(self) -> None:
        """Records that streaming starts."""
        self._require_phase("start", Phase.READY, why="Seed the targets from the measured state first")
        self.phase = Phase.RUNNING

    def hold(self) -> None:
        """Records that the watchdog or the filter holds the arm, under control."""
        self._require_phase("hold", Phase.RUNNING, Phase.HOLDING)
        self.phase = Phase.HOLDING

    def resume(self) -> None:
        """Records that the missing input is available again."""
        self._require_phase("resume", Phase.HOLDING)
        self.phase = Phase.RUNNING

    def stop(self, cause: str) -> RecoveryStep:
        """Records that we stopped the arm, which a person must look at; no stop if the arm does not move."""
        if self.phase in (Phase.READY, Phase.RUNNING, Phase.HOLDING):
            self.phase = Phase.STOPPED
            return RecoveryStep(Reaction.ASK, f"The arm was stopped: {cause}. Look at it, then confirm to continue")
        return RecoveryStep(Reaction.NOTHING)

    def finish(self) -> None:
        """Records that an episode ended normally; the next one begins with `seed`."""
        self._require_phase("finish", Phase.RUNNING, Phase.HOLDING, Phase.READY)
        self.phase = Phase.IDLE

    def handle_fault(self, fault: ArmFault) -> RecoveryStep:
        """Returns the reaction to a fault of the arm, in whatever phase."""
        if self.phase is Phase.CLOSED:
            return RecoveryStep(Reaction.END)
        if self._is_final():
            return RecoveryStep(Reaction.END, str(self.last_fault))
        # `waiting`: a person must still confirm an earlier fault or stop.
        waiting = self.phase in (Phase.FAULT, Phase.STOPPED)
        first, self.last_fault = self.last_fault, fault
        message = f"{fault.kind.value}: {fault.cause}. {fault.remedy}"
        if fault.kind in FINAL or not fault.recoverable:
            self.phase = Phase.FAULT
            return RecoveryStep(Reaction.END, message)
        if waiting and fault.kind is FaultKind.COMMUNICATION:
            # A lost connection does not replace an earlier fault that a person must still confirm.
            if self.phase is Phase.FAULT and first is not None:
                self.last_fault = first
            self.phase = Phase.FAULT
            return RecoveryStep(Reaction.ASK, message)
        # Only a lost connection is recovered without a person, and only a limited number of times.
        if fault.kind is FaultKind.COMMUNICATION and self._use_retry():
            self.phase = Phase.RECOVERING
            count = f"{len(self._retried)} of {self.retries}"
            return RecoveryStep(
                Reaction.RECOVER, f"{message} Trying to recover automatically ({count} within {self.window:.0f} s)"
            )
        self.phase = Phase.FAULT
        return RecoveryStep(Reaction.ASK, message if "confirm" in fault.remedy else f"{message} Then confirm")

    def confirm(self, who: str, mode: Mode = Mode.OTHER) -> RecoveryStep:
        """Records that a person looked at the arm and lets the deployment go on.

        Args:
            who: the person, for the log.
            mode: of the robot now; a user stop that is still pressed cannot be confirmed away.

        Raises:
            WrongPhase: nothing waits for a person.
            UsageError: no person is named.
        """
        self._require_phase("confirm", Phase.FAULT, Phase.STOPPED)
        if not who.strip():
            raise UsageError("a confirmation needs the name of the person who looked at the arm")
        # A pressed user stop cannot be confirmed; the phase stays the same.
        if mode is Mode.USER_STOPPED:
            cause, remedy = KINDS[FaultKind.USER_STOP]
            return RecoveryStep(Reaction.ASK, f"{cause}. {remedy}")
        if self._is_final():
            return RecoveryStep(Reaction.END, str(self.last_fault))
        if self.phase is Phase.STOPPED:
            self._return_to_idle()
            return RecoveryStep(Reaction.NOTHING)
        self.phase = Phase.RECOVERING
        self._retried.clear()
        return RecoveryStep(Reaction.RECOVER)

    def finish_recovery(self, state: ArmState) -> RecoveryStep:
        """Records that the arm's `recover` returned; `state` was measured afterwards."""
        self._require_phase("finish a recovery", Phase.RECOVERING)
        if state.mode in (Mode.IDLE, Mode.MOVING):
            self._return_to_idle()
            return RecoveryStep(Reaction.NOTHING)
        self.phase = Phase.FAULT
        self.last_fault = _find_mode_fault(state)
        return RecoveryStep(Reaction.ASK, str(self.last_fault))

    def close(self) -> None:
        """Ends the deployment; no event is accepted afterwards."""
        self.phase = Phase.CLOSED

    def _is_final(self) -> bool:
        """Returns whether the deployment is in a fault that no confirmation can end."""
        fault = self.last_fault
        return self.phase is Phase.FAULT and fault is not None and (fault.kind in FINAL or not fault.recoverable)

    def _return_to_idle(self) -> None:
        # States from before the recovery must not become targets, so `seed` rejects older ones.
        self.phase, self._seeded_after = Phase.IDLE, self._clock()

    def _use_retry(self) -> bool:
        """Returns whether one more recovery without a person is allowed, and counts it."""
        now = self._clock()
        # Retries count within a sliding window [s].
        self._retried = [t for t in self._retried if now - t < self.window]
        if len(self._retried) >= self.retries:
            return False
        self._retried.append(now)
        return True

    def _require_phase(self, event: str, *phases: Phase, why: str = "") -> None:
        if self.phase not in phases:
            raise WrongPhase(event, self.phase, phases, why)


def _find_mode_fault(state: ArmState) -> ArmFault:
    """Returns the fault of an arm that is not idle after a recovery."""
    if state.mode is Mode.USER_STOPPED:
        return make_fault(FaultKind.USER_STOP)
    if state.mode is Mode.REFLEX:
        return make_fault(FaultKind.REFLEX, state.errors)
    return make_guiding_fault() if state.mode is Mode.GUIDING else make_locked_fault()
