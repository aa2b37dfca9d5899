"""`robo-reward calibrate`: a camera's entry in the calibration file, from pictures of a board."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from robo_reward.cli.terminal import Terminal
from robo_reward.errors import UsageError
from robo_reward.hardware.perception.board_detection import CalibrationBoard, calibrate_lens, locate_camera
from robo_reward.hardware.perception.calibration import save_lens

KINDS = (".png", ".jpg", ".jpeg", ".bmp")


def run(config: DictConfig, arguments: list[str]) -> int:
    """Finds the lens parameters, and with `place=` the pose of the camera.

    Raises:
        UsageError: no pictures, no board in them, or impossible corners.
    """
    console = Terminal()
    board = CalibrationBoard(config.columns, config.rows, config.square, config.marker, config.dictionary)
    folder = Path(config.pictures)
    paths = sorted(p for p in folder.glob("*") if p.suffix.lower() in KINDS) if folder.is_dir() else []
    if not paths:
        raise UsageError(f"pictures={folder}: no pictures there ({', '.join(KINDS)})")
    found = calibrate_lens({path.name: _read_picture(path) for path in paths}, board)
    lens = found.lens
    _print_line(
        console, f"{len(found.used)} of {len(paths)} pictures show the board; corners fit to {found.error:.2f} pixels"
    )
    if config.place:
        image = _read_picture(Path(config.place))
        shown = Path(config.file).with_suffix(".corners.png")
        _mark_corners(image, board, shown)
        first, last = (_parse_corner(config, name, shown) for name in ("first", "last"))
        lens = locate_camera(lens, image, board, first, last)
        _print_line(console, f"camera position: {np.round(lens.position, 3)} m")
    save_lens(Path(config.file), config.camera, lens)
    _print_line(
        console, f"{config.camera}: {lens.width} x {lens.height}, focal lengths {lens.fx:.1f} and {lens.fy:.1f} pixels"
    )
    _print_line(console, f"calibration: {config.file}")
    _print_line(console, f"use it: robo-reward deploy cameras=[{config.camera}] calibration={config.file} ...")
    return 0


def _read_picture(path: Path) -> np.ndarray:
    """Returns a picture (H, W, 3) uint8 RGB."""
    import cv2

    image = cv2.imread(str(path))
    if image is None:
        raise UsageError(f"{path} cannot be read as a picture; replace or delete it")
    return np.ascontiguousarray(image[..., ::-1])


def _mark_corners(image: np.ndarray, board: CalibrationBoard, path: Path) -> None:
    """Draws the first corner and the last of its row into a picture."""
    import cv2

    ids, pixels = board.find_corners(image)
    drawn = np.ascontiguousarray(image[..., ::-1])
    for index, name in ((0, "first"), (board.columns - 2, "last")):
        for x, y in pixels[ids == index]:
            cv2.circle(drawn, (round(float(x)), round(float(y))), 6, (0, 0, 255), 2)
            cv2.putText(
                drawn, name, (round(float(x)) + 8, round(float(y))), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 255), 2
            )
    cv2.imwrite(str(path), drawn)


def _parse_corner(config: DictConfig, name: str, shown: Path) -> np.ndarray:
    value = list(config[name])
    if len(value) != 3 or not all(isinstance(x, int | float) for x in value):
        raise UsageError(f"{name}={value}: expected [x, y, z] in the robot's base [m]; {shown} shows the corner")
    return np.array(value, float)


def _print_line(console: Terminal, text: str) -> None:
    console.print(text, soft_wrap=True, highlight=False, markup=False)
