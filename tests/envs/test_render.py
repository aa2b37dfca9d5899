"""Frames against known geometry, colours and the simulator's own projection; backends against a machine without GL."""

import os
import subprocess
import sys

import mujoco
import numpy as np
import pytest

from robo_reward.envs.rendering import gl
from robo_reward.envs.rendering.render import NoRenderer, Renderer, render_frames
from robo_reward.errors import RoboRewardError, UnknownName, UsageError, WrongShape

# A red ball that slides left and right before a camera that looks along +y; a green mocap box above it.
SCENE = """
<mujoco>
  <visual><headlight ambient="1 1 1" diffuse="0 0 0" specular="0 0 0"/></visual>
  <worldbody>
    <camera name="front" pos="0 -2 0" xyaxes="1 0 0 0 0 1" fovy="60"/>
    <camera name="behind" pos="0 2 0" xyaxes="-1 0 0 0 0 1" fovy="60"/>
    <body name="ball"><joint type="slide" axis="1 0 0"/><geom size="0.2" rgba="1 0 0 1"/></body>
    <body name="mark" mocap="true" pos="0 0 0.7"><geom type="box" size=".1 .1 .1" rgba="0 1 0 1"/></body>
  </worldbody>
</mujoco>
"""


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_string(SCENE)


@pytest.fixture(scope="module")
def renderer(model: mujoco.MjModel):
    with Renderer(model, 64, 48, "front") as renderer:
        yield renderer


def centre(frame: np.ndarray, channel: int) -> tuple[float, float]:
    """Mean row and column of the pixels in which one colour stands out."""
    others = np.delete(frame, channel, axis=-1).max(axis=-1)
    rows, columns = np.nonzero(frame[..., channel].astype(int) - others > 100)
    return rows.mean(), columns.mean()


def test_a_frame_shows_what_the_camera_geometry_says(renderer: Renderer):
    frame = renderer.render(np.array([0.5]))
    assert frame.shape == (48, 64, 3) and frame.dtype == np.uint8
    focal = 24 / np.tan(np.radians(30))  # pixels, from fovy and half the height
    assert centre(frame, 0) == pytest.approx((23.5, 31.5 + focal * 0.5 / 2), abs=0.8)
    assert centre(frame, 1) == pytest.approx((23.5 - focal * 0.7 / 1.9, 31.5), abs=1.0)
    assert frame[24, 60].max() < 5  # background


def test_mocap_bodies_move_and_rest_where_the_model_put_them(renderer: Renderer):
    home = renderer.render(np.zeros(1))
    moved = renderer.render(np.zeros(1), np.array([0.5, 0, 0.7, 1, 0, 0, 0]))
    assert centre(moved, 1)[1] > centre(home, 1)[1] + 8
    np.testing.assert_array_equal(renderer.render(np.zeros(1), np.array([0, 0, 0.7, 1, 0, 0, 0])), home)


def test_many_equals_one_by_one_in_any_order(renderer: Renderer, model: mujoco.MjModel):
    qpos = np.linspace(-0.8, 0.8, 7)[:, None]
    many = renderer.render_many(qpos)
    for index in (6, 0, 3):
        np.testing.assert_array_equal(renderer.render(qpos[index]), many[index])
    rest = np.array([0, 0, 0.7, 1, 0, 0, 0])
    apart = render_frames(model, [(q, rest) for q in qpos], width=64, height=48, camera="front")
    np.testing.assert_array_equal(apart, many)
    assert render_frames(model, [], width=64, height=48).shape == (0, 48, 64, 3)


def test_cameras_differ_and_the_model_is_left_alone(model: mujoco.MjModel):
    sizes = model.vis.global_.offwidth, model.vis.quality.offsamples, model.vis.quality.shadowsize
    with Renderer(model, 64, 48, "behind") as behind, Renderer(model, 64, 48, 0) as front:
        assert centre(behind.render(np.array([0.5])), 0)[1] < 31 < centre(front.render(np.array([0.5])), 0)[1]
    assert sizes == (model.vis.global_.offwidth, model.vis.quality.offsamples, model.vis.quality.shadowsize)


def test_frames_larger_than_the_models_buffer(model: mujoco.MjModel):
    assert model.vis.global_.offwidth < 900
    with Renderer(model, 900, 700) as large:
        assert large.render(np.zeros(1)).shape == (700, 900, 3)


def test_high_quality_smooths_edges(model: mujoco.MjModel, renderer: Renderer):
    with Renderer(model, 64, 48, "front", quality="high") as fine:
        smooth, rough = fine.render(np.zeros(1)), renderer.render(np.zeros(1))
    assert len(np.unique(smooth[..., 0])) > len(np.unique(rough[..., 0]))
    assert np.abs(smooth.astype(int) - rough).mean() < 5


def test_wrong_arguments_are_named(model: mujoco.MjModel, renderer: Renderer):
    with pytest.raises(UnknownName, match="front"):
        Renderer(model, camera="fromt")
    with pytest.raises(UsageError, match="2 camera"):
        Renderer(model, camera=2)
    with pytest.raises(UnknownName, match="fast"):
        Renderer(model, quality="faster")  # type: ignore[arg-type]
    for side in (0, 10_000):
        with pytest.raises(UsageError, match="pixels"):
            Renderer(model, side, 32)
    with pytest.raises(WrongShape, match="qpos"):
        renderer.render(np.zeros(2))
    with pytest.raises(WrongShape, match="mocap"):
        renderer.render(np.zeros(1), np.zeros(3))


def test_closing_twice_is_harmless_and_use_after_is_named(model: mujoco.MjModel):
    renderer = Renderer(model, 16, 16)
    renderer.close()
    renderer.close()
    with pytest.raises(RoboRewardError, match="closed"):
        renderer.render(np.zeros(1))


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, env={**inherited, **environment}, capture_output=True, text=True, timeout=120)


DRAW = f"""
import mujoco, os, numpy as np
from robo_reward.envs.rendering.render import Renderer
m = mujoco.MjModel.from_xml_string('''{SCENE}''')
r = Renderer(m, 16, 16); print(r.render(np.zeros(1)).shape, os.environ['MUJOCO_GL'])
"""


def test_the_backend_is_found_though_mujoco_was_imported_first():
    done = run(DRAW)
    assert done.returncode == 0 and not done.stderr, done.stderr  # a context left open at exit is freed quietly
    assert "(16, 16, 3)" in done.stdout


def test_switched_off_and_unknown_backends_are_said(monkeypatch: pytest.MonkeyPatch):
    done = run(DRAW, MUJOCO_GL="disabled")
    assert done.returncode == 1 and "NoRenderer" in done.stderr and "unset it" in done.stderr
    monkeypatch.setenv("MUJOCO_GL", "opengl4")
    gl.choose.cache_clear()
    with pytest.raises(UnknownName, match="osmesa"):
        gl.choose()
    monkeypatch.undo()
    gl.choose.cache_clear()


@pytest.mark.skipif(sys.platform != "linux", reason="there is always a screen elsewhere")
def test_a_chosen_backend_that_fails_is_named():
    inherited = dict.fromkeys(("DISPLAY", "WAYLAND_DISPLAY"), "")
    done = run(
        DRAW.replace("import mujoco", "import warnings; warnings.simplefilter('ignore'); import mujoco", 1),
        **inherited,
        MUJOCO_GL="glfw",
    )
    assert (
        done.returncode == 1
        and "NoRenderer" in done.stderr
        and "glfw" in done.stderr
        and "egl or osmesa" in done.stderr
    )


def test_no_backend_at_all_names_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(gl, "probe", lambda name: gl.Backend(name, False, problem="cannot open shared object"))
    monkeypatch.setattr(sys, "platform", "linux")
    gl.choose.cache_clear()
    with pytest.raises(NoRenderer, match="libosmesa6") as caught:
        gl.choose()
    assert "libegl1" in str(caught.value) and "cannot open shared object" in str(caught.value)
    gl.choose.cache_clear()


def test_a_backend_that_is_not_there_is_a_finding_not_a_crash(monkeypatch: pytest.MonkeyPatch):
    found = gl.probe("cgl" if sys.platform == "linux" else "osmesa")
    assert not found.works and found.problem


def test_what_brings_an_llvm_of_its_own_may_come_after_drawing():
    """Torchvision imports triton where it can; beside Mesa's LLVM that ends the process."""
    script = (
        "import mujoco; from robo_reward.envs.rendering.render import Renderer; "
        "Renderer(mujoco.MjModel.from_xml_string('<mujoco/>'), 16, 16).render([]); import torchvision; print('alive')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
