"""Frames for the control loop: the newest of every camera, side by side, without waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from robo_reward.errors import UnknownName
from robo_reward.hardware.drivers.mujoco import MujocoArm
from robo_reward.hardware.perception.cameras import Camera, CameraFault, Frame


class FrameSource(Protocol):
    """Source of the cameras' newest frames.

    Attributes:
        shape: (H, W, 3) of a frame.
    """

    shape: tuple[int, int, int]

    def read(self) -> Frame:
        """Returns the newest frame; its stamp is that of the oldest picture in it."""
        ...

    def describe_failures(self) -> str:
        """Returns which cameras deliver nothing at present and why, as text; empty if none is known to fail."""
        ...

    def lost_for_good(self) -> bool:
        """Returns whether a camera fails in a way that cannot be repaired before the next start."""
        ...

    def close(self) -> None:
        """Closes the cameras."""
        ...


class LatestFrames:
    """Reads every camera in a thread of its own at a fixed rate.

    Args:
        cameras: one or more, with pictures of equal height.
        rate: how often each is read [Hz].
        timeout: how long the first pictures may take [s].

    Raises:
        CameraFault: a camera delivers nothing.
    """

    def __init__(self, cameras: Sequence[Camera], rate: float = 25.0, timeout: float = 5.0) -> None:
        self._cameras, self._period = list(cameras), 1 / rate
        self._newest: list[Frame | None] = [None] * len(self._cameras)
        self._problems: list[CameraFault | None] = [None] * len(self._cameras)
        self._closing, self._arrived = False, threading.Condition()
        self._threads = [
            threading.Thread(target=self._read_camera, args=(i,), name=f"frames-{camera.name}", daemon=True)
            for i, camera in enumerate(self._cameras)
        ]
        for thread in self._threads:
            thread.start()
        with self._arrived:
            self._arrived.wait_for(lambda: any(self._problems) or all(self._newest), timeout)
        for camera, frame, problem in zip(self._cameras, self._newest, self._problems, strict=True):
            if frame is None:
                self.close()
                raise problem or CameraFault(camera.name, f"no frame within {timeout:g} s", "check its cable")
        height, width, _ = self.read().image.shape
        self.shape: tuple[int, int, int] = (height, width, 3)

    def read(self) -> Frame:
        with self._arrived:
            frames = [frame for frame in self._newest if frame is not None]
        return Frame(min(f.stamp for f in frames), np.concatenate([f.image for f in frames], axis=1))

    def describe_failures(self) -> str:
        with self._arrived:
            return "; ".join(f"camera {fault.camera!r}: {fault.cause}" for fault in self._problems if fault is not None)

    def lost_for_good(self) -> bool:
        with self._arrived:
            return any(fault is not None and fault.permanent for fault in self._problems)

    def close(self) -> None:
        self._closing = True
        for thread in self._threads:
            thread.join(3)
        for camera in self._cameras:
            camera.close()

    def _read_camera(self, index: int) -> None:
        while not self._closing:
            begun = time.monotonic()
            try:
                frame = self._cameras[index].read()
            except Exception as error:  # noqa: BLE001  cameras are plug-ins, and this thread must survive them
                fault = (
                    error if isinstance(error, CameraFault) else _wrap_camera_error(self._cameras[index].name, error)
                )
                with self._arrived:
                    self._problems[index] = fault  # the newest frame ages, which the watchdog detects
                    self._arrived.notify_all()
                time.sleep(0.2)
                continue
            with self._arrived:
                self._newest[index], self._problems[index] = frame, None
                self._arrived.notify_all()
            time.sleep(max(self._period - (time.monotonic() - begun), 1e-3))


def _wrap_camera_error(camera: str, error: Exception) -> CameraFault:
    return CameraFault(camera, f"it failed ({type(error).__name__}: {error})", "see whether it is plugged in")


class SimulatedFrames:
    """The cameras of a `MujocoArm`, rendered when they are read.

    Args:
        arm: the arm whose scene is rendered.
        cameras: names of its task's cameras.
        size: side of a picture [pixels].

    Raises:
        UnknownName: the task has no such camera.
    """

    def __init__(self, arm: MujocoArm, cameras: Sequence[str], size: int) -> None:
        for camera in cameras:
            if camera not in arm.task.cameras:
                raise UnknownName("camera", camera, arm.task.cameras)
        self._arm, self._cameras, self._size = arm, tuple(cameras), size
        self.shape: tuple[int, int, int] = (size, size * len(self._cameras), 3)

    def read(self) -> Frame:
        pictures = [self._arm.render(camera, self._size) for camera in self._cameras]
        return Frame(time.monotonic(), np.concatenate(pictures, axis=1))

    def describe_failures(self) -> str:
        return ""

    def lost_for_good(self) -> bool:
        return False

    def close(self) -> None:
        pass
