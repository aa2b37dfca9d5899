"""Names and docstrings that a stranger understands."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from benchmarks.readability import find_functions, is_participle, list_source_files, measure
from tests.house.source import ROOT

BANNED = re.compile(r"\b(shall|whoever|anew|likewise|so many|none if|in words|somebody|nobody)\b", re.IGNORECASE)
RIDDLES = re.compile(r"^(What|Whether|How|Why|Where|Who|Whom|Whose)\b")


class SourceNames(NamedTuple):
    """The names and docstrings of a file; the docstrings with their place."""

    file: str
    classes: tuple[str, ...]
    functions: tuple[str, ...]
    docstrings: tuple[tuple[str, str], ...]


@cache
def read_names() -> tuple[SourceNames, ...]:
    """Returns the names of all files, each of which is parsed once for all tests."""
    return tuple(map(read_file_names, list_source_files()))


def read_file_names(path: Path) -> SourceNames:
    tree, file = ast.parse(path.read_text(encoding="utf-8")), str(path.relative_to(ROOT))
    classes: list[str] = []
    found: list[tuple[str, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            classes.append(node.name)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            name = "" if isinstance(node, ast.Module) else f":{node.lineno} {node.name}"
            found.append((f"{file}{name}", ast.get_docstring(node) or ""))
    return SourceNames(file, tuple(classes), tuple(node.name for node in find_functions(tree)), tuple(found))


def docstrings() -> Iterator[tuple[str, str]]:
    for names in read_names():
        yield from names.docstrings


def test_a_class_name_means_one_thing() -> None:
    places = defaultdict(list)
    for names in read_names():
        for name in names.classes:
            places[name].append(names.file)
    assert not {name: files for name, files in places.items() if len(files) > 1}


def test_no_function_is_a_bare_participle() -> None:
    found = [f"{names.file}: {name}" for names in read_names() for name in names.functions if is_participle(name)]
    assert not found


def test_docstrings_are_in_plain_words() -> None:
    found = [f"{place}: {word[0]}" for place, text in docstrings() if (word := BANNED.search(text))]
    assert not found, "\n".join(found)


def test_docstrings_begin_with_what_the_caller_gets() -> None:
    found = [f"{place}: {text.splitlines()[0]}" for place, text in docstrings() if RIDDLES.match(text)]
    assert not found, "\n".join(found)


def test_folders_and_names_stay_within_the_bars() -> None:
    values = measure()
    assert values["one_word_function_share"] <= 0.45
    assert values["flat_files_max"] <= 14
    assert values["task_files"] == 1
