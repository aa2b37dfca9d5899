"""A MUJOCO_GL that mujoco cannot be imported with is set aside, and drawing says why it cannot."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from robo_reward.envs.rendering import gl
from robo_reward.errors import UnknownName

LOOK = """
import importlib, sys
for module in sys.argv[1:]:
    importlib.import_module(module)
import mujoco
from robo_reward.envs.rendering import gl
try:
    print("CHOSEN", gl.choose())
except Exception as error:
    print("REFUSED", type(error).__name__, error)
"""


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process in which nothing was chosen yet."""
    monkeypatch.setattr(gl, "_refused", [])
    gl.choose.cache_clear()


def test_an_unknown_backend_is_named_where_something_is_drawn() -> None:
    """In a process of its own, since mujoco reads the variable once, when it is imported."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            LOOK,
            "robo_reward.hardware.deployment.identification",
            "robo_reward.cli.training.tasks",
        ],
        env={**os.environ, "MUJOCO_GL": "nonsense"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("REFUSED UnknownName unknown MUJOCO_GL backend 'nonsense'"), done.stderr


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("name", ["osmesa", "egl"])
def test_a_missing_library_is_named_where_something_is_drawn(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", name)
    monkeypatch.setattr(gl, "_has_library", lambda library: False)
    monkeypatch.setattr(sys, "platform", "linux")
    gl.set_aside_broken_setting()
    assert os.environ["MUJOCO_GL"] == "disable"
    with pytest.raises(gl.NoRenderer, match=rf"MUJOCO_GL={name}, but lib.* is not installed: apt-get install"):
        gl.choose()


@pytest.mark.usefixtures("fresh")
def test_words_that_mujoco_knows_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gl, "_has_library", lambda library: True)
    for word in ("", " EGL ", "osmesa", "glfw", "off", "1", "disable"):
        monkeypatch.setenv("MUJOCO_GL", word)
        gl.set_aside_broken_setting()
        assert os.environ["MUJOCO_GL"] == word
    monkeypatch.setenv("MUJOCO_GL", "opengl")
    gl.set_aside_broken_setting()
    with pytest.raises(UnknownName, match="Unset MUJOCO_GL"):
        gl.choose()


def test_libraries_are_looked_for_under_their_names() -> None:
    assert not gl._has_library("SurelyNotThere")
    if sys.platform == "linux":
        assert gl._has_library("c")
