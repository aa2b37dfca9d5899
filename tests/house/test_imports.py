"""Imports point one way, name the package, and cost little."""

import graphlib
import subprocess
import sys

import pytest

from tests.house.source import LINKED, ROOT, imports, modules

LAYERS = (
    ("robo_reward", "robo_reward.errors", "robo_reward.finding", "robo_reward.printable", "robo_reward.masking",
     "robo_reward.questions", "robo_reward.periodic", "robo_reward.configs"),
    ("robo_reward.registry", "robo_reward.files", "robo_reward.memory", "robo_reward.seeds", "robo_reward.web",
     "robo_reward.checks"),
    ("robo_reward.jobs", "robo_reward.envs", "robo_reward.loggers"),
    ("robo_reward.rewards", "robo_reward.rewards.contract", "robo_reward.rewards.weighted",
     "robo_reward.rewards.function"),
    ("robo_reward.data", "robo_reward.rewards.artifact"),
    ("robo_reward.language", "robo_reward.labelling", "robo_reward.vision", "robo_reward.rewards.http"),
    ("robo_reward.scenes",),
    ("robo_reward.writers", "robo_reward.rewards.matching"),
    ("robo_reward.rewards.perceptual", "robo_reward.rewards.preference"),
    ("robo_reward.policies", "robo_reward.scoring"),
    ("robo_reward.reward_search",),
    ("robo_reward.hardware", "robo_reward.hardware.arm", "robo_reward.hardware.wire"),
    ("robo_reward.hardware.safety",),
    ("robo_reward.hardware.drivers",),
    ("robo_reward.hardware.perception",),
    ("robo_reward.hardware.emulator", "robo_reward.hardware.policy"),
    ("robo_reward.hardware.deployment",),
    ("robo_reward.report", "robo_reward.doctor"),
    ("robo_reward.cli", "robo_reward.api", "robo_reward.testing", "robo_reward.__main__"),
)  # fmt: skip
PARENTS = ("robo_reward", "robo_reward.rewards", "robo_reward.hardware")
"""Their modules must be named in LAYERS: a new one fails the test until it has its place."""
# Upward and late, inside a function: a name that a user may type is looked up where it is known.
LATE = {
    ("robo_reward.envs.task", "robo_reward.scenes.task"),  # a task from a scene file
    ("robo_reward.envs.task", "robo_reward.scenes.environments"),  # a task from an environment of another package
    ("robo_reward.envs.task", "robo_reward.scenes.rules"),  # success="norm(...) < 0.1"
    ("robo_reward.envs.gym", "robo_reward.language.language"),  # reward="expert"
    ("robo_reward.rewards.artifact", "robo_reward.language.language"),  # a stored reward of the kind "program"
    ("robo_reward.rewards.artifact", "robo_reward.rewards.matching.reward"),  # ... of the kind "matching"
    ("robo_reward.rewards.artifact", "robo_reward.rewards.preference.bradley_terry"),  # ... of the kind "networks"
    ("robo_reward.rewards.artifact", "robo_reward.rewards.perceptual.reward"),  # ... of the kind "perceptual"
    ("robo_reward.rewards.artifact", "robo_reward.rewards.http.reward"),  # ... of the kind "http"
    (
        "robo_reward.reward_search.job_validation",
        "robo_reward.policies.policy",
    ),  # the policy that a job names by its folder
}
HEAVY = ("torch", "mujoco", "gymnasium", "stable_baselines3", "cv2", "av", "timm", "hydra", "matplotlib", "tensorboard")


def layer(module: str) -> int:
    """The layer of the longest entry that is the module or a package around it; -1 for none."""
    best = -1, -1
    for rank, names in enumerate(LAYERS):
        for name in names:
            inside = module == name or (module.startswith(name + ".") and name not in PARENTS)
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
