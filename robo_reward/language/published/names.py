"""Names in published programs: libraries by their usual names, and functions that differ in numpy."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from types import MappingProxyType

from robo_reward.language.builtins import FUNCTIONS
from robo_reward.language.grammar import get_dotted_name

LIBRARIES: Mapping[str, str] = MappingProxyType(
    {
        "np": "numpy",
        "numpy": "numpy",
        "jnp": "jax.numpy",
        "torch": "torch",
        "th": "torch",
        "F": "torch.nn.functional",
        "math": "math",
    }
)
"""Name in a program without an import of that name -> module."""

KNOWN_MODULES = ("numpy", "jax.numpy", "torch", "math", "scipy.spatial.distance", "scipy.spatial", "typing")
"""Modules whose import means nothing more once their functions are spelled as numpy's."""

_PREFIXES = ("torch.nn.functional.", "scipy.spatial.distance.", "jax.numpy.", "numpy.", "torch.", "math.")

SAME = frozenset(name[3:] for name, function in FUNCTIONS.items() if name.startswith("np.") and not function.keywords)
"""Element-wise functions that numpy and the language share."""

ELEMENTWISE: Mapping[str, str] = MappingProxyType(
    {
        **{name: name for name in SAME},
        "acos": "arccos",
        "asin": "arcsin",
        "atan": "arctan",
        "atan2": "arctan2",
        "asinh": "arcsinh",
        "fabs": "abs",
        "absolute": "abs",
        "neg": "negative",
        "sub": "subtract",
        "mul": "multiply",
        "div": "divide",
        "true_divide": "divide",
        "pow": "power",
        "float_power": "power",
        "remainder": "mod",
        "eq": "equal",
        "ne": "not_equal",
        "lt": "less",
        "le": "less_equal",
        "gt": "greater",
        "ge": "greater_equal",
        "degrees": "rad2deg",
        "radians": "deg2rad",
        "round": "rint",
    }
)
"""Last part of a function's name -> name of the same function in the language, after `np.`."""

TRUTHS = frozenset(
    [
        "less",
        "less_equal",
        "greater",
        "greater_equal",
        "equal",
        "not_equal",
        "logical_and",
        "logical_or",
        "logical_xor",
        "logical_not",
        "isfinite",
        "isnan",
    ]
)
"""Functions whose results are truth values."""

REDUCTIONS = frozenset(
    [
        "sum",
        "mean",
        "prod",
        "max",
        "min",
        "amax",
        "amin",
        "any",
        "all",
        "norm",
        "std",
        "var",
        "average",
        "ptp",
        "count_nonzero",
        "nansum",
    ]
)

CONSTANTS: Mapping[str, str] = MappingProxyType({"pi": "np.pi", "e": "np.e"})

NUMBER_TYPES = frozenset(["float", "float32", "float64", "float16", "double", "int", "int32", "int64", "long", "half"])
TRUTH_TYPES = frozenset(("bool", "bool_"))


def resolve_library(node: ast.expr, imported: Mapping[str, str]) -> tuple[str, str] | None:
    """Returns the library and the name in it that an expression such as `torch.linalg.norm` means, or `None`.

    Args:
        node: a name or nested attributes.
        imported: name in the program -> what it was imported from, such as `numpy.linalg.norm`.
    """
    root, _, rest = get_dotted_name(node).partition(".")
    module = imported.get(root) or (LIBRARIES.get(root) if rest else None)
    if not root or module is None:
        return None
    path = f"{module}.{rest}" if rest else module
    prefix = next((prefix for prefix in _PREFIXES if path.startswith(prefix)), None)
    if prefix is None:
        return None
    library = "torch" if prefix.startswith("torch") else prefix.split(".")[0]
    return library, path.removeprefix(prefix).removeprefix("linalg.")


def spell_canonically(node: ast.expr, imported: Mapping[str, str]) -> ast.expr:
    """Returns a name of a library in its usual spelling, so that the linter can say what to write instead."""
    root, _, rest = get_dotted_name(node).partition(".")
    module = imported.get(root)
    if module is None:
        return node
    path = f"{module}.{rest}" if rest else module
    for usual in ("numpy", "torch", "math"):
        if path == usual or path.startswith(f"{usual}."):
            path = path.replace("numpy", "np", 1) if usual == "numpy" else path
    spelled: ast.expr = ast.Name(path.split(".")[0], ast.Load())
    for part in path.split(".")[1:]:
        spelled = ast.Attribute(spelled, part, ast.Load())
    return ast.fix_missing_locations(ast.copy_location(spelled, node))
