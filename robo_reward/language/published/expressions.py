"""Rewrites expressions: operators, choices, names, attributes and indices."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from robo_reward.language.grammar import get_dotted_name
from robo_reward.language.published.frames import Environment
from robo_reward.language.published.names import (
    CONSTANTS,
    NUMBER_TYPES,
    TRUTH_TYPES,
    resolve_library,
    spell_canonically,
)
from robo_reward.language.published.operators import OperatorRewriter
from robo_reward.language.published.values import (
    UNKNOWN,
    ArrayValue,
    DictionaryValue,
    FunctionValue,
    PythonValue,
    SequenceValue,
    StateValue,
    TypedExpression,
    is_simple,
    make_number,
    make_python,
    make_sequence,
    measure_nodes,
)

if TYPE_CHECKING:
    pass


class ExpressionRewriter(OperatorRewriter):
    """Rewrites expressions inside one function.

    Args:
        context: of the whole program.
        frame: the function that is being written.
    """

    def bind(self, name: str, term: TypedExpression, env: Environment) -> TypedExpression:
        """Writes a variable; see `StatementRewriter`."""
        raise NotImplementedError

    def rewrite(self, node: ast.expr, env: Environment) -> TypedExpression:
        """Returns an expression in the language, or the expression itself with an unknown value."""
        self.context.count_step()
        method = getattr(self, f"rewrite_{type(node).__name__}", None)
        term = method(node, env) if method else None
        if term is None:
            return TypedExpression(node, UNKNOWN)
        ast.copy_location(term.node, node)
        measure_nodes(term.node)
        return term

    def rewrite_all(self, nodes: list[ast.expr], env: Environment) -> list[TypedExpression]:
        terms: list[TypedExpression] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                held = self.rewrite(node.value, env)
                items = self.list_items(held)
                if items is None:
                    terms.append(TypedExpression(node, UNKNOWN))
                    continue
                self.note("a star is written out", "calls list their arguments")
                terms += items
            else:
                terms.append(self.rewrite(node, env))
        return terms

    def test(self, node: ast.expr, env: Environment) -> TypedExpression:
        """Returns an expression as a condition: truth values, or a truth value known now."""
        return self.as_truth(self.rewrite(node, env))

    # Syntax, in alphabetical order of the node types

    def rewrite_Attribute(self, node: ast.Attribute, env: Environment) -> TypedExpression | None:
        root = get_dotted_name(node).partition(".")[0]
        if root and not self.is_shadowed(root, env) and (found := resolve_library(node, self.context.imported)):
            return self.rewrite_library_constant(node, *found)
        if root == "self" and root not in env:
            return self.rewrite_self(node)
        held = self.rewrite(node.value, env)
        if isinstance(held.value, StateValue):
            if node.attr not in self.context.spec:
                return TypedExpression(
                    ast.Attribute(ast.Name(held.value.name, ast.Load()), node.attr, ast.Load()), UNKNOWN
                )
            return self.context.read_field(held.value.name, node.attr)
        if isinstance(held.value, SequenceValue) and node.attr in ("values", "indices") and len(held.value.items) == 2:
            return held.value.items[node.attr == "indices"]
        value = held.array
        if value is None:
            return TypedExpression(ast.Attribute(held.node, node.attr, ast.Load()), UNKNOWN)
        match node.attr:
            case "T" if value.rank <= 1 and not (self.context.batched and value.batch):
                self.note(".T of a vector is removed", "it changes nothing")
                return held
            case "T" if value.rank == 2 and not self.context.batched:
                self.note(".T of a matrix is written out", "the language has no transpose")
                return self.context.transpose_matrix(self, [held], {})
            case "shape":
                axes = ["B"] if self.context.batched and value.batch else []
                sizes = [make_python("B") for _ in axes] + [make_number(n) for n in value.shape]
                return make_sequence(sizes)
            case "ndim":
                return make_number(value.rank + (self.context.batched and value.batch))
            case "device" | "dtype":
                return make_python(node.attr)
            case "data" if self.context.torch:
                return held
        return TypedExpression(ast.Attribute(held.node, node.attr, ast.Load()), UNKNOWN)

    def rewrite_library_constant(self, node: ast.Attribute, library: str, name: str) -> TypedExpression:
        """Returns a constant or a type of a library."""
        if name in CONSTANTS:
            if library != "numpy":
                self.note(f"{get_dotted_name(node)} is {CONSTANTS[name]}", "the language has numpy's names")
            path = CONSTANTS[name].split(".")
            return TypedExpression(ast.Attribute(ast.Name("np", ast.Load()), path[1], ast.Load()), ArrayValue())
        if name == "inf":
            return make_python(float("inf"))
        if name in NUMBER_TYPES | TRUTH_TYPES:
            return make_python(
                "bool" if name in TRUTH_TYPES else "int" if name.startswith(("int", "long")) else "float"
            )
        return TypedExpression(spell_canonically(node, self.context.imported), UNKNOWN)

    def rewrite_self(self, node: ast.Attribute) -> TypedExpression | None:
        """Returns `self.FIELD` as the field of the state, if the program never assigns to `self`."""
        if self.context.remembers or not isinstance(node.value, ast.Name):
            return None
        if node.attr in self.context.constants:
            return self.context.read_constant(self, node.attr)
        if node.attr not in self.context.spec:
            return None
        self.note(f"self.{node.attr} is state.{node.attr}", "the fields belong to the state")
        return self.context.read_field("state", node.attr)

    def rewrite_BinOp(self, node: ast.BinOp, env: Environment) -> TypedExpression:
        left, right = self.rewrite(node.left, env), self.rewrite(node.right, env)
        return self.apply_operator(node.op, left, right)

    def rewrite_BoolOp(self, node: ast.BoolOp, env: Environment) -> TypedExpression:
        terms = [self.rewrite(value, env) for value in node.values]
        return self.join_conditions(terms, isinstance(node.op, ast.And))

    def rewrite_Compare(self, node: ast.Compare, env: Environment) -> TypedExpression:
        operands = [self.rewrite(operand, env) for operand in [node.left, *node.comparators]]
        if len(node.ops) > 1:
            self.note("a chained comparison is split", "arrays compare pair by pair")
            operands = [operands[0], *[self.name_value(o, "middle") for o in operands[1:-1]], operands[-1]]
        pairs = [self.compare(op, a, b) for op, a, b in zip(node.ops, operands[:-1], operands[1:], strict=True)]
        return pairs[0] if len(pairs) == 1 else self.join_conditions(pairs, both=True)

    def rewrite_Constant(self, node: ast.Constant, env: Environment) -> TypedExpression:
        if isinstance(node.value, bool | int | float):
            return TypedExpression(node, ArrayValue(truth=isinstance(node.value, bool), const=node.value))
        return TypedExpression(node, PythonValue(node.value))

    def rewrite_Dict(self, node: ast.Dict, env: Environment) -> TypedExpression | None:
        items: dict[Any, TypedExpression] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            term = self.rewrite(value, env)
            if key is None and isinstance(term.value, DictionaryValue):
                items |= term.value.items
                continue
            name = None if key is None else self.rewrite(key, env).const
            if not isinstance(name, str | int):
                return None
            items[name] = term
        return TypedExpression(node, DictionaryValue(items))

    def rewrite_IfExp(self, node: ast.IfExp, env: Environment) -> TypedExpression:
        condition = self.test(node.test, env)
        if condition.const is not None:
            self.note("a choice that is known is made", "the condition is always the same")
            return self.rewrite(node.body if condition.const else node.orelse, env)
        self.note("an if expression is np.where", "arrays hold many worlds")
        return self.choose(condition, self.rewrite(node.body, env), self.rewrite(node.orelse, env))

    def rewrite_JoinedStr(self, node: ast.JoinedStr, env: Environment) -> TypedExpression | None:
        parts: list[str] = []
        for part in node.values:
            held = part.value if isinstance(part, ast.FormattedValue) else part
            known = self.rewrite(held, env).const
            if not isinstance(known, str | int) or len(str(known)) > 100:
                return None
            parts.append(str(known))
        text = "".join(parts)
        return make_python(text) if len(text) <= 200 else None

    def rewrite_Lambda(self, node: ast.Lambda, env: Environment) -> TypedExpression:
        return TypedExpression(node, FunctionValue("lambda", node, env))

    def rewrite_List(self, node: ast.List, env: Environment) -> TypedExpression:
        return make_sequence(self.rewrite_all(node.elts, env))

    def rewrite_Tuple(self, node: ast.Tuple, env: Environment) -> TypedExpression:
        return make_sequence(self.rewrite_all(node.elts, env))

    def rewrite_ListComp(self, node: ast.ListComp | ast.GeneratorExp, env: Environment) -> TypedExpression | None:
        if len(node.generators) != 1 or node.generators[0].is_async:
            return None
        loop = node.generators[0]
        items = self.list_items(self.rewrite(loop.iter, env))
        if items is None or len(items) > 64:
            return None
        results = []
        for item in items:
            inner = dict(env)
            if not self.bind_locally(loop.target, item, inner):
                return None
            conditions = [self.test(condition, inner).const for condition in loop.ifs]
            if None in conditions:
                return None
            if all(conditions):
                results.append(self.rewrite(node.elt, inner))
        self.note("a comprehension is written out", "the language has no lists")
        return make_sequence(results)

    rewrite_GeneratorExp = rewrite_ListComp

    def bind_locally(self, target: ast.expr, item: TypedExpression, env: Environment) -> bool:
        """Binds the names of a loop's target without writing a statement; returns whether that was possible."""
        if isinstance(target, ast.Name):
            env[target.id] = item
            return True
        if isinstance(target, ast.Tuple | ast.List):
            items = self.list_items(item)
            return (
                items is not None
                and len(items) == len(target.elts)
                and all(self.bind_locally(t, i, env) for t, i in zip(target.elts, items, strict=True))
            )
        return False

    def rewrite_Name(self, node: ast.Name, env: Environment) -> TypedExpression | None:
        if node.id in env:
            term = env[node.id]
            return TypedExpression(copy_simple(term.node), term.value)
        if node.id in self.context.constants:
            return self.context.read_constant(self, node.id)
        if node.id in self.context.functions:
            return TypedExpression(node, FunctionValue(node.id, self.context.functions[node.id]))
        if node.id in self.context.imported:
            found = resolve_library(node, self.context.imported)
            if found and found[1] in CONSTANTS:
                return TypedExpression(ast.Attribute(ast.Name("np", ast.Load()), found[1], ast.Load()), ArrayValue())
            return TypedExpression(spell_canonically(node, self.context.imported), UNKNOWN)
        if node.id in ("float", "int", "bool"):
            return make_python(node.id)
        return None

    def rewrite_Subscript(self, node: ast.Subscript, env: Environment) -> TypedExpression | None:
        from robo_reward.language.published.indexing import rewrite_subscript

        return rewrite_subscript(self, node, env)

    def rewrite_UnaryOp(self, node: ast.UnaryOp, env: Environment) -> TypedExpression:
        term = self.pack(self.rewrite(node.operand, env))
        if isinstance(node.op, ast.Not):
            return self.negate(self.as_truth(term))
        value = term.array
        const = term.const
        if isinstance(const, float) and const == float("inf"):
            return make_python(-const if isinstance(node.op, ast.USub) else const)
        if value is None:
            return TypedExpression(ast.UnaryOp(node.op, term.node), UNKNOWN)
        if isinstance(node.op, ast.USub) and const is not None and not isinstance(const, bool):
            return (
                make_number(-const)
                if is_simple(term.node)
                else TypedExpression(ast.UnaryOp(node.op, term.node), ArrayValue(const=-const))
            )
        result = ArrayValue(value.shape, value.batch, value.truth and isinstance(node.op, ast.Invert))
        return TypedExpression(ast.UnaryOp(node.op, term.node), result)


def copy_simple(node: ast.expr) -> ast.expr:
    """Returns a copy of a name or constant, since a position belongs to each; another expression is shared."""
    if isinstance(node, ast.Name):
        return ast.Name(node.id, ast.Load())
    return ast.Constant(node.value) if isinstance(node, ast.Constant) else node
