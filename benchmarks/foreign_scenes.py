"""Scene files that other people wrote, each with a sentence and a rule, searched by `writer=offline`.

    python -m benchmarks.foreign_scenes --json FILE [--only NAME,NAME] [--scenes DIR] [--menagerie DIR]

The files are used as their packages ship them: gymnasium, dm_control, and MuJoCo Menagerie (`--menagerie`, else the
folder MENAGERIE_ROOT). `--scenes DIR`, else the folder FOREIGN_SCENES, is one more folder in which packages are looked
for, such as the site-packages of another environment. A small scene file beside the model gives the start distribution
where a user would write one.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from benchmarks.output import arguments, report

WANTED, NEEDED, SECONDS = 0.8, 6, 600
"""Success rate of a scene that counts as learnt; how many of the eight must be; wall time of each on two cores [s]."""


@dataclass(frozen=True)
class ForeignScene:
    """A model of another package, and what a user would ask of it.

    Args:
        package: that ships it; `menagerie` for MuJoCo Menagerie.
        path: of the model in the package.
        goal: the sentence.
        success: the rule.
        settings: further keys of a scene file; none: the bare model is given to the command.
        search: settings of the search that differ from those of the others.
    """

    package: str
    path: str
    goal: str
    success: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    search: tuple[str, ...] = ()


SCENES: Mapping[str, ForeignScene] = {
    "finger": ForeignScene(
        "dm_control",
        "suite/finger.xml",
        "Spin the spinner.",
        "abs(hinge_velocity) > 3",
        {"start": {"joints": {"proximal": [-2.0, -1.0], "distal": [-0.5, 0.5], "hinge": [-3.1, 3.1]}}},
    ),
    "ball_in_cup": ForeignScene(
        "dm_control",
        "suite/ball_in_cup.xml",
        "Catch the ball in the cup.",
        "norm(ball_position - target_position) < 0.04",
    ),
    "reacher": ForeignScene(
        "dm_control",
        "suite/reacher.xml",
        "Move the finger to the target.",
        "norm(finger_position - target_position) < 0.05",
        {"start": {"joints": {"shoulder": [-3.0, 3.0], "wrist": [-1.5, 1.5]}}},
    ),
    "hopper": ForeignScene(
        "gymnasium", "envs/mujoco/assets/hopper.xml", "Hop forward.", "torso_x > 2 and torso_height > 0.7"
    ),
    "ant": ForeignScene("gymnasium", "envs/mujoco/assets/ant.xml", "Walk forward.", "torso_x > 2"),
    "pusher": ForeignScene(
        "gymnasium",
        "envs/mujoco/assets/pusher_v5.xml",
        "Push the object to the goal.",
        "norm(object_position - goal_position) < 0.1",
        {"start": {"joints": {"obj_slidex": [-0.3, -0.2], "obj_slidey": [-0.2, 0.2]}}},
        ("search.steps=600000",),
    ),
    "ur5e": ForeignScene(
        "menagerie",
        "universal_robots_ur5e/scene.xml",
        "Raise the tool to a height of 0.9 m.",
        "abs(attachment_site_height - 0.9) < 0.03",
    ),
    "go2": ForeignScene(
        "menagerie",
        "unitree_go2/scene.xml",
        "Stand up.",
        "base_height > 0.3",
        {
            "horizon": 75,
            "actuators": {"kind": "position", "replace": True, "stiffness": 40.0, "damping": 1.0, "effort": 23.7},
        },
        ("search.steps=150000", "policy.params.policy_kwargs.log_std_init=-1.6"),
    ),
}


def find_model(scene: ForeignScene, scenes: str = "", menagerie: str = "") -> Path | None:
    """Returns the path of a scene's model, or None if its package is not installed."""
    menagerie = menagerie or os.environ.get("MENAGERIE_ROOT", "")
    scenes = scenes or os.environ.get("FOREIGN_SCENES", "")
    if scene.package == "menagerie":
        folders = [Path(menagerie)] if menagerie else []
    else:
        found = importlib.util.find_spec(scene.package)
        folders = [Path(path) for path in (found.submodule_search_locations or [])] if found else []
        folders += [Path(scenes) / scene.package] if scenes else []
    return next((path.resolve() for folder in folders if (path := folder / scene.path).is_file()), None)


def write_scene(scene: ForeignScene, model: Path, folder: Path, name: str) -> Path:
    """Returns what a user gives as `task=`: the model itself, or a scene file that names it."""
    if not scene.settings:
        return model
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump({"model": str(model), **scene.settings}))
    return file


def search_scene(name: str, scene: ForeignScene, model: Path, more: list[str]) -> dict[str, Any]:
    """Runs `robo-reward search` in a fresh folder and returns success with its interval, wall and CPU time [s]."""
    with tempfile.TemporaryDirectory() as folder:
        task = write_scene(scene, model, Path(folder), name)
        command = [sys.executable, "-m", "robo_reward.cli", "search", f"task={task}", f"goal={scene.goal}",
                   f"success={scene.success}", "writer=offline", "runs=runs", "run=run", "videos=0", "search.rounds=1",
                   *scene.search, *more]  # fmt: skip
        begun, used = time.perf_counter(), os.times()
        ended = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        now = os.times()
        run = Path(folder) / "runs/run"
        row = {
            "seconds": time.perf_counter() - begun,
            "cpu_seconds": now.children_user + now.children_system - used.children_user - used.children_system,
            "report": (run / "report.html").is_file(),
        }
        if ended.returncode or not (run / "result.json").is_file():
            return {**row, "success": 0.0, "error": ended.stdout.strip()[-800:]}
        found = json.loads((run / "result.json").read_text())
        evaluation = found["evaluation"]
        return {**row, **{key: evaluation[key] for key in ("success", "low", "high")}, "winner": found["winner"]}


def format_row(name: str, scene: ForeignScene, row: Mapping[str, Any] | None) -> str:
    """Returns one line of the table."""
    asked = f"| {name} | {scene.goal} | `{scene.success}` |"
    if row is None:
        return f"{asked} not installed | | |"
    interval = f" ({row['low']:.2f} to {row['high']:.2f})" if "low" in row else f" {row.get('error', '')}"
    return f"{asked} {row['success']:.2f}{interval} | {row['seconds']:.0f} | {row['cpu_seconds']:.0f} |"


def main(argv: list[str] | None = None) -> None:
    """Searches all scenes one after another and prints a row for each as it ends."""
    args = arguments(
        __doc__,
        argv,
        only="only these scenes, by name, separated by commas",
        scenes="a folder in which packages are looked for, besides the installed ones",
        menagerie="a clone of MuJoCo Menagerie",
        search="further arguments of the search, separated by spaces",
    )
    rows: dict[str, Any] = {}
    more = args.search.split() + (["search.steps=20000", "search.rounds=1"] if args.quick else [])
    print("| scene | goal | success | reached | wall [s] | CPU [s] |\n|---|---|---|---|---|---|")
    for name in args.only.split(",") if args.only else SCENES:
        model = find_model(SCENES[name], args.scenes, args.menagerie)
        row = None if model is None else search_scene(name, SCENES[name], model, more)
        print(format_row(name, SCENES[name], row), flush=True)
        if row is not None:
            rows[name] = row
    learnt = sum(r["success"] >= WANTED and r["report"] and r["seconds"] <= SECONDS for r in rows.values())
    targets = {} if args.only or args.quick else {"learnt": f">= {NEEDED}"}
    report(args, {**rows, "learnt": learnt}, targets)


if __name__ == "__main__":
    main()
