"""What people bring themselves: programs, how many of them are accepted with the values that they have; and scenes.

The programs are in `benchmarks.published_programs`. Each accepted one is compared with its original on 200 states:
plain Python that is called with one state at a time, or torch on the batch, as its authors run it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.foreign_scenes import SCENES, find_model
from benchmarks.output import arguments, report
from benchmarks.published_programs import INSIDE, OUTSIDE
from benchmarks.published_programs.program import ACTION_DIMS, SPECS, PublishedProgram
from benchmarks.published_programs.reference import evaluate_original
from benchmarks.simulation import measure_ratio_to_raw
from benchmarks.vector_environments import measure_vector_environments
from robo_reward.language.language import ProgramError, RewardProgram, compile_program
from robo_reward.language.validation.samples import sample_typical_transitions

STATES = 200
TOLERANCES = {"numpy": 1e-9, "torch": 1e-6}
"""Largest relative and absolute difference, by the library of the original; torch programs turn numbers to float32."""


def compile_published(program: PublishedProgram) -> RewardProgram:
    """Compiles a program of the corpus.

    Raises:
        ProgramError: it is refused.
    """
    return compile_program(program.source, SPECS[program.state], ACTION_DIMS[program.state], normalise=True)


def find_difference(program: PublishedProgram, compiled: RewardProgram) -> str:
    """Returns how the values of a compiled program differ from those of the original; empty if they are equal."""
    batch = sample_typical_transitions(SPECS[program.state], ACTION_DIMS[program.state], STATES, seed=11)
    total, terms = evaluate_original(program, batch)
    output = compiled(batch)
    pairs = {"the total": (total, output.total)}
    pairs |= {name: (terms[name], output.terms[name]) for name in terms.keys() & output.terms.keys()}
    for name, (expected, got) in pairs.items():
        if not np.allclose(expected, got, rtol=TOLERANCES[program.library], atol=TOLERANCES[program.library]):
            return f"{name} differs by {np.abs(expected - got).max():.3g}"
    return ""


def measure_normaliser(quick: bool) -> dict[str, Any]:
    """Returns the shares of published programs that are accepted, equal, and refused with the right remedy."""
    accepted, equal, rejected = 0, 0, 0
    for program in INSIDE:
        try:
            compiled = compile_published(program)
        except ProgramError as refused:
            print(f"{program.name} is refused: {refused.problems[0]}")
            continue
        accepted += 1
        difference = find_difference(program, compiled)
        equal += not difference
        if difference:
            print(f"{program.name}: {difference}")
    for program in OUTSIDE:
        try:
            compile_published(program)
            print(f"{program.name} is accepted")
        except ProgramError as refused:
            found = any(re.search(program.refused, f"{p.reason} {p.remedy}") for p in refused.problems)
            rejected += found
            if not found:
                print(f"{program.name} has other remedies: {[p.remedy for p in refused.problems]}")
    return {
        "normaliser_programs": len(INSIDE),
        "normaliser_accepted": accepted / len(INSIDE),
        "normaliser_equal": equal / max(accepted, 1),
        "normaliser_outside": len(OUTSIDE),
        "normaliser_refused_rightly": rejected / len(OUTSIDE),
    }


def measure_foreign_speed(quick: bool) -> dict[str, Any]:
    """Returns how fast `BatchSim` steps models of other packages, as a share of MuJoCo's own loop in C."""
    ratios: dict[str, float] = {}
    for name, scene in SCENES.items():
        model = find_model(scene)
        if model is None:
            print(f"{name}: {scene.package} is not installed")
            continue
        ratios[name] = measure_ratio_to_raw(model, scene.success, quick)
    median = float(np.median(list(ratios.values()))) if ratios else None
    return {"foreign_ratio_to_raw": median, "foreign_ratio": ratios}


PARTS: Mapping[str, Callable[[bool], dict[str, Any]]] = {
    "normaliser": measure_normaliser,
    "foreign": measure_foreign_speed,
    "vector": measure_vector_environments,
}
"""Name of a part -> its measurement, called with `--quick`; each returns its own rows."""
TARGETS = {
    "foreign_ratio_to_raw": ">= 0.7",
    "normaliser_accepted": ">= 0.90",
    "normaliser_equal": ">= 1.0",
    "normaliser_refused_rightly": ">= 1.0",
    "fast_vs_gymnasium_vector": ">= 10",
}


if __name__ == "__main__":
    args = arguments(__doc__, part=f"only one part: {', '.join(PARTS)}")
    if args.part and args.part not in PARTS:
        raise SystemExit(f"--part {args.part}: choose from {', '.join(PARTS)}")
    chosen = {args.part: PARTS[args.part]} if args.part else PARTS
    values: dict[str, Any] = {}
    for measure in chosen.values():
        values |= measure(args.quick)
    report(args, values, {row: target for row, target in TARGETS.items() if row in values})
