"""Offscreen frames of a MuJoCo scene: fast ones for learning, fine ones for people."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterable
from typing import Any, Literal

import mujoco
import numpy as np

from robo_reward.envs.model.drawing import count_drawn, write_drawn
from robo_reward.envs.rendering import gl
from robo_reward.envs.rendering.gl import NoRenderer
from robo_reward.errors import RoboRewardError, UnknownName, UsageError, WrongShape

__all__ = ["NoRenderer", "Quality", "Renderer"]

Quality = Literal["fast", "high"]
MAX_SIDE = 8192
OVERVIEW = "overview"
"""Camera of a model that has none of its own: the free camera that looks at the whole scene."""
_SAMPLES = {"fast": 0, "high": 4}
_SHADOW_MAP = {"fast": 0, "high": 4096}
# Vertices of round shapes: no visible difference in small frames, and software rendering is twice as fast.
_SLICES = {"fast": 16, "high": 40}
_STACKS = {"fast": 10, "high": 24}


class Renderer:
    """Draws one scene from one camera.

    A renderer belongs to the thread that made it. Close it, or use it in a `with` statement, to free the GL context.

    Args:
        model: the compiled scene; it is not changed.
        width: of the frame [pixels].
        height: of the frame [pixels].
        camera: a camera of the scene by name or number, or "" for the free camera that looks at the whole scene.
        quality: `fast` has no multisampling, shadows or reflections and is many times faster; `high` is for pictures.

    Raises:
        NoRenderer: no OpenGL backend works; the message says what to install.
        UnknownName: no such camera or quality.
        UsageError: a size that is not between 1 and 8192 pixels.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        width: int = 112,
        height: int = 112,
        camera: str | int = "",
        quality: Quality = "fast",
    ) -> None:
        if quality not in _SAMPLES:
            raise UnknownName("render quality", quality, _SAMPLES)
        for side in (width, height):
            if not 1 <= side <= MAX_SIDE:
                raise UsageError(f"a frame of {width} x {height} pixels cannot be drawn; sides must be 1 to {MAX_SIDE}")
        self.width, self.height, self.quality = int(width), int(height), quality
        self._model = _copy_for_offscreen(model, self.width, self.height, quality)
        self._data = mujoco.MjData(self._model)
        self._camera = _make_camera(self._model, camera)
        self._scene = mujoco.MjvScene(self._model, maxgeom=1000 + 2 * (model.ngeom + model.nsite + model.ntendon))
        self._option = mujoco.MjvOption()
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self._scene.flags[flag] = quality == "high"
        self._rect = mujoco.MjrRect(0, 0, self.width, self.height)
        self._resources = _Resources(self._model, self.width, self.height)
        self._finalizer = weakref.finalize(self, self._resources.close)

    def render(self, qpos: np.ndarray, mocap: np.ndarray | None = None) -> np.ndarray:
        """Draws one configuration.

        Args:
            qpos: (nq,).
            mocap: (7 * nmocap,), all positions [m] then all quaternions, as in `Start.mocap`; where the model
                has them if not given.

        Returns:
            (H, W, 3) uint8.
        """
        return self.render_many(np.asarray(qpos)[None], None if mocap is None else np.asarray(mocap)[None])[0]

    def render_many(self, qpos: np.ndarray, mocap: np.ndarray | None = None) -> np.ndarray:
        """Draws a sequence of configurations, or many worlds.

        Args:
            qpos: (n, nq).
            mocap: (n, 7 * nmocap), or one for all (7 * nmocap,), or none; with the arrays of `envs.model.drawing`
                behind it where an environment changes its model, (n, 7 * nmocap + K).

        Returns:
            (n, H, W, 3) uint8.

        Raises:
            WrongShape: an array of another shape.
        """
        qpos, mocap = self._validate_arrays(np.asarray(qpos, float), mocap)
        frames = np.empty((len(qpos), self.height, self.width, 3), np.uint8)
        split, end = 3 * self._model.nmocap, 7 * self._model.nmocap
        for index in range(len(qpos)):
            self._data.qpos[:] = qpos[index]
            self._data.mocap_pos.flat = mocap[index, :split]
            self._data.mocap_quat.flat = mocap[index, split:end]
            if mocap.shape[1] > end:
                write_drawn(self._model, mocap[index, end:])
            self._update_positions()
            self._draw_frame(self._data, frames[index])
        return frames

    def close(self) -> None:
        """Frees the GL context; closing twice is harmless."""
        self._finalizer()

    def __enter__(self) -> Renderer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _validate_arrays(self, qpos: np.ndarray, mocap: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        if qpos.ndim != 2 or qpos.shape[1] != self._model.nq:
            raise WrongShape("qpos", qpos.shape, f"(n, {self._model.nq})")
        size = 7 * self._model.nmocap
        if mocap is None:
            mocap = _get_rest_mocap(self._model)
        mocap = np.asarray(mocap, float)
        longer = size + count_drawn(self._model)
        if mocap.shape not in ((size,), (len(qpos), size), (len(qpos), longer)):
            raise WrongShape("mocap", mocap.shape, f"({len(qpos)}, {size}) or ({size},)")
        return qpos, np.broadcast_to(mocap, (len(qpos), mocap.shape[-1]))

    def _update_positions(self) -> None:
        # Kinematics only: rendering needs neither collisions nor dynamics.
        model, data = self._model, self._data
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_camlight(model, data)
        if model.nflex:
            mujoco.mj_flex(model, data)
        if model.ntendon:
            mujoco.mj_tendon(model, data)

    def _draw_frame(self, data: mujoco.MjData, out: np.ndarray) -> None:
        context = self._resources.make_current()
        every = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(self._model, data, self._option, None, self._camera, every, self._scene)
        mujoco.mjr_render(self._rect, self._scene, context)
        pixels = self._resources.pixels
        mujoco.mjr_readPixels(pixels, None, self._rect, context)
        out[:] = pixels[::-1]  # OpenGL counts rows from the bottom


def render_frames(
    model: mujoco.MjModel, snapshots: Iterable[tuple[np.ndarray, np.ndarray]], **options: Any
) -> np.ndarray:
    """Draws (qpos, mocap) snapshots with a temporary renderer.

    Args:
        model: the compiled scene.
        snapshots: pairs of qpos (nq,) and mocap (7 * nmocap,).
        options: for `Renderer`.

    Returns:
        (n, H, W, 3) uint8.
    """
    pairs = list(snapshots)
    with Renderer(model, **options) as renderer:
        if not pairs:
            return np.empty((0, renderer.height, renderer.width, 3), np.uint8)
        return renderer.render_many(np.stack([q for q, _ in pairs]), np.stack([m for _, m in pairs]))


class _Resources:
    """The GL context and MuJoCo's objects in it, apart from `Renderer` so that a finaliser can own them."""

    def __init__(self, model: mujoco.MjModel, width: int, height: int) -> None:
        self._gl: Any = gl.make_context(width, height)
        self._mjr: Any = None
        gl.close_at_exit(self.close)
        try:
            self._mjr = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50.value)
        except mujoco.FatalError as error:
            self.close()
            tried = [gl.Backend(gl.choose(), False, problem=str(error))]
            raise NoRenderer(tried, f"MuJoCo cannot draw {width} x {height} pixels here") from error
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._mjr)
        self.pixels = np.empty((height, width, 3), np.uint8)

    def make_current(self) -> mujoco.MjrContext:
        """Makes the GL context the current one of this thread and returns MuJoCo's context in it."""
        if self._gl is None:
            raise RoboRewardError("this renderer is closed")
        self._gl.make_current()
        return self._mjr

    def close(self) -> None:
        """Frees both contexts."""
        gl.cancel_close_at_exit(self.close)
        context, self._gl = self._gl, None
        if context is None:
            return
        if self._mjr is not None:
            context.make_current()
            self._mjr.free()
            self._mjr = None
        context.free()


def _copy_for_offscreen(model: mujoco.MjModel, width: int, height: int, quality: Quality) -> mujoco.MjModel:
    """Copies the model with an offscreen buffer of the frame's size, which MuJoCo reads for a new context."""
    model = copy.copy(model)
    model.vis.global_.offwidth, model.vis.global_.offheight = width, height
    model.vis.quality.offsamples = _SAMPLES[quality]
    model.vis.quality.shadowsize = _SHADOW_MAP[quality]
    model.vis.quality.numslices = _SLICES[quality]
    model.vis.quality.numstacks = _STACKS[quality]
    return model


def _make_camera(model: mujoco.MjModel, camera: str | int) -> mujoco.MjvCamera:
    view = mujoco.MjvCamera()
    mujoco.mjv_defaultFreeCamera(model, view)
    if camera == "":
        return view
    names = [model.camera(i).name for i in range(model.ncam)]
    if camera == OVERVIEW and OVERVIEW not in names:
        return view
    if isinstance(camera, str):
        if camera not in names:
            raise UnknownName("camera", camera, [n for n in names if n])
        camera = names.index(camera)
    if not 0 <= camera < model.ncam:
        raise UsageError(f"camera number {camera} does not exist; the scene has {model.ncam} camera(s)")
    view.type, view.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED.value, camera
    return view


def _get_rest_mocap(model: mujoco.MjModel) -> np.ndarray:
    bodies = np.argsort(model.body_mocapid, kind="stable")[model.nbody - model.nmocap :]
    return np.concatenate([model.body_pos[bodies].ravel(), model.body_quat[bodies].ravel()])
