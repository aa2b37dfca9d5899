"""Training algorithms of the user, given as `module:Class`: a subclass of one of Stable-Baselines3's.

The module may be installed, or lie in the current folder. A job of a search runs elsewhere and may read only what it is
given, so the sources travel with it as paths.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robo_reward.errors import UnknownName, UsageError

_REFERENCE = re.compile(r"(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*):(?P<name>[^\W\d]\w*(?:\.[^\W\d]\w*)*)")


def is_own_algorithm(name: str) -> bool:
    """Returns whether a value of `policy=` names a class by its module."""
    return ":" in name


def load_own_class(reference: str) -> type:
    """Returns the class that `module:Class` names.

    Raises:
        UsageError: no such module, it fails where it is imported, or the name is no algorithm of Stable-Baselines3.
        UnknownName: the module has no such class.
    """
    module_name, class_name = _split_reference(reference)
    _find_top(reference)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise UsageError(f"policy={reference}: the module {module_name} cannot be imported: {said}") from error
    from stable_baselines3.common.base_class import BaseAlgorithm

    classes = {name: item for name, item in vars(module).items() if inspect.isclass(item) and item is not BaseAlgorithm}
    known = [name for name, item in classes.items() if issubclass(item, BaseAlgorithm)]
    found: Any = module
    for part in class_name.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise UnknownName(f"algorithm in {module_name}", class_name, known)
    if not (inspect.isclass(found) and issubclass(found, BaseAlgorithm)):
        raise UsageError(
            f"policy={reference} is no algorithm of Stable-Baselines3; give a class derived from one, such as PPO"
        )
    return found


def find_sources(reference: str) -> dict[str, str]:
    """Returns the top-level module of an own algorithm and where its source is: a package's folder, or a file.

    Raises:
        UsageError: there is no such module.
    """
    top = _find_top(reference)
    spec = importlib.util.find_spec(top)
    places = list(spec.submodule_search_locations or ([spec.origin] if spec.has_location else [])) if spec else []
    return {top: str(Path(str(places[0])).resolve())} if places else {}


def compute_digest(sources: Mapping[str, str]) -> str:
    """Returns sixteen hex digits of the Python files of the sources: a changed algorithm is another run."""
    digest = hashlib.sha256()
    for top, place in sources.items():
        path = Path(place)
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(f"{top}/{file.relative_to(path)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def register_sources(sources: Mapping[str, str]) -> None:
    """Makes top-level modules importable from their sources, in a process that does not find them itself."""
    for top, place in sources.items():
        if top in sys.modules or importlib.util.find_spec(top) is not None:
            continue
        path = Path(place)
        file, inside = (path / "__init__.py", [place]) if path.is_dir() else (path, None)
        spec = importlib.util.spec_from_file_location(top, file, submodule_search_locations=inside)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[top] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)


def _split_reference(reference: str) -> tuple[str, str]:
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise UsageError(f"policy={reference!r}: write an own algorithm as package.module:Class")
    return match["module"], match["name"]


def _find_top(reference: str) -> str:
    """Returns the top-level module of a reference, which may be a file or a package in the current folder.

    Raises:
        UsageError: there is no such module.
    """
    module, _ = _split_reference(reference)
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)  # last: installed modules come first
        importlib.invalidate_caches()
    top = module.partition(".")[0]
    if top == "__main__" or (top not in sys.modules and importlib.util.find_spec(top) is None):
        raise UsageError(
            f"policy={reference}: there is no module {top!r}; install its package, or start robo-reward in the folder "
            f"that holds {top}.py or {top}/__init__.py"
        )
    return top
