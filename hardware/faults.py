"""What follows from a fault: a state machine that lets nothing move again before it is safe."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from robo_reward.errors import RoboRewardError, UsageError
from robo_reward.hardware.explain import KINDS, fault_of, guided, locked
from robo_reward.hardware.robot import ArmFault, ArmState, FaultKind, Mode

FINAL = (FaultKind.VERSION, FaultKind.UNREACHABLE)
"""Kinds that a recovery cannot help: somebody must change something and connect anew."""


class Phase(Enum):
    """Where a deployment stands. Commands may be streamed in `RUNNING` and `HOLDING` only."""

    IDLE = "idle"
    READY = "ready"
    RUNNING = "running"
    HOLDING = "holding"
    STOPPED = "stopped"
    FAULT = "fault"
    RECOVERING = "recovering"
    CLOSED = "closed"


class Reaction(Enum):
    """What the caller must do next."""

    NOTHING = "nothing"
    RECOVER = "recover"
    ASK = "ask"
    END = "end"


class Step(NamedTuple):
    """The answer to an event.

    Attributes:
        reaction: what to do.
        message: for the operator: cause and remedy; empty if there is nothing to say.
    """

    reaction: Reaction
    message: str = ""


class WrongPhase(RoboRewardError):
    """An event that must not happen in this phase."""

    def __init__(self, event: str, phase: Phase, allowed: tuple[Phase, ...], why: str = "") -> None:
        names = " or ".join(p.value for p in allowed)
        super().__init__(f"cannot {event} while {phase.value}, only while {names}{'. ' + why if why else ''}")


class FaultMachine:
    """Keeps the order of things. It moves nothing itself; the caller does what each `Step` says.

        IDLE --seed--> READY --start--> RUNNING <--hold / resume--> HOLDING
        RUNNING, HOLDING, READY --stop--> STOPPED --confirm--> IDLE
        any --fault--> FAULT --confirm--> RECOVERING --recovered--> IDLE
        any --fault (communication, at most `retries` within `window`)--> RECOVERING without a person

    Recovery always ends in IDLE, from which only `seed` with a state measured afterwards leads on: a target from
    before a fault is never streamed after it. A user stop, a reflex and every other fault but a communication error
    waits in FAULT for `confirm`. A fault of a kind in `FINAL`, or one that is not recoverable, ends the deployment: no
    confirmation is asked for that cannot help.

    Args:
        retries: how many communication errors in `window` are recovered from without a person.
        window: [s].
        clock: [s].

    Attributes:
        phase: where it stands.
        last_fault: the last fault, or none.

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

    @property
    def may_stream(self) -> bool:
        """Whether a command may go to the arm now."""
        return self.phase in (Phase.RUNNING, Phase.HOLDING)

    def seed(self, state: ArmState) -> None:
        """Targets were set to where the arm stands.

        Raises:
            WrongPhase: not idle.
            UsageError: the state is older than the recovery, or the robot says that something is wrong.
        """
        self._only("seed", Phase.IDLE)
        if state.stamp < self._seeded_after:
            raise UsageError("the state was measured before the recovery; read a new one")
        if state.mode not in (Mode.IDLE, Mode.MOVING):
            raise UsageError(f"the robot is in mode {state.mode.value}, expected idle")
        self.phase = Phase.READY

    def start(self) -> None:
        """Streaming begins."""
        self._only("start", Phase.READY, why="Seed the targets from the measured state first")
        self.phase = Phase.RUNNING

    def hold(self) -> None:
        """The watchdog or the filter wants the arm to stand still, under control."""
        self._only("hold", Phase.RUNNING, Phase.HOLDING)
        self.phase = Phase.HOLDING

    def resume(self) -> None:
        """What was missing is there again."""
        self._only("resume", Phase.HOLDING)
        self.phase = Phase.RUNNING

    def stop(self, cause: str) -> Step:
        """We stopped the arm: a person looks before it goes on; a stop of an arm that does not move is none."""
        if self.phase in (Phase.READY, Phase.RUNNING, Phase.HOLDING):
            self.phase = Phase.STOPPED
            return Step(Reaction.ASK, f"The arm was stopped: {cause}. Look at it, then confirm to go on")
        return Step(Reaction.NOTHING)

    def finish(self) -> None:
        """An episode ended as it should; the next begins by seeding."""
        self._only("finish", Phase.RUNNING, Phase.HOLDING, Phase.READY)
        self.phase = Phase.IDLE

    def fault(self, fault: ArmFault) -> Step:
        """The arm failed, in whatever phase."""
        if self.phase is Phase.CLOSED:
            return Step(Reaction.END)
        if self._final():
            return Step(Reaction.END, str(self.last_fault))
        waiting = self.phase in (Phase.FAULT, Phase.STOPPED)
        first, self.last_fault = self.last_fault, fault
        message = f"{fault.kind.value}: {fault.cause}. {fault.remedy}"
        if fault.kind in FINAL or not fault.recoverable:
            self.phase = Phase.FAULT
            return Step(Reaction.END, message)
        if waiting and fault.kind is FaultKind.COMMUNICATION:
            # A lost connection does not undo what a person has to look at.
            if self.phase is Phase.FAULT and first is not None:
                self.last_fault = first
            self.phase = Phase.FAULT
            return Step(Reaction.ASK, message)
        if fault.kind is FaultKind.COMMUNICATION and self._retry():
            self.phase = Phase.RECOVERING
            count = f"{len(self._retried)} of {self.retries}"
            return Step(Reaction.RECOVER, f"{message} Trying to recover alone ({count} within {self.window:.0f} s)")
        self.phase = Phase.FAULT
        return Step(Reaction.ASK, message if "confirm" in fault.remedy else f"{message} Then confirm")

    def confirm(self, who: str, mode: Mode = Mode.OTHER) -> Step:
        """A person looked and says go on.

        Args:
            who: the person, for the log.
            mode: of the robot now; a user stop that is still pressed cannot be confirmed away.

        Raises:
            WrongPhase: nothing waits for a person.
            UsageError: nobody is named.
        """
        self._only("confirm", Phase.FAULT, Phase.STOPPED)
        if not who.strip():
            raise UsageError("a confirmation names the person who looked at the arm")
        if mode is Mode.USER_STOPPED:
            cause, remedy = KINDS[FaultKind.USER_STOP]
            return Step(Reaction.ASK, f"{cause}. {remedy}")
        if self._final():
            return Step(Reaction.END, str(self.last_fault))
        if self.phase is Phase.STOPPED:
            self._at_rest()
            return Step(Reaction.NOTHING)
        self.phase = Phase.RECOVERING
        self._retried.clear()
        return Step(Reaction.RECOVER)

    def recovered(self, state: ArmState) -> Step:
        """The arm's `recover` returned; `state` was measured afterwards."""
        self._only("finish a recovery", Phase.RECOVERING)
        if state.mode in (Mode.IDLE, Mode.MOVING):
            self._at_rest()
            return Step(Reaction.NOTHING)
        self.phase = Phase.FAULT
        self.last_fault = _standing(state)
        return Step(Reaction.ASK, str(self.last_fault))

    def close(self) -> None:
        """The end."""
        self.phase = Phase.CLOSED

    def _final(self) -> bool:
        """Whether the deployment waits in a fault that nobody can confirm away."""
        fault = self.last_fault
        return self.phase is Phase.FAULT and fault is not None and (fault.kind in FINAL or not fault.recoverable)

    def _at_rest(self) -> None:
        self.phase, self._seeded_after = Phase.IDLE, self._clock()

    def _retry(self) -> bool:
        """Whether one more recovery without a person is allowed, which it then counts."""
        now = self._clock()
        self._retried = [t for t in self._retried if now - t < self.window]
        if len(self._retried) >= self.retries:
            return False
        self._retried.append(now)
        return True

    def _only(self, event: str, *phases: Phase, why: str = "") -> None:
        if self.phase not in phases:
            raise WrongPhase(event, self.phase, phases, why)


def _standing(state: ArmState) -> ArmFault:
    """The fault of an arm that is not idle after a recovery."""
    if state.mode is Mode.USER_STOPPED:
        return fault_of(FaultKind.USER_STOP)
    if state.mode is Mode.REFLEX:
        return fault_of(FaultKind.REFLEX, state.errors)
    return guided() if state.mode is Mode.GUIDING else locked()
