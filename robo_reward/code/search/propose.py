"""Getting K programs out of a writer that pass language and probes, with repairs on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from robo_reward.code.language import ProgramRefused, RewardProgram, compile_program
from robo_reward.code.probes import probe
from robo_reward.code.problems import SHOWN
from robo_reward.code.search.candidate import Candidate, Refusal
from robo_reward.code.writers.writer import Completion, RefusedProgram, Writer, WriteRequest
from robo_reward.envs.batch import BatchSim
from robo_reward.envs.state import State, Transitions
from robo_reward.envs.task import Task

_FAILURES = (ValueError, ArithmeticError, MemoryError, RecursionError)
"""What a program's numbers can do to the probes; it costs the candidate, never the search."""


def everyday_transitions(task: Task, seed: int = 0, worlds: int = 16, steps: int = 40) -> Transitions:
    """Transitions of a restless random policy: what a candidate will meet when its training begins.

    Each world drifts in a direction of its own with noise on it, so that hands travel and things get touched.
    """
    rng = np.random.default_rng(seed)
    sim = BatchSim(task, worlds, seed, threads=1)
    drift = rng.uniform(-1, 1, (worlds, task.action.dim))
    parts = []
    for step in range(min(steps, task.horizon)):
        if step % 10 == 0:
            drift = rng.uniform(-1, 1, (worlds, task.action.dim))
        parts.append(sim.step(0.7 * drift + 0.5 * rng.normal(size=drift.shape)).transitions)
    sim.close()
    previous, action, state = (np.concatenate([_array(part[i]) for part in parts]) for i in range(3))
    return Transitions(task.spec.view(previous), action, task.spec.view(state))


def _array(value: State | np.ndarray) -> np.ndarray:
    return value.array if isinstance(value, State) else value


@dataclass(frozen=True)
class Gate:
    """What a text must pass to become a candidate's program.

    Args:
        task: whose state and action it may read.
        batch: ordinary transitions for the probes.
    """

    task: Task
    batch: Transitions

    def judge(self, completion: Completion) -> tuple[RewardProgram | None, list[Refusal], list[str]]:
        """The program, or why not; and the probes' advice."""
        if completion.source is None:
            reason = completion.error or "the answer holds no program"
            remedy = "answer with one fenced block of Python that defines compute_reward"
            return None, [Refusal("answer", reason, remedy, None, completion.text[:2000])], []
        source = completion.source
        try:
            program = compile_program(source, self.task.spec, self.task.action.dim)
        except ProgramRefused as refused:
            problems = refused.problems[:SHOWN]
            return None, [Refusal("language", p.reason, p.remedy, p.line, source) for p in problems], []
        try:
            report = probe(program, self.batch)
        except _FAILURES as error:
            return None, [Refusal("probe", f"the probes fail: {type(error).__name__}", "", None, source)], []
        if not report.ok:
            return None, [Refusal("probe", text, "", None, source) for text in report.failures], []
        return program, [], report.warnings


def propose(
    writer: Writer,
    gate: Gate,
    request: WriteRequest,
    candidates: int,
    repairs: int,
    name: Callable[[int], str],
    seen: set[str],
    observe: Callable[[Candidate, str], None],
) -> list[tuple[Candidate, RewardProgram | None]]:
    """Asks for programs, sends refused ones back for repair, and sets twins of known programs aside.

    Args:
        writer: who writes.
        gate: what programs must pass.
        request: goal, state and feedback of this round.
        candidates: how many to ask for.
        repairs: how often a refused program goes back.
        name: candidate id by index.
        seen: fingerprints of programs proposed before; new ones are added.
        observe: told of every change of a candidate.
    """
    proposed: list[tuple[Candidate, RewardProgram | None]] = []
    for index, completion in enumerate(writer.write(request, candidates)):
        candidate = Candidate(name(index), request.round, index)
        program = _accept(writer, gate, request, completion, candidate, repairs)
        if program is not None and program.fingerprint in seen:
            candidate.status, candidate.note, program = "duplicate", "the same program was proposed before", None
        elif program is not None:
            seen.add(program.fingerprint)
        observe(candidate, candidate.status)
        proposed.append((candidate, program))
    return proposed


def _accept(
    writer: Writer, gate: Gate, request: WriteRequest, completion: Completion, candidate: Candidate, repairs: int
) -> RewardProgram | None:
    """Judges a completion, asking for repairs while there are any left."""
    for attempt in range(repairs + 1):
        program, refusals, candidate.warnings = gate.judge(completion)
        candidate.refusals += refusals
        if program is not None:
            candidate.source, candidate.status = program.source, "accepted"
            return program
        if attempt < repairs:
            broken = RefusedProgram(refusals[0].source, tuple(refusals))
            again = replace(request, repair=broken, first=candidate.index * 100 + attempt)
            completion = writer.write(again, 1)[0]
    candidate.note = f"refused: {candidate.refusals[-1].reason}"
    return None
