"""The cameras' calibration file: intrinsics, distortion and pose of each camera.

The file is JSON or YAML, one entry per camera, named as in `cameras=`:

    {"uvc:0": {"width": 640, "height": 480, "fx": 612.0, "fy": 612.4, "cx": 318.9, "cy": 241.3,
               "distortion": [0.08, -0.19, 0.0, 0.0, 0.0],
               "position": [0.9, 0.0, 0.6], "quaternion": [0.0, 0.85, 0.0, -0.53]}}

Pixels and the five numbers of the distortion (k1, k2, p1, p2, k3) are as in OpenCV. `position` [m] and
`quaternion` (w, x, y, z) are those of the camera in the robot's base frame, its x axis to the right of the
picture, y down, z forward; both may be missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from robo_reward.errors import BadArtifact, UnknownName, UsageError
from robo_reward.files import load_yaml, write_json

NEEDED = ("width", "height", "fx", "fy", "cx", "cy")
PLACE = {"distortion": 5, "position": 3, "quaternion": 4}
"""Lists in the calibration file and their lengths."""


@dataclass(frozen=True)
class Lens:
    """Calibration of one camera.

    Args:
        width: of its pictures [pixels].
        height: of its pictures [pixels].
        fx: focal lengths ...
        fy: ... [pixels].
        cx: where the optical axis meets the picture ...
        cy: ... [pixels].
        distortion: k1, k2, p1, p2, k3 of OpenCV's model.
        position: of the camera in the robot's base [m]; empty if unknown.
        quaternion: its orientation there (w, x, y, z); empty if unknown.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = (0.0,) * 5
    position: tuple[float, ...] = ()
    quaternion: tuple[float, ...] = ()

    @classmethod
    def from_entry(cls, value: Any, where: str) -> Lens:
        """Parses an entry of the file.

        Raises:
            UsageError: naming what is missing or wrong, and where.
            UnknownName: the entry has a key that is not known.
        """
        if not isinstance(value, Mapping):
            raise UsageError(f"{where}: expected {', '.join(NEEDED)}, got {value!r}")
        for name in value:
            if name not in (*NEEDED, *PLACE):
                raise UnknownName(f"entry of {where}", str(name), (*NEEDED, *PLACE))
        if missing := [name for name in NEEDED if name not in value]:
            raise UsageError(f"{where}: {', '.join(missing)} missing; `robo-reward calibrate` writes them all")
        numbers: dict[str, Any] = {name: _parse_number(value[name], f"{where}: {name}") for name in NEEDED}
        for name, size in PLACE.items():
            if given := value.get(name) or ():
                if not isinstance(given, Sequence) or len(given) != size:
                    raise UsageError(f"{where}: {name}={given}: expected {size} numbers")
                numbers[name] = tuple(_parse_number(x, f"{where}: {name}") for x in given)
        if min(numbers[name] for name in ("width", "height", "fx", "fy")) <= 0:
            raise UsageError(f"{where}: width, height, fx and fy must be positive")
        lens = cls(**{**numbers, "width": int(numbers["width"]), "height": int(numbers["height"])})
        if lens.quaternion and abs(np.linalg.norm(lens.quaternion) - 1) > 0.01:
            raise UsageError(f"{where}: quaternion={list(lens.quaternion)}: expected length 1, (w, x, y, z)")
        return lens

    @property
    def matrix(self) -> np.ndarray:
        """Camera matrix (3, 3), from a direction to a pixel."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @cached_property
    def _maps(self) -> tuple[np.ndarray, np.ndarray]:
        import cv2

        size, straight = (self.width, self.height), np.array(self.distortion)
        return cv2.initUndistortRectifyMap(self.matrix, straight, np.eye(3), self.matrix, size, cv2.CV_16SC2)

    def undistort_image(self, image: np.ndarray) -> np.ndarray:
        """Returns a picture (H, W, 3) as a camera without distortion would show it.

        Focal lengths and centre stay the same.

        Raises:
            UsageError: the picture's size is not the calibrated one.
        """
        import cv2

        if image.shape[:2] != (self.height, self.width):
            got, expected = f"{image.shape[1]} x {image.shape[0]}", f"{self.width} x {self.height}"
            raise UsageError(f"the camera delivers {got} pixels, its calibration is for {expected}: calibrate it again")
        return cv2.remap(image, *self._maps, cv2.INTER_LINEAR) if any(self.distortion) else image

    def scale_to_square(self, size: int) -> Lens:
        """Returns the calibration of episode frames: undistorted, the middle square, scaled to `size` [pixels]."""
        side = min(self.width, self.height)
        scale = size / side
        left, top = (self.width - side) // 2, (self.height - side) // 2
        cx, cy = (self.cx - left + 0.5) * scale - 0.5, (self.cy - top + 0.5) * scale - 0.5
        focal = {"fx": self.fx * scale, "fy": self.fy * scale, "cx": cx, "cy": cy}
        return replace(self, width=size, height=size, distortion=(0.0,) * 5, **focal)

    def to_json(self) -> dict[str, Any]:
        """Returns the entry for the file."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items() if v != ()}


def load_lenses(path: str, cameras: Sequence[str] = ()) -> dict[str, Lens]:
    """Loads the calibration file; an empty path gives no cameras.

    Args:
        path: of the file.
        cameras: names that must be in it.

    Raises:
        UsageError: it cannot be read, or holds something else.
        UnknownName: a camera is not in it.
    """
    if not path:
        return {}
    try:
        anything: Any = Any
        value: Any = load_yaml(Path(path).resolve(), anything, remedy="`robo-reward calibrate` makes one")
    except BadArtifact as error:
        raise UsageError(f"calibration={error}") from error
    if value is None:
        raise UsageError(f"calibration={path}: it cannot be read (no such file); `robo-reward calibrate` makes one")
    if not isinstance(value, dict) or not value:
        raise UsageError(f"calibration={path}: expected a mapping from cameras to their numbers")
    lenses = {str(name): Lens.from_entry(entry, f"{path}: camera {str(name)!r}") for name, entry in value.items()}
    for name in cameras:
        if name not in lenses:
            raise UnknownName(f"camera of {path}", name, lenses)
    return lenses


def save_lens(path: Path, camera: str, lens: Lens) -> None:
    """Writes one camera's entry and keeps the others."""
    entries = {name: other.to_json() for name, other in (load_lenses(str(path)) if path.exists() else {}).items()}
    write_json(path, {**entries, camera: lens.to_json()})


def _parse_number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise UsageError(f"{where}: {value!r} is not a number")
    return float(value)
