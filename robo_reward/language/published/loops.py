"""Rewrites loops: over a range as such where every round is the same, others round by round."""

from __future__ import annotations

import ast
from dataclasses import replace

from robo_reward.language.grammar import MAX_LOOP
from robo_reward.language.published.branches import BranchRewriter
from robo_reward.language.published.frames import Environment
from robo_reward.language.published.values import (
    ArrayValue,
    DictionaryValue,
    SequenceValue,
    TypedExpression,
    UnknownValue,
    make_call,
    make_number,
    without_constant,
)

MAX_ROUNDS = 64
"""Largest number of rounds of a loop that is written out."""


class LoopRewriter(BranchRewriter):
    """Rewrites loops; see `ExpressionRewriter`."""

    def run_For(self, node: ast.For, env: Environment) -> bool:
        if node.orelse or any(isinstance(inner, ast.Break | ast.Continue) for inner in ast.walk(node)):
            return False
        if self.keep_loop(node, env):
            return True
        items = self.list_items(self.rewrite(node.iter, env))
        if items is None:
            return False
        if len(items) > MAX_ROUNDS:
            return False
        self.note("a loop is written out", "the language has no lists, and each round may differ")
        items = [self.store_part("item", item) for item in items]
        for item in items:
            if not self.bind_locally(node.target, item, env):
                return False
            if not self.run_block(node.body, env):
                return True
        return True

    def keep_loop(self, node: ast.For, env: Environment) -> bool:
        """Rewrites a loop over a range as such, if every round is the same; returns whether it is."""
        rounds = self.read_range(node.iter, env)
        if rounds is None or len(rounds) > MAX_LOOP or not isinstance(node.target, ast.Name):
            return False
        if any(isinstance(inner, ast.Return) for inner in ast.walk(node)):
            return False
        frame, changes, doubts, line = self.frame, dict(self.context.changes), len(self.context.doubts), self.line
        outer, saved, frozen, owner = frame.statements, dict(env), set(frame.frozen), dict(frame.owner)
        frame.statements = []
        stored = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        carried = self.carry_variables(sorted((stored - {node.target.id}) & env.keys()), env)
        before, frame.statements = frame.statements, []
        counter = frame.choose_target(node.target.id, env.get(node.target.id))
        counters, frame.counters = frame.counters, frame.counters | {counter: rounds}
        inner = env | {node.target.id: TypedExpression(ast.Name(counter, ast.Load()), ArrayValue())}
        self.run_block(node.body, inner)
        body, frame.statements, self.line = frame.statements, outer, line
        frame.counters = counters
        changed = {name for name, term in env.items() if inner.get(name) is not term}
        read = {n.id for s in node.body for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        if not body or changed - stored or not _is_stable(carried, inner, stored, read):
            env.clear()
            env.update(saved)
            frame.frozen, frame.owner = frozen, owner
            self.context.changes = changes
            del self.context.doubts[doubts:]
            return False
        frame.statements += before
        call = make_call("range", [make_number(bound).node for bound in _list_bounds(rounds)])
        self.emit(ast.For(ast.Name(counter, ast.Store()), call, body, []))
        for name in stored & inner.keys():
            term, held = inner[name], carried.get(name)
            if isinstance(term.value, ArrayValue):
                batch = term.value.batch or (held is not None and held.array is not None and held.array.batch)
                term = TypedExpression(term.node, replace(term.value, batch=batch, const=None))
            env[name] = term
        return True

    def read_range(self, node: ast.expr, env: Environment) -> range | None:
        """Returns the numbers of a loop, or `None` if it is not over `range` of whole numbers that are known."""
        if not isinstance(node, ast.Call) or getattr(node.func, "id", "") != "range" or node.keywords or "range" in env:
            return None
        bounds: list[int] = []
        for bound in node.args:
            known = self.rewrite(bound, env).const
            if type(known) is not int or abs(known) > 10**9:
                return None
            bounds.append(known)
        return range(*bounds) if 1 <= len(bounds) <= 3 and bounds[2:] != [0] else None

    def carry_variables(self, names: list[str], env: Environment) -> Environment:
        """Returns the variables that the rounds of a loop hand on, each in a variable that may change."""
        for name in names:
            term = env[name]
            if not isinstance(term.value, ArrayValue):
                continue
            held = getattr(term.node, "id", "")
            if held in self.frame.frozen or self.frame.owner.get(held, -1) != self.frame.branches[-1]:
                env[name] = self.bind(name, term, env)
            env[name] = without_constant(env[name])
        return {name: env[name] for name in names}


def _is_stable(carried: Environment, after: Environment, stored: set[str], read: set[str]) -> bool:
    """Returns whether the rounds of a loop hand on values of the same shapes in the same variables.

    A constant before the first round that depends on the state after it counts as the same, unless the loop reads it.
    """
    for name, term in carried.items():
        old, new = term.array, after[name].array
        if (
            old is None
            or new is None
            or old.shape != new.shape
            or (old.batch != new.batch and (old.rank or name in read))
        ):
            return False
        if getattr(term.node, "id", "") != getattr(after[name].node, "id", "?"):
            return False
    return not any(
        isinstance(after[name].value, UnknownValue | DictionaryValue | SequenceValue) for name in stored & after.keys()
    )


def _list_bounds(rounds: range) -> list[int]:
    if rounds.step != 1:
        return [rounds.start, rounds.stop, rounds.step]
    return [rounds.start, rounds.stop] if rounds.start else [rounds.stop]
