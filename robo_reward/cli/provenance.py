"""Provenance of a run: the command, the versions, the revision of the source and the machine."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from robo_reward.cli.arguments.secrets import mask_argument

PACKAGES = (
    "robo-reward",
    "mujoco",
    "gymnasium",
    "stable-baselines3",
    "sb3-contrib",
    "torch",
    "numpy",
    "hydra-core",
    "franky-control",
    "franka-rs",
    "ruckig",
)


def installed_versions() -> dict[str, str]:
    """Returns the installed versions of the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def format_command(arguments: Sequence[str]) -> str:
    """Returns the command to repeat a run, quoted for a shell, without its passwords and keys."""
    return shlex.join(["robo-reward", *map(mask_argument, arguments)])


def collect_provenance(arguments: Sequence[str]) -> dict[str, Any]:
    """Returns command, versions, git revision and machine, for `provenance.json`."""
    return {
        "command": format_command(arguments),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": installed_versions(),
        "git": read_git_revision(),
        "machine": {
            "system": platform.platform(),
            "cores": str(len(os.sched_getaffinity(0))),
            "executable": sys.executable,
        },
    }


def read_git_revision() -> dict[str, Any]:
    """Returns the revision of the source tree and whether it has changes; empty outside a checkout."""
    here = Path(__file__).resolve().parent

    def run_git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, timeout=10, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        revision = run_git("rev-parse", "--short=12", "HEAD")
        return {"revision": revision, "dirty": bool(run_git("status", "--porcelain", "-uno"))} if revision else {}
    except (OSError, subprocess.TimeoutExpired):
        return {}
