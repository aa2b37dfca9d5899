"""Rewrites branches: both sides are computed, and `np.where` chooses."""

from __future__ import annotations

import ast

from robo_reward.language.published.calls import FunctionCaller
from robo_reward.language.published.frames import Environment
from robo_reward.language.published.values import (
    ArrayValue,
    DictionaryValue,
    SequenceValue,
    TypedExpression,
    UnknownValue,
    combine,
    make_call,
    make_number,
)


class BranchRewriter(FunctionCaller):
    """Rewrites branches; see `ExpressionRewriter`."""

    def run_if(self, node: ast.If, env: Environment) -> bool:
        """Rewrites a branch: both sides are computed, and np.where chooses; returns whether its end is reached."""
        condition = self.test(node.test, env)
        if condition.const is not None:
            self.note("a branch that is known is chosen", "its condition is always the same")
            return self.run_block(node.body if condition.const else node.orelse, env)
        self.note("if is np.where", "arrays hold many worlds")
        condition = self.name_value(condition, "condition")
        self.freeze(condition)
        inverse = combine([condition], lambda nodes: make_call("np.logical_not", nodes), truth=True)
        chosen, other = dict(env), dict(env)
        goes_on = self.run_branch(node.body, chosen, condition.node)
        if not goes_on:  # the rest of the function is the other side
            env.clear()
            env.update(other)
            self.line = node.lineno
            return self.run_block(node.orelse, env) if node.orelse else True
        orelse_goes_on = self.run_branch(node.orelse, other, inverse.node)
        self.line = node.lineno
        if not orelse_goes_on:
            self.adopt(chosen, env)
            return True
        self.join(condition, chosen, other, env)
        return True

    def run_branch(self, body: list[ast.stmt], env: Environment, condition: ast.expr) -> bool:
        """Rewrites one side of a branch, with variables of its own."""
        frame = self.frame
        frame.branches.append(self.context.make_cell())
        frame.conditions.append(condition)
        reached = self.run_block(body, env)
        frame.branches.pop()
        frame.conditions.pop()
        return reached

    def adopt(self, side: Environment, env: Environment) -> None:
        """Goes on with the variables of the one side of a branch that does not return."""
        for name, term in side.items():
            if env.get(name) is not term:
                env[name] = term
                self.freeze(term)

    def join(self, condition: TypedExpression, chosen: Environment, other: Environment, env: Environment) -> None:
        """Chooses between the two values of each variable that a side has changed."""
        names = [name for name in {**chosen, **other} if chosen.get(name) is not other.get(name)]
        results: Environment = {}
        joined: dict[tuple[int, int], TypedExpression] = {}
        for name in names:
            a, b = chosen.get(name), other.get(name)
            pair = (id(a.value) if a else 0, id(b.value) if b else 0)
            mutable = a is not None and isinstance(a.value, DictionaryValue | SequenceValue)
            if mutable and pair in joined:  # two names of one dictionary
                results[name] = joined[pair]
                continue
            results[name] = joined[pair] = self.join_terms(name, condition, a, b, env)
        env.update(results)

    def join_terms(
        self,
        name: str,
        condition: TypedExpression,
        chosen: TypedExpression | None,
        other: TypedExpression | None,
        env: Environment,
    ) -> TypedExpression:
        """Returns the variable that holds one of two values."""
        if chosen is None or other is None:
            held = chosen or other
            assert held is not None
            self.freeze(held)
            return held
        if isinstance(chosen.value, DictionaryValue) and isinstance(other.value, DictionaryValue):
            zero = make_number(0.0)
            items = {}
            for key in {**other.value.items, **chosen.value.items}:
                a, b = chosen.value.items.get(key), other.value.items.get(key)
                if a is b and a is not None:
                    items[key] = a
                else:
                    joined = self.choose(condition, a or zero, b or zero)
                    items[key] = self.store_part(f"{name}_{key}", joined)
            return TypedExpression(chosen.node, DictionaryValue(items))
        joined = self.choose(condition, chosen, other)
        if isinstance(joined.value, ArrayValue | UnknownValue | SequenceValue):
            return self.bind(name, joined, env)
        return joined
