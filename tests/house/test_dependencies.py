"""Every third-party import is declared: what the package imports at once in the base, the rest in extras."""

import re
import sys
import tomllib
from importlib.metadata import packages_distributions

from tests.house.source import LINKED, ROOT, imports, modules

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OWN = {"robo_reward", "tests", "benchmarks", *LINKED}  # bare LINKED names: test_imports.py speaks of those
BROUGHT = {"markupsafe", "typing-extensions"}  # a part of jinja2's and torch's own interface
PROVIDERS = {"rerun": ["rerun-sdk"], **packages_distributions()}  # rerun: also where it is not installed


def distributions(requirements: list[str]) -> set[str]:
    """Normalised names of requirement strings."""
    return {re.split(r"[\[<>=!~; ]", line, maxsplit=1)[0].lower().replace("_", "-") for line in requirements}


BASE = distributions(PROJECT["dependencies"]) | BROUGHT
EXTRAS = {name: distributions(lines) for name, lines in PROJECT["optional-dependencies"].items()}


def undeclared(module: str, declared: set[str]) -> bool:
    """Whether the import belongs to none of the declared distributions."""
    top = module.partition(".")[0]
    if top in OWN or top in sys.stdlib_module_names:
        return False
    providers = {name.lower().replace("_", "-") for name in PROVIDERS.get(top, [top])}
    return not providers & declared


def test_the_package_imports_only_what_it_declares():
    everything = BASE.union(*(EXTRAS[name] for name in EXTRAS if name != "dev"))
    wrong = [
        f"{path.relative_to(ROOT)}:{used.line} imports {used.module}{' at module level' if used.eager else ''}"
        for path in modules().values()
        for used in imports(path)
        if undeclared(used.module, BASE if used.eager else everything)
    ]
    assert not wrong, "\n".join(wrong)


def test_tests_and_benchmarks_import_only_what_setup_installs():
    everything = BASE.union(*EXTRAS.values())
    wrong = [
        f"{path.relative_to(ROOT)}:{used.line} imports {used.module}"
        for folder in ("tests", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        for used in imports(path)
        if undeclared(used.module, everything)
    ]
    assert not wrong, "\n".join(wrong)


def test_constraints_cover_what_is_declared():
    pinned = distributions([line for line in (ROOT / "constraints.txt").read_text().splitlines() if line[:1] != "#"])
    # Tests that need these install them into a folder of their own, see tests/extra_packages.py.
    installed_apart = EXTRAS["wandb"] | EXTRAS["trackio"] | EXTRAS["rerun"] | EXTRAS["onnx"]
    apart = {"robo-reward", "setuptools"} | installed_apart
    assert not BASE.union(*EXTRAS.values()) - pinned - apart


def test_errors_name_extras_that_bring_the_module():
    """`MissingExtra("module", "extra", ...)`: what the message says to install has it."""
    wrong = []
    for path in modules().values():
        for module, extra in re.findall(r'MissingExtra\(\s*"([\w-]+)", "(\w*)"', path.read_text(encoding="utf-8")):
            names = {module.lower().replace("_", "-")} | {p.lower() for p in PROVIDERS.get(module, [])}
            if not names & (EXTRAS.get(extra, set()) if extra else BASE):
                wrong.append(f"{path.relative_to(ROOT)}: {module} is not in the extra {extra!r}")
    assert not wrong, "\n".join(wrong)
