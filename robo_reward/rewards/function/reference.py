"""Names of Python functions that are rewards: `FILE.py:NAME` and `package.module:NAME`.

Such a function is the user's own code. It runs with the user's rights in this process and is not confined.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from robo_reward.errors import BadArtifact, UnknownName, UsageError
from robo_reward.rewards.contract import FunctionReward, digest_tensors
from robo_reward.rewards.function.call import Framework, describe_failure

_REFERENCE = re.compile(r"(?P<module>.+\.py|[^\W\d]\w*(?:\.\w+)*):(?P<name>[^\W\d]\w*(?:\.[^\W\d]\w*)*)")
_HELD: dict[str, Callable[..., Any]] = {}
"""Functions of this process, by their references: `robo_reward.train(reward=FUNCTION)`."""


class PythonReward(FunctionReward):
    """A function of the user, found by its name, as a step reward.

    Args:
        reference: `FILE.py:NAME` or `package.module:NAME`.
        framework: what the function computes with, see `robo_reward.rewards.function.call.choose_call`.

    Attributes:
        digest: sixteen hex digits of the file that holds the function, and of the attributes of an object of this
            process; empty where there is none. It says whether the reward has changed since a run; modules that the
            file imports do not count.

    Raises:
        UsageError: the function cannot be loaded; the message says why.
        UnknownName: the module has no such name.
    """

    def __init__(self, reference: str, framework: Framework = "auto") -> None:
        function, module = load_function(reference)
        super().__init__(function, reference, framework)
        self.digest = compute_source_digest(module)
        if reference in _HELD and not inspect.isfunction(function):
            self.digest = _add_attributes(self.digest, getattr(function, "__self__", function))

    def spec(self) -> dict[str, Any]:
        """Returns the function's name and the digest of its source."""
        return {"kind": "python", "function": self.name, "digest": self.digest, "framework": self.framework}


def is_reference(text: str) -> bool:
    """Returns whether a text has the form of a function's name."""
    return _REFERENCE.fullmatch(text) is not None and "://" not in text


def hold_function(function: Callable[..., Any]) -> str:
    """Makes a function of this process known to `PythonReward` and returns its reference.

    Raises:
        UsageError: a function without a name of its own, such as a lambda.
    """
    owner = function if hasattr(function, "__qualname__") else type(function)
    reference = f"{owner.__module__}:{owner.__qualname__}"
    if not is_reference(reference) or isinstance(function, functools.partial):
        raise UsageError(f"reward={function!r:.80}: define it with a name at the top level of a module, or of a script")
    _HELD[reference] = function
    return reference


def load_function(reference: str) -> tuple[Callable[..., Any], ModuleType]:
    """Returns the function of a reference, and its module. A class is made without arguments.

    Raises:
        UsageError: it cannot be loaded.
        UnknownName: the module has no such name.
    """
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise UsageError(f"{reference!r} names no function. Write FILE.py:NAME or package.module:NAME")
    if reference in _HELD:
        return _HELD[reference], sys.modules[found["module"]]
    path = Path(found["module"])
    try:
        module = _import_file(path, reference) if path.suffix == ".py" else _import_module(found["module"])
    except (UsageError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise UsageError(f"{reference}: {found['module']} cannot be imported: {describe_failure(error)}") from error
    value: Any = module
    for name in found["name"].split("."):
        if not hasattr(value, name):
            known = [key for key, item in vars(module).items() if callable(item) and not key.startswith("_")]
            raise UnknownName(f"function of {found['module']}", found["name"], known)
        value = getattr(value, name)
    if inspect.isclass(value):
        try:
            value = value()
        except Exception as error:
            raise UsageError(f"{reference} is a class that cannot be made: {describe_failure(error)}") from error
    if not callable(value):
        raise UsageError(f"{reference} is {type(value).__name__}, which cannot be called. Name a function")
    return value, module


def compute_source_digest(module: ModuleType) -> str:
    """Returns sixteen hex digits of a module's file; empty where there is none."""
    path = getattr(module, "__file__", None)
    if not path or not path.endswith(".py") or not os.path.isfile(path):
        return ""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


def _add_attributes(digest: str, function: Any) -> str:
    """Returns the digest of a source and of an object made from it: `Reward(1.0)` and `Reward(2.0)` are two rewards."""
    return hashlib.sha256(f"{digest} {_describe_value(function)}".encode()).hexdigest()[:16]


def _describe_value(value: Any, depth: int = 4) -> str:
    """Returns the type and content of an attribute as text; other processes give the same text."""
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return repr(value)
    kind = type(value).__qualname__
    if hasattr(value, "__array__"):
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
        return f"{kind} {digest_tensors({'': array})}" if array.dtype.kind in "fiubc" else kind
    inside: Any = value if isinstance(value, Mapping | list | tuple) else getattr(value, "__dict__", {})
    items = inside.items() if isinstance(inside, Mapping) else enumerate(inside)
    parts = [f"{key}: {_describe_value(item, depth - 1)}" for key, item in items] if depth else []
    return f"{kind}({', '.join(parts)})"


def build_python_reward(reference: str, digest: str, framework: Framework) -> PythonReward:
    """Returns the reward that a stored spec names.

    Args:
        reference: of the function.
        digest: of its file when the reward was saved; empty: any.
        framework: of the function.

    Raises:
        BadArtifact: the file has changed since.
    """
    reward = PythonReward(reference, framework)
    if digest and reward.digest != digest:
        problem = f"its source has changed since the reward was saved: {digest}, now {reward.digest or 'unknown'}"
        raise BadArtifact(reference, problem, "Restore the source, or load the reward with edited=True")
    return reward


def _import_file(path: Path, reference: str) -> ModuleType:
    """Returns a file as a module; it can import the files beside it, as a script can."""
    if not path.is_file():
        raise UsageError(f"{reference}: there is no file {path}")
    where = path.resolve()
    name = f"own_reward_{hashlib.sha256(str(where).encode()).hexdigest()[:12]}"
    _add_import_folder(where.parent)
    spec = importlib.util.spec_from_file_location(name, where)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _import_module(name: str) -> ModuleType:
    """Returns a module by its dotted name; modules in the current folder are found last."""
    _add_import_folder(Path.cwd())
    importlib.invalidate_caches()
    return importlib.import_module(name)


def _add_import_folder(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
