"""Remedies for the habits of Python programmers that are not in the reward language."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

MEMORY = "a reward has no memory: read the value before the action with previous.FIELD"
"""Remedy for keeping a value for the next call."""

NOISE = "a reward gives the same number for the same transition; remove the noise"
"""Remedy for random numbers."""
FILES = "a reward reads no files; write the numbers into the program"
"""Remedy for reading and writing."""
_CLOCK = "a reward gives the same number for the same transition; compare state.FIELD with previous.FIELD instead"
_SYSTEM = "a reward only computes numbers from the state; remove it"

_WHERE = "compute both sides and choose with np.where(condition, a, b)"
_PAIRS = (
    "write np.linalg.norm(a - b, axis=-1) for two points (B, 3); for sets of points (B, n, 3) and (B, m, 3) write "
    "d = np.linalg.norm(a[:, :, None] - b[:, None], axis=-1), then np.min(d, axis=-1)"
)
_LIST = "write the elements out, or use np functions on whole arrays"
_REMOVE = "remove it"

REMEDIES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "AnnAssign": ("an annotation", "write x = ..., without a type"),
        "Assert": ("assert", _REMOVE),
        "AsyncFor": ("async", "use plain functions"),
        "AsyncFunctionDef": ("async", "use plain functions"),
        "AsyncWith": ("async", "use plain functions"),
        "Await": ("await", "use plain functions"),
        "BoolOp": ("and / or of arrays", "use np.logical_and(a, b) or (a) & (b); np.logical_or(a, b) or (a) | (b)"),
        "Break": ("break", "every round of a loop runs; use np.where for choices"),
        "ClassDef": ("a class", "use local variables and helper functions"),
        "Continue": ("continue", "every round of a loop runs; use np.where for choices"),
        "Delete": ("del", _REMOVE),
        "Dict": (
            "a dictionary",
            'return it: return total, {"reach": reach}, or assign it once, as terms = {...}, and return total, terms',
        ),
        "DictComp": ("a comprehension", _LIST),
        "Expr": ("a statement without an effect", "assign the value to a variable or remove it"),
        "FormattedValue": ("text", "strings may only name terms"),
        "FunctionDef": ("a function inside a function", "define helpers on the top level, above compute_reward"),
        "GeneratorExp": ("a generator", _LIST),
        "Global": ("global", MEMORY),
        "If": ("if", f"arrays hold many worlds at once: {_WHERE}"),
        "IfExp": ("an if expression", f"arrays hold many worlds at once: {_WHERE}"),
        "JoinedStr": ("text", "strings may only name terms"),
        "Lambda": ("lambda", "define a helper function on the top level"),
        "List": ("a list", _LIST),
        "ListComp": ("a comprehension", _LIST),
        "Match": ("match", _WHERE),
        "NamedExpr": ("an assignment inside an expression", "assign on a line of its own"),
        "Nonlocal": ("nonlocal", MEMORY),
        "Raise": ("raise", _REMOVE),
        "Return": ("return before the end", f"end the function with its only return; {_WHERE}"),
        "Set": ("a set", _LIST),
        "SetComp": ("a comprehension", _LIST),
        "Starred": ("a star", "write the arguments out"),
        "Try": ("try", "remove it; guard divisions with np.maximum(x, 1e-6)"),
        "TryStar": ("try", "remove it; guard divisions with np.maximum(x, 1e-6)"),
        "Tuple": ("a tuple", "use one variable for each value, or np.stack([a, b], axis=-1)"),
        "While": ("while", "use for i in range(N), or arrays without a loop"),
        "With": ("with", _REMOVE),
        "Yield": ("yield", "return total and terms"),
        "YieldFrom": ("yield", "return total and terms"),
    }
)
"""Syntax node -> (description, remedy)."""

METHODS: Mapping[str, str] = MappingProxyType(
    {
        **{name: f"write np.{name}(x, axis=-1)" for name in ("sum", "mean", "max", "min", "prod", "any", "all")},
        "T": "rows are worlds and stay where they are; use np.dot(a, b) or np.sum(a * b, axis=-1)",
        "shape": "never needed: numbers broadcast over the batch",
        "size": "never needed: numbers broadcast over the batch",
        "ndim": "never needed: the shapes are in the outline of the state",
        "astype": "write np.where(condition, 1.0, 0.0)",
        "copy": "not needed: nothing is changed in place",
        "clip": "write np.clip(x, low, high)",
        "dot": "write np.dot(a, b)",
        "reshape": "use x[:, None] to add an axis",
        "squeeze": "use x[:, 0]",
        "flatten": "rows are worlds and stay apart; sum over axis=-1",
        "ravel": "rows are worlds and stay apart; sum over axis=-1",
        "item": "a reward is an array with a number for each world",
        "tolist": "a reward is an array with a number for each world",
    }
)
"""Attribute of an array -> remedy."""

BUILTINS: Mapping[str, str] = MappingProxyType(
    {
        "min": "write np.minimum(a, b), or np.min(x, axis=-1)",
        "max": "write np.maximum(a, b), or np.max(x, axis=-1)",
        "sum": "write a + b + c, or np.sum(x, axis=-1)",
        "any": "write np.any(x, axis=-1)",
        "all": "write np.all(x, axis=-1)",
        "float": "write np.where(condition, 1.0, 0.0), or nothing: numbers are floats",
        "bool": "write a comparison, such as x > 0.5",
        "int": "write np.floor(x)",
        "round": "write np.rint(x)",
        "pow": "write a ** b",
        "len": "not needed: numbers broadcast over the batch",
        "range": "use it only in for i in range(3):",
        "print": "remove it",
        "open": FILES,
        "input": _SYSTEM,
        "zip": "use for i in range(3): and x[:, i]",
        "enumerate": "use for i in range(3): and x[:, i]",
        "self": MEMORY,
        "cdist": _PAIRS,
        "transform_points": "write quat_rotate(rotation, points) + position",
        "math": "write np.sqrt, np.exp, ...: they take arrays",
        "numpy": "write np",
        "torch": "write np",
        "jnp": "write np",
        "np": "call one of its functions: np.tanh(x)",
    }
)
"""Name from Python or a library -> remedy."""

OUTSIDE: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("random", "secrets"), NOISE),
        **dict.fromkeys(("time", "datetime"), _CLOCK),
        **dict.fromkeys(("json", "pickle", "csv", "yaml", "io", "pathlib"), FILES),
        **dict.fromkeys(("os", "sys", "subprocess", "shutil", "socket"), _SYSTEM),
    }
)
"""Module whose purpose is outside the language -> remedy."""

OUTSIDE_FUNCTIONS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            ["rand", "randn", "randint", "rand_like", "randn_like", "randperm", "normal", "bernoulli", "manual_seed"],
            NOISE,
        ),
        **dict.fromkeys(["load", "loadtxt", "genfromtxt", "fromfile", "memmap", "save", "savez", "savetxt"], FILES),
    }
)
"""Last part of a name in an array library whose purpose is outside the language -> remedy."""

LIBRARIES = frozenset(("torch", "math", "numpy", "jnp", "jax", "F", "nn", "scipy", "tf", "cp", "th", "onp"))
"""Usual import names of array libraries; most of their functions have the same names in NumPy."""

TORCH: Mapping[str, str] = MappingProxyType(
    {
        "acos": "write np.arccos(x)",
        "asin": "write np.arcsin(x)",
        "atan": "write np.arctan(x)",
        "atan2": "write np.arctan2(a, b)",
        "amax": "write np.max(x, axis=-1)",
        "amin": "write np.min(x, axis=-1)",
        "bmm": "write np.sum(a * b, axis=-1)",
        "cat": "write np.concatenate([a, b], axis=-1)",
        "cdist": _PAIRS,
        "clamp": "write np.clip(x, low, high)",
        "cosine_similarity": "write np.dot(a, b) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1) + 1e-6)",
        "dist": "write np.linalg.norm(a - b, axis=-1)",
        "lerp": "write a + weight * (b - a); no np function is needed",
        "mse_loss": "write np.mean(np.square(a - b), axis=-1)",
        "pairwise_distance": "write np.linalg.norm(a - b, axis=-1)",
        "pow": "write np.power(a, b)",
        "relu": "write np.maximum(x, 0.0)",
        "sigmoid": "write 1.0 / (1.0 + np.exp(-x))",
        "softplus": "write np.log1p(np.exp(x))",
        "tensor": "write np.array of constants, or a number",
        "as_tensor": "write np.array of constants, or a number",
        "float": "np numbers are float64 already; remove it",
    }
)
"""Last part of a name in torch, math or scipy that differs in NumPy -> remedy."""

_JOIN = "write np.stack([x, y, z], axis=-1)"
_LIKE = "write a number, which broadcasts, or np.{}_like(x)"

NUMPY: Mapping[str, str] = MappingProxyType(
    {
        "np.inf": "use a large finite number, such as 1e6; rewards must be finite",
        "np.nan": "rewards must be finite",
        "np.zeros": _LIKE.format("zeros"),
        "np.ones": _LIKE.format("ones"),
        "np.full": _LIKE.format("full"),
        "np.empty": _LIKE.format("zeros"),
        "np.arange": "write np.array([0.0, 1.0, 2.0])",
        "np.linspace": "write np.array([0.0, 0.5, 1.0])",
        "np.asarray": "write np.array of constants, or np.stack of arrays",
        "np.hstack": _JOIN,
        "np.vstack": _JOIN,
        "np.column_stack": _JOIN,
        "np.einsum": "write np.sum(a * b, axis=-1)",
        "np.matmul": "write np.dot(a, b): row by row",
        "np.inner": "write np.dot(a, b): row by row",
        "np.outer": "write a[:, :, None] * b[:, None, :]",
        "np.random": NOISE,
        "np.sort": "use np.max(x, axis=-1) and np.min(x, axis=-1)",
        "np.median": "use np.mean(x, axis=-1)",
        "np.argmax": "compare the components, as in x[:, 0] > x[:, 1]",
        "np.argmin": "compare the components, as in x[:, 0] < x[:, 1]",
        "np.select": "nest np.where(condition, a, b)",
        "np.float32": "numbers are float64 already; remove it",
        "np.bool_": "write a comparison, such as x > 0.5",
        "np.cumsum": "add up the components in a loop",
        "np.std": "write np.sqrt(np.mean(d * d, axis=-1)) with d = x - np.mean(x, axis=-1, keepdims=True)",
        "np.tile": "not needed: numbers broadcast over the batch",
        "np.repeat": "not needed: numbers broadcast over the batch",
        "np.expand_dims": "write x[:, None]",
        "np.diff": "write x[:, 1:] - x[:, :-1]",
    }
)
"""Dotted name in NumPy -> remedy."""
