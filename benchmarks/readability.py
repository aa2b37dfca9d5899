"""Readability figures of the source, from its syntax trees: `python -m benchmarks.readability --json FILE`.

Measured over everything that is installed (the package and its linked folders), without tests and benchmarks. A
function is every `def`, methods and properties included, without dunder and `visit_` names. The bars come
from mink, mjlab, Stable-Baselines3 and LeRobot, measured the same way: 0.21 to 0.42 of their function names are one
word, and past participles are almost never names.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.output import arguments, report

ROOT = Path(__file__).parents[1]
FOLDERS = ("robo_reward", "envs", "policies", "hardware")
# fmt: off
PARTICIPLES = frozenset([
    "begun", "bent", "bound", "broken", "brought", "built", "caught", "chosen", "cut", "done", "drawn", "driven",
    "fallen", "felt", "found", "given", "gone", "got", "grown", "heard", "held", "hidden", "kept", "known", "laid",
    "led", "left", "lent", "lost", "made", "meant", "met", "paid", "put", "run", "said", "seen", "sent", "set",
    "shown", "shut", "spent", "split", "spoken", "spread", "stood", "stuck", "taken", "taught", "thought", "thrown",
    "told", "torn", "understood", "woken", "won", "worn", "woven", "written",
])
# fmt: on
VERBS_IN_ED = frozenset(["embed", "feed", "need", "seed", "speed", "shed", "exceed", "proceed"])
"""Words in -ed that are not participles."""
KEPT = frozenset(["cut", "put", "run", "set", "shut", "split", "spread"])
"""Participles that are identical with the present tense."""


def list_source_files() -> list[Path]:
    """Returns the Python files that are measured, each once."""
    found = []
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*.py")):
            inside = file.relative_to(ROOT)
            linked = any((ROOT / parent).is_symlink() for parent in inside.parents)
            if not (linked or "__pycache__" in inside.parts):
                found.append(file)
    return found


def find_functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yields every named function of a module."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not re.match(r"__|visit_", node.name):
            yield node


def is_participle(name: str) -> bool:
    """Returns whether a function's name is one past participle."""
    word = name.strip("_")
    if "_" in word or word in KEPT or word in VERBS_IN_ED:
        return False
    return word in PARTICIPLES or bool(re.fullmatch(r"[a-z]{2,}ed", word))


def count_code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> int:
    """Returns the number of a function's lines without its docstring, comments and blank lines."""
    first = node.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = range(first.lineno, (first.end_lineno or first.lineno) + 1) if is_docstring else ()
    return sum(
        number not in docstring and not re.match(r"\s*(#|$)", lines[number - 1])
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    )


def list_task_files(task: str) -> list[Path]:
    """Returns the files of code and configuration that exist for one built-in task: those named after it.

    The one line about it in `envs/catalogue.py` is not counted.
    """
    found = [file for folder in ("envs", "configs") for file in (ROOT / folder).rglob("*") if file.is_file()]
    return [file for file in found if task in re.split(r"\W|_", file.stem) and "__pycache__" not in file.parts]


def measure() -> dict[str, float]:
    """Returns the numbers by name."""
    lengths, code_lengths, sizes, names, classes, flat = [], [], [], [], Counter[str](), Counter[Path]()
    for file in list_source_files():
        text = file.read_text(encoding="utf-8")
        tree = ast.parse(text)
        sizes.append(text.count("\n"))
        flat[file.parent] += file.name != "__init__.py"
        classes.update({node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)})
        for node in find_functions(tree):
            names.append(node.name)
            lengths.append((node.end_lineno or node.lineno) - node.lineno + 1)
            code_lengths.append(count_code_lines(node, text.splitlines()))
    one_word = [name for name in names if "_" not in name.strip("_")]
    return {
        "modules": len(sizes),
        "functions": len(names),
        "module_median_lines": median(sizes),
        "function_median_lines": median(lengths),
        "function_median_code_lines": median(code_lengths),
        "function_max_lines": max(lengths),
        "one_word_function_share": round(len(one_word) / len(names), 3),
        "participle_names": sum(map(is_participle, names)),
        "class_names_defined_twice": sum(count > 1 for count in classes.values()),
        "flat_files_max": max(flat.values()),
        "task_files": len(list_task_files("drawer")),
    }


def main(argv: list[str] | None = None) -> None:
    """Prints the numbers and writes JSON."""
    args = arguments(__doc__, argv)
    bars = {
        "one_word_function_share": "<= 0.45",
        "participle_names": "<= 10",
        "class_names_defined_twice": "<= 0",
        "flat_files_max": "<= 14",
        "task_files": "<= 1",
    }
    report(args, measure(), bars)


if __name__ == "__main__":
    main()
