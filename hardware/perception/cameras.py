"""Camera drivers: the newest frame of any camera, with the time at which it was taken."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

import numpy as np

from robo_reward.configs.values import FRAME_SIZE
from robo_reward.data.pictures import crop_square
from robo_reward.errors import MissingExtra, RoboRewardError, UsageError
from robo_reward.hardware.perception.calibration import Lens

CAMERA_PORT = 1340
"""Port of an emulator's cameras; the robot has port 1337, the gripper 1338 and the faults 1339."""
REPLY = struct.Struct("<dII")
"""Header of a frame: stamp [s], height, width; then height * width * 3 bytes. If the height is 0, `width` bytes of text
follow that explain why there is no frame."""
SIZES = (8, 2048)
MAX_TEXT = 4096  # longest explanation of a missing frame [bytes]
REOPEN = 0.5
"""Pause between attempts to reopen a lost camera [s]."""
FIRST_FRAME = 30.0
"""Additional time that an emulator may take for the first frame, for which it creates its renderer [s]."""


class Frame(NamedTuple):
    """One picture.

    Attributes:
        stamp: when it was taken, on `time.monotonic`'s clock [s], which all processes of a machine share.
        image: (H, W, 3) uint8 RGB.
    """

    stamp: float
    image: np.ndarray


class Camera(Protocol):
    """A source of frames.

    `read` returns the newest frame, the same one if there is no newer: the stamps reveal a stale camera.
    """

    name: str

    def read(self) -> Frame:
        """Returns the newest frame.

        Raises:
            CameraFault: no frame is available.
        """
        ...

    def close(self) -> None:
        """Releases the device; closing twice is harmless."""
        ...


class CameraFault(RoboRewardError):
    """Raised when a camera does not deliver frames.

    Args:
        camera: its name.
        cause: what happened.
        remedy: what the operator can do.
        permanent: whether the fault lasts until the deployment is started again.
    """

    def __init__(self, camera: str, cause: str, remedy: str, permanent: bool = False) -> None:
        self.camera, self.cause, self.remedy, self.permanent = camera, cause, remedy, permanent
        super().__init__(f"camera {camera!r}: {cause}; {remedy}")


class EmulatorCamera:
    """A camera of the scene behind a running emulator, rendered on request.

    Args:
        name: of the task's cameras, such as `front`.
        host: the emulated robot's address.
        size: side of the square frame [pixels].
        port: of the emulator's cameras.
        timeout: how long a frame may take [s].

    Raises:
        UsageError: a size that cannot be rendered.
        CameraFault: no emulator answers at that address.
    """

    def __init__(
        self,
        name: str = "front",
        host: str = "127.0.0.1",
        size: int = FRAME_SIZE,
        port: int = CAMERA_PORT,
        timeout: float = 2.0,
    ) -> None:
        if not SIZES[0] <= size <= SIZES[1]:
            raise UsageError(f"size={size}: the side of a frame must be {SIZES[0]} to {SIZES[1]} pixels")
        self.name, self.size = name, size
        self._address, self._timeout = (host, port), timeout
        self._socket: socket.socket | None = self._open_connection()

    def read(self) -> Frame:
        """Returns a frame of the scene now; while the emulator's cameras are frozen, the last one and its stamp.

        The next call restores a connection that was lost.
        """
        connection = self._socket = self._socket or self._open_connection()
        try:
            connection.sendall(json.dumps({"camera": self.name, "size": self.size}).encode() + b"\n")
            stamp, height, width = REPLY.unpack(_receive_exactly(connection, REPLY.size))
            if height * width > SIZES[1] ** 2:
                raise ConnectionError(f"a picture of {height} x {width}")
            body = _receive_exactly(connection, height * width * 3 if height else min(width, MAX_TEXT))
            connection.settimeout(self._timeout)
        except OSError as error:
            self.close()
            raise CameraFault(
                self.name, f"no frame from the emulator ({error})", "start it again, with fewer other programs"
            ) from error
        if not height:
            raise CameraFault(self.name, body.decode(errors="replace"), "choose another")
        return Frame(stamp, np.frombuffer(body, np.uint8).reshape(height, width, 3))

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _open_connection(self) -> socket.socket:
        host, port = self._address
        try:
            connection = socket.create_connection(self._address, self._timeout)
        except OSError as error:
            remedy = f"start one with `robo-reward emulate host={host}`"
            raise CameraFault(self.name, f"no emulator at {host}:{port} ({error})", remedy) from error
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(self._timeout + FIRST_FRAME)
        return connection


def _receive_exactly(connection: socket.socket, size: int) -> bytearray:
    data, view = bytearray(size), 0
    while view < size:
        got = connection.recv_into(memoryview(data)[view:])
        if not got:
            raise ConnectionError("it closed the connection")
        view += got
    return data


class CameraDevice(NamedTuple):
    """An open camera.

    Attributes:
        take: waits for the next picture (H, W, 3) uint8 RGB; returns None after the last one.
        release: releases the camera; called by the thread that calls `take`.
    """

    take: Callable[[], np.ndarray | None]
    release: Callable[[], object]


class _NewestFrameReader:
    """Reads frames in a thread of its own as fast as they come, so that none waits in a driver's queue.

    A camera that is lost is opened again, for as long as it takes; meanwhile `read` raises the problem.

    Args:
        name: of the camera, for errors.
        open_device: opens the camera; raises `CameraFault` where it is not there.
        timeout: how long the first frame may take [s].
        reopen: whether to open it again; false for a file that was played to its end.

    Raises:
        CameraFault: it cannot be opened.
    """

    def __init__(self, name: str, open_device: Callable[[], CameraDevice], timeout: float, reopen: bool = True) -> None:
        self._name, self._open, self._timeout, self._reopen = name, open_device, timeout, reopen
        self._frame: Frame | None = None
        self._problem = ""
        self._closing = threading.Event()
        self._arrived = threading.Condition()
        self._thread = threading.Thread(
            target=self._read_frames, args=(open_device(),), name=f"camera-{name}", daemon=True
        )
        self._thread.start()

    def read(self) -> Frame:
        """Returns the newest frame, waiting for the first.

        Raises:
            CameraFault: the camera delivers no frame at present.
        """
        with self._arrived:
            self._arrived.wait_for(lambda: self._frame or self._problem, self._timeout)
            if self._problem or self._frame is None:
                if self._problem and not self._reopen:
                    raise CameraFault(self._name, self._problem, "then start the deployment again", permanent=True)
                cause = self._problem or f"no frame within {self._timeout:g} s"
                raise CameraFault(self._name, cause, "check its cable and that no other program uses it")
            return self._frame

    def close(self) -> None:
        """Ends the thread."""
        self._closing.set()
        self._thread.join(self._timeout)
        self._set_problem("it is closed")

    def _read_frames(self, device: CameraDevice | None) -> None:
        while not self._closing.is_set():
            if device is not None:
                self._set_problem(self._take_until_lost(device))
                device = None
            if not self._reopen or self._closing.wait(REOPEN):
                return
            try:
                device = self._open()
            except UsageError as error:  # wrong settings: reconnecting does not help
                self._reopen = False
                self._set_problem(str(error))
            except Exception as error:  # noqa: BLE001  drivers raise what they like when a device is unplugged
                self._set_problem(f"{self._problem.partition(';')[0]}; opening it again: {error}")

    def _take_until_lost(self, device: CameraDevice) -> str:
        """Takes frames until no more come; returns why."""
        try:
            while not self._closing.is_set():
                image = device.take()
                if image is None:
                    break
                with self._arrived:
                    self._frame, self._problem = Frame(time.monotonic(), image), ""
                    self._arrived.notify_all()
        except UsageError as error:  # the calibration is for another image size
            self._reopen = False
            return str(error)
        except Exception as error:  # noqa: BLE001  drivers raise what they like when a device is unplugged
            return f"it stopped delivering frames ({error})"
        finally:
            with suppress(Exception):  # stopping the pipeline of an unplugged camera raises
                device.release()
        return "it stopped delivering frames"

    def _set_problem(self, problem: str) -> None:
        with self._arrived:
            self._problem = problem
            self._arrived.notify_all()


class UvcCamera:
    """A USB camera, through OpenCV.

    Args:
        device: its number (0 is `/dev/video0`), a path, or a video file to play at its own rate.
        size: side of the square frame [pixels]: the picture's middle, scaled.
        name: for messages.
        width: of the picture that the camera is asked for [pixels].
        height: of the picture that the camera is asked for [pixels].
        fps: frames a second that it is asked for.
        timeout: how long the first frame may take [s].
        lens: removes the distortion and gives the size of the pictures.

    Raises:
        CameraFault: it cannot be opened.
    """

    def __init__(
        self,
        device: int | str = 0,
        size: int = FRAME_SIZE,
        name: str = "",
        width: int = 640,
        height: int = 480,
        fps: float = 30.0,
        timeout: float = 5.0,
        lens: Lens | None = None,
    ) -> None:
        import cv2

        self.name, self.size = name or f"video{device}", size
        width, height = (lens.width, lens.height) if lens else (width, height)
        live = isinstance(device, int) or str(device).startswith("/dev/")

        def open_device() -> CameraDevice:
            capture = cv2.VideoCapture(device)
            if not capture.isOpened():
                raise CameraFault(
                    self.name, f"device {device!r} cannot be opened", "`ls /dev/video*` lists the devices"
                )
            if live:
                for key, value in ((cv2.CAP_PROP_FRAME_WIDTH, width), (cv2.CAP_PROP_FRAME_HEIGHT, height)):
                    capture.set(key, value)
                capture.set(cv2.CAP_PROP_FPS, fps)
                capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
            pause = 0.0 if live else 1 / (capture.get(cv2.CAP_PROP_FPS) or fps)

            def take_picture() -> np.ndarray | None:
                got, picture = capture.read()
                if not got:
                    return None
                time.sleep(pause)
                return crop_square(_undistort_image(picture[..., ::-1], lens), size)

            return CameraDevice(take_picture, capture.release)

        self._newest = _NewestFrameReader(self.name, open_device, timeout, reopen=live)

    def read(self) -> Frame:
        return self._newest.read()

    def close(self) -> None:
        self._newest.close()


class RealSenseCamera:
    """The colour stream of an Intel RealSense camera.

    Args:
        serial: its serial number, or "" for the only one.
        size: side of the square frame [pixels]: the picture's middle, scaled.
        name: for messages.
        width: of the stream [pixels].
        height: of the stream [pixels].
        fps: frames a second.
        timeout: how long a frame may take [s].
        lens: removes the distortion and gives the size of the pictures.

    Raises:
        MissingExtra: pyrealsense2 is not installed.
        CameraFault: it cannot be opened.
    """

    def __init__(
        self,
        serial: str = "",
        size: int = FRAME_SIZE,
        name: str = "realsense",
        width: int = 640,
        height: int = 480,
        fps: int = 30,
        timeout: float = 5.0,
        lens: Lens | None = None,
    ) -> None:
        try:
            import pyrealsense2
        except ImportError as error:
            raise MissingExtra("pyrealsense2", "realsense", "a RealSense camera", error) from error
        rs: Any = pyrealsense2
        self.name, self.size = name, size
        width, height = (lens.width, lens.height) if lens else (width, height)

        def open_device() -> CameraDevice:
            config, pipeline = rs.config(), rs.pipeline()
            if serial:
                config.enable_device(serial)
            config.enable_stream(rs.stream.color, width, height, rs.format.rgb8, fps)
            try:
                pipeline.start(config)
            except RuntimeError as error:
                there = []
                with suppress(Exception):  # a device may be unplugged while they are listed
                    there = [device.get_info(rs.camera_info.serial_number) for device in rs.context().query_devices()]
                found = f"connected: {', '.join(there)}" if there else "none is connected"
                raise CameraFault(name, f"serial {serial!r} cannot be opened ({error})", found) from error

            def take_picture() -> np.ndarray:
                colour = pipeline.wait_for_frames(int(1000 * timeout)).get_color_frame()
                return crop_square(_undistort_image(np.asanyarray(colour.get_data()), lens), size)

            return CameraDevice(take_picture, pipeline.stop)

        self._newest = _NewestFrameReader(name, open_device, timeout)

    def read(self) -> Frame:
        return self._newest.read()

    def close(self) -> None:
        self._newest.close()


def _undistort_image(image: np.ndarray, lens: Lens | None) -> np.ndarray:
    return image if lens is None else lens.undistort_image(image)
