"""A rendering thread for callers in any thread: a GL context belongs to the thread that created it."""

from __future__ import annotations

import atexit
import queue
import threading
from concurrent.futures import Future

import mujoco
import numpy as np

from robo_reward.envs.rendering.render import Renderer
from robo_reward.errors import RoboRewardError

_Job = tuple[Future, str, int, np.ndarray, np.ndarray]


class RenderThread:
    """Renders configurations of a scene; may be called from any thread.

    The thread starts with the first picture, and ends with `close` or with the program.

    Args:
        model: the compiled scene.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = model
        self._jobs: queue.Queue[_Job | None] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._closed = False

    def render_frame(self, camera: str, size: int, qpos: np.ndarray, mocap: np.ndarray) -> np.ndarray:
        """Renders a frame (size, size, 3) uint8.

        Args:
            camera: name of the camera in the scene.
            size: side of the frame [pixels].
            qpos: (nq,).
            mocap: (7 * nmocap,), positions then quaternions.

        Raises:
            NoRenderer: this machine cannot render.
            RoboRewardError: the thread is closed.
        """
        with self._starting:
            if self._closed:
                raise RoboRewardError("the scene is closed and can no longer be drawn")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run_jobs, name="painter", daemon=True)
                self._thread.start()
            done: Future[np.ndarray] = Future()
            self._jobs.put((done, camera, size, qpos, mocap))
        return done.result()

    def close(self) -> None:
        """Finishes the pictures under way and releases the GL contexts; a second call has no effect."""
        atexit.unregister(self.close)
        with self._starting:
            self._closed = True
            self._jobs.put(None)
        if self._thread is not None:
            self._thread.join()

    def _run_jobs(self) -> None:
        renderers: dict[tuple[str, int], Renderer] = {}
        while job := self._jobs.get():
            done, camera, size, qpos, mocap = job
            try:
                if (camera, size) not in renderers:
                    renderers[camera, size] = Renderer(self._model, size, size, camera)
                    # Register again after each new context: atexit runs the last handler first, and GL has its own.
                    atexit.unregister(self.close)
                    atexit.register(self.close)
                done.set_result(renderers[camera, size].render(qpos, mocap))
            except Exception as error:  # noqa: BLE001  raised in the thread that asked
                done.set_exception(error)
        for renderer in renderers.values():
            renderer.close()
