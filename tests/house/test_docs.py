"""What the documentation names exists: links, files, and the fields and functions of reward programs."""

import importlib.util
import re
from pathlib import Path

import pytest

from tests.house.source import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
TEXT = {page: page.read_text(encoding="utf-8") for page in PAGES}
FENCE = re.compile(r"^```.*?^```", re.M | re.S)
CODE = "\n".join(
    code.strip("`")
    for text in TEXT.values()
    for code in [*FENCE.findall(text), *re.findall(r"`[^`\n]+`", FENCE.sub("", text))]
)


def names(pattern: str) -> list[str]:
    """Everything that the pattern's group finds in the code blocks and code spans of all pages, sorted."""
    return sorted(set(re.findall(pattern, CODE, re.M)))


def anchors(page: Path) -> set[str]:
    """The fragments of a page's headings, as code hosts make them."""
    titles = re.findall(r"^#+ +(.*)$", FENCE.sub("", TEXT[page]), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_resolve(page: Path):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", TEXT[page])):
        if target.startswith(("https:", "http:", "mailto:")):
            continue
        file, _, fragment = target.partition("#")
        found = (page.parent / file).resolve() if file else page
        if not found.exists() or (fragment and found in TEXT and fragment not in anchors(found)):
            broken.append(target)
    assert not broken


@pytest.mark.parametrize("path", names(r"^((?:robo_reward|envs|policies|hardware|tests|docs|benchmarks)/[\w./-]*)$"))
def test_named_files_exist(path: str):
    assert (ROOT / path).exists()


@pytest.mark.parametrize("source", names(r"(?s)^python\n(def compute_reward.*?return [^\n]*\n)"))
def test_programs_are_in_the_language(source: str):
    if importlib.util.find_spec("robo_reward.language.language") is None:
        pytest.skip("robo_reward.language.language is not written yet")
    from robo_reward.envs.task import make_task
    from robo_reward.language.language import compile_program

    task = make_task("panda/lift")
    compile_program(source, task.spec, task.action.dim)


def test_the_goal_in_the_readme_is_the_demo_s():
    from robo_reward.envs.task import make_task

    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert make_task("panda/lift").goal in readme
