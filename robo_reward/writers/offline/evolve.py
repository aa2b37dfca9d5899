"""Later rounds: diagnoses programs by the statistics of their terms, and derives new ones from the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from robo_reward.writers.offline import edits
from robo_reward.writers.offline.slices import parse_recipe
from robo_reward.writers.offline.terms import Recipe, Term
from robo_reward.writers.writer import ScoredProgram

COSTS = ("effort",)
"""Cost terms: useful without any progress, so the diagnosis skips them."""


@dataclass(frozen=True)
class Diagnosis:
    """A problem of one term: `dead`, `saturated` or `dominating`."""

    term: str
    kind: str


def diagnose_terms(program: ScoredProgram, recipe: Recipe) -> list[Diagnosis]:
    """Returns a diagnosis for each term that had no effect, or that outweighed the others.

    A term with weight w and mean v per step is *dead* when |v| never reaches 3 % of w, *saturated* when v is above
    0.85 w from the beginning of training, *dominating* when it makes up 80 % of the reward while success is rare.
    """
    weights = {term.name: abs(edits.parse_weight(term)) or 1.0 for term in recipe.terms}
    sizes = {name: float(np.max(np.abs(values))) for name, values in program.terms.items() if len(values)}
    findings = []
    for name, values in program.terms.items():
        if name not in weights or not len(values) or name in COSTS:
            continue
        if sizes[name] < 0.03 * weights[name]:
            findings.append(Diagnosis(name, "dead"))
        elif min(values) > 0.85 * weights[name]:
            findings.append(Diagnosis(name, "saturated"))
        elif program.success < 0.5 and sizes[name] > 0.8 * sum(sizes.values()) and len(sizes) > 2:
            findings.append(Diagnosis(name, "dominating"))
    return findings


def improve_recipe(
    program: ScoredProgram, recipe: Recipe, spare: Sequence[Term], rng: np.random.Generator
) -> tuple[Recipe, str]:
    """Returns the elite with the changes that its training statistics suggest.

    Args:
        program: the elite and its training statistics.
        recipe: the elite, parsed.
        spare: terms that other compositions of the same goal have and this one may lack.
        rng: for the choices left open.

    Returns:
        The new recipe, and a phrase that describes the changes.
    """
    said: list[str] = []
    for finding in diagnose_terms(program, recipe)[:2]:
        recipe, words = _apply_remedy(recipe, finding)
        said.append(f"{finding.term} was {finding.kind}: {words}")
    if said:
        return recipe, "; ".join(said)
    missing = [term for term in spare if term.name not in recipe.names]
    if program.success < 0.5 and missing:
        term = missing[int(rng.integers(len(missing)))]
        return edits.add_term(recipe, term), f"no term had a problem, so {term.name} was added"
    goals = [name for name in recipe.names if name not in COSTS]
    if program.success < 0.9 and goals:
        recipe, words = edits.scale_weight(recipe, goals[-1], 1.4)
        return recipe, f"it succeeds sometimes: the last stage gets more weight ({words})"
    name = next((name for name in COSTS if name in recipe.names), recipe.names[-1])
    recipe, words = edits.scale_weight(recipe, name, 0.7)
    return recipe, f"it succeeds: only {words}"


def _apply_remedy(recipe: Recipe, finding: Diagnosis) -> tuple[Recipe, str]:
    """Returns the recipe with the remedy for one diagnosis, and a phrase that describes it."""
    own = edits.find_tunable_locals(recipe, finding.term)
    if finding.kind == "dominating":
        return edits.scale_weight(recipe, finding.term, 0.5)
    if not own:
        return edits.scale_weight(recipe, finding.term, 1.6 if finding.kind == "dead" else 0.6)
    if finding.kind == "saturated":
        return edits.scale_tunable_local(recipe, own[-1], 0.6)
    words = []
    for local in own[-2:]:
        recipe, done = edits.scale_tunable_local(recipe, local, 1.5)
        words.append(done)
    return recipe, ", ".join(words)


def mutate_recipe(recipe: Recipe, spare: Sequence[Term], rng: np.random.Generator, count: int) -> tuple[Recipe, str]:
    """Returns the recipe with `count` random changes, and a phrase that describes them."""
    said = []
    for _ in range(count):
        result = _apply_random_edit(recipe, spare, rng)
        if result is not None:
            recipe, words = result
            said.append(words)
    return recipe, ", ".join(said) or "nothing could be changed"


def _apply_random_edit(recipe: Recipe, spare: Sequence[Term], rng: np.random.Generator) -> tuple[Recipe, str] | None:
    """Returns the recipe with one random change and a phrase for it, or None when no change applies."""
    kind = str(rng.choice(["weight", "knob", "knob", "gate", "add", "drop", "number"]))
    factor = float(rng.uniform(1.3, 2.2)) ** int(rng.choice([-1, 1]))
    if kind == "knob" and (names := edits.find_tunable_locals(recipe)):
        return edits.scale_tunable_local(recipe, str(rng.choice(names)), factor)
    if kind == "gate":
        return edits.toggle_gate(recipe, rng)
    if kind == "number":
        return edits.perturb_constant(recipe, rng)
    missing = [term for term in spare if term.name not in recipe.names]
    if kind == "add" and missing and len(recipe.terms) < edits.MAX_TERMS:
        term = missing[int(rng.integers(len(missing)))]
        return edits.add_term(recipe, term), f"{term.name} added"
    optional = [term.name for term in recipe.terms if term.name in {t.name for t in spare}]
    if kind == "drop" and optional and len(recipe.terms) > 3:
        name = str(rng.choice(optional))
        return recipe.remove_term(name), f"{name} left out"
    return edits.scale_weight(recipe, str(rng.choice(list(recipe.names))), factor)


def annotate_recipe(recipe: Recipe, notes: dict[str, str], summary: str) -> Recipe:
    """Returns the recipe with the comments that compositions give to terms of the same names, and a summary."""
    terms = tuple(replace(term, note=notes.get(term.name, "")) for term in recipe.terms)
    return replace(recipe, terms=terms, summary=summary)


def read_recipes(programs: Sequence[ScoredProgram]) -> list[tuple[ScoredProgram, Recipe]]:
    """Returns the programs whose terms can be parsed, each with its recipe."""
    recipes = ((program, parse_recipe(program.source)) for program in programs)
    return [(program, recipe) for program, recipe in recipes if recipe is not None and recipe.terms]
