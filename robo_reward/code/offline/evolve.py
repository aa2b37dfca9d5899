"""Later rounds: what the statistics of the terms say about a program, and descendants of the best ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from robo_reward.code.offline import edits
from robo_reward.code.offline.slices import recipe_of
from robo_reward.code.offline.terms import Recipe, Term
from robo_reward.code.writers.writer import ScoredProgram

COSTS = ("effort",)
"""Terms that need no progress to be useful."""


@dataclass(frozen=True)
class Finding:
    """What is wrong with a term: `dead`, `saturated` or `dominating`."""

    term: str
    kind: str


def diagnose(program: ScoredProgram, recipe: Recipe) -> list[Finding]:
    """Terms that taught nothing, or drowned the others.

    A term with weight w and mean v per step is *dead* when |v| never reaches 3 % of w, *saturated* when v is above
    0.85 w from the beginning of training, *dominating* when it makes up 80 % of the reward while success is rare.
    """
    weights = {term.name: abs(edits.weight(term)) or 1.0 for term in recipe.terms}
    sizes = {name: float(np.max(np.abs(values))) for name, values in program.terms.items() if len(values)}
    findings = []
    for name, values in program.terms.items():
        if name not in weights or not len(values) or name in COSTS:
            continue
        if sizes[name] < 0.03 * weights[name]:
            findings.append(Finding(name, "dead"))
        elif min(values) > 0.85 * weights[name]:
            findings.append(Finding(name, "saturated"))
        elif program.success < 0.5 and sizes[name] > 0.8 * sum(sizes.values()) and len(sizes) > 2:
            findings.append(Finding(name, "dominating"))
    return findings


def improved(
    program: ScoredProgram, recipe: Recipe, spare: Sequence[Term], rng: np.random.Generator
) -> tuple[Recipe, str]:
    """The elite, with what its statistics suggest.

    Args:
        program: the elite and how its training went.
        recipe: the elite, read back.
        spare: terms that other compositions of the same goal have and this one may lack.
        rng: for the choices left open.
    """
    said: list[str] = []
    for finding in diagnose(program, recipe)[:2]:
        recipe, words = _treated(recipe, finding)
        said.append(f"{finding.term} was {finding.kind}: {words}")
    if said:
        return recipe, "; ".join(said)
    missing = [term for term in spare if term.name not in recipe.names]
    if program.success < 0.5 and missing:
        term = missing[int(rng.integers(len(missing)))]
        return edits.with_term(recipe, term), f"no term stood out, so {term.name} was added"
    goals = [name for name in recipe.names if name not in COSTS]
    if program.success < 0.9 and goals:
        recipe, words = edits.scaled_weight(recipe, goals[-1], 1.4)
        return recipe, f"it succeeds sometimes: the last stage shall count more ({words})"
    name = next((name for name in COSTS if name in recipe.names), recipe.names[-1])
    recipe, words = edits.scaled_weight(recipe, name, 0.7)
    return recipe, f"it succeeds: only {words}"


def _treated(recipe: Recipe, finding: Finding) -> tuple[Recipe, str]:
    """The remedy for one finding."""
    own = edits.knobs(recipe, finding.term)
    if finding.kind == "dominating":
        return edits.scaled_weight(recipe, finding.term, 0.5)
    if not own:
        return edits.scaled_weight(recipe, finding.term, 1.6 if finding.kind == "dead" else 0.6)
    if finding.kind == "saturated":
        return edits.scaled_knob(recipe, own[-1], 0.6)
    words = []
    for local in own[-2:]:
        recipe, done = edits.scaled_knob(recipe, local, 1.5)
        words.append(done)
    return recipe, ", ".join(words)


def mutated(recipe: Recipe, spare: Sequence[Term], rng: np.random.Generator, count: int) -> tuple[Recipe, str]:
    """A recipe with some random changes."""
    said = []
    for _ in range(count):
        result = _one(recipe, spare, rng)
        if result is not None:
            recipe, words = result
            said.append(words)
    return recipe, ", ".join(said) or "nothing could be changed"


def _one(recipe: Recipe, spare: Sequence[Term], rng: np.random.Generator) -> tuple[Recipe, str] | None:
    kind = str(rng.choice(["weight", "knob", "knob", "gate", "add", "drop", "number"]))
    factor = float(rng.uniform(1.3, 2.2)) ** int(rng.choice([-1, 1]))
    if kind == "knob" and (names := edits.knobs(recipe)):
        return edits.scaled_knob(recipe, str(rng.choice(names)), factor)
    if kind == "gate":
        return edits.toggled_gate(recipe, rng)
    if kind == "number":
        return edits.loose_numbers(recipe, rng)
    missing = [term for term in spare if term.name not in recipe.names]
    if kind == "add" and missing and len(recipe.terms) < edits.MAX_TERMS:
        term = missing[int(rng.integers(len(missing)))]
        return edits.with_term(recipe, term), f"{term.name} added"
    optional = [term.name for term in recipe.terms if term.name in {t.name for t in spare}]
    if kind == "drop" and optional and len(recipe.terms) > 3:
        name = str(rng.choice(optional))
        return recipe.without(name), f"{name} left out"
    return edits.scaled_weight(recipe, str(rng.choice(list(recipe.names))), factor)


def annotated(recipe: Recipe, notes: dict[str, str], summary: str) -> Recipe:
    """With the comments that compositions give terms of these names."""
    terms = tuple(replace(term, note=notes.get(term.name, "")) for term in recipe.terms)
    return replace(recipe, terms=terms, summary=summary)


def readable(programs: Sequence[ScoredProgram]) -> list[tuple[ScoredProgram, Recipe]]:
    """The programs whose terms could be read back."""
    return [
        (program, recipe) for program in programs if (recipe := recipe_of(program.source)) is not None and recipe.terms
    ]
