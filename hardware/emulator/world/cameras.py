"""A server of rendered camera frames for other processes: one TCP connection per camera, one request per frame."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Protocol

import msgspec
import numpy as np

from robo_reward.errors import BadArtifact, RoboRewardError, UsageError
from robo_reward.files import parse_json
from robo_reward.hardware.emulator.wire.lines import LineServer
from robo_reward.hardware.perception.cameras import CAMERA_PORT, REPLY, SIZES, Frame

_LINE = 256


class RenderableScene(Protocol):
    """A scene that can be rendered."""

    def render(self, camera: str, size: int) -> np.ndarray:
        """Renders a frame (size, size, 3) uint8."""
        ...


class CameraFaults(Protocol):
    """The faults of cameras; `robo_reward.hardware.emulator.tools.faults.Faults` is one implementation.

    Attributes:
        cameras_frozen: whether cameras repeat their last frame.
    """

    cameras_frozen: bool

    def on_cut(self, what: str, callback: Callable[[], None]) -> None:
        """Registers a callback for the moment when the connections of `what` are cut."""
        ...


@dataclass
class NoCameraFaults:
    """Camera faults of a healthy scene: nothing is frozen or cut unless a test sets `cameras_frozen`."""

    cameras_frozen: bool = False

    def on_cut(self, what: str, callback: Callable[[], None]) -> None:
        """Ignores the callback, since no connection is ever cut."""


class SceneCameras:
    """The cameras of a scene, which repeat their last frame while they are frozen.

    Args:
        plant: the scene to render; `render` may be called from any thread.
        faults: while its `cameras_frozen` is set, each camera repeats its last frame with that frame's time stamp.
    """

    def __init__(self, plant: RenderableScene, faults: CameraFaults | None = None) -> None:
        self.faults: CameraFaults = faults or NoCameraFaults()
        self._plant = plant
        self._last: dict[tuple[str, int], Frame] = {}

    def capture_frame(self, camera: str, size: int) -> Frame:
        """Returns a frame of the scene now, or the last frame while the cameras are frozen."""
        last = self._last.get((camera, size))
        if self.faults.cameras_frozen and last:
            return last
        stamp = time.monotonic()
        frame = self._last[camera, size] = Frame(stamp, self._plant.render(camera, size))
        return frame


class FrameRequest(msgspec.Struct):
    """A client's request for a frame.

    Attributes:
        camera: the name of the camera.
        size: side of the frame [pixels].
    """

    camera: str
    size: Annotated[int, msgspec.Meta(ge=SIZES[0], le=SIZES[1])]


class CameraServer(LineServer):
    """The server that `EmulatorCamera` connects to.

    A request is a line of JSON, `{"camera": "front", "size": 112}`; the answer begins with
    `robo_reward.hardware.perception.cameras.REPLY`.

    Args:
        plant: the scene to render at the time of the request; `render` may be called from any thread.
        host: the emulated robot's address.
        port: the port to serve on; 0 for any free one.
        faults: as for `SceneCameras`.

    Attributes:
        cameras: the cameras that it serves.

    Raises:
        UsageError: the address cannot be served.
    """

    def __init__(
        self,
        plant: RenderableScene,
        host: str = "127.0.0.1",
        port: int = CAMERA_PORT,
        faults: CameraFaults | None = None,
    ) -> None:
        self.cameras = SceneCameras(plant, faults)
        super().__init__("cameras", host, port, _LINE)
        self.cameras.faults.on_cut("camera", self.hang_up)

    def answer_line(self, line: bytes) -> bytes:
        try:
            stamp, image = self.cameras.capture_frame(*_parse_request(line))
        except RoboRewardError as error:
            why = str(error).encode()
            return REPLY.pack(0.0, 0, len(why)) + why
        return REPLY.pack(stamp, image.shape[0], image.shape[1]) + image.tobytes()


def _parse_request(line: bytes) -> tuple[str, int]:
    """Returns the camera and the size that a request asks for.

    Raises:
        UsageError: the line is no request.
    """
    try:
        ask = parse_json(line, FrameRequest, "the line")
    except BadArtifact as error:
        expected = f'{{"camera": "front", "size": 112}}, with a size of {SIZES[0]} to {SIZES[1]} pixels'
        raise UsageError(f"expected a line such as {expected}: {error.problem}") from None
    return ask.camera, ask.size
