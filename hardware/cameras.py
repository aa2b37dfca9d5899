"""What the robot sees: newest frames with the time they were taken, from any camera."""

from __future__ import annotations

import json
import math
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from robo_reward.errors import MissingExtra, RoboRewardError, UsageError
from robo_reward.hardware.calibration import Lens

CAMERA_PORT = 1340
"""Where an emulator serves its cameras, next to the robot's 1337, the gripper's 1338 and the faults' 1339."""
REPLY = struct.Struct("<dII")
"""Header of a frame: stamp [s], height, width; then height * width * 3 bytes. Height 0: width bytes of why not."""
SIZES = (8, 2048)
FIRST_FRAME = 10.0
"""How much longer an emulator may take for the first frame, for which it sets up its renderer [s]."""


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

    `read` gives the newest frame, the same again if there is no newer one: a stale camera shows by its stamps.
    """

    name: str

    def read(self) -> Frame:
        """The newest frame.

        Raises:
            CameraFault: there is none.
        """
        ...

    def close(self) -> None:
        """Gives the device back; closing twice is harmless."""
        ...


class CameraFault(RoboRewardError):
    """A camera does not deliver.

    Args:
        camera: its name.
        cause: what happened.
        remedy: what the operator can do.
    """

    def __init__(self, camera: str, cause: str, remedy: str) -> None:
        self.camera, self.cause, self.remedy = camera, cause, remedy
        super().__init__(f"camera {camera!r}: {cause}; {remedy}")


class EmulatorCamera:
    """A camera of the scene behind a running emulator, drawn when it is asked for.

    Args:
        name: of the task's cameras, such as `front`.
        host: the emulated robot's address.
        size: side of the square frame [pixels].
        port: of the emulator's cameras.
        timeout: how long a frame may take [s].

    Raises:
        UsageError: a size that cannot be drawn.
        CameraFault: no emulator there.
    """

    def __init__(
        self,
        name: str = "front",
        host: str = "127.0.0.1",
        size: int = 112,
        port: int = CAMERA_PORT,
        timeout: float = 2.0,
    ) -> None:
        if not SIZES[0] <= size <= SIZES[1]:
            raise UsageError(f"size={size}: the side of a frame must be {SIZES[0]} to {SIZES[1]} pixels")
        self.name, self.size = name, size
        self._address, self._timeout = (host, port), timeout
        self._socket = self._connected()
        self._socket.settimeout(timeout + FIRST_FRAME)

    def read(self) -> Frame:
        """A frame of the scene now; while the emulator's cameras are frozen, the last one with its own stamp."""
        try:
            self._socket.sendall(json.dumps({"camera": self.name, "size": self.size}).encode() + b"\n")
            stamp, height, width = REPLY.unpack(self._exactly(REPLY.size))
            body = self._exactly(height * width * 3 if height else width)
            self._socket.settimeout(self._timeout)
        except OSError as error:
            raise CameraFault(self.name, f"no frame from the emulator ({error})", "start it again") from error
        if not height:
            raise CameraFault(self.name, body.decode(), "choose another")
        return Frame(stamp, np.frombuffer(body, np.uint8).reshape(height, width, 3))

    def close(self) -> None:
        self._socket.close()

    def _connected(self) -> socket.socket:
        host, port = self._address
        try:
            connection = socket.create_connection(self._address, self._timeout)
        except OSError as error:
            remedy = f"start one with `robo-reward emulate host={host}`"
            raise CameraFault(self.name, f"no emulator at {host}:{port} ({error})", remedy) from error
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _exactly(self, size: int) -> bytearray:
        data, view = bytearray(size), 0
        while view < size:
            got = self._socket.recv_into(memoryview(data)[view:])
            if not got:
                raise ConnectionError("it hung up")
            view += got
        return data


class _Newest:
    """Takes frames in a thread of its own as fast as they come, so that none waits in a driver's queue.

    Args:
        name: of the camera, for errors.
        take: blocks for the next picture (H, W, 3) uint8 RGB; none when there is no more.
        release: gives the device back; called by the thread that takes.
        timeout: how long the first frame may take [s].
    """

    def __init__(
        self, name: str, take: Callable[[], np.ndarray | None], release: Callable[[], object], timeout: float
    ) -> None:
        self._name, self._take, self._release, self._timeout = name, take, release, timeout
        self._frame: Frame | None = None
        self._ended = ""
        self._closing = False
        self._arrived = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"camera-{name}", daemon=True)
        self._thread.start()

    def read(self) -> Frame:
        """The newest frame, waiting for the first."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._frame or self._ended, self._timeout)
            if self._ended or self._frame is None:
                cause = self._ended or f"no frame within {self._timeout:g} s"
                raise CameraFault(self._name, cause, "check its cable and that no other program uses it")
            return self._frame

    def close(self) -> None:
        """Ends the thread."""
        self._closing = True
        self._thread.join(self._timeout)

    def _run(self) -> None:
        problem = "it stopped delivering frames"
        try:
            while not self._closing:
                image = self._take()
                if image is None:
                    break
                with self._arrived:
                    self._frame = Frame(time.monotonic(), image)
                    self._arrived.notify_all()
        except UsageError as error:  # the lens is of another size
            problem = str(error)
        except RuntimeError as error:  # what both drivers raise when a device is unplugged
            problem = f"it stopped delivering frames ({error})"
        finally:
            self._release()
            with self._arrived:
                self._ended = "it is closed" if self._closing else problem
                self._arrived.notify_all()


class UvcCamera:
    """A USB camera, through OpenCV.

    Args:
        device: its number (0 is `/dev/video0`), a path, or a video file to play at its own rate.
        size: side of the square frame [pixels]: the picture's middle, scaled.
        name: for messages.
        width: of the picture that the camera is asked for [pixels].
        height: likewise.
        fps: frames a second that it is asked for.
        timeout: how long the first frame may take [s].
        lens: takes the distortion out, and says how large its pictures are.

    Raises:
        CameraFault: it cannot be opened.
    """

    def __init__(
        self,
        device: int | str = 0,
        size: int = 112,
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
        capture = cv2.VideoCapture(device)
        if not capture.isOpened():
            raise CameraFault(
                self.name, f"device {device!r} cannot be opened", "see `ls /dev/video*` for what is there"
            )
        live = isinstance(device, int) or str(device).startswith("/dev/")
        if live:
            for key, value in ((cv2.CAP_PROP_FRAME_WIDTH, width), (cv2.CAP_PROP_FRAME_HEIGHT, height)):
                capture.set(key, value)
            capture.set(cv2.CAP_PROP_FPS, fps)
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        pause = 0.0 if live else 1 / (capture.get(cv2.CAP_PROP_FPS) or fps)

        def take() -> np.ndarray | None:
            got, picture = capture.read()
            if not got:
                return None
            time.sleep(pause)
            return square(_straight(picture[..., ::-1], lens), size)

        self._newest = _Newest(self.name, take, capture.release, timeout)

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
        height: likewise.
        fps: frames a second.
        timeout: how long a frame may take [s].
        lens: takes the distortion out, and says how large its pictures are.

    Raises:
        MissingExtra: pyrealsense2 is not installed.
        CameraFault: it cannot be opened.
    """

    def __init__(
        self,
        serial: str = "",
        size: int = 112,
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
        config, pipeline = rs.config(), rs.pipeline()
        if serial:
            config.enable_device(serial)
        config.enable_stream(rs.stream.color, width, height, rs.format.rgb8, fps)
        try:
            pipeline.start(config)
        except RuntimeError as error:
            there = [device.get_info(rs.camera_info.serial_number) for device in rs.context().query_devices()]
            found = f"connected: {', '.join(there)}" if there else "none is connected"
            raise CameraFault(name, f"serial {serial!r} cannot be opened ({error})", found) from error

        def take() -> np.ndarray:
            colour = pipeline.wait_for_frames(int(1000 * timeout)).get_color_frame()
            return square(_straight(np.asanyarray(colour.get_data()), lens), size)

        self._newest = _Newest(name, take, pipeline.stop, timeout)

    def read(self) -> Frame:
        return self._newest.read()

    def close(self) -> None:
        self._newest.close()


def _straight(image: np.ndarray, lens: Lens | None) -> np.ndarray:
    return image if lens is None else lens.undistorted(image)


def square(image: np.ndarray, size: int) -> np.ndarray:
    """The middle square of a picture (H, W, 3), scaled to (size, size, 3)."""
    import cv2

    height, width = image.shape[:2]
    side = min(height, width)
    top, left = math.floor((height - side) / 2), math.floor((width - side) / 2)
    middle = np.ascontiguousarray(image[top : top + side, left : left + side])
    shrink = size < side
    return cv2.resize(middle, (size, size), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)
