"""Calibrates a camera from pictures of a printed board: its lens and its pose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from robo_reward.configs.deployment import CalibrateConfig
from robo_reward.errors import UnknownName, UsageError
from robo_reward.hardware.perception.calibration import Lens

LEAST = 5
"""Fewest pictures that must show the board; with fewer, focal length and distance cannot be separated."""
LEAST_CORNERS = 8
TOUCHED = 0.005
"""Largest difference between the distance of two touched corners and the board's size [m]."""


@dataclass(frozen=True)
class CalibrationBoard:
    """A chessboard, or a ChArUco board, whose squares hold markers.

    Args:
        columns: squares from left to right.
        rows: from top to bottom.
        square: side of a square [m].
        marker: side of a marker [m]; 0 for a chessboard.
        dictionary: of the markers, one of OpenCV's.
    """

    columns: int
    rows: int
    square: float
    marker: float = CalibrateConfig.marker
    dictionary: str = CalibrateConfig.dictionary

    def __post_init__(self) -> None:
        if min(self.columns, self.rows) < 4:
            raise UsageError(f"columns={self.columns} rows={self.rows}: expected 4 squares or more each way")
        if not 0 <= self.marker < self.square:
            raise UsageError(f"square={self.square} marker={self.marker}: expected a square larger than its marker")

    @property
    def inner_corners(self) -> np.ndarray:
        """All inner corners (N, 3) [m], row by row: x to the right, y down, z into the board."""
        y, x = np.mgrid[1 : self.rows, 1 : self.columns] * self.square
        return np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1).astype(np.float32)

    def find_corners(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Finds inner corners in a picture (H, W, 3): indices (M,) and pixels (M, 2), empty if none are seen."""
        import cv2

        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if not self.marker:
            seen, pixels = cv2.findChessboardCorners(grey, (self.columns - 1, self.rows - 1))
            if not seen:
                return np.zeros(0, int), np.zeros((0, 2), np.float32)
            enough = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 50, 1e-4)
            pixels = cv2.cornerSubPix(grey, pixels, (5, 5), (-1, -1), enough)
            return np.arange(len(self.inner_corners)), np.reshape(pixels, (-1, 2))
        pixels, ids, _, _ = cv2.aruco.CharucoDetector(self._make_charuco_board()).detectBoard(grey)
        if ids is None or pixels is None:
            return np.zeros(0, int), np.zeros((0, 2), np.float32)
        return np.ravel(ids), np.reshape(pixels, (-1, 2))

    def _make_charuco_board(self) -> Any:
        from cv2 import aruco

        known = [name for name in dir(aruco) if name.startswith("DICT_")]
        if self.dictionary not in known:
            raise UnknownName("dictionary", self.dictionary, known)
        markers = aruco.getPredefinedDictionary(getattr(aruco, self.dictionary))
        return aruco.CharucoBoard((self.columns, self.rows), self.square, self.marker, markers)


class LensCalibration(NamedTuple):
    """A calibration from pictures.

    Attributes:
        lens: without a pose yet.
        used: names of the pictures that showed the board.
        error: root mean square reprojection error of the corners [pixels].
    """

    lens: Lens
    used: tuple[str, ...]
    error: float


def calibrate_lens(pictures: Mapping[str, np.ndarray], board: CalibrationBoard) -> LensCalibration:
    """Calibrates the lens behind pictures (H, W, 3) of a board held at many angles.

    Raises:
        UsageError: too few of them show the board, or they differ in size.
    """
    import cv2

    sizes = {image.shape[:2] for image in pictures.values()}
    if len(sizes) > 1:
        raise UsageError(f"the pictures differ in size: {', '.join(sorted(f'{w} x {h}' for h, w in sizes))}")
    seen = {name: board.find_corners(image) for name, image in pictures.items()}
    used = {name: found for name, found in seen.items() if len(found[0]) >= LEAST_CORNERS}
    if len(used) < LEAST:
        raise UsageError(
            f"{len(used)} of {len(pictures)} pictures show a board of {board.columns} x {board.rows} squares, expected "
            f"{LEAST} or more; the whole board must be in sight, sharp, and with a white margin"
        )
    (height, width) = sizes.pop()
    objects = [board.inner_corners[ids] for ids, _ in used.values()]
    pixels = [found[1].astype(np.float32) for found in used.values()]
    start, none, few = np.eye(3), np.zeros(5), cv2.CALIB_FIX_K3  # k3 stays 0: twenty pictures do not determine it
    error, matrix, distortion, _, _ = cv2.calibrateCamera(objects, pixels, (width, height), start, none, flags=few)
    (fx, _, cx), (_, fy, cy) = matrix[0], matrix[1]
    numbers = (float(value) for value in (fx, fy, cx, cy))
    lens = Lens(width, height, *numbers, distortion=tuple(map(float, np.ravel(distortion)[:5])))
    return LensCalibration(lens, tuple(used), float(error))


def locate_camera(lens: Lens, image: np.ndarray, board: CalibrationBoard, first: np.ndarray, last: np.ndarray) -> Lens:
    """Returns the lens with its pose, from one picture of the board lying flat and face up.

    Args:
        lens: of the camera.
        image: the picture (H, W, 3).
        board: the board in it.
        first: where its first inner corner is in the robot's base (3,) [m]: touch it with the closed fingers.
        last: the position (3,) [m] of the last corner of the first row, touched in the same way.

    Raises:
        UsageError: the board is not seen, or the two corners contradict its size.
    """
    import cv2

    ids, pixels = board.find_corners(image)
    if len(ids) < LEAST_CORNERS:
        raise UsageError(
            "the board is not found in the picture that determines the camera's pose; take "
            "another one with the whole board in sight"
        )
    wanted, apart = (board.columns - 2) * board.square, float(np.linalg.norm(last - first))
    if abs(wanted - apart) > TOUCHED:
        raise UsageError(f"the touched corners are {apart:.3f} m apart, those of the board {wanted:.3f} m")
    _, turn, shift = cv2.solvePnP(board.inner_corners[ids], pixels, lens.matrix, np.array(lens.distortion))
    camera_board = cv2.Rodrigues(turn)[0]
    x = (last - first)[:2] / np.linalg.norm((last - first)[:2])
    base_board = np.array([[x[0], x[1], 0.0], [x[1], -x[0], 0.0], [0.0, 0.0, -1.0]])  # symmetric; z points down
    rotation = base_board @ camera_board.T
    position = first - base_board @ board.inner_corners[0] - rotation @ shift[:, 0]
    return replace(lens, position=tuple(map(float, position)), quaternion=_to_quaternion(rotation))


def _to_quaternion(rotation: np.ndarray) -> tuple[float, ...]:
    """Returns the quaternion (w, x, y, z) of a rotation matrix (3, 3)."""
    import mujoco

    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, np.ascontiguousarray(rotation, float).ravel())
    return tuple(map(float, quat))
