"""Rewrites a whole program: its entry, its imports and what it returns."""

from __future__ import annotations

import ast
import re
from typing import Any

from robo_reward.envs.state import StateSpec
from robo_reward.language.grammar import ENTRY, NAME, RESERVED_TERMS, skip_docstring
from robo_reward.language.problems import Change, Problem
from robo_reward.language.published.calls import is_mutated, make_frame
from robo_reward.language.published.cleaning import inline_variables
from robo_reward.language.published.context import Context
from robo_reward.language.published.frames import Environment
from robo_reward.language.published.functions.reductions import to_number
from robo_reward.language.published.names import KNOWN_MODULES
from robo_reward.language.published.statements import StatementRewriter
from robo_reward.language.published.values import (
    UNKNOWN,
    ArrayValue,
    DictionaryValue,
    PythonValue,
    SequenceValue,
    StateValue,
    TypedExpression,
    UnknownValue,
    make_number,
    make_python,
)

_STATES = ("state", "states", "obs", "observation", "s")
_NEXT = ("next_state", "next_states", "next_obs", "new_state")
_PREVIOUS = ("previous", "prev", "prev_state", "previous_state", "last_state", "prev_obs", "last_obs")
_ACTIONS = ("action", "actions", "act")
_COUNTS = ("num_envs", "n_envs", "num_worlds", "batch_size")
_BEFORE = re.compile(r"(prev|previous|last)_")


def rewrite_program(
    tree: ast.Module, spec: StateSpec, action_dim: int, batched: bool
) -> tuple[ast.Module, list[Change], list[Problem]]:
    """Returns a program in the language, as far as that is possible, the changes, and what is ambiguous in it.

    Args:
        tree: the original, which stays as it is.
        spec: the fields of the state.
        action_dim: A.
        batched: whether the original is written for arrays of the batch, or for one world.

    Raises:
        CannotNormalise: it is too large.
    """
    tree = _open_class(tree)
    body = skip_docstring(tree.body)
    functions = {node.name: node for node in body if isinstance(node, ast.FunctionDef)}
    constants = _find_constants(body, set(functions))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    entry = _find_entry(body, functions)
    if entry is None:
        return tree, [], []
    context = Context(
        spec,
        action_dim,
        batched,
        {name: node for name, node in functions.items() if node is not entry},
        constants,
        _read_imports(imports),
        _remembers(tree),
        any(isinstance(node, ast.Name) and node.id in ("torch", "th") for node in ast.walk(tree)),
    )
    context.local_names |= {n.id for n in ast.walk(entry) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    written = _write_entry(context, entry)
    others = [node for node in body if not isinstance(node, ast.FunctionDef) and not _is_read(node, constants)]
    others = [node for node in others if not _is_main_guard(node)]
    helpers = _select_called(context.helpers, written)
    kept = [*(tree.body[: len(tree.body) - len(body)]), *others, *helpers, written]
    kept = _drop_imports(kept, imports, context)
    result = ast.fix_missing_locations(ast.Module(kept, []))
    return result, sorted(context.changes), context.doubts


def _open_class(tree: ast.Module) -> ast.Module:
    """Returns the program with the methods of its only class as functions, if it has no other functions.

    Classes that nothing uses are left out.
    """
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    plain = any(isinstance(node, ast.FunctionDef) for node in tree.body)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    body: list[ast.stmt] = []
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or node.name in used or node.decorator_list:
            body.append(node)
        elif not plain and len(classes) == 1:
            body += skip_docstring(node.body)
    return ast.Module(body, [])


def _select_called(helpers: list[ast.FunctionDef], entry: ast.FunctionDef) -> list[ast.FunctionDef]:
    """Returns the helpers that the entry needs, in their order: each stands before its callers."""
    called = {node.id for node in ast.walk(entry) if isinstance(node, ast.Name)}
    kept: list[ast.FunctionDef] = []
    for helper in reversed(helpers):
        if helper.name in called:
            called |= {node.id for node in ast.walk(helper) if isinstance(node, ast.Name)}
            kept.insert(0, helper)
    return kept


def _find_constants(body: list[ast.stmt], taken: set[str]) -> dict[str, ast.expr]:
    """Returns the variables of the top level that get a value once."""
    found: dict[str, ast.expr] = {}
    counts: dict[str, int] = {}
    for node in body:
        for inner in ast.walk(node) if not isinstance(node, ast.FunctionDef) else ():
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                counts[inner.id] = counts.get(inner.id, 0) + 1
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                found[name] = value
    return {name: value for name, value in found.items() if counts[name] == 1 and name not in taken}


def _is_read(node: ast.stmt, constants: dict[str, ast.expr]) -> bool:
    """Returns whether a statement of the top level has been taken up, or means nothing."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name in constants
        case ast.Expr(value=ast.Constant()):
            return True
    return False


def _is_main_guard(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("__name__ == '__main__'", "'__main__' == __name__")


def _find_entry(body: list[ast.stmt], functions: dict[str, ast.FunctionDef]) -> ast.FunctionDef | None:
    """Returns the function that computes the reward: by its name, or the only one with "reward" that none calls."""
    named = [node for node in body if isinstance(node, ast.FunctionDef) and node.name == ENTRY]
    if named:
        return named[0] if len(named) == 1 else None
    called = {n.id for f in functions.values() for n in ast.walk(f) if isinstance(n, ast.Name)}
    called |= {n.attr for f in functions.values() for n in ast.walk(f) if isinstance(n, ast.Attribute)}
    free = [node for name, node in functions.items() if "reward" in name.lower() and name not in called]
    if not free:
        free = [node for name, node in functions.items() if name == "reward"]
    return free[0] if len(free) == 1 else None


def _read_imports(imports: list[ast.Import | ast.ImportFrom]) -> dict[str, str]:
    """Returns what each imported name stands for."""
    found: dict[str, str] = {}
    for node in imports:
        for alias in node.names:
            if isinstance(node, ast.ImportFrom):
                found[alias.asname or alias.name] = f"{node.module or ''}.{alias.name}"
            elif alias.asname:
                found[alias.asname] = alias.name
            else:
                root = alias.name.partition(".")[0]
                found[root] = root
    return found


def _remembers(tree: ast.Module) -> bool:
    """Returns whether the program assigns to an attribute of `self`, or to a part of one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
            inner: ast.expr = node
            while isinstance(inner, ast.Attribute | ast.Subscript):
                inner = inner.value
            if isinstance(inner, ast.Name) and inner.id == "self":
                return True
    return False


def _drop_imports(body: list[ast.stmt], imports: list[ast.Import | ast.ImportFrom], context: Context) -> list[ast.stmt]:
    """Returns the statements without the imports that nothing uses any more."""
    used = {n.id for s in body for n in ast.walk(s) if isinstance(n, ast.Name)}
    kept: list[ast.stmt] = []
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name) or ""
            known = any(module == name or module.startswith(f"{name}.") for name in (*KNOWN_MODULES, "__future__"))
            bound = [(alias.asname or alias.name).partition(".")[0] for alias in node.names]
            roots = [module.partition(".")[0]] if isinstance(node, ast.ImportFrom) else []
            if not known and used & {*bound, *roots}:
                kept.append(node)
                continue
            context.note(node.lineno, f"{ast.unparse(node)[:60]} is removed", "nothing is imported; np is there")
        else:
            kept.append(node)
    return kept


def _write_entry(context: Context, entry: ast.FunctionDef) -> ast.FunctionDef:
    """Returns the rewritten function that computes the reward."""
    frame = make_frame(context, entry)
    rewriter = StatementRewriter(context, frame)
    rewriter.line = entry.lineno
    env, parameters = _read_parameters(rewriter, entry)
    if entry.name != ENTRY:
        context.note(entry.lineno, f"{entry.name} is called {ENTRY}", "that is the name of the entry")
    for node in entry.decorator_list:
        context.note(node.lineno, "a decorator is removed", "the program is compiled by the language")
    if entry.returns is not None or any(a.annotation for a in entry.args.args):
        context.note(entry.lineno, "type hints are removed", "everything is an array")
    frame.owner |= dict.fromkeys(parameters, 0)
    frame.frozen |= set(parameters)
    context.calls.append(entry.name)
    result = rewriter.run_function(skip_docstring(entry.body), env)
    final = _write_return(rewriter, result)
    statements = [*frame.prologue, *frame.statements, *([final] if final is not None else [])]
    statements = inline_variables(statements, frame.made)
    if len(entry.body) > len(skip_docstring(entry.body)):
        statements.insert(0, entry.body[0])
    args = ast.arguments([], [ast.arg(name) for name in parameters], None, [], [], None, [])
    return ast.FunctionDef(ENTRY, args, statements or [ast.Pass()], [], lineno=entry.lineno)


def _read_parameters(rewriter: StatementRewriter, entry: ast.FunctionDef) -> tuple[Environment, list[str]]:
    """Returns the meaning of each parameter, and the parameters that remain."""
    context, given = rewriter.context, entry.args
    names = [parameter.arg for parameter in (*given.posonlyargs, *given.args)]
    defaults = dict(zip(names[len(names) - len(given.defaults) :], given.defaults, strict=True))
    defaults |= {p.arg: d for p, d in zip(given.kwonlyargs, given.kw_defaults, strict=True) if d is not None}
    env: Environment = {}
    unknown = []
    has_next = bool(set(names) & set(_NEXT))
    action = TypedExpression(ast.Name("action", ast.Load()), ArrayValue((context.action_dim,), True, cell="the action"))
    for name in [*names, *(parameter.arg for parameter in given.kwonlyargs)]:
        before = _BEFORE.sub("", name, count=1)
        if name in _ACTIONS:
            env[name] = action
        elif name in _NEXT or (name in _STATES and not has_next):
            env[name] = TypedExpression(ast.Name(name, ast.Load()), StateValue("state"))
        elif name in _PREVIOUS or name in _STATES:
            env[name] = TypedExpression(ast.Name(name, ast.Load()), StateValue("previous"))
        elif name in context.spec:
            env[name] = context.read_field("state", name)
        elif _BEFORE.match(name) and before in context.spec:
            env[name] = context.read_field("previous", before)
        elif name in _COUNTS and context.batched:
            env[name] = make_python("B")
        elif name in defaults and not is_mutated(name, defaults[name], entry):
            env[name] = rewriter.bind(name, rewriter.rewrite(defaults[name], {}), {})
        elif name != "self":
            env[name] = TypedExpression(ast.Name(name, ast.Load()), UNKNOWN)
            unknown.append(name)
    if given.vararg or given.kwarg:
        unknown.append((given.vararg or given.kwarg).arg)  # type: ignore[union-attr]
    used = {n.id for s in entry.body for n in ast.walk(s) if isinstance(n, ast.Name)}
    unknown = [name for name in unknown if name in used]
    parameters = ["state", "action", "previous"]
    if names != parameters:
        context.note(entry.lineno, f"the parameters are {', '.join(parameters)}", "the entry has these three")
    return env, [*parameters, *unknown]


def _write_return(rewriter: StatementRewriter, result: TypedExpression) -> ast.Return | None:
    """Returns the statement `return total, {"name": term, ...}`, or `None` for a function without a result."""
    value = result.value
    total = result
    terms: dict[Any, TypedExpression] = {}
    if isinstance(value, SequenceValue) and value.items:
        total = value.items[0]
        held = [item.value for item in value.items[1:] if isinstance(item.value, DictionaryValue)]
        if held:
            terms = dict(held[0].items)
        else:
            terms = {getattr(t.node, "id", f"value{i}"): t for i, t in enumerate(value.items[1:], 1)}
            rewriter.note("the further results are the terms", "the entry returns the total and a dictionary")
    if isinstance(total.value, DictionaryValue | PythonValue) or isinstance(value, PythonValue):
        return None if isinstance(value, PythonValue) else _return(result.node, rewriter)
    total = _as_term(rewriter.pack(total))
    named = _name_terms(rewriter, terms)
    if not named:
        total = rewriter.name_value(total, "reward")
        named = {"reward": total}
        rewriter.note("the total is a term, too", "the entry returns the total and a dictionary")
    keys: list[ast.expr | None] = [ast.Constant(key) for key in named]
    pair: list[ast.expr] = [total.node, ast.Dict(keys, [term.node for term in named.values()])]
    return _return(ast.Tuple(pair, ast.Load()), rewriter)


def _return(node: ast.expr, rewriter: StatementRewriter) -> ast.Return:
    return ast.Return(node, lineno=rewriter.line)


def _as_term(term: TypedExpression) -> TypedExpression:
    return (
        to_number(term)
        if term.array is not None and term.array.truth and term.const is None
        else (make_number(float(term.const)) if isinstance(term.const, bool) else term)
    )


def _name_terms(rewriter: StatementRewriter, terms: dict[Any, TypedExpression]) -> dict[str, TypedExpression]:
    """Returns the terms under names that the language allows; what is no number for each world is left out."""
    named: dict[str, TypedExpression] = {}
    for key, term in terms.items():
        term = _as_term(rewriter.pack(term))
        shape = term.array.shape if term.array is not None else ()
        if not isinstance(term.value, ArrayValue | UnknownValue) or shape:
            rewriter.note(f"the term {key!r} is left out", "a term is one number for each world")
            continue
        name = re.sub(r"[^A-Za-z0-9]+", "_", str(key)).strip("_") or "term"
        name = name if name[0].isalpha() else f"term_{name}"
        if name.lower() in RESERVED_TERMS:
            name = f"{name}_term"
        number, wished = 1, name[:56]
        name = wished
        while name in named or not NAME.fullmatch(name):
            number += 1
            name = f"{wished}_{number}"
        if name != key:
            rewriter.note(
                f"the term {str(key)[:40]!r} is called {name!r}", "the names of terms are plain and not reserved"
            )
        named[name] = term
    return named
