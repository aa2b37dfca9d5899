"""K proposals for a request: compositions in the first round, descendants of the best in later ones."""

from __future__ import annotations

import ast
import hashlib
from functools import cached_property
from typing import NamedTuple

import numpy as np

from robo_reward.code.language import ProgramRefused, compile_program
from robo_reward.code.offline import edits
from robo_reward.code.offline.evolve import annotated, improved, mutated, readable
from robo_reward.code.offline.plan import STYLES, compose, style
from robo_reward.code.offline.render import render
from robo_reward.code.offline.scene import Scene
from robo_reward.code.offline.sentence import read_sentence
from robo_reward.code.offline.terms import Recipe, Term
from robo_reward.code.writers.writer import WriteRequest

TRIES = 20
"""How often a child is drawn again when it equals a program that is known already."""
_KINDS = ("improve", "mutate", "cross", "fresh")


class Proposal(NamedTuple):
    """A program and why it is proposed."""

    source: str
    reason: str


def proposals(request: WriteRequest, k: int) -> list[Proposal]:
    """Samples `request.first` and the K - 1 after it; the same request always gives the same."""
    breeder = _Breeder(request)
    return [breeder.propose(index) for index in range(request.first, request.first + k)]


class _Breeder:
    """Draws programs for one request and remembers them, so that no two are the same."""

    def __init__(self, request: WriteRequest) -> None:
        self.request = request
        self.sentence = read_sentence(request.goal)
        self.scene = Scene(request.spec, request.action.names, request.action.kind)
        feedback = request.feedback
        self.scored = [] if feedback is None else [feedback.best, *feedback.others]
        self.parents = readable(self.scored)
        self.known = {_bare(program.source) for program in self.scored}
        if request.repair is not None:
            self.known.add(_bare(request.repair.source))

    def propose(self, index: int) -> Proposal:
        """One program."""
        for attempt in range(TRIES):
            rng = self._rng(index, attempt)
            proposal = self._drawn(index, attempt, rng)
            bare = _bare(proposal.source)
            if bare not in self.known and self._compiles(proposal.source):
                self.known.add(bare)
                return proposal
        return self._composed(len(STYLES) + index, self._rng(index, TRIES))

    def _drawn(self, index: int, attempt: int, rng: np.random.Generator) -> Proposal:
        request = self.request
        first = request.round == 0 and request.repair is None and attempt == 0
        if first or not self.scored or request.repair is not None:
            return self._composed(index if first else len(STYLES) + index, rng)
        kind = _KINDS[index % len(_KINDS)]
        if kind == "fresh":
            return self._composed(len(STYLES) + index, rng)
        if not self.parents or self.parents[0][0] is not self.scored[0]:
            source = edits.jittered(self.scored[0].source, rng, 1 + index % 3)
            return Proposal(source, "The best program has a form of its own; some of its numbers were changed.")
        return self._child(kind, index, attempt, rng)

    def _child(self, kind: str, index: int, attempt: int, rng: np.random.Generator) -> Proposal:
        """A descendant of the best program."""
        elite, recipe = self.parents[0]
        if kind == "improve" and index == 0:
            child, said = improved(elite, recipe, self.spare, rng)
            said = f"Improves {elite.name}: {said}."
            if attempt:
                child, more = mutated(child, self.spare, rng, 1)
                said += f" Also: {more}."
        elif kind == "cross" and len(self.parents) > 1:
            partner, other = self.parents[1 + int(rng.integers(min(3, len(self.parents) - 1)))]
            child, said = edits.crossed(recipe, other, rng), f"Crosses {elite.name} with {partner.name}."
            if attempt > TRIES // 2:
                child, more = mutated(child, self.spare, rng, 1)
                said += f" Also: {more}."
        else:
            child, words = mutated(recipe, self.spare, rng, 1 + int(rng.integers(3)))
            said = f"Changes {elite.name}: {words}."
        return Proposal(render(annotated(child, self.notes, said)), said)

    def _composed(self, index: int, rng: np.random.Generator) -> Proposal:
        """A composition from the sentence."""
        chosen = style(index, rng)
        recipe = self.compose(index, rng)
        said = (
            f"Closeness falls like {chosen.shape}; {chosen.gate} gates; later stages weigh {chosen.stage:g} times more."
        )
        return Proposal(render(recipe), f"{recipe.summary}\n\n{said}")

    def compose(self, index: int, rng: np.random.Generator) -> Recipe:
        """The recipe of a composition."""
        return compose(self.sentence, self.scene, style(index, rng), self.request.success_rule)

    @cached_property
    def compositions(self) -> list[Recipe]:
        """The usual compositions."""
        return [self.compose(index, np.random.default_rng(0)) for index in range(len(STYLES))]

    @cached_property
    def notes(self) -> dict[str, str]:
        """What terms are for, by name."""
        return {term.name: term.note for recipe in reversed(self.compositions) for term in recipe.terms}

    @cached_property
    def spare(self) -> list[Term]:
        """Terms that some of the compositions have and others do without."""
        everywhere = set.intersection(*(set(recipe.names) for recipe in self.compositions))
        found = {
            term.name: term for recipe in self.compositions for term in recipe.terms if term.name not in everywhere
        }
        return list(found.values())

    def _compiles(self, source: str) -> bool:
        try:
            compile_program(source, self.request.spec, self.request.action.dim)
        except ProgramRefused:
            return False
        return True

    def _rng(self, index: int, attempt: int) -> np.random.Generator:
        """Randomness from the numbers of the request, not from its names: a cube called gadget changes nothing."""
        request = self.request
        heard = [(program.success, program.terms) for program in self.scored]
        text = repr((request.round, request.seed, index, attempt, heard))
        return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little"))


def _bare(source: str) -> str:
    """A program without comments and docstrings, for telling twins."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return source
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
            del node.body[0]
    return ast.unparse(tree)
