"""Hostile programs. Each must be refused when it is compiled, or be harmless when it runs.

The cases follow the classes of published escapes from restricted Python (frames, dunder chains, format strings, guards
that are shadowed, native code and files through numpy) and of reward hacking (state tampering, spoofed terms, hidden
memory), with resource bombs and attacks on the parser beside them.
"""

from __future__ import annotations

import builtins
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from robo_reward.language.language import ProgramError, compile_program
from robo_reward.language.validation.samples import sample_typical_transitions
from tests.language.programs import ACTION_DIM, FIVE_TERMS, SPEC, entry, value

ESCAPES = [
    "().__class__.__base__.__subclasses__()",
    "state.__class__",
    "state.opening.__array_interface__",
    "state.opening.__reduce__()",
    "state.spec",
    "state.array",
    "state._spec",
    "state.hand_position.base",
    "state.opening.data",
    "state.opening.ctypes",
    "state.opening.flags",
    "compute_reward.__globals__",
    "np.__builtins__",
    "np.__dict__",
    "np.__class__",
    "np.tanh.__self__",
    "np.sum.__globals__",
    "np.linalg",
    "np.linalg.__init__",
    "np",
    "__builtins__",
    "__import__('os')",
    "__name__",
    "_np_tanh(state.opening)",
    "_state_opening",
    "'{0.__globals__}'.format(compute_reward)",
    "'{}'.format(1)",
    "f'{state.opening.__class__}'",
    "'%s' % state.opening",
    "b'bytes'",
    "list(map(str.format, ['{0.__class__}'], [state.opening]))",
    "(g.gi_frame.f_back.f_back.f_builtins for g in [1])",
    "[x for x in ().__class__.__mro__]",
    "{x: 1 for x in (1, 2)}",
    "{1, 2}",
    "(lambda: 1)()",
    "(x := 3)",
    "(yield 1)",
    "(yield from (1,))",
    "(await state)",
    "type('X', (), {})()",
    "getattr(state, 'spec')",
    "vars(np)",
    "globals()",
    "locals()",
    "dir(np)",
    "eval('1')",
    "exec('1')",
    "compile('1', '', 'eval')",
    "open('/etc/passwd')",
    "input()",
    "breakpoint()",
    "exit()",
    "object()",
    "super()",
    "print(state.opening)",
    "id(state.opening)",
    "np.tanh(*state.joints)",
    "np.tanh(**{'x': 1})",
    "state.opening is None",
    "1 in state.opening",
    "1j",
    "None",
    "...",
    "'text'",
    "ℯval('1')",
    "ｅｘｅｃ('1')",
]

NUMPY = [
    "np.fromfile('/etc/passwd', np.uint8)",
    "np.savetxt('out.bin', state.opening)",
    "np.save('out.bin', state.opening)",
    "np.load('x.npy', allow_pickle=True)",
    "np.loadtxt('/etc/passwd')",
    "np.genfromtxt('/etc/passwd')",
    "np.memmap('out.bin', mode='w+', shape=(1,))[0]",
    "np.ctypeslib.load_library('libc.so.6', '/lib').system(b'id')",
    "np.f2py.f2py2e.os.system('id')",
    "np.lib.npyio.DataSource().open('/etc/passwd')",
    "np.lib.format.open_memmap('out.bin', 'w+', shape=(1,))",
    "np.testing.runstring('1', {})",
    "np.random.seed(0)",
    "np.random.normal(size=3)",
    "np.seterrcall(print)",
    "np.seterr(all='raise')",
    "np.set_printoptions(precision=1)",
    "np.vectorize(print)(state.opening)",
    "np.frompyfunc(print, 1, 1)",
    "np.apply_along_axis(print, 0, state.joints)",
    "np.fromfunction(print, (2,))",
    "np.lib.stride_tricks.as_strided(state.opening, (10**9,))",
    "np.frombuffer(state.opening)",
    "np.copyto(state.opening, 0.0)",
    "np.put(state.opening, 0, 1.0)",
    "np.putmask(state.opening, state.opening > 0, 1.0)",
    "np.place(state.opening, state.opening > 0, 1.0)",
    "np.fill_diagonal(state.joints, 0.0)",
    "np.ndarray((3,))",
    "np.dtype('O')",
    "np.array([state])",
    "np.array([1.0], dtype=object)",
    "np.tanh(state.opening, state.opening)",
    "np.tanh(state.opening, out=state.opening)",
    "np.add(state.opening, 1.0, out=state.opening)",
    "np.add(state.opening, 1.0, state.opening)",
    "np.add.at(state.opening, 0, 1.0)",
    "np.add.reduce(state.opening)",
    "np.add.outer(state.opening, state.opening)",
    "np.clip(state.opening, 0.0, 1.0, state.opening)",
    "np.clip(state.opening, 0.0, 1.0, out=state.opening)",
    "np.sum(state.joints, -1, None, state.opening)",
    "np.sum(state.joints, axis=None)",
    "np.sum(state.joints, axis=(0, 1))",
    "state.opening.dump('out.bin')",
    "state.opening.tofile('out.bin')",
    "state.opening.sort()",
    "state.opening.fill(9.0)",
    "state.opening.setflags(write=True)",
    "state.opening.resize((10**9,))",
    "mujoco.os.system('id')",
    "mujoco.mj_loadPluginLibrary('x.so')",
    "torch.os.system('id')",
    "os.system('id')",
]

STATEMENTS = [
    ["import os"],
    ["from os import system"],
    ["from __future__ import annotations"],
    ["class Q: pass"],
    ["def h(x: np.savetxt('out.bin', state.opening)): pass"],
    ["def h(): return 1"],
    ["async def h(): pass"],
    ["try:", "    1 / 0", "except Exception as e:", "    x = e.__traceback__.tb_frame"],
    ["try:", "    x = 1", "except* ValueError:", "    x = 2"],
    ["with open('out.bin', 'w') as f:", "    x = f"],
    ["while True: pass"],
    ["global counter"],
    ["nonlocal counter"],
    ["raise SystemExit(0)"],
    ["assert False"],
    ["del action"],
    ["match state:", "    case _: x = 1"],
    ["if action[0, 0] > 0:", "    x = 1"],
    ["x: int = 3"],
    ["x: np.savetxt('out.bin', state.opening) = 3"],
    ["np.mean = 3"],
    ["np.linalg.norm = 3"],
    ["state.opening = 1.0"],
    ["state.opening += 1.0"],
    ["state.opening[:] = 1.0"],
    ["state.opening[0] += 1.0"],
    ["action[:] = 0.0"],
    ["x = action", "x[0] = 9.0"],
    ["previous = state"],
    ["state, y = 1.0, 2.0"],
    ["for state in range(3):", "    x = 1"],
    ["for np in range(3):", "    x = 1"],
    ["for i in range(3):", "    break"],
    ["for i in range(3):", "    continue"],
    ["for i in range(3):", "    return 0.0, {'a': 0.0}"],
    ["for i in range(3): pass", "else: x = 1"],
    ["abs = 3"],
    ["tolerance = 3"],
    ["compute_reward = 3"],
    ["(x, *y) = 1.0, 2.0"],
    ["x = y = z"],
    ["info['success'] = True"],
    ["state['success'] = True"],
    ["x = 1", "'a string in the middle'"],
    ["return 0.0, {'a': 0.0}"],
]

WIDE = "b = state.joints[:, :, None] * np.ones_like(state.joints[:, None, :])"
LONG = f"a = np.concatenate([{', '.join(['state.joints'] * 9)}], axis=-1)"
A, B, C = "a[:, :, None, None]", "a[:, None, :, None]", "a[:, None, None, :]"
JOINS = [("stack", ", axis=0"), ("concatenate", ", axis=-1"), ("array", "")]

BOMBS = [
    ["x = 9**9**7"],
    ["x = 10**12 ** 12"],
    ["x = 99999999999999999999999"],
    ["x = 1e400"],
    ["x = 1 << 10**9"],
    ["x = 7", "for i in range(200):", "    x = x * x"],
    ["x = 2", "for i in range(64):", "    x = x ** 2"],
    ["x = [0.0] * 10**9"],
    ["x = (1, 2) * 10**9"],
    ["x = 'a' * 10**9"],
    ["x = np.zeros(10**12)"],
    ["x = np.zeros((10**6, 10**6))"],
    ["x = np.ones(10**12)"],
    ["x = np.full(10**12, 1.0)"],
    ["x = np.empty(10**12)"],
    ["x = np.arange(10**12)"],
    ["x = np.linspace(0, 1, 10**12)"],
    ["x = np.eye(10**6)"],
    ["x = np.tile(state.opening, 10**9)"],
    ["x = np.repeat(state.opening, 10**9)"],
    ["x = np.outer(state.opening, state.opening)"],
    ["x = np.broadcast_to(state.opening, (10**6, 10**6))"],
    ["x = np.pad(state.opening, 10**9)"],
    ["x = np.meshgrid(state.opening, state.opening)"],
    ["x = state.joints", "for i in range(40):", "    x = np.concatenate([x, x], axis=-1)"],
    ["x = state.joints", "for i in range(40):", "    x = np.stack([x, x], axis=-1)"],
    ["x = state.opening", "for i in range(40):", "    x = x[:, None] * x"],
    ["x = state.opening[:, None] * state.opening[None, :]"],
    ["x = state.opening[:, None, None, None, None, None, None]"],
    [
        "x = state.joints[:, :, None] * state.joints[:, None, :]",
        "for i in range(250):",
        "    x = x * x",
        "    x = x + x",
    ],
    ["for i in range(10**9):", "    x = 1"],
    ["for i in range(10**30):", "    x = 1"],
    ["for i in range(0, 10**12, 1):", "    x = 1"],
    ["for i in range(256):", "    for j in range(256):", "        x = i * j + 1.0"],
    [
        "for i in range(250):",
        "    for j in range(250):",
        "        for k in range(250):",
        "            x = np.exp(action)",
    ],
    ["x = sum(range(10**12))"],
    ["for i in range(256):", "    for j in range(256):", "        for k in range(256):", "            x = k"],
    ["for i in range(256):", "    for j in range(256):", "        for k in range(256):", "            pass"],
    ["x = state.joints[:, :, None, None] * state.joints[:, None, :, None] * state.joints[:, None, None, :]"]
    + ["y = x[:, :, :, 0:1] + x", "z = x + y"] * 30,
    ["x = np.mean(state.joints[:, 3:3], axis=-1)"],
    ["x = state.joints[:, 5:2]"],
    ["x = np.max(state.joints[:, 3:3], axis=-1)"],
    ["x = 1 // 0"],
    ["x = (-1.0) ** 0.5"],
    ["x = 10.0 ** 400"],
    ["x = ~state.opening"],
    ["x = ~True"],
    ["x = ~5"],
    ["x = -(state.opening > 0.0)"],
    ["x = 5", "y = x[0]"],
    ["x = 5", "y = x(3)"],
    ["x = np.power(10, 10**10)"],
    ["x = " + "+".join(["1.0"] * 4000)],
    ["x = " + "-" * 5000 + "1.0"],
    ["x = " + "not " * 3000 + "1.0"],
    *([WIDE, f"x = np.{call}([{', '.join(['b'] * n)}]{axis})"] for n in (60, 500, 2700) for call, axis in JOINS),
    [WIDE, f"x = np.concatenate([{', '.join(['b'] * 60)}], axis=-1)"],
    [WIDE, "c = b[:, :, :, None]", f"x = np.stack([{', '.join(['c'] * 60)}], axis=-1)"],
    [WIDE, *["x = np.dot(b, b)"] * 400],
    [WIDE, "for i in range(256):", "    x = np.sum(np.sum(b, axis=-1, keepdims=True) + b, axis=-1)"],
    [LONG, f"x = tolerance(x={A}, lower={B}, upper={C}, margin=1.0)"],
    [LONG, f"x = tolerance({A}, bounds=({B}, {C}), margin=1.0)"],
    [LONG, f"x = np.where({A} > 0.0, {B}, {C})"],
    [LONG, f"x = np.clip({A}, a_min={B}, a_max={C})"],
    [LONG, f"x = np.dot({A}, {B} + {C})"],
    ["x = state.hand_rotation", "for i in range(200):", "    for j in range(4):", "        x = quat_mul(x, x)"],
]

TERMS = [
    "task_score",
    "consecutive_successes",
    "gt_reward",
    "success",
    "total",
    "return",
    "Success",
    "",
    "a b",
    "_a",
    "__class__",
    "a\n",
    "x" * 65,
    "名前",
]

PARSER = {
    "parentheses": "(" * 20_000,
    "closed parentheses": value("(" * 5_000 + "1" + ")" * 5_000),
    "brackets": "[" * 9_000 + "]" * 9_000,
    "unary": "-" * 19_000 + "1",
    "attributes": "a" + ".b" * 9_000,
    "subscripts": "a" + "[0]" * 6_000,
    "calls": "a" + "()" * 9_000,
    "powers": "1" + "**1" * 6_000,
    "comparisons": "1" + "<1" * 9_000,
    "lambdas": "lambda:" * 2_800 + "1",
    "conditions": "1 if 1 else " * 1_600 + "1",
    "indentation": "".join(" " * i + "if 1:\n" for i in range(190)),
    "f-strings": "f'{" * 2_000,
    "null byte": "\0",
    "null byte inside": FIVE_TERMS + "\0",
    "surrogate": "'\ud800'",
    "byte order mark": "\ufeff\ufeff" + FIVE_TERMS,
    "huge": "#" * 10_000_000,
    "long integer": value("9" * 6_000),
    "escape": value(r"'\d'"),
    "literal call": value("5(1)"),
    "literal index": value("5[0]"),
    "half a function": "def compute_reward(state, action, previous",
    "prose": "Here is the reward function you asked for:",
    "fences": f"```python\n{FIVE_TERMS}```",
    "tabs and spaces": "def compute_reward(state, action, previous):\n\tx = 1\n        y = 2\n",
    "bytes": FIVE_TERMS.encode(),
    "nothing": None,
    "number": 3,
    "list": [FIVE_TERMS],
    "syntax tree": compile("1", "", "eval"),
    "hexadecimal axis": value(f"np.sum(state.joints, axis=0x{'f' * 4000})"),
    "negative hexadecimal axis": value(f"np.sum(state.joints, axis=-0x{'f' * 4000})"),
    "hexadecimal index": value(f"quat_to_axis(state.hand_rotation, 0x{'f' * 4000})"),
    "hexadecimal component": value(f"state.joints[:, 0x{'f' * 4000}]"),
    "hexadecimal loop": entry(f"for i in range(0x{'f' * 4000}):", "    x = i"),
    "hexadecimal step": entry(f"for i in range(0, 3, 0x{'f' * 4000}):", "    x = i"),
    "hexadecimal argument": value(f"np.tanh(0x{'f' * 4000})"),
    "hexadecimal key": entry(returns=f"0.0, {{0x{'f' * 4000}: 0.0}}"),
    "hexadecimal annotation": entry(f"x: 0x{'f' * 4000} = 1.0"),
    "hexadecimal default": f"def f(x=0x{'f' * 4000}):\n    return x\n{FIVE_TERMS}",
    "nested loops": entry(*[f"{'    ' * i}for i{i} in range(1):" for i in range(25)], f"{'    ' * 25}x = 1.0"),
    "right to left": value("state.opening  # \u202e"),
    "escape sequence": value("state.opening  # \x1b[2J"),
    "hidden docstring": FIVE_TERMS.replace("Metres", "Met\u200bres"),
    "tower": value("9" + "**9" * 25),
}

SIGNATURES = [
    "def compute_reward(state, action, previous, memory=[]):\n    return 0.0, {'a': 0.0}\n",
    "def compute_reward(state, action, previous=None):\n    return 0.0, {'a': 0.0}\n",
    "def compute_reward(*args):\n    return 0.0, {'a': 0.0}\n",
    "def compute_reward(state, action, previous, **kwargs):\n    return 0.0, {'a': 0.0}\n",
    "def compute_reward(state, /, action, previous):\n    return 0.0, {'a': 0.0}\n",
    "def compute_reward(state, action, *, previous):\n    return 0.0, {'a': 0.0}\n",
    "def compute_reward(state: int, action, previous):\n    return 0.0, {'a': 0.0}\n",
    "def compute_reward(state, action, previous) -> print:\n    return 0.0, {'a': 0.0}\n",
    "@print\ndef compute_reward(state, action, previous):\n    return 0.0, {'a': 0.0}\n",
    "async def compute_reward(state, action, previous):\n    return 0.0, {'a': 0.0}\n",
    "compute_reward = lambda state, action, previous: (0.0, {'a': 0.0})\n",
    "class compute_reward: pass\n",
    FIVE_TERMS + FIVE_TERMS,
    FIVE_TERMS + "print(1)\n",
    FIVE_TERMS + "np.tanh = 3\n",
    "def abs(x):\n    return x\n" + FIVE_TERMS,
    "def tolerance(x):\n    return x\n" + FIVE_TERMS,
    "def range(x):\n    return x\n" + FIVE_TERMS,
    "def np(x):\n    return x\n" + FIVE_TERMS,
    "def _state_opening(x):\n    return x\n" + FIVE_TERMS,
    "def f(_getattr_, /):\n    return 1.0\n" + FIVE_TERMS,
    "def f(np):\n    return np.tanh(1.0)\n" + FIVE_TERMS,
    "def f(x):\n    return g(x)\ndef g(x):\n    return f(x)\n" + FIVE_TERMS,
    "def f(x):\n    return g\n" + FIVE_TERMS,
    "def f(x, x):\n    return x\n" + FIVE_TERMS,
    FIVE_TERMS + "def f(x):\n    return compute_reward(x, x, x)\n",
    "def f0(x):\n    return x, x\n"
    + "".join(f"def f{i}(x):\n    a, b = f{i - 1}(x)\n    c, d = f{i - 1}(x)\n    return a, d\n" for i in range(1, 60))
    + entry("a, b = f59(state.opening)"),
    "def f(x):\n    return\n" + FIVE_TERMS,
    "def f(x):\n    yield x\n" + FIVE_TERMS,
    "def f(x):\n    pass\n" + FIVE_TERMS,
    "".join(f"def f{i}(x):\n    return {f'f{i - 1}(x) + f{i - 1}(x)' if i else 'x'}\n" for i in range(40))
    + value("f39(state.opening)"),
    "".join(f"def f{i}(x):\n    return {'-' * 40}{f'f{i - 1}(x)' if i else 'x'}\n" for i in range(60))
    + value("f59(state.opening)"),
]

HOSTILE = [
    *map(value, ESCAPES),
    *map(value, NUMPY),
    *(entry(*lines) for lines in STATEMENTS),
    *(entry(*lines) for lines in BOMBS),
    *(entry(returns=f'0.0, {{"a": 0.0, {name!r}: 0.0}}') for name in TERMS),
    *(
        entry(returns=pair)
        for pair in [
            "0.0",
            "0.0, 0.0",
            "0.0, {}",
            "0.0, {**{}}",
            "0.0, {'a': 0.0}, 1",
            "0.0, {'a': 'b'}",
            "None, {'a': 0.0}",
            "0.0, {action: 0.0}",
            "0.0, {1: 0.0}",
            "0.0, {'a' 'b' + 'c': 0.0}",
            "*action, {'a': 0.0}",
            "0.0, {'a': state}",
            "0.0, {'a': {}}",
            "0.0, dict(a=0.0)",
        ]
    ),
    *SIGNATURES,
    *PARSER.values(),
]


@pytest.fixture(autouse=True)
def nothing_else_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No file, no process, no input, and no change to numpy or to the interpreter's state."""

    def forbidden(*args: object, **kwargs: object) -> None:
        raise AssertionError(f"a program reached outside: {args}")

    for module, name in [(builtins, "open"), (builtins, "input"), (os, "system"), (os, "open"), (subprocess, "Popen")]:
        monkeypatch.setattr(module, name, forbidden)
    monkeypatch.chdir(tmp_path)
    functions, errors, depth = dict(vars(np)), np.geterr(), sys.getrecursionlimit()
    yield
    assert all(vars(np)[name] is function for name, function in functions.items())
    assert np.geterr() == errors
    assert sys.getrecursionlimit() == depth
    assert not list(tmp_path.iterdir())


def shown(source: object) -> str:
    """A test's name: the end of a program, or the type of what is no text (its repr may hold an address)."""
    return f"{source[-90:]!r}"[:60] if isinstance(source, str | bytes) else type(source).__name__


@pytest.mark.parametrize("source", HOSTILE, ids=shown)
def test_hostile_programs_are_refused(source: str) -> None:
    started = resource.getrusage(resource.RUSAGE_SELF)
    with pytest.raises(ProgramError) as caught:
        compile_program(source, SPEC, ACTION_DIM)
    used = resource.getrusage(resource.RUSAGE_SELF)
    assert used.ru_utime - started.ru_utime < 5.0
    assert used.ru_maxrss - started.ru_maxrss < 300_000  # KiB
    assert caught.value.problems
    assert all(len(p.reason) < 500 and p.remedy for p in caught.value.problems)


@pytest.mark.parametrize("source", HOSTILE, ids=shown)
def test_hostile_programs_stay_harmless_when_they_are_normalised(source: str) -> None:
    started = resource.getrusage(resource.RUSAGE_SELF)
    refused = None
    try:
        compiled = compile_program(source, SPEC, ACTION_DIM, normalise=True)
        assert compile_program(compiled.source, SPEC, ACTION_DIM).canonical == compiled.canonical
    except ProgramError as error:
        refused = error
    used = resource.getrusage(resource.RUSAGE_SELF)
    assert used.ru_utime - started.ru_utime < 5.0
    assert used.ru_maxrss - started.ru_maxrss < 300_000  # KiB
    assert refused is None or (refused.problems and all(len(p.reason) < 500 and p.remedy for p in refused.problems))


def test_there_are_many_of_them() -> None:
    assert len(HOSTILE) > 200


@pytest.mark.parametrize(
    "lines",
    [
        ["eval = 1.0", "open = eval + 1.0", "a = open"],
        ["print = state.opening", "a = print"],
        ["sum = np.sum(state.joints, axis=-1)", "a = sum"],
        ["a = state.opening", "a += 1.0", "a -= 1.0"],
        ["a = state.joints", "a *= 0.0", "a = a[:, 0]"],
        ["a = np.float64(action)", "a += 1.0", "a = a[:, 0]"],
        ["a = 0.0 * state.opening", "for i in range(256):", "    a = a + i"],
        [
            "a = 1.0",
            "for i in range(7):",
            "    for j in range(7):",
            "        a = a + state.joints[:, i] * state.joints[:, j]",
        ],
        ["a = b = state.opening"],
        ["a, b = state.opening, previous.opening", "a, b = b, a"],
    ],
)
def test_odd_programs_are_harmless(lines: list[str]) -> None:
    batch = sample_typical_transitions(SPEC, ACTION_DIM, 64)
    before = [array.copy() for array in (batch.previous.array, batch.action, batch.state.array)]
    program = compile_program(entry(*lines, returns='a, {"a": a}'), SPEC, ACTION_DIM)
    program(batch).total[:] = 9.0
    for old, new in zip(before, (batch.previous.array, batch.action, batch.state.array), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_compiled_code_sees_pure_functions_only() -> None:
    program = compile_program(FIVE_TERMS, SPEC, ACTION_DIM)
    namespace = program._function.__globals__
    assert namespace["__builtins__"] == {}
    assert np not in namespace.values()
    for helper in ("compute_reward", "distance"):
        code = namespace[helper].__code__
        assert not any(name.startswith("__") for name in code.co_names)
        assert namespace[helper].__defaults__ is None
        assert namespace[helper].__closure__ is None


def test_programs_share_nothing() -> None:
    a, b = (compile_program(FIVE_TERMS, SPEC, ACTION_DIM) for _ in range(2))
    assert a._function.__globals__ is not b._function.__globals__


def test_a_program_cannot_silence_the_caller() -> None:
    before = np.geterr()
    program = compile_program(value("np.log(state.opening - 100.0)"), SPEC, ACTION_DIM)
    with pytest.raises(Exception, match="finite"):
        program(sample_typical_transitions(SPEC, ACTION_DIM, 3))
    assert np.geterr() == before
