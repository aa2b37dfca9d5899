"""Rewrites statements: assignments, dictionaries to variables, and changes in place to new arrays."""

from __future__ import annotations

import ast
import copy
from dataclasses import replace
from typing import Any

from robo_reward.language.published.frames import EarlyReturn, Environment
from robo_reward.language.published.loops import LoopRewriter
from robo_reward.language.published.values import (
    UNKNOWN,
    ArrayValue,
    DictionaryValue,
    FunctionValue,
    PythonValue,
    SequenceValue,
    TypedExpression,
    UnknownValue,
    is_simple,
    make_call,
    make_sequence,
)


class StatementRewriter(LoopRewriter):
    """Rewrites the statements of a function; see `ExpressionRewriter`."""

    def run_block(self, statements: list[ast.stmt], env: Environment) -> bool:
        """Rewrites statements in order and returns whether the end of the block is reached."""
        for position, node in enumerate(statements):
            self.context.count_step()
            outer, self.line = self.line, node.lineno
            if isinstance(node, ast.If):
                reached = self.run_if(node, env)
            elif isinstance(node, ast.Return):
                value = (
                    self.rewrite(node.value, env)
                    if node.value
                    else TypedExpression(ast.Constant(None), PythonValue(None))
                )
                self.add_return(value)
                reached = False
            else:
                method = getattr(self, f"run_{type(node).__name__}", None)
                if method is None or method(node, env) is False:
                    self.keep_statement(node, env)
                reached = True
            if not reached:
                if position + 1 < len(statements):
                    self.note("what follows return is removed", "it is never reached", statements[position + 1])
                return False
            self.line = outer or self.line
        return True

    def add_return(self, value: TypedExpression) -> None:
        """Records the value that is returned under the conditions of the branches around."""
        condition = None
        conditions = [TypedExpression(node, ArrayValue((), True, True)) for node in self.frame.conditions]
        for term in conditions:
            condition = term.node if condition is None else make_call("np.logical_and", [condition, term.node])
        self.freeze(value)
        self.frame.returns.append(EarlyReturn(condition, value))

    def freeze(self, term: TypedExpression) -> None:
        """Keeps the variables of a value as they are, since it is read later."""
        self.context.count_step()
        for node in ast.walk(term.node):
            if isinstance(node, ast.Name):
                self.frame.frozen.add(node.id)
        if isinstance(term.value, SequenceValue):
            for item in term.value.items:
                self.freeze(item)
        if isinstance(term.value, DictionaryValue):
            for item in term.value.items.values():
                self.freeze(item)

    def keep_statement(self, node: ast.stmt, env: Environment) -> None:
        """Keeps a statement that has no form in the language, for the linter to refuse."""
        kept = copy.deepcopy(node)
        self.frame.statements.append(kept)
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                env[inner.id] = TypedExpression(ast.Name(inner.id, ast.Load()), UNKNOWN)

    # Statements; each returns False if it has to be kept as it is

    def run_Pass(self, node: ast.Pass, env: Environment) -> bool:
        return True

    def run_Import(self, node: ast.Import | ast.ImportFrom, env: Environment) -> bool:
        return True  # the imports of functions are read with those of the module

    run_ImportFrom = run_Import

    def run_FunctionDef(self, node: ast.FunctionDef, env: Environment) -> bool:
        env[node.name] = TypedExpression(ast.Name(node.name, ast.Load()), FunctionValue(node.name, node, env))
        return True

    def run_Expr(self, node: ast.Expr, env: Environment) -> bool:
        match node.value:
            case ast.Constant():
                return True
            case ast.Call(func=ast.Name(id="print")) if "print" not in env:
                self.note("print is removed", "it does not change the reward")
                return True
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method), args=arguments) if name in env:
                return self.run_method(name, method, node.value, arguments, env)
        return False

    def run_method(self, name: str, method: str, node: ast.Call, arguments: list[ast.expr], env: Environment) -> bool:
        """Rewrites a method that changes a dictionary or list."""
        value = env[name].value
        if isinstance(value, DictionaryValue) and method == "update":
            given = [self.rewrite(argument, env).value for argument in arguments]
            if not all(isinstance(part, DictionaryValue) for part in given):
                return False
            for part in given:
                assert isinstance(part, DictionaryValue)
                for key, term in part.items.items():
                    self.set_item(name, key, term, env)
            for keyword in node.keywords:
                if keyword.arg is None:
                    return False
                self.set_item(name, keyword.arg, self.rewrite(keyword.value, env), env)
            return True
        if isinstance(value, SequenceValue) and method == "append" and len(arguments) == 1 and not node.keywords:
            item = self.store_part(f"{name}_{len(value.items)}", self.rewrite(arguments[0], env))
            longer = make_sequence([*value.items, item])
            for other in [other for other, held in env.items() if held.value is value]:
                env[other] = longer
            return True
        return False

    def run_AnnAssign(self, node: ast.AnnAssign, env: Environment) -> bool:
        self.note("a type hint is removed", "everything is an array")
        return node.value is None or self.assign([node.target], node.value, env)

    def run_Assign(self, node: ast.Assign, env: Environment) -> bool:
        return self.assign(node.targets, node.value, env)

    def assign(self, targets: list[ast.expr], value: ast.expr, env: Environment) -> bool:
        """Rewrites `target = value`."""
        if any(not self.is_target(target, env) for target in targets):
            return False
        term = self.rewrite(value, env)
        if len(targets) > 1:
            term = self.name_value(term, "value")
        return self.assign_each([(target, term) for target in targets], env)

    def is_target(self, node: ast.expr, env: Environment) -> bool:
        """Returns whether something can be assigned to."""
        if isinstance(node, ast.Tuple | ast.List):
            return all(self.is_target(element, env) for element in node.elts)
        if isinstance(node, ast.Subscript):
            return isinstance(node.value, ast.Name) and node.value.id in env
        return isinstance(node, ast.Name)

    def assign_to(self, target: ast.expr, term: TypedExpression, env: Environment) -> bool:
        """Assigns a value to a name, to several, or to an item; returns whether that is possible."""
        if isinstance(target, ast.Name):
            mutable = isinstance(term.value, DictionaryValue | SequenceValue)
            shared = mutable and any(held.value is term.value for held in env.values())
            env[target.id] = term if shared else self.bind(target.id, term, env)
            return True
        if isinstance(target, ast.Subscript):
            return self.assign_item(target, term, env)
        assert isinstance(target, ast.Tuple | ast.List)
        items = self.list_items(term)
        if items is None and isinstance(term.value, UnknownValue):
            if all(isinstance(element, ast.Name) for element in target.elts):
                names = [self.bind_unknown(element.id, env) for element in target.elts]  # type: ignore[attr-defined]
                self.emit(ast.Assign([ast.Tuple(names, ast.Store())], term.node))
                return True
            return False
        if items is None or len(items) != len(target.elts):
            return False
        if len(items) > 1:  # all values first: a, b = b, a
            names = {e.id for e in target.elts if isinstance(e, ast.Name)}
            reads = [self.reads_any(item, names, env) for item in items]
            items = [self.name_fresh(item) if read else item for item, read in zip(items, reads, strict=True)]
        return self.assign_each(list(zip(target.elts, items, strict=True)), env)

    def assign_each(self, pairs: list[tuple[ast.expr, TypedExpression]], env: Environment) -> bool:
        """Assigns a value to each target; returns whether that is possible."""
        done = [self.assign_to(target, term, env) for target, term in pairs]
        return all(done)

    def reads_any(self, term: TypedExpression, names: set[str], env: Environment) -> bool:
        """Returns whether an expression reads a variable that one of the names is written to."""
        held = {env[name].node.id for name in names if name in env and isinstance(env[name].node, ast.Name)}  # type: ignore[attr-defined]
        held |= {self.frame.clean_name(name) for name in names}
        return any(isinstance(node, ast.Name) and node.id in held for node in ast.walk(term.node))

    def name_fresh(self, term: TypedExpression) -> TypedExpression:
        """Returns the value in a new variable."""
        return self.write_variable(term, "value") if isinstance(term.value, ArrayValue | UnknownValue) else term

    def bind_unknown(self, name: str, env: Environment) -> ast.expr:
        """Returns the variable for a value of unknown shape."""
        chosen = self.frame.choose_target(name, env.get(name))
        env[name] = TypedExpression(ast.Name(chosen, ast.Load()), UNKNOWN)
        return ast.Name(chosen, ast.Store())

    def bind(self, name: str, term: TypedExpression, env: Environment) -> TypedExpression:
        """Writes a value to the variable of a name, where the language has such values; returns the variable."""
        value = term.value
        if isinstance(value, DictionaryValue):
            self.note(f"the items of {name} become variables", "the language has no dictionaries")
            return TypedExpression(
                term.node, DictionaryValue({k: self.store_part(f"{name}_{k}", t) for k, t in value.items.items()})
            )
        if isinstance(value, SequenceValue):
            return make_sequence([self.store_part(f"{name}_{i}", t) for i, t in enumerate(value.items)])
        if not isinstance(value, ArrayValue | UnknownValue):
            return term
        if isinstance(value, ArrayValue) and value.cell is None and (value.rank or value.batch):
            value = replace(value, cell=self.context.make_cell())
        chosen = self.frame.choose_target(name, env.get(name))
        self.emit(ast.Assign([ast.Name(chosen, ast.Store())], term.node))
        return TypedExpression(ast.Name(chosen, ast.Load()), value)

    def store_part(self, wished: str, term: TypedExpression) -> TypedExpression:
        """Returns an item of a dictionary or list as a variable or a number."""
        if isinstance(term.value, DictionaryValue):
            return TypedExpression(
                term.node,
                DictionaryValue({k: self.store_part(f"{wished}_{k}", t) for k, t in term.value.items.items()}),
            )
        if isinstance(term.value, SequenceValue):
            return make_sequence([self.store_part(f"{wished}_{i}", t) for i, t in enumerate(term.value.items)])
        self.freeze(term)
        if is_simple(term.node) or not isinstance(term.value, ArrayValue | UnknownValue):
            return term
        return self.write_variable(term, "".join(c if c.isascii() and c.isalnum() else "_" for c in wished))

    def set_item(self, name: str, key: Any, term: TypedExpression, env: Environment) -> None:
        """Writes `name[key] = term` for a dictionary."""
        value = env[name].value
        assert isinstance(value, DictionaryValue)
        items = value.items | {key: self.store_part(f"{name}_{key}", term)}
        changed = TypedExpression(env[name].node, DictionaryValue(items))
        for other in [other for other, held in env.items() if held.value is value]:
            env[other] = changed

    def assign_item(self, target: ast.Subscript, term: TypedExpression, env: Environment) -> bool:
        """Writes an item of a dictionary, or components of an array."""
        assert isinstance(target.value, ast.Name)
        name = target.value.id
        held = env[name]
        if any(held.value is term.value for term in self.frame.constants.values()):
            return False  # it would last from call to call
        if isinstance(held.value, DictionaryValue):
            key = self.rewrite(target.slice, env).const
            if not isinstance(key, str | int):
                return False
            self.note(f"{name}[...] is a variable", "the language has no dictionaries")
            self.set_item(name, key, term, env)
            return True
        if held.array is None:
            return False
        changed = self.replace_part(held, target, term, env)
        if changed is None:
            return False
        self.note(f"a part of {name} is set in a new array", "nothing is changed in place")
        return self.update_in_place(name, changed, env)

    def replace_part(
        self, held: TypedExpression, target: ast.Subscript, term: TypedExpression, env: Environment
    ) -> TypedExpression | None:
        """Returns an array with some of its components, or the worlds of a condition, replaced."""
        value = held.array
        if value is None or isinstance(value.cell, str):
            return None
        index = self.rewrite(target.slice, env)
        if (
            index.array is not None
            and index.array.truth
            and index.array.shape == value.shape
            and index.array.const is None
        ):
            if term.array is None or term.array.rank:
                return None
            return self.choose(index, term, held)
        position = index.const
        inner = target.slice
        if self.context.batched and value.batch:
            if not (isinstance(inner, ast.Tuple) and len(inner.elts) == 2 and isinstance(inner.elts[0], ast.Slice)):
                return None
            if inner.elts[0].lower or inner.elts[0].upper or inner.elts[0].step:
                return None
            position = self.rewrite(inner.elts[1], env).const
        if type(position) is not int or value.rank != 1 or not -value.shape[0] <= position < value.shape[0]:
            return None
        if value.shape[0] > 64 or term.array is None or term.array.rank:
            return None
        parts = [self.pick(held, [i]) for i in range(value.shape[0])]
        parts[position] = term
        vector = self.make_vector(parts)
        return vector if isinstance(vector.value, ArrayValue) else None

    def update_in_place(self, name: str, changed: TypedExpression, env: Environment) -> bool:
        """Gives a new value to a name, and to the other names of the same array; returns whether that is all."""
        cell = env[name].array.cell if env[name].array else None  # type: ignore[union-attr]
        if any(t.array is not None and t.array.cell == f"a part of {cell}" for t in env.values()):
            return False  # those parts change, too
        others = [n for n, t in env.items() if n != name and cell is not None and t.array and t.array.cell == cell]
        env[name] = self.bind(name, changed, env)
        for other in others:
            env[other] = self.bind(other, env[name], env)
        self.update_items(cell, env[name], env)
        return True

    def update_items(self, cell: int | str | None, term: TypedExpression, env: Environment) -> None:
        """Gives a changed array to the items of dictionaries and lists that hold it."""
        if cell is None:
            return
        for name, held in env.items():
            if isinstance(held.value, DictionaryValue):
                items = {k: term if t.array and t.array.cell == cell else t for k, t in held.value.items.items()}
                if any(items[key] is not held.value.items[key] for key in items):
                    self.freeze(term)
                    env[name] = TypedExpression(held.node, DictionaryValue(items))

    def run_AugAssign(self, node: ast.AugAssign, env: Environment) -> bool:
        right = self.rewrite(node.value, env)
        if (
            isinstance(node.target, ast.Subscript)
            and isinstance(node.target.value, ast.Name)
            and node.target.value.id in env
        ):
            read = ast.copy_location(ast.Subscript(node.target.value, node.target.slice, ast.Load()), node.target)
            name = node.target.value.id
            index = self.rewrite(node.target.slice, env)
            held = env[name]
            if held.array is not None and index.array is not None and index.array.truth and index.array.const is None:
                old = held  # x[mask] += y: the sum of all, of which the condition chooses
            else:
                old = self.rewrite(read, env)
            return self.assign_item(node.target, self.apply_operator(node.op, old, right), env)
        if not isinstance(node.target, ast.Name) or (
            node.target.id not in env and node.target.id not in self.context.constants
        ):
            return False
        name = node.target.id
        if name not in env:
            return False
        old = env[name]
        value = old.array
        if (
            isinstance(old.value, SequenceValue)
            and isinstance(right.value, SequenceValue)
            and isinstance(node.op, ast.Add)
        ):
            env[name] = self.bind(name, make_sequence([*old.value.items, *right.value.items]), env)
            return True
        term = self.apply_operator(node.op, TypedExpression(old.node, old.value), right)
        in_place = value is not None and (value.rank > 0 or (self.context.batched and value.batch))
        if not in_place and self.context.torch and value is not None and value.cell is not None:
            names = [n for n, t in env.items() if t.array is not None and t.array.cell == value.cell]
            remedy = "give the sum a name of its own: total = near + 1.0"
            self.context.doubt_if(len(names) > 1, self.line, f"{name} is changed in place and has another name", remedy)
        if in_place and isinstance(value.cell if value else None, str):
            return False  # it would change the state itself
        if in_place:
            return self.update_in_place(name, term, env)
        plain = self.frame.choose_target(name, old)
        if (
            isinstance(old.node, ast.Name)
            and plain == old.node.id
            and isinstance(term.node, ast.BinOp)
            and not isinstance(node.op, ast.MatMult)
        ):
            self.emit(ast.AugAssign(ast.Name(plain, ast.Store()), node.op, term.node.right))
            env[name] = TypedExpression(ast.Name(plain, ast.Load()), term.value)
        else:
            env[name] = self.bind(name, term, env)
        return True
