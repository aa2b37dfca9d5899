"""K proposals for a request: compositions in the first round, descendants of the best in later ones."""

from __future__ import annotations

import ast
import hashlib
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from robo_reward.language.language import ProgramError, compile_program
from robo_reward.writers.offline import edits
from robo_reward.writers.offline.evolve import annotate_recipe, improve_recipe, mutate_recipe, read_recipes
from robo_reward.writers.offline.goals.reading import read_goal
from robo_reward.writers.offline.plan import STYLES, choose_style, compose_recipe
from robo_reward.writers.offline.plans.rule import parse_requirements
from robo_reward.writers.offline.render import render_program
from robo_reward.writers.offline.scene import SceneFacts
from robo_reward.writers.offline.sentence import Sentence, find_hand_words, parse_sentence
from robo_reward.writers.offline.terms import Recipe, Style, Term
from robo_reward.writers.writer import WriteRequest

MAX_ATTEMPTS = 20
"""Maximum number of draws until a child differs from all known programs."""
_KINDS = ("improve", "mutate", "cross", "fresh")


class Proposal(NamedTuple):
    """A program and the reason for it."""

    source: str
    reason: str


def draw_proposals(request: WriteRequest, k: int) -> list[Proposal]:
    """Returns proposals `request.first` to `request.first + k - 1`; deterministic for a given request."""
    breeder = _ProposalSampler(request)
    return [breeder.draw_program(index) for index in range(request.first, request.first + k)]


def read_request(request: WriteRequest) -> tuple[Sentence, SceneFacts]:
    """Returns the parsed goal of a request, and its scene with the hand that the goal names."""
    sentence = parse_sentence(request.goal)
    action, sides = request.action, find_hand_words(sentence)
    return sentence, SceneFacts(request.spec, action.names, action.kind, action.rate_hz, sides, request.start)


class _ProposalSampler:
    """Draws programs for one request and remembers them, so that no two are the same."""

    def __init__(self, request: WriteRequest) -> None:
        self.request = request
        self.sentence, self.scene = read_request(request)
        feedback = request.feedback
        self.scored = [] if feedback is None else [feedback.best, *feedback.others]
        self.parents = read_recipes(self.scored)
        self.known = {_strip_comments(program.source) for program in self.scored}
        if request.repair is not None:
            self.known.add(_strip_comments(request.repair.source))

    def draw_program(self, index: int) -> Proposal:
        """Returns one program that differs from all before."""
        for attempt in range(MAX_ATTEMPTS):
            rng = self._create_rng(index, attempt)
            proposal = self._draw_candidate(index, attempt, rng)
            bare = _strip_comments(proposal.source)
            if bare not in self.known and self._can_compile(proposal.source):
                self.known.add(bare)
                return proposal
        return self._compose_proposal(len(STYLES) + index, self._create_rng(index, MAX_ATTEMPTS))

    def _draw_candidate(self, index: int, attempt: int, rng: np.random.Generator) -> Proposal:
        """Returns a proposal that may repeat a known program."""
        request = self.request
        # A search that starts from a person's program gets descendants of it and usual compositions in turn.
        is_usual = not self.scored or index % 2 == 1
        first = request.round == 0 and request.repair is None and attempt == 0 and is_usual
        if first or not self.scored or request.repair is not None:
            usual = index // 2 if self.scored else index
            return self._compose_proposal(usual if first else len(STYLES) + index, rng)
        kind = _KINDS[index % len(_KINDS)]
        if kind == "fresh":
            return self._compose_proposal(len(STYLES) + index, rng)
        if not self.parents or self.parents[0][0] is not self.scored[0]:
            source = edits.jitter_constants(self.scored[0].source, rng, 1 + index % 3)
            return Proposal(source, "The best program has an unknown structure; only some of its numbers were changed.")
        return self._draw_child(kind, index, attempt, rng)

    def _draw_child(self, kind: str, index: int, attempt: int, rng: np.random.Generator) -> Proposal:
        """Returns a descendant of the best program."""
        elite, recipe = self.parents[0]
        if kind == "improve" and index == 0:
            child, said = improve_recipe(elite, recipe, self.optional_terms, rng)
            said = f"Improves {elite.name}: {said}."
            if attempt:
                child, more = mutate_recipe(child, self.optional_terms, rng, 1)
                said += f" Also: {more}."
        elif kind == "cross" and len(self.parents) > 1:
            partner, other = self.parents[1 + int(rng.integers(min(3, len(self.parents) - 1)))]
            child, said = edits.cross_recipes(recipe, other, rng), f"Crosses {elite.name} with {partner.name}."
            if attempt > MAX_ATTEMPTS // 2:
                child, more = mutate_recipe(child, self.optional_terms, rng, 1)
                said += f" Also: {more}."
        else:
            child, words = mutate_recipe(recipe, self.optional_terms, rng, 1 + int(rng.integers(3)))
            said = f"Changes {elite.name}: {words}."
        return Proposal(render_program(annotate_recipe(child, self.term_notes, said)), said)

    def _compose_proposal(self, index: int, rng: np.random.Generator) -> Proposal:
        """Returns a composition from the sentence."""
        style = self._choose_style(index, rng)
        recipe = self.compose_variant(index, rng)
        said = f"Closeness falls like {style.shape}; {style.gate} gates; later stages weigh {style.stage:g} times more."
        return Proposal(render_program(recipe), f"{recipe.summary}\n\n{said}")

    def compose_variant(self, index: int, rng: np.random.Generator) -> Recipe:
        """Returns the recipe of a composition."""
        return compose_recipe(self.sentence, self.scene, self._choose_style(index, rng), self.request.success_rule)

    def _choose_style(self, index: int, rng: np.random.Generator) -> Style:
        """Returns the style of a composition; a sentence that is not understood leaves the rule as the only basis."""
        style = choose_style(index, rng)
        return replace(style, basis="rule") if self._follows_rule else style

    @cached_property
    def _follows_rule(self) -> bool:
        has_terms = bool(parse_requirements(self.request.success_rule, self.request.spec))
        return has_terms and not read_goal(self.sentence, self.scene).is_clear

    @cached_property
    def usual_recipes(self) -> list[Recipe]:
        """Recipes of the usual compositions."""
        return [self.compose_variant(index, np.random.default_rng(0)) for index in range(len(STYLES))]

    @cached_property
    def term_notes(self) -> dict[str, str]:
        """Comments of the terms by name."""
        return {term.name: term.note for recipe in reversed(self.usual_recipes) for term in recipe.terms}

    @cached_property
    def optional_terms(self) -> list[Term]:
        """Terms that some of the usual compositions have and others lack."""
        everywhere = set.intersection(*(set(recipe.names) for recipe in self.usual_recipes))
        terms = (term for recipe in self.usual_recipes for term in recipe.terms)
        return list({term.name: term for term in terms if term.name not in everywhere}.values())

    def _can_compile(self, source: str) -> bool:
        """Returns whether a program compiles for the state and action of the request."""
        try:
            compile_program(source, self.request.spec, self.request.action.dim)
        except ProgramError:
            return False
        return True

    def _create_rng(self, index: int, attempt: int) -> np.random.Generator:
        """Returns a generator seeded by the numbers of the request alone; its names have no influence."""
        request = self.request
        heard = [(program.success, program.terms) for program in self.scored]
        text = repr((request.round, request.seed, index, attempt, heard))
        return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little"))


def _strip_comments(source: str) -> str:
    """Returns a program without comments and docstrings, to recognise duplicates."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return source
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
            del node.body[0]
    return ast.unparse(tree)
