"""A small package with plug-ins, as another lab would install it."""

from __future__ import annotations

from pathlib import Path

import pytest

CODE = '''
import sys

from robo_reward.writers.offline.writer import OfflineWriter
from robo_reward.envs.task import Task, make_task
from robo_reward.jobs.local import LocalExecutor


def left(**options):
    """A task of one's own: panda/reach under another name."""
    task = make_task("panda/reach", **options)
    task.id, task.goal = "mylab/left", "Move the hand to the left."
    return task


class Mine(OfflineWriter):
    """A writer with options of its own."""

    name = "mine"

    def __init__(self, folder, style="plain", tries: int = 3):
        super().__init__()
        self.folder, self.style, self.tries = folder, style, tries


class MyLocal(LocalExecutor):
    """An executor with an option of its own."""

    def __init__(self, workers=None, queue="short"):
        super().__init__(workers)
        self.queue = queue


def needy(folder, model):
    """A writer that cannot do without an option."""


def fails(**options):
    raise ValueError("the [lab] is closed")


class Aimless(Task):
    """A task without a goal, or anything else but its two methods."""

    def sample(self, rng, n):
        raise NotImplementedError

    def success(self, state):
        raise NotImplementedError


def exits(**options):
    sys.exit("the lab has moved")
'''
POINTS = """
[robo_reward.tasks]
mylab/left = mylab.parts:left
mylab/broken = mylab.nowhere:task
mylab/fails = mylab.parts:fails
mylab/aimless = mylab.parts:Aimless
mylab/exits = mylab.parts:exits

[robo_reward.writers]
mine = mylab.parts:Mine
needy = mylab.parts:needy
shattered = mylab.nowhere:Writer

[robo_reward.executors]
mylocal = mylab.parts:MyLocal
"""


def install(folder: Path) -> Path:
    """Returns a folder for the path of Python, with the package and its entry points in it."""
    (folder / "mylab").mkdir(parents=True)
    (folder / "mylab" / "__init__.py").write_text("")
    (folder / "mylab" / "parts.py").write_text(CODE)
    info = folder / "mylab-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mylab\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    return folder


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package, on the path of this process."""
    folder = install(tmp_path / "site")
    monkeypatch.syspath_prepend(str(folder))
    return folder
