"""Gets K programs from a writer that pass language and probes, with repairs on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from robo_reward.envs.state import State, Transitions
from robo_reward.envs.task import Task
from robo_reward.language.language import ProgramError, RewardProgram, compile_program
from robo_reward.language.problems import MAX_PROBLEMS_SHOWN
from robo_reward.language.validation.probes import probe
from robo_reward.reward_search.candidate import Candidate, CandidateProblem
from robo_reward.writers.writer import Completion, RejectedAnswer, Writer, WriteRequest

_FAILURES = (ValueError, ArithmeticError, MemoryError, RecursionError)
"""Errors that a program can cause in the probes; they fail the candidate and never the search."""


def sample_random_rollout(task: Task, seed: int = 0, worlds: int = 16, steps: int = 40) -> Transitions:
    """Returns transitions of a random policy, such as a candidate meets when its training begins.

    The action of each world drifts in its own direction, with noise, so that hands move far and touch objects.
    """
    rng, worlds = np.random.default_rng(seed), min(worlds, task.max_worlds)
    sim = task.make_worlds(worlds, seed, threads=1)
    drift = rng.uniform(-1, 1, (worlds, task.action.dim))
    parts = []
    for step in range(min(steps, task.horizon)):
        if step % 10 == 0:
            drift = rng.uniform(-1, 1, (worlds, task.action.dim))
        parts.append(sim.step(0.7 * drift + 0.5 * rng.normal(size=drift.shape)).transitions)
    sim.close()
    previous, action, state = (np.concatenate([_as_array(part[i]) for part in parts]) for i in range(3))
    return Transitions(task.spec.view(previous), action, task.spec.view(state))


def _as_array(value: State | np.ndarray) -> np.ndarray:
    return value.array if isinstance(value, State) else value


@dataclass(frozen=True)
class ProgramValidator:
    """Validates the programs of a writer before they become candidates.

    Args:
        task: the task whose state and action a program may read.
        batch: ordinary transitions for the probes.
    """

    task: Task
    batch: Transitions

    def validate(self, completion: Completion) -> tuple[RewardProgram | None, list[CandidateProblem], list[str]]:
        """Returns the program or `None`, the problems of a refused one, and the warnings of the probes.

        A program in a published style is rewritten into the reward language; `program.changes` says what was changed.
        """
        if completion.source is None:
            reason = completion.error or "the answer contains no program"
            remedy = "answer with one fenced block of Python that defines compute_reward"
            return None, [CandidateProblem("answer", reason, remedy, None, completion.text[:2000])], []
        source = completion.source
        try:
            program = compile_program(source, self.task.spec, self.task.action.dim, normalise=True)
        except ProgramError as refused:
            problems = refused.problems[:MAX_PROBLEMS_SHOWN]
            return None, [CandidateProblem("language", p.reason, p.remedy, p.line, source) for p in problems], []
        hidden = [name for name in program.fields if self.task.spec[name].role == "hidden"]
        if hidden:
            reason = f"it reads {', '.join(hidden)}, which the environment's own code computes"
            return None, [CandidateProblem("language", reason, "read the fields of the outline", None, source)], []
        try:
            report = probe(program, self.batch)
        except _FAILURES as error:
            return None, [CandidateProblem("probe", f"the probes fail: {type(error).__name__}", "", None, source)], []
        if not report.ok:
            return None, [CandidateProblem("probe", text, "", None, source) for text in report.failures], []
        return program, [], report.warnings


def propose_programs(
    writer: Writer,
    validator: ProgramValidator,
    request: WriteRequest,
    candidates: int,
    repairs: int,
    name: Callable[[int], str],
    seen: set[str],
    observe: Callable[[Candidate, str], None],
) -> list[tuple[Candidate, RewardProgram | None]]:
    """Asks for programs, sends refused ones back for repair, and marks duplicates of known programs.

    Args:
        writer: the writer of the programs.
        validator: checks the programs.
        request: goal, state and feedback of this round.
        candidates: how many to ask for.
        repairs: how often a refused program goes back.
        name: candidate id by index.
        seen: fingerprints of programs proposed before; new ones are added.
        observe: called with the candidate and an event at every change of a candidate.
    """
    proposed: list[tuple[Candidate, RewardProgram | None]] = []
    for index, completion in enumerate(writer.write(request, candidates)):
        candidate = Candidate(name(index), request.round, index)
        program = _validate_or_repair(writer, validator, request, completion, candidate, repairs)
        if program is not None and program.fingerprint in seen:
            candidate.status, candidate.note, program = "duplicate", "the same program was proposed before", None
        elif program is not None:
            seen.add(program.fingerprint)
        observe(candidate, candidate.status)
        proposed.append((candidate, program))
    return proposed


def _validate_or_repair(
    writer: Writer,
    validator: ProgramValidator,
    request: WriteRequest,
    completion: Completion,
    candidate: Candidate,
    repairs: int,
) -> RewardProgram | None:
    """Returns the program of a completion, asking for repairs while there are any left, or `None`."""
    for attempt in range(repairs + 1):
        program, refusals, candidate.warnings = validator.validate(completion)
        candidate.refusals += refusals
        if program is not None:
            candidate.source, candidate.status = program.source, "accepted"
            candidate.changes = [str(change) for change in program.changes]
            return program
        if attempt < repairs:
            broken = RejectedAnswer(refusals[0].source, tuple(refusals))
            again = replace(request, repair=broken, first=candidate.index * 100 + attempt)
            completion = writer.write(again, 1)[0]
    candidate.note = f"refused: {candidate.refusals[-1].reason}"
    return None
