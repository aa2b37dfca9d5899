"""Programs as they are published: each habit is rewritten, with exactly the values of the original."""

from __future__ import annotations

import ast
import contextlib
import resource
import textwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.open_world import compile_published, find_difference
from benchmarks.published_programs import INSIDE, OUTSIDE
from benchmarks.published_programs.program import PublishedProgram
from benchmarks.published_programs.reference import evaluate_original
from robo_reward.envs.state import Field, StateSpec
from robo_reward.language.language import ProgramError, RewardProgram, compile_program, program_from_spec
from robo_reward.language.normalise import normalise_program
from robo_reward.language.validation.samples import sample_typical_transitions
from tests.language.programs import ACTION_DIM, FIVE_TERMS, SPEC, entry, value

BATCH = sample_typical_transitions(SPEC, ACTION_DIM, 60, seed=5)
DISTANCE = "d = np.linalg.norm(state.cube_position - state.hand_position)"


def function(body: str, above: str = "") -> str:
    """A program for one world with these statements."""
    return f"{above}def compute_reward(state, action, previous):\n{textwrap.indent(textwrap.dedent(body), '    ')}\n"


def assert_equal_to_original(source: str, arrays: str = "world", library: str = "numpy") -> RewardProgram:
    """Compiles a program and compares its values with those of the original; returns it."""
    compiled = compile_program(source, SPEC, ACTION_DIM, normalise=True)
    total, terms = evaluate_original(PublishedProgram("", "", source, arrays, library), BATCH)
    output = compiled(BATCH)
    np.testing.assert_allclose(output.total, total, rtol=1e-9, atol=1e-12)
    for name in terms.keys() & output.terms.keys():
        np.testing.assert_allclose(output.terms[name], terms[name], rtol=1e-9, atol=1e-12)
    return compiled


ONE_WORLD = {
    "index": "return state.cube_position[2] - 2 * action[-1]",
    "slice": "return np.linalg.norm(state.cube_position[:2] - state.hand_position[0:2])",
    "list of indices": "return np.sum(state.joints[[0, 2, 5]])",
    "unpacked vector": "x, y, z = state.cube_position\nreturn x * y - z",
    "reduction without axis": "return np.max(state.joints) - np.mean(action) + np.abs(state.joints).sum()",
    "norm of another order": (
        "return np.linalg.norm(action, ord=1) + np.linalg.norm(action, np.inf) + np.linalg.norm(action, 2)"
    ),
    "number times vector": f"{DISTANCE}\nreturn np.sum(d * state.cube_position / (1 + state.opening))",
    "constant vector": "t = np.array([0.4, 0.0, 0.2])\nreturn -np.linalg.norm(state.cube_position - t) + t[0]",
    "vector of numbers": "v = np.array([state.opening, 0.5, action[1]])\nreturn v.max() - np.linalg.norm(v)",
    "dot and @": "return state.cube_position @ state.hand_position + np.dot(state.cube_position, [1.0, 2.0, 3.0])",
    "cross": "return np.cross(state.cube_position, state.hand_position)[1]",
    "deviation": "return np.std(state.joints) + state.joints.var() + np.ptp(action)",
    "difference": "return np.abs(np.diff(state.joints)).sum()",
    "if": f"{DISTANCE}\nr = 1.0\nif d < 0.3:\n    r = 2 * d\n    r += 1\nreturn r",
    "elif": "x = state.opening\nif x < 0.02:\n    r = 1\nelif x < 0.05:\n    r = x\nelse:\n    r = -x\nreturn r",
    "nested if": (
        "r = 0.0\nif state.opening > 0.04:\n    r += 1\n    if action[0] > 0:\n        r *= 3\n"
        "    else:\n        r -= 1\nr += 0.5\nreturn r"
    ),
    "swap in a branch": "a, b = 1.0, state.opening\nif action[0] > 0:\n    a, b = b, a\nreturn a - 2 * b",
    "branch that reads what the other writes": (
        "a = 1.0\nb = 2.0\nif action[0] > 0:\n    a = b + 1\n    b = a + 1\nelse:\n    b = a - 1\n"
        "    a = b\nreturn a * 10 + b"
    ),
    "vectors in branches": (
        "v = state.cube_position\nif action[0] > 0:\n    v = state.hand_position * 2\nreturn np.sum(v)"
    ),
    "variable of one branch": "if action[0] > 0:\n    bonus = 1.0\nelse:\n    bonus = 0.0\n    extra = 3\nreturn bonus",
    "ternary": "return 1.0 if action[0] > 0 else -1.0 if action[1] > 0 else 0.0",
    "ternary of vectors": "v = state.cube_position if action[0] > 0 else np.array([1.0, 2.0, 3.0])\nreturn v[0] + v[2]",
    "and or not": "near = action[0] > 0 and not action[1] > 0 or state.opening > 0.06\nreturn 1.0 if near else 0.0",
    "and of numbers": "return (action[0] > 0 and 2.0) or state.opening",
    "truth of a number": "return 1.0 if np.maximum(action[0], 0) else 2.0",
    "chained comparison": "return float(0.02 <= state.opening < 0.05)",
    "in": "n = np.sum(action > 0)\nreturn 1.0 if n in (1, 3) else 0.0",
    "early return": (
        "if action[0] > 0.5:\n    return 3.0\nr = state.opening\nif action[1] > 0:\n    r += 1\n"
        "    if action[2] > 0:\n        return r * 2\n    r += 1\nreturn r"
    ),
    "early return of a variable that changes": (
        "r = 1.0\nif action[0] > 0:\n    return r\nr = 2.0\nr += state.opening\nreturn r"
    ),
    "return in every branch": (
        "if action[0] > 0:\n    return 1.0\nelif action[1] > 0:\n    return 2.0\nelse:\n    return 3.0"
    ),
    "division that the branch guards": (
        "n = np.linalg.norm(action[:2]) - 5\nm = max(n, 0.0)\nreturn 1.0 / m if m > 0 else 0.0"
    ),
    "builtins": "return max(0.0, action[0], action[1]) - min(1, state.opening) + abs(action[2]) + round(3 * action[3])",
    "float and int": "return float(action[0] > 0) + int(action[1] > 0) + int(4 * action[2]) + float(state.opening)",
    "sum of a list": "return sum([action[0], state.opening, action[1] > 0]) + sum(action)",
    "any and all": "return 1.0 * any([action[0] > 0, action[1] > 0]) + 1.0 * np.all(action > -0.5)",
    "shapes": (
        "return np.sum(action ** 2) / len(action) + state.joints.shape[0] + state.joints.size if False "
        "else 1.0 * len(action)"
    ),
    "loop over a list": "r = 0.0\nfor w, i in zip([1.0, 2.0], (0, 3)):\n    r += w * action[i]\nreturn r",
    "loop over components": "r = 0\nfor q in state.joints:\n    r += abs(q) if q > 0 else 0.5\nreturn r",
    "loop over a range": (
        "r = 0.0\nfor i in range(len(state.joints)):\n    if state.joints[i] > 0:\n"
        "        r += state.joints[i] * i\nreturn r"
    ),
    "loop with a return": "for i in range(3):\n    if action[i] > 0.5:\n        return i\nreturn -1.0",
    "comprehension": "return sum(abs(q) for q in state.joints) + max([action[i] for i in range(3)])",
    "lambda": "f = lambda x, k=2.0: np.exp(-k * x)\nreturn f(state.opening) + f(action[0], k=0.5)",
    "inner function": (
        "k = 3.0\ndef f(x):\n    if x > 0:\n        return k * x\n    return x\nreturn f(action[0]) + f(action[1])"
    ),
    "assignment to a part": "t = np.zeros(3)\nt[0] = action[0]\nt[2] += 1.0\nreturn np.sum(t * state.cube_position)",
    "two names of one array": "a = state.cube_position * 1.0\nb = a\nb += 1.0\nreturn np.sum(a)",
    "two names of one dictionary": (
        "p = {'x': 1.0}\nq = p\nq['x'] = state.opening\nif action[0] > 0:\n    q['x'] += 1\nreturn sum(p.values()), p"
    ),
    "star": "return np.hypot(*action[:2])",
    "pi": "import math\nreturn math.cos(math.pi * action[0]) + math.sqrt(state.opening)",
    "known branch": "scale = None\nif scale is not None:\n    return 1.0 * scale\nreturn state.opening",
    "print and texts": "'''A text.'''\nprint('reward', state.opening)\n'another text'\nreturn state.opening",
    "shadowed library": "F = state.opening\nreturn F + 1",
    "name with an underscore": "_r = state.opening\n_r += 1\nreturn _r",
    "reserved name": "tolerance = 0.05\naction = 2 * action\nreturn float(state.opening < tolerance) + action[0]",
}


@pytest.mark.parametrize("body", ONE_WORLD.values(), ids=ONE_WORLD)
def test_one_world_becomes_a_batch(body: str) -> None:
    assert_equal_to_original(function(body))


ONE_WORLD["appended number"] = (
    "v = np.append(state.cube_position[:2], 0.5)\nreturn np.linalg.norm(v - state.hand_position)"
)

DICTIONARIES = {
    "in a variable": "parts = {'a': action[0], 'b': state.opening}\nreturn parts['a'] + parts['b'], parts",
    "filled": "parts = {}\nparts['a'] = action[0]\nparts['b'] = 2 * parts['a']\nreturn sum(parts.values()), parts",
    "added to": (
        "parts = dict(a=0.0)\nparts['a'] += action[0]\nif action[1] > 0:\n    parts['a'] -= 3\nreturn parts['a'], parts"
    ),
    "only in some worlds": "p = {'a': 1.0}\nif action[0] > 0:\n    p['b'] = action[0]\nreturn sum(p.values()), p",
    "merged": (
        "p = {'a': action[0]}\np.update({'b': 1.0, 'c': state.opening})\nq = {**p, 'd': 2.0}\nreturn sum(q.values()), q"
    ),
    "weighted": (
        "w = {'a': 2.0, 'b': 3.0}\np = {'a': action[0], 'b': action[1]}\nt = 0\nfor k, v in p.items():\n"
        "    t += w[k] * v\nreturn t, p"
    ),
    "value that changes later": "r = action[0]\np = {'a': r, 'b': -r}\nr = 5.0\nreturn p['a'] + r, p",
    "early": "if action[0] > 0:\n    return 1.0, {'a': 1.0}\nreturn 2.0, {'a': state.opening, 'b': action[1]}",
    "formatted keys": "p = {}\nfor n, x in zip(('a', 'b'), action):\n    p[f'{n}_term'] = x\nreturn sum(p.values()), p",
}


@pytest.mark.parametrize("body", DICTIONARIES.values(), ids=DICTIONARIES)
def test_a_dictionary_of_terms_becomes_variables(body: str) -> None:
    source = function(body)
    compiled = assert_equal_to_original(source)
    _, terms = evaluate_original(PublishedProgram("", "", source), BATCH)
    assert compiled(BATCH).terms.keys() == terms.keys()


TORCH = {
    "names": "x = torch.norm(state.cube_position, dim=-1)\nreturn torch.exp(-x) + torch.atan2(x, x + 1)",
    "clamp": (
        "return torch.clamp(state.opening, min=0.02) + state.opening.clamp(0.0, 0.05) + "
        "torch.clamp(action[:, 0], max=0.1)"
    ),
    "keepdim": "d = action / action.norm(dim=-1, keepdim=True)\nreturn d[:, 0] + torch.sum(d, 1)",
    "maximum of two": (
        "return torch.max(action[:, 0], action[:, 1]) + torch.max(action, dim=1)[0] + action.min(dim=-1).values"
    ),
    "like": "z = torch.zeros_like(state.opening)\nreturn torch.where(action[:, 0] > 0, z + 1, torch.full_like(z, 3.0))",
    "number of worlds": "r = torch.zeros(action.shape[0])\nr += state.opening\nr[action[:, 0] > 0] = 1.0\nreturn r",
    "unsqueeze": "w = state.opening.unsqueeze(-1)\nreturn (w * state.cube_position).sum(dim=-1) + w.squeeze(-1)",
    "cat and stack": (
        "v = torch.cat([state.cube_position, action], dim=-1)\n"
        "w = torch.stack([v[:, 0], v[:, 3]], dim=1)\nreturn v.sum(-1) + w.prod(1)"
    ),
    "in place on a shared array": "a = action[:, 0] * 2\nr = a\nr += 1.0\nreturn r, {'a': a}",
    "in place without an index": "a = state.opening * 2\nr = a\nr += 1.0\nreturn r, {'a': torch.exp(a)}",
    "views": (
        "n = action.shape[0]\na = state.cube_position.view(n, 1, 3)\nb = state.hand_position.view(n, 3, 1)\n"
        "return torch.bmm(a, b).squeeze(-1).squeeze(-1) + action[:, 0]"
    ),
    "sigmoid and relu": (
        "return torch.sigmoid(action[:, 0]) + torch.relu(action[:, 1]) + torch.nn.functional.softplus(action[:, 2])"
    ),
    "deviation": "return torch.std(action, dim=-1) + action.var(dim=1)",
    "truth": "return (action[:, 0] > 0).double() + 2 * (state.opening > 0.04).to(torch.float64)",
    "constants": (
        "t = torch.tensor([0.1, 0.2, 0.3], device=action.device)\n"
        "return ((state.cube_position - t) ** 2).sum(dim=-1) * torch.tensor(2.0)"
    ),
    "cosine": "return torch.nn.functional.cosine_similarity(state.cube_position, state.hand_position, dim=-1)",
}


@pytest.mark.parametrize("body", TORCH.values(), ids=TORCH)
def test_torch_is_spelled_as_numpy(body: str) -> None:
    assert_equal_to_original(function(body, "import torch\n"), "batch", "torch")


HELPERS = '''\
import numpy as np
from numpy.linalg import norm
from typing import Tuple

SCALE = 3.0
TARGET = np.array([0.3, 0.1, 0.2])
HALF = SCALE / 2


def _near(a: np.ndarray, b, k=SCALE) -> float:
    """How near."""
    # an exponential
    return np.exp(-k * norm(a - b))


def split(v) -> Tuple[float, float]:
    return v[0], norm(v[1:])


@staticmethod
def compute_reward(state, action, previous):
    near = _near(state.hand_position, state.cube_position)
    flat = _near(state.hand_position[:2], TARGET[:2], k=HALF)
    side, rest = split(state.cube_position - TARGET)
    return near + flat - side * rest, {"near": near}
'''


def test_helpers_constants_and_hints() -> None:
    source = HELPERS.replace("@staticmethod\n", "")
    compiled = assert_equal_to_original(source)
    assert "# an exponential" in compiled.source
    assert '"""How near."""' in compiled.source
    assert compile_program(HELPERS, SPEC, ACTION_DIM, normalise=True).canonical == compiled.canonical
    assert any(
        "decorator" in change.what for change in compile_program(HELPERS, SPEC, ACTION_DIM, normalise=True).changes
    )


METHODS = """\
import numpy as np


class Reward:
    SCALE = 2.0

    def _near(self, a, b):
        return np.exp(-self.SCALE * np.linalg.norm(a - b))

    def compute_reward(self, state, action, previous):
        return self._near(state.hand_position, state.cube_position)
"""


def test_the_methods_of_a_class_are_functions() -> None:
    as_function = "d = np.linalg.norm(state.hand_position - state.cube_position)\nreturn np.exp(-2.0 * d)"
    expected = assert_equal_to_original(function(as_function))(BATCH).total
    np.testing.assert_array_equal(compile_program(METHODS, SPEC, ACTION_DIM, normalise=True)(BATCH).total, expected)


def test_the_changes_name_their_lines_and_reasons() -> None:
    source = function(f"{DISTANCE}\nr = -d\nif d < 0.1:\n    r = 1.0\nreturn r", "import numpy as np\n\n\n")
    changes = compile_program(source, SPEC, ACTION_DIM, normalise=True).changes
    assert {1, 5, 7} <= {change.line for change in changes}
    assert all(change.what and change.why for change in changes)
    assert "line 5: np.linalg.norm gets axis=-1" in "\n".join(map(str, changes))


def test_comments_and_unchanged_lines_are_kept() -> None:
    source = function(
        f"# the gap\n{DISTANCE}\n\n# shaped\nnear = 1.0  -  np.tanh( 5*d )  # odd spaces stay\nreturn near"
    )
    text = compile_program(source, SPEC, ACTION_DIM, normalise=True).source
    assert "    # the gap\n" in text
    assert "\n\n    # shaped\n    near = 1.0  -  np.tanh( 5*d )  # odd spaces stay\n" in text


@pytest.mark.parametrize("source", [FIVE_TERMS, "import numpy as np\n" + FIVE_TERMS, value("np.tanh( state.opening )")])
def test_a_program_in_the_language_stays_byte_for_byte(source: str) -> None:
    compiled = compile_program(source, SPEC, ACTION_DIM, normalise=True)
    assert compiled.source == source
    assert compiled.changes == ()


@pytest.mark.parametrize("program", INSIDE, ids=lambda program: program.name)
def test_published_programs_have_their_values(program: PublishedProgram) -> None:
    try:
        compiled = compile_published(program)
    except ProgramError:
        pytest.skip("outside the language")
    if "import scipy" in program.source or "from scipy" in program.source:
        pytest.importorskip("scipy")  # of the original; another extra brings it
    assert find_difference(program, compiled) == ""
    again = normalise_program(compiled.source, compiled.state_spec, compiled.action_dim)
    assert (again.source, again.changes) == (compiled.source, ())
    assert program_from_spec(compiled.spec()).canonical == compiled.canonical  # artifacts hold the rewritten text


@pytest.mark.parametrize("program", OUTSIDE, ids=lambda program: program.name)
def test_what_stays_outside_is_refused_with_its_remedy(program: PublishedProgram) -> None:
    with pytest.raises(ProgramError, match=program.refused):
        compile_published(program)


AMBIGUOUS = {
    "worlds of a batch": "return state.cube_position[:, 2] + np.sum(state.joints)",
    "sum of truth values": "return 1.0 * ((action[0] > 0) + (action[1] > 0))",
    "the state itself": "x = state.cube_position\nx += 1.0\nreturn x[0]",
    "memory in a default": None,
    "a list times a number": "return sum([state.opening] * (2 ** 2))",
    "a view that changes": "t = np.zeros(3)\nu = t[:2]\nt[0] = action[0]\nreturn u[0]",
    "whole numbers": "t = np.array([1, 2, 3])\nt[0] = 0.5\nreturn t[0] * state.opening",
    "a dictionary that a function changes": (
        "def g(d):\n    d['x'] = 9.0\n    return 1.0\nr = {'x': action[0]}\nt = g(r)\nreturn r['x'] + t"
    ),
    "a dictionary around a function": (
        "r = {'x': action[0]}\ndef g(v):\n    r['x'] = v\n    return v\nt = g(2.0)\nreturn r['x'] + t"
    ),
    "an array that a function changes": (
        "def g(v, k):\n    v += 1\n    return v[0] if k else v[1]\nv = action * 2\nt = g(v, 'a')\nreturn v[0] + t"
    ),
    "random": "import random\nreturn random.random()",
}


MEMORY_IN_A_DEFAULT = """\
def compute_reward(state, action, previous, seen=[]):
    seen.append(1.0)
    return state.opening * len(seen)
"""


@pytest.mark.parametrize("body", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_what_is_not_certain_is_refused(body: str | None) -> None:
    source = function(body) if body else MEMORY_IN_A_DEFAULT
    with pytest.raises(ProgramError):
        compile_program(source, SPEC, ACTION_DIM, normalise=True)


MATRICES = StateSpec([Field("axes", (3, 3)), Field("point", (3,)), Field("opening", ())])
INDEXED = {  # (library, arrays) -> a program with an index into a matrix that both readings allow
    ("numpy", "world"): "a = state.axes[:, 2]\nif state.opening > 0:\n    a = 2 * a\nreturn np.dot(a, state.point)",
    ("torch", "batch"): "import torch\na = state.axes[:, 2]\nreturn torch.sum(a * state.point, dim=-1)",
}


@pytest.mark.parametrize("kind", INDEXED)
def test_an_index_into_a_matrix_means_what_the_program_shows(kind: tuple[str, str]) -> None:
    library, arrays = kind
    batch = sample_typical_transitions(MATRICES, 2, 30)
    source = function(INDEXED[kind])
    total, _ = evaluate_original(PublishedProgram("", "", source, arrays, library), batch)
    output = compile_program(source, MATRICES, 2, normalise=True)(batch)
    np.testing.assert_allclose(output.total, total, rtol=1e-9)


def test_an_index_into_a_matrix_without_a_sign_is_refused() -> None:
    with pytest.raises(ProgramError, match="means one thing"):
        compile_program(function("return torch.abs(state.axes[:, 2][..., 0])"), MATRICES, 2, normalise=True)


def test_problems_of_the_linter_and_the_trial_come_together() -> None:
    lines = [
        "x = state.opening[0]",
        "y = np.tan_h(state.opening)",
        "z = state.joints + state.hand_position",
        "w = state.nothing",
    ]
    with pytest.raises(ProgramError) as caught:
        compile_program(entry(*lines), SPEC, ACTION_DIM)
    assert [problem.line for problem in caught.value.problems] == [2, 3, 4, 5]


GROWTH = {
    "loops": function(
        "x = 0.0\n"
        + "".join(f"{'    ' * i}for i{i} in [1] * 60:\n" for i in range(8))
        + "    " * 8
        + "x += action[0]\nreturn x"
    ),
    "helpers": "".join(
        f"def f{i}(x, k='a'):\n    return {f'f{i - 1}(x, k) + f{i - 1}(x + 1, k)' if i else 'x if x > 0 else 0.0'}\n"
        for i in range(40)
    )
    + function("return f39(state.opening)"),
    "comprehensions": function(
        "x = [[[i * j * k for i in range(60)] for j in range(60)] for k in range(60)]\nreturn x[0][0][0]"
    ),
    "lists": function("x = [1.0]\n" + "x = x + x\n" * 60 + "return x[0] + state.opening"),
    "branches": function(
        "x = 0.0\n" + "".join(f"if action[0] > {i}:\n    x += {i}\n" for i in range(400)) + "return x"
    ),
    "texts": function("k = 'a'\n" + "k = f'{k}{k}'\n" * 200 + "return state.opening, {k: 1.0}"),
    "star": function("x = [1.0, 2.0]\n" + "x = [*x, *x]\n" * 40 + "return x[0]"),
    "dictionaries": function("x = {'a': 1.0}\n" + "x = {'a': x, 'b': x}\n" * 40 + "return 1.0"),
}


@pytest.mark.parametrize("source", GROWTH.values(), ids=GROWTH)
def test_programs_that_grow_are_bounded(source: str) -> None:
    started = resource.getrusage(resource.RUSAGE_SELF)
    with contextlib.suppress(ProgramError):
        compile_program(source, SPEC, ACTION_DIM, normalise=True)
    used = resource.getrusage(resource.RUSAGE_SELF)
    assert used.ru_utime - started.ru_utime < 5.0
    assert used.ru_maxrss - started.ru_maxrss < 300_000  # KiB


NUMBERS = st.sampled_from(
    ["0.5", "2", "-1.5", "state.opening", "action[0]", "action[-1]", "previous.joints[3]", "a", "b"]
)
VECTORS = st.sampled_from(["state.cube_position", "state.hand_position", "action[1:]", "state.joints[:3]", "v"])


def _grow(numbers: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def form(pattern: str, *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.tuples(*parts).map(lambda given: pattern.format(*given))

    vectors = st.one_of(
        VECTORS,
        form("({0} * {1})", numbers, VECTORS),
        form("({0} - {1})", VECTORS, VECTORS),
        form("({0} if {1} > {2} else {3})", VECTORS, numbers, numbers, VECTORS),
        form("np.array([{0}, {1}, 0.5])", numbers, numbers),
    )
    return st.one_of(
        form("({0} + {1})", numbers, numbers),
        form("({0} * {1})", numbers, numbers),
        form("max({0}, {1})", numbers, numbers),
        form("min({0}, {1})", numbers, numbers),
        form("abs({0})", numbers),
        form("float({0} < {1})", numbers, numbers),
        form("({0} if {1} < {2} else {3})", numbers, numbers, numbers, numbers),
        form("(1.0 if {0} < {1} and not {1} < {2} else 0.0)", numbers, numbers, numbers),
        form("(1.0 if {0} < {1} <= {2} or {2} > 0 else 0.25)", numbers, numbers, numbers),
        form("np.linalg.norm({0})", vectors),
        form("{0}.sum()", vectors),
        form("np.max({0})", vectors),
        form("np.dot({0}, {1})", vectors, vectors),
        form("{0}[1]", vectors),
    )


EXPRESSIONS = st.recursive(NUMBERS, _grow, max_leaves=6)
STATEMENTS = st.recursive(
    st.one_of(
        st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["=", "+=", "-="]), EXPRESSIONS).map(" ".join),
        EXPRESSIONS.map(lambda x: f"v = {x} * state.cube_position"),
        EXPRESSIONS.map(lambda x: f"p['x'] += {x}"),
    ),
    lambda inner: st.one_of(
        st.tuples(EXPRESSIONS, inner, inner).map(
            lambda s: f"if {s[0]} > 0.1:\n{_indent(s[1])}\nelse:\n{_indent(s[2])}"
        ),
        st.tuples(EXPRESSIONS, inner).map(lambda s: f"if {s[0]} < 0.5:\n{_indent(s[1])}"),
        st.tuples(EXPRESSIONS, inner).map(lambda s: f"if {s[0]} < -0.5:\n{_indent(s[1])}\n    return a, p"),
        st.tuples(inner, inner).map("\n".join),
        inner.map(lambda s: f"for i in range(2):\n{_indent(s)}"),
    ),
    max_leaves=4,
)


def _indent(text: str) -> str:
    return textwrap.indent(text, "    ")


@settings(max_examples=150)
@given(st.lists(STATEMENTS, min_size=1, max_size=3))
def test_random_programs_have_the_values_of_the_original(statements: list[str]) -> None:
    body = "\n".join(["a = 1.0", "b = state.opening", "v = state.hand_position", "p = {'x': 0.0}", *statements])
    source = function(f"{body}\nreturn a + 2 * b + np.sum(v) + p['x'], p")
    batch = BATCH.rows(slice(0, 12))
    total, terms = evaluate_original(PublishedProgram("", "", source), batch)
    compiled = compile_program(source, SPEC, ACTION_DIM, normalise=True)
    if not (np.isfinite(total).all() and np.abs(total).max() < 1e12):
        return
    output = compiled(batch)
    np.testing.assert_allclose(output.total, total, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(output.terms["x"], terms["x"], rtol=1e-9, atol=1e-9)


WORDS = (
    "if else for in : = += ( ) [ ] { } a b state.opening action 1.0 , np.sum sum max lambda x 'k' return not and \n    "
)


@settings(max_examples=60)
@given(st.text(max_size=80) | st.lists(st.sampled_from(WORDS.split(" ")), max_size=30).map(" ".join))
def test_any_text_is_normalised_or_refused(text: str) -> None:
    for source in (text, function(f"a = {text}\nreturn a")):
        with contextlib.suppress(ProgramError):
            ast.parse(compile_program(source, SPEC, ACTION_DIM, normalise=True).source)
