"""The source tree as data: which module imports which."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
LINKED = ("envs", "policies", "hardware", "configs")  # real top-level folders, linked into the package


class Import(NamedTuple):
    """One import statement: the module it names, its line, and whether it runs when the importing module does."""

    module: str
    line: int
    eager: bool


@cache
def modules() -> dict[str, Path]:
    """Import name to file, for every module of the package."""
    found = {}
    for path in sorted((ROOT / "robo_reward").rglob("*.py")):
        found[_name(path.relative_to(ROOT))] = path
    for folder in LINKED:
        for path in sorted((ROOT / folder).rglob("*.py")):
            found[_name(Path("robo_reward") / path.relative_to(ROOT))] = path
    return found


@cache
def imports(path: Path) -> tuple[Import, ...]:
    """All imports of a file that can run; those for type checkers alone are left out."""
    return tuple(_imports(ast.parse(path.read_text(encoding="utf-8"), str(path)), eager=True))


def _imports(node: ast.AST, eager: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, node.lineno, eager)
    elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
        for alias in node.names:
            submodule = f"{node.module}.{alias.name}"
            yield Import(submodule if submodule in modules() else node.module, node.lineno, eager)
    elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        for child in node.orelse:
            yield from _imports(child, eager)
    else:
        inside = eager and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from _imports(child, inside)


def _name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
