"""Names and docstrings that a stranger understands."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator

from benchmarks.readability import find_functions, is_participle, list_source_files, measure
from tests.house.source import ROOT

BANNED = re.compile(r"\b(shall|whoever|anew|likewise|so many|none if|in words|somebody|nobody)\b", re.IGNORECASE)
RIDDLES = re.compile(r"^(What|Whether|How|Why|Where|Who|Whom|Whose)\b")


def docstrings() -> Iterator[tuple[str, str]]:
    for file in list_source_files():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node) or ""
                name = "" if isinstance(node, ast.Module) else f":{node.lineno} {node.name}"
                yield f"{file.relative_to(ROOT)}{name}", text


def test_a_class_name_means_one_thing() -> None:
    places = defaultdict(list)
    for file in list_source_files():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(file.relative_to(ROOT)))
    assert not {name: files for name, files in places.items() if len(files) > 1}


def test_no_function_is_a_bare_participle() -> None:
    found = [
        f"{file.relative_to(ROOT)}: {node.name}"
        for file in list_source_files()
        for node in find_functions(ast.parse(file.read_text(encoding="utf-8")))
        if is_participle(node.name)
    ]
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
