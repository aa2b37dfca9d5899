"""Frames of the emulated scene for other processes: one TCP connection per camera, one request per frame."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Protocol

import msgspec
import numpy as np

from robo_reward.errors import BadArtifact, RoboRewardError, UsageError
from robo_reward.files import parse_json
from robo_reward.hardware.cameras import CAMERA_PORT, REPLY, SIZES, Frame
from robo_reward.hardware.emulator.lines import LineServer

_LINE = 256


class Scene(Protocol):
    """What can be drawn."""

    def render(self, camera: str, size: int) -> np.ndarray:
        """A frame (size, size, 3) uint8."""
        ...


class Freeze(Protocol):
    """Whether cameras repeat their last frame; `robo_reward.hardware.emulator.faults.Faults` is one."""

    cameras_frozen: bool

    def on_cut(self, what: str, callback: Callable[[], None]) -> None:
        """Calls back when connections of `what` are cut."""
        ...


@dataclass
class Fine:
    """Nothing is wrong, until somebody says so."""

    cameras_frozen: bool = False

    def on_cut(self, what: str, callback: Callable[[], None]) -> None:
        """Nothing is cut."""


class Eyes:
    """The cameras of a scene, which repeat their last frames while they are frozen.

    Args:
        plant: what is drawn; `render` may be called from any thread.
        faults: while its `cameras_frozen` is set, each camera repeats its last frame with the stamp that had.
    """

    def __init__(self, plant: Scene, faults: Freeze | None = None) -> None:
        self.faults: Freeze = faults or Fine()
        self._plant = plant
        self._last: dict[tuple[str, int], Frame] = {}

    def frame(self, camera: str, size: int) -> Frame:
        """The scene now, or the last frame while frozen."""
        last = self._last.get((camera, size))
        if self.faults.cameras_frozen and last:
            return last
        stamp = time.monotonic()
        frame = self._last[camera, size] = Frame(stamp, self._plant.render(camera, size))
        return frame


class Request(msgspec.Struct):
    """A line of a client.

    Attributes:
        camera: its name.
        size: side of the frame [pixels].
    """

    camera: str
    size: Annotated[int, msgspec.Meta(ge=SIZES[0], le=SIZES[1])]


class CameraServer(LineServer):
    """Answers `EmulatorCamera`.

    A request is a line of JSON, `{"camera": "front", "size": 112}`; `robo_reward.hardware.cameras.REPLY` heads the
    answer.

    Args:
        plant: what is drawn, at the time of the request; `render` may be called from any thread.
        host: the emulated robot's address.
        port: 0 for any that is free.
        faults: as for `Eyes`.

    Attributes:
        eyes: what it shows.

    Raises:
        UsageError: the address cannot be served.
    """

    def __init__(
        self, plant: Scene, host: str = "127.0.0.1", port: int = CAMERA_PORT, faults: Freeze | None = None
    ) -> None:
        self.eyes = Eyes(plant, faults)
        super().__init__("cameras", host, port, _LINE)
        self.eyes.faults.on_cut("camera", self.hang_up)

    def answer(self, line: bytes) -> bytes:
        try:
            stamp, image = self.eyes.frame(*_asked(line))
        except RoboRewardError as error:
            why = str(error).encode()
            return REPLY.pack(0.0, 0, len(why)) + why
        return REPLY.pack(stamp, image.shape[0], image.shape[1]) + image.tobytes()


def _asked(line: bytes) -> tuple[str, int]:
    """Camera and size of a request."""
    try:
        ask = parse_json(line, Request, "the line")
    except BadArtifact as error:
        expected = f'{{"camera": "front", "size": 112}}, with a size of {SIZES[0]} to {SIZES[1]} pixels'
        raise UsageError(f"expected a line such as {expected}: {error.problem}") from None
    return ask.camera, ask.size
