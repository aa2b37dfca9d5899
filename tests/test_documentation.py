"""Every fenced block of README.md and docs/ runs, is checked without running, or says why not.

The language after the fence decides:

* `python`: runs. The blocks of a page are one program, in order, in an empty folder; then the tests in its classes run.
* `sh`: every command is checked: `robo-reward` by the parser of the command line, `make` by make, benchmarks by their
  options, `pip` by the extras. Commands of the verbs in `QUICK` also run; `NOT_RUN` says why the others do not.
* `toml`, `json`: is read.
* `text`: is no code, such as the output of a command.

A comment on the line before a block changes that: `<!-- slow: REASON -->` runs it with the slow tests, `sh` included;
`<!-- not run: REASON -->` compiles Python and runs its imports only.
"""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import robo_reward as rr
from robo_reward.cli.app import compose_checked_config
from robo_reward.cli.arguments.help import format_verb_help
from robo_reward.cli.verbs import VERBS
from robo_reward.errors import RoboRewardError
from tests.house.source import ROOT

LANGUAGES = ("python", "sh", "toml", "json", "text")
QUICK = ("tasks", "doctor")
NOT_RUN = {
    "demo": "minutes; a slow test of tests/reward_search runs it",
    "search": "trains for minutes",
    "train": "trains for minutes",
    "clone": "trains for minutes",
    "record": "renders for a minute",
    "task": "needs a scene; tests/scenes runs it",
    "import-policy": "needs LeRobot; the slow tests of tests/policies/lerobot run it",
    "import": "needs a data set; tests/cli/test_data_page.py runs the commands of docs/data.md",
    "export": "needs episodes; tests/cli/test_data_page.py runs the commands of docs/data.md",
    "preferences": "needs answers of people; tests/cli/test_data_page.py runs the command of docs/data.md",
    "discover": "needs demonstrations",
    "match": "needs demonstrations",
    "evaluate": "needs a run folder",
    "label": "serves until it is stopped",
    "align": "needs answers of people",
    "check": "needs a run folder",
    "deploy": "needs an arm or an emulator",
    "serve-policy": "serves until it is stopped",
    "calibrate": "needs pictures of a board",
    "identify": "needs episodes of an arm",
    "report": "needs a run folder",
    "score": "needs episodes and a run folder",
    "compare": "needs two run folders",
    "finetune": "needs a cloned policy and answers of people",
    "emulate": "serves until it is stopped",
}
"""Verb -> why its commands do not run, apart from blocks that are marked slow. The arguments are always checked."""
SHORTER = {"steps=200_000": "steps=2_048", '"steps": 100_000': '"steps": 4_096'}
"""Budgets of trainings in Python blocks -> those with which they run here."""
OWN_FILES = ("task=puck.xml", "name=scene.yaml", "task=gymnasium/cart:Cart-v0")
"""Files that pages tell the reader to write; test_command_line.py of tests/scenes and tests/envs/suites runs these."""
UNCHECKED = {
    "git": "no network in tests",
    "cd": "a folder that the line before makes",
    ".": "an environment that the line before makes",
}
"""Other programs that may stand in a block -> why they are not checked."""

FENCE = re.compile(r"^(?:<!-- (slow|not run)(?:: (.+?))? -->\n)?^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`((?:[A-Z_]+=\w* )?(?:(?:robo-reward|make) |python -m benchmarks\.)[^`\n]*)`")
FORM = re.compile(r"VERB|(.*=)?NAME|.*…|.*\.\.\.|task=panda/touch|task=puck\.xml")
"""Words of a command in a sentence that stand for others, and the task that docs/own_task.md adds."""
CHILD = """
import json, os, sys, traceback
results = []
for page, folder, blocks in json.load(sys.stdin):
    os.makedirs(folder)
    os.chdir(folder)
    names = {"__name__": "__main__"}
    try:
        for line, source in blocks:
            exec(compile("\\n" * line + source, page, "exec"), names)
        for contract in [value for name, value in names.items() if name.startswith("Test")]:
            for test in [name for name in dir(contract) if name.startswith("test_")]:
                getattr(contract(), test)()
    except Exception:
        results.append([page, traceback.format_exc()])
    else:
        results.append([page, ""])
with open(sys.argv[1], "w") as file:
    json.dump(results, file)
"""


class Block(NamedTuple):
    """A fenced block: its page, the line of its fence, its mark with the reason, its language and its text."""

    page: str
    line: int
    mark: str
    reason: str
    language: str
    text: str


def find_blocks(page: str, text: str) -> list[Block]:
    """Returns the fenced blocks of a page."""
    return [
        Block(page, text.count("\n", 0, found.start(3)) + 1, found[1] or "", found[2] or "", found[3], found[4])
        for found in FENCE.finditer(text)
    ]


PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
}
BLOCKS = [block for page, text in PAGES.items() for block in find_blocks(page, text)]
SCRIPTS = [block for block in BLOCKS if block.language == "sh"]


def name_block(block: Block) -> str:
    return f"{block.page}:{block.line}"


def parse_commands(text: str) -> list[list[str]]:
    """Returns the commands of a block as lists of words, without comments and variables that are set for them."""
    commands = []
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words:
            end = words.index("&&") if "&&" in words else len(words)
            command, words = words[:end], words[end + 1 :]
            while command and re.fullmatch(r"[A-Z_]+=.*", command[0]):
                command = command[1:]
            commands += [command] if command else []
    return commands


def check_command(command: list[str]) -> None:
    """Raises an error for a command with an unknown verb, key, value, target, benchmark, option or extra."""
    program, *arguments = command
    if program == "robo-reward":
        verb, *given = arguments
        if "--help" in given:
            assert format_verb_help(verb, [word for word in given if word != "--help"])
        else:
            if "--json" in given:
                at = given.index("--json")
                given[at : at + 2] = [f"json={given[at + 1]}"]
            compose_checked_config(verb, [word for word in given if word not in OWN_FILES])
    elif program == "make":
        subprocess.run(["make", "-n", *arguments], cwd=ROOT, check=True, capture_output=True)
    elif program == "python":
        assert arguments[0] == "-m", command
        package, _, name = arguments[1].partition(".")
        assert package == "benchmarks", command
        assert {word for word in arguments if word.startswith("--")} <= read_benchmark_options(name)
    elif program == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        named = re.findall(r"[\w-]+", "".join(re.findall(r"\[(.*)\]", " ".join(arguments))))
        assert arguments[0] == "install" and set(named) <= set(extras), command
    else:
        assert program in UNCHECKED, f"{program}: teach check_command how to check it, or say in UNCHECKED why not"


def read_benchmark_options(name: str) -> set[str]:
    """Returns the options that a benchmark passes to `benchmarks.output.arguments`."""
    tree = ast.parse((ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8"))
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("arguments") and node.args
    ]
    assert calls, f"benchmarks.{name} is no program"
    return {"--json", "--quick"} | {f"--{keyword.arg}" for call in calls for keyword in call.keywords}


def shorten(text: str) -> str:
    """Returns a block with short trainings."""
    for old, new in SHORTER.items():
        text = text.replace(old, new)
    return text


@cache
def run_pages(slow: bool, folder: Path) -> dict[str, str]:
    """Runs the Python blocks of every page, all in one process; returns page -> traceback, empty for success."""
    pages = {}
    for block in BLOCKS:
        if block.language == "python" and block.mark != "not run" and (slow or block.mark != "slow"):
            pages.setdefault(block.page, []).append((block.line, shorten(block.text)))
    if slow:
        pages = {page: pages[page] for page in SLOW_PAGES}
    work = [(page, str(folder / page), blocks) for page, blocks in pages.items()]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    command = [sys.executable, "-c", CHILD, str(folder / "results.json")]
    done = subprocess.run(
        command, input=json.dumps(work), capture_output=True, text=True, env=environment, timeout=1500, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads((folder / "results.json").read_text()))


SLOW_PAGES = sorted({block.page for block in BLOCKS if block.mark == "slow" and block.language == "python"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


def run_script(block: Block, folder: Path) -> None:
    """Runs a block of commands with bash, in a folder of its own."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    command = ["bash", "-e", "-c", block.text]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=environment, timeout=1500, check=False
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("robo-reward trian task=panda/lift", "unknown verb 'trian'"),
        ("robo-reward train task=panda/lift step=3", "unknown key 'step'"),
        ("robo-reward train task=panda/lfit", "unknown value of task 'panda/lfit'"),
        ("robo-reward train steps=many", "steps=many"),
        ("robo-reward label", "source"),
        ("make tset", "non-zero exit status"),
        ("python -m benchmarks.safety --fast", "--fast"),
        ("pip install '.[lllm]'", "lllm"),
        ("rm -r runs", "teach check_command"),
    ],
)
def test_a_wrong_command_is_noticed(command: str, problem: str) -> None:
    with pytest.raises((RoboRewardError, AssertionError, subprocess.CalledProcessError), match=problem):
        check_command(*parse_commands(command))


def test_marks_and_lines_of_blocks() -> None:
    text = "# Title\n\n<!-- not run: needs a robot -->\n```python\na = 1\n```\n```\nb\n```\n"
    assert find_blocks("page", text) == [
        Block("page", 4, "not run", "needs a robot", "python", "a = 1\n"),
        Block("page", 7, "", "", "", "b\n"),
    ]


@pytest.mark.parametrize("page", PAGES)
def test_every_fence_is_found_and_has_a_language(page: str) -> None:
    blocks = [block for block in BLOCKS if block.page == page]
    assert len(re.findall(r"^ *(?:```|~~~)", PAGES[page], re.MULTILINE)) == 2 * len(blocks)
    for block in blocks:
        assert block.language in LANGUAGES, f"{name_block(block)}: write one of {LANGUAGES} after the fence"
        assert not block.mark or block.reason, f"{name_block(block)}: give a reason: <!-- {block.mark}: REASON -->"
        assert not (block.mark and block.language in ("toml", "json", "text")), f"{name_block(block)}: nothing to mark"
    marks = re.findall(r"^ *<!-- *(?:slow|not run)\b", PAGES[page], re.MULTILINE)
    assert len(marks) == sum(bool(block.mark) for block in blocks), "a mark stands on the line before its block"


@pytest.mark.parametrize("page", sorted({b.page for b in BLOCKS if b.language == "python" and not b.mark}))
def test_python_runs(page: str, folder: Path) -> None:
    problem = run_pages(False, folder / "quick").get(page, "")
    assert not problem, problem


@pytest.mark.slow
@pytest.mark.parametrize("page", SLOW_PAGES)
def test_slow_python_runs(page: str, folder: Path) -> None:
    problem = run_pages(True, folder / "slow").get(page, "")
    assert not problem, problem


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "python" and b.mark == "not run"], ids=name_block)
def test_python_that_does_not_run_compiles_and_its_imports_do(block: Block) -> None:
    tree = ast.parse(block.text)
    tree.body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    exec(compile(tree, name_block(block), "exec"), {})


@pytest.mark.parametrize("block", SCRIPTS, ids=name_block)
def test_commands_are_valid(block: Block) -> None:
    commands = parse_commands(block.text)
    assert commands
    for command in commands:
        check_command(command)


@pytest.mark.parametrize("command", sorted({span for text in PAGES.values() for span in SPAN.findall(text)}))
def test_commands_in_sentences_are_valid(command: str) -> None:
    (words,) = parse_commands(command)
    if words[0] == "robo-reward" and len(words) < 3:  # a verb, named without what it needs
        assert set(words[1:]) <= {*VERBS, "VERB"}
    elif not any(FORM.fullmatch(word) for word in words):
        check_command(words)


@pytest.mark.parametrize("budget", SHORTER)
def test_shortened_trainings_exist(budget: str) -> None:
    assert any(budget in block.text for block in BLOCKS if block.language == "python")


def test_every_verb_either_runs_or_has_a_reason() -> None:
    assert sorted([*QUICK, *NOT_RUN]) == sorted(VERBS)


@pytest.mark.parametrize("verb", QUICK)
def test_quick_commands_run(verb: str, tmp_path: Path) -> None:
    """Each command of a quick verb that needs no arm, once."""
    found = {
        shlex.join(command)
        for block in SCRIPTS
        for command in parse_commands(block.text)
        if command[:2] == ["robo-reward", verb] and not any(word.startswith("host=") for word in command)
    }
    assert found
    for command in sorted(found):
        run_script(Block("", 0, "", "", "sh", command), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("block", [block for block in SCRIPTS if block.mark == "slow"], ids=name_block)
def test_slow_commands_run(block: Block, tmp_path: Path) -> None:
    run_script(block, tmp_path)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language in ("toml", "json")], ids=name_block)
def test_data_is_read(block: Block) -> None:
    assert (tomllib if block.language == "toml" else json).loads(block.text)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "text"], ids=name_block)
def test_text_is_no_command(block: Block) -> None:
    assert not re.findall(r"^(?:\$ |robo-reward |make |pip |python )", block.text, re.MULTILINE)


def test_the_reference_has_every_public_name() -> None:
    assert sorted(re.findall(r"\[`(\w+)`\]\[", PAGES["docs/api/index.md"])) == sorted(rr.__all__)


def test_every_benchmark_is_listed() -> None:
    programs = [path.stem for path in ROOT.glob("benchmarks/[!_]*.py") if '"__main__"' in path.read_text("utf-8")]
    assert sorted(re.findall(r"^\| `benchmarks\.(\w+)`", PAGES["docs/benchmarks.md"], re.MULTILINE)) == sorted(programs)
