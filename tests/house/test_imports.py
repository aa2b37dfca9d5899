"""Imports point one way, name the package, and cost little."""

import graphlib
import subprocess
import sys

import pytest

from tests.house.source import LINKED, ROOT, imports, modules

LAYERS = (
    ("robo_reward", "robo_reward.errors", "robo_reward.registry", "robo_reward.files", "robo_reward.finding",
     "robo_reward.printable", "robo_reward.configs"),
    ("robo_reward.envs",),
    ("robo_reward.reward", "robo_reward.episode", "robo_reward.artifact", "robo_reward.compose",
     "robo_reward.minari_exchange", "robo_reward.collect"),
    ("robo_reward.code", "robo_reward.jobs", "robo_reward.vision", "robo_reward.matching", "robo_reward.demos",
     "robo_reward.preferences", "robo_reward.checks"),
    ("robo_reward.policies",),
    ("robo_reward.hardware",),
    ("robo_reward.report", "robo_reward.doctor"),
    ("robo_reward.cli", "robo_reward.__main__"),
)  # fmt: skip
# Upward and late, inside a function: a name that a user may type is looked up where it is known.
LATE = {
    ("robo_reward.envs.gym", "robo_reward.code.language"),  # reward="expert"
    ("robo_reward.artifact", "robo_reward.code.language"),  # a stored reward of the kind "program"
    ("robo_reward.artifact", "robo_reward.matching.reward"),  # ... of the kind "matching"
    ("robo_reward.artifact", "robo_reward.preferences.bradley_terry"),  # ... of the kind "networks"
    ("robo_reward.artifact", "robo_reward.demos.perceptual"),  # ... of the kind "perceptual"
    ("robo_reward.code.search.outcome", "robo_reward.policies.policy"),  # the policy that a job names by its folder
}
HEAVY = ("torch", "mujoco", "gymnasium", "stable_baselines3", "cv2", "av", "timm", "hydra", "matplotlib", "tensorboard")


def layer(module: str) -> int:
    """The layer of the longest entry that is the module or a package around it; -1 for none."""
    best = -1, -1
    for rank, names in enumerate(LAYERS):
        for name in names:
            inside = module == name or (module.startswith(name + ".") and name != "robo_reward")
            if inside and len(name) > best[0]:
                best = len(name), rank
    return best[1]


def test_every_module_has_a_layer():
    lost = [name for name in modules() if layer(name) < 0]
    assert not lost, f"say in LAYERS where these belong: {lost}"


def test_imports_point_one_way():
    known = modules()
    wrong = [
        f"{path.relative_to(ROOT)}:{used.line} imports {used.module}"
        for name, path in known.items()
        for used in imports(path)
        if used.module in known and layer(used.module) > layer(name)
        if used.eager or (name, used.module) not in LATE
    ]
    assert not wrong, "\n".join(wrong)


def test_no_circle_of_modules():
    known = modules()
    graph = {
        name: {used.module for used in imports(path) if used.eager and used.module in known} - {name}
        for name, path in known.items()
    }
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError with the circle


@pytest.mark.parametrize("folder", ["robo_reward", *LINKED, "tests", "benchmarks"])
def test_nobody_imports_the_bare_folders(folder: str):
    wrong = [
        f"{path.relative_to(ROOT)}:{used.line} imports {used.module}; write robo_reward.{used.module}"
        for path in (ROOT / folder).rglob("*.py")
        for used in imports(path)
        if used.module.split(".")[0] in LINKED
    ]
    assert not wrong, "\n".join(wrong)


def test_the_folders_are_relative_links():
    for name in LINKED:
        link = ROOT / "robo_reward" / name
        assert link.is_symlink(), f"{link} is not a symbolic link (a checkout without links? see CONTRIBUTING.md)"
        assert str(link.readlink()) == f"../{name}"


@pytest.mark.parametrize("module", ["robo_reward", "robo_reward.cli"])
def test_import_is_light(module: str):
    """CPU seconds of the import itself, the best of three: a busy machine does not count."""
    if module not in modules():
        pytest.skip(f"{module} is not written yet")
    script = (
        "import sys, time; begun = time.process_time(); "
        f"import {module}; print(time.process_time() - begun); print(*[m for m in {HEAVY!r} if m in sys.modules])"
    )
    command = [sys.executable, "-c", script]
    answers = [
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
        for _ in range(3)
    ]
    assert answers[0][1] == "", f"import {module} pulls in {answers[0][1]}"
    assert min(float(answer[0]) for answer in answers) < 0.5
