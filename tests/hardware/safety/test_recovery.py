"""The fault state machine: case by case, and whatever happens in whatever order."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from robo_reward.errors import UsageError
from robo_reward.hardware.arm import ArmState, FaultKind, Mode
from robo_reward.hardware.safety.fault_messages import ERRORS, KINDS, add_mode_reason, explain_fault, make_fault
from robo_reward.hardware.safety.recovery import FINAL, FaultMachine, Phase, Reaction, WrongPhase


def state(stamp: float = 1e9, mode: Mode = Mode.IDLE) -> ArmState:
    zero = np.zeros(7)
    return ArmState(stamp, 0.0, zero, zero, zero, np.zeros(6), np.zeros(3), np.array((0, 1.0, 0, 0)), 0.05, mode)


def running() -> FaultMachine:
    machine = FaultMachine()
    machine.seed(state())
    machine.start()
    return machine


def test_nothing_is_streamed_before_targets_were_seeded():
    machine = FaultMachine()
    with pytest.raises(WrongPhase, match=r"cannot start while idle, only while ready\. Seed the targets"):
        machine.start()
    machine.seed(state())
    assert machine.phase is Phase.READY
    machine.start()
    assert machine.phase is Phase.RUNNING


def test_an_aborted_motion_gets_its_reason_from_the_robots_mode():
    aborted, reflex = make_fault(FaultKind.CONTROL), make_fault(FaultKind.REFLEX)
    guided = add_mode_reason(aborted, Mode.GUIDING)
    assert "guided by hand" in guided.cause and "Let go" in guided.remedy and guided.kind is FaultKind.CONTROL
    assert add_mode_reason(aborted, Mode.IDLE) is aborted and add_mode_reason(reflex, Mode.GUIDING) is reflex


def test_an_operator_is_told_once_to_confirm():
    for kind in (FaultKind.GRIPPER, FaultKind.CONTROL):
        assert running().handle_fault(make_fault(kind)).message.count("onfirm") == 1


@pytest.mark.parametrize("kind", [FaultKind.REFLEX, FaultKind.USER_STOP, FaultKind.CONTROL, FaultKind.GRIPPER])
def test_a_person_must_confirm(kind: FaultKind):
    machine = running()
    step = machine.handle_fault(make_fault(kind))
    assert step.reaction is Reaction.ASK and KINDS[kind].cause in step.message and KINDS[kind].remedy in step.message
    assert machine.phase is Phase.FAULT
    with pytest.raises(WrongPhase):
        machine.finish_recovery(state())
    with pytest.raises(WrongPhase):
        machine.seed(state())
    with pytest.raises(UsageError, match="name of the person"):
        machine.confirm(" ")
    assert machine.confirm("Ada").reaction is Reaction.RECOVER
    assert machine.finish_recovery(state()).reaction is Reaction.NOTHING
    assert machine.phase is Phase.IDLE


def test_a_pressed_user_stop_cannot_be_confirmed_away():
    machine = running()
    machine.handle_fault(make_fault(FaultKind.USER_STOP))
    assert machine.confirm("Ada", Mode.USER_STOPPED).reaction is Reaction.ASK
    assert machine.phase is Phase.FAULT
    assert machine.confirm("Ada", Mode.OTHER).reaction is Reaction.RECOVER


def test_a_robot_that_is_still_in_reflex_was_not_recovered():
    machine = running()
    machine.handle_fault(make_fault(FaultKind.REFLEX, ["joint_reflex"]))
    machine.confirm("Ada")
    step = machine.finish_recovery(state(mode=Mode.REFLEX))
    assert step.reaction is Reaction.ASK and machine.phase is Phase.FAULT


def test_communication_errors_are_retried_a_few_times():
    now = [0.0]
    machine = FaultMachine(retries=2, window=60, clock=lambda: now[0])
    for _ in range(2):
        assert machine.handle_fault(make_fault(FaultKind.COMMUNICATION)).reaction is Reaction.RECOVER
        machine.finish_recovery(state())
    assert machine.handle_fault(make_fault(FaultKind.COMMUNICATION)).reaction is Reaction.ASK
    machine.confirm("Ada")
    machine.finish_recovery(state())
    assert machine.handle_fault(make_fault(FaultKind.COMMUNICATION)).reaction is Reaction.RECOVER
    machine.finish_recovery(state())
    now[0] = 100.0
    assert "(1 of 2 within 60 s)" in machine.handle_fault(make_fault(FaultKind.COMMUNICATION)).message


@pytest.mark.parametrize("kind", FaultKind)
def test_nobody_is_asked_to_confirm_what_cannot_be_recovered(kind: FaultKind):
    machine = running()
    step = machine.handle_fault(make_fault(kind, recoverable=False))
    assert step.reaction is Reaction.END and "Then confirm" not in step.message
    assert machine.confirm("Ada").reaction is Reaction.END
    assert machine.handle_fault(make_fault(FaultKind.COMMUNICATION)).reaction is Reaction.END


def test_a_lost_connection_does_not_undo_a_reflex():
    machine = running()
    machine.handle_fault(make_fault(FaultKind.REFLEX))
    assert machine.handle_fault(make_fault(FaultKind.COMMUNICATION)).reaction is Reaction.ASK
    assert machine.phase is Phase.FAULT
    assert machine.last_fault is not None and machine.last_fault.kind is FaultKind.REFLEX


@pytest.mark.parametrize("kind", FINAL)
def test_what_recovery_cannot_help_ends(kind: FaultKind):
    machine = running()
    assert machine.handle_fault(make_fault(kind)).reaction is Reaction.END
    assert machine.confirm("Ada").reaction is Reaction.END
    assert machine.phase is Phase.FAULT


def test_a_state_from_before_the_recovery_seeds_nothing():
    now = [50.0]
    machine = FaultMachine(clock=lambda: now[0])
    machine.handle_fault(make_fault(FaultKind.COMMUNICATION))
    machine.finish_recovery(state(50.0))
    with pytest.raises(UsageError, match="measured before the recovery"):
        machine.seed(state(49.9))
    with pytest.raises(UsageError, match="mode guiding, expected idle"):
        machine.seed(state(51.0, Mode.GUIDING))
    machine.seed(state(51.0))


def test_a_stop_of_ours_waits_for_a_person():
    machine = running()
    machine.hold()
    assert "the camera froze" in machine.stop("the camera froze").message
    assert machine.phase is Phase.STOPPED
    assert machine.confirm("Ada").reaction is Reaction.NOTHING
    assert machine.phase is Phase.IDLE
    assert machine.stop("again").reaction is Reaction.NOTHING


def test_every_error_of_libfranka_is_explained():
    import importlib.util
    import subprocess
    import sys

    if importlib.util.find_spec("pylibfranka") is None:  # it cannot be imported beside franky
        pytest.skip("pylibfranka is not installed")
    program = "import pylibfranka as p; print(*[n for n in dir(p.Errors) if n[0] != '_'])"
    names = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert len(names) == 41
    assert sorted(names) == sorted(ERRORS)


@pytest.mark.parametrize("explanation", [*KINDS.values(), *ERRORS.values()])
def test_explanations_are_words_an_operator_understands(explanation):
    assert re.fullmatch(r"[a-z][^_]+[^.]", explanation.cause)
    assert re.match(r"[A-Z]", explanation.remedy) and not explanation.remedy.endswith(".")


def test_every_kind_is_explained():
    assert set(KINDS) == set(FaultKind)


def test_several_errors_and_unknown_ones():
    cause, remedy = explain_fault(FaultKind.REFLEX, ["joint_reflex", "cartesian_reflex", "new_in_0_30"])
    assert "collision threshold (joint_reflex)" in cause and "new_in_0_30" in cause
    assert remedy == ERRORS["joint_reflex"].remedy
    assert explain_fault(FaultKind.REFLEX, ["new_in_0_30"]) == ("new_in_0_30", KINDS[FaultKind.REFLEX].remedy)


class AnyOrder(RuleBasedStateMachine):
    """Events in any order, with a second record of what must not happen."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.machine = FaultMachine(retries=2, window=60.0, clock=lambda: self.now)
        self.person_needed = False  # since a fault that a person must look at, none confirmed
        self.seeded = False  # since the last fault, recovery or stop
        self.final = False
        self.alone: list[float] = []

    def attempt(self, event, *arguments):
        """Does it if it is allowed; what is not allowed must change nothing."""
        before = self.machine.phase
        try:
            return event(*arguments)
        except (WrongPhase, UsageError):
            assert self.machine.phase is before
            return None

    @rule(seconds=st.floats(0.0, 50.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(mode=st.sampled_from(Mode), age=st.sampled_from([0.0, 0.0, 10.0]))
    def seed(self, mode: Mode, age: float) -> None:
        self.attempt(self.machine.seed, state(self.now - age, mode))
        self.seeded = self.seeded or self.machine.phase is Phase.READY

    @rule(event=st.sampled_from(["start", "hold", "resume", "finish"]))
    def event(self, event: str) -> None:
        self.attempt(getattr(self.machine, event))
        if self.machine.phase is Phase.IDLE:
            self.seeded = False

    @rule()
    def stop(self) -> None:
        self.machine.stop("test")
        if self.machine.phase is Phase.STOPPED:
            self.person_needed, self.seeded = True, False

    @rule(kind=st.sampled_from([*FaultKind] + [FaultKind.COMMUNICATION] * 4), recoverable=st.booleans())
    def fault(self, kind: FaultKind, recoverable: bool) -> None:
        step = self.machine.handle_fault(make_fault(kind, recoverable=recoverable))
        self.seeded = False
        self.final = self.final or kind in FINAL or not recoverable
        assert step.message or self.machine.phase is Phase.CLOSED
        if step.reaction is Reaction.RECOVER:
            assert kind is FaultKind.COMMUNICATION and recoverable
            self.alone = [t for t in self.alone if self.now - t < 60.0] + [self.now]
            assert len(self.alone) <= 2, "bounded retries"
        else:
            self.person_needed = True

    @rule(mode=st.sampled_from(Mode), who=st.sampled_from(["Ada", ""]))
    def confirm(self, mode: Mode, who: str) -> None:
        step = self.attempt(self.machine.confirm, who, mode)
        if step is not None and step.reaction in (Reaction.RECOVER, Reaction.NOTHING):
            assert who and mode is not Mode.USER_STOPPED
            self.person_needed = False
            if step.reaction is Reaction.RECOVER:
                self.alone.clear()

    @rule(mode=st.sampled_from(Mode))
    def recovered(self, mode: Mode) -> None:
        step = self.attempt(self.machine.finish_recovery, state(self.now, mode))
        if step is not None and step.reaction is Reaction.ASK:
            self.person_needed = True

    @precondition(lambda self: self.now > 200)
    @rule()
    def close(self) -> None:
        self.machine.close()

    @invariant()
    def nothing_moves_that_must_not(self) -> None:
        if self.machine.phase in (Phase.RUNNING, Phase.HOLDING):
            assert self.seeded and not self.person_needed and not self.final
        if self.person_needed:
            assert self.machine.phase in (Phase.FAULT, Phase.STOPPED, Phase.CLOSED)


AnyOrder.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase
