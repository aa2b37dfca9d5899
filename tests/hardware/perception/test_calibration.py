"""A camera's calibration against pictures drawn with a known lens by rays of our own, not by OpenCV's camera model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from robo_reward.cli import main
from robo_reward.envs.video.files import write_video
from robo_reward.errors import UnknownName, UsageError
from robo_reward.hardware.deployment.build import make_camera
from robo_reward.hardware.perception.board_detection import CalibrationBoard, calibrate_lens, locate_camera
from robo_reward.hardware.perception.calibration import Lens, load_lenses, save_lens
from robo_reward.hardware.perception.cameras import CameraFault

TRUE = Lens(320, 240, 300.0, 305.0, 163.0, 117.0, (0.12, -0.25, 0.002, -0.001, 0.0))
BOARD = CalibrationBoard(columns=8, rows=6, square=0.03)
MARKED = CalibrationBoard(columns=7, rows=5, square=0.035, marker=0.026)
FINE = 3
"""Rays per pixel, each way."""


def rays(lens: Lens) -> np.ndarray:
    """The direction of every ray (H * FINE, W * FINE, 3): the distortion's inverse by fixed-point iteration."""
    v, u = np.mgrid[0 : lens.height * FINE, 0 : lens.width * FINE]
    u, v = (u + 0.5) / FINE - 0.5, (v + 0.5) / FINE - 0.5
    seen_x, seen_y = (u - lens.cx) / lens.fx, (v - lens.cy) / lens.fy
    k1, k2, p1, p2, k3 = lens.distortion
    x, y = seen_x.copy(), seen_y.copy()
    for _ in range(30):
        r2 = x * x + y * y
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        x = (seen_x - 2 * p1 * x * y - p2 * (r2 + 2 * x * x)) / radial
        y = (seen_y - p1 * (r2 + 2 * y * y) - 2 * p2 * x * y) / radial
    return np.stack([x, y, np.ones_like(x)], axis=-1)


def colour(board: CalibrationBoard, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How bright the board is at points of its own plane [m]; white around it."""
    i, j = np.floor(x / board.square).astype(int), np.floor(y / board.square).astype(int)
    inside = (i >= 0) & (j >= 0) & (i < board.columns) & (j < board.rows)
    if not board.marker:
        return np.where(inside & ((i + j) % 2 == 0), 20.0, 230.0)
    scale = 40  # pixels of the texture per square
    texture = board._make_charuco_board().generateImage((board.columns * scale, board.rows * scale)).astype(float)
    column = np.clip((x / board.square * scale).astype(int), 0, texture.shape[1] - 1)
    row = np.clip((y / board.square * scale).astype(int), 0, texture.shape[0] - 1)
    return np.where(inside, 20.0 + texture[row, column] * 210.0 / 255.0, 230.0)


def picture(lens: Lens, board: CalibrationBoard, rotation: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """A photograph (H, W, 3) of a board whose plane is z = 0 of its own frame, placed in the camera's."""
    direction = rays(lens) @ rotation  # in the board's frame
    origin = -rotation.T @ shift
    way = -origin[2] / direction[..., 2]
    bright = colour(board, origin[0] + way * direction[..., 0], origin[1] + way * direction[..., 1])
    bright = bright.reshape(lens.height, FINE, lens.width, FINE).mean(axis=(1, 3))
    return np.repeat(bright[..., None], 3, axis=2).round().astype(np.uint8)


def turned(ax: float, ay: float, az: float) -> np.ndarray:
    """A rotation (3, 3) about x, then y, then z [rad]."""
    (cx, cy, cz), (sx, sy, sz) = np.cos((ax, ay, az)), np.sin((ax, ay, az))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def shots(lens: Lens, board: CalibrationBoard, count: int = 16) -> dict[str, np.ndarray]:
    rng, taken = np.random.default_rng(0), {}
    middle = np.array([board.columns, board.rows, 0]) * board.square / 2
    for k in range(count):
        ax, ay, az = rng.uniform((-0.5, -0.5, -0.2), (0.5, 0.5, 0.2))
        rotation = turned(ax, ay, az)
        centre = np.array([*rng.uniform((-0.09, -0.06), (0.09, 0.06)), rng.uniform(0.34, 0.42)])
        taken[f"{k}.png"] = picture(lens, board, rotation, centre - rotation @ middle)
    return taken


@pytest.mark.parametrize("board", [BOARD, MARKED], ids=["chessboard", "charuco"])
def test_the_lens_is_found(board: CalibrationBoard) -> None:
    found = calibrate_lens({**shots(TRUE, board), "empty.png": np.full((240, 320, 3), 90, np.uint8)}, board)
    assert found.error < 0.3 and "empty.png" not in found.used and len(found.used) >= 9
    for name in ("fx", "fy"):
        assert getattr(found.lens, name) == pytest.approx(getattr(TRUE, name), rel=0.01)
    assert (found.lens.cx, found.lens.cy) == pytest.approx((TRUE.cx, TRUE.cy), abs=2.0)
    corners = np.array([[0.0, 0, 1], [319, 0, 1], [0, 239, 1], [160, 120, 1], [40, 200, 1]])
    error = rays_of(found.lens, corners) - rays_of(TRUE, corners)
    assert np.abs(error).max() * 300 < 2.0, "pixels, in the corners of the picture"


def rays_of(lens: Lens, pixels: np.ndarray) -> np.ndarray:
    """Directions through some whole pixels."""
    return np.stack([rays(lens)[int(v) * FINE + FINE // 2, int(u) * FINE + FINE // 2] for u, v, _ in pixels])


def test_the_place_is_found_from_two_touched_corners() -> None:
    looks_down = turned(np.pi - 0.5, 0.1, 0.3)  # camera in the base
    yaw, first = 0.4, np.array([0.5, 0.06, 0.002])
    base_board = np.array([[np.cos(yaw), np.sin(yaw), 0], [np.sin(yaw), -np.cos(yaw), 0], [0, 0, -1]])
    origin = first - base_board @ np.array([BOARD.square, BOARD.square, 0])
    middle = origin + base_board @ np.array([BOARD.columns, BOARD.rows, 0]) * BOARD.square / 2
    stands = middle - 0.45 * looks_down[:, 2]
    last = first + base_board[:, 0] * BOARD.square * (BOARD.columns - 2)
    image = picture(TRUE, BOARD, looks_down.T @ base_board, looks_down.T @ (origin - stands))
    lens = locate_camera(TRUE, image, BOARD, first, last)
    turned_round = locate_camera(TRUE, image, BOARD, *ends(BOARD, base_board, origin))
    best = min((lens, turned_round), key=lambda at: float(np.linalg.norm(np.subtract(at.position, stands))))
    assert best.position == pytest.approx(stands, abs=0.004)
    w, *xyz = best.quaternion
    angle = 2 * np.arctan2(np.linalg.norm(xyz), abs(w))
    assert np.cos(angle) == pytest.approx((np.trace(looks_down) - 1) / 2, abs=0.01)
    with pytest.raises(UsageError, match=r"0\.100 m apart, those of the board 0\.180 m"):
        locate_camera(TRUE, image, BOARD, first, first + np.array([0.1, 0, 0]))


def ends(board: CalibrationBoard, base_board: np.ndarray, origin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last corner for a reader who begins at the other end."""
    size = np.array([board.columns - 1, board.rows - 1, 0]) * board.square
    row = np.array([(board.columns - 2) * board.square, 0, 0])
    return origin + base_board @ size, origin + base_board @ (size - row)


def test_too_few_pictures_and_pictures_of_two_sizes() -> None:
    few = shots(TRUE, BOARD, 3)
    with pytest.raises(UsageError, match="of 3 pictures show a board of 8 x 6 squares, expected 5 or more"):
        calibrate_lens(few, BOARD)
    with pytest.raises(UsageError, match="differ in size: 320 x 240, 64 x 48"):
        calibrate_lens({**few, "other": np.zeros((48, 64, 3), np.uint8)}, BOARD)
    with pytest.raises(UnknownName, match="DICT_5X5_100"):
        CalibrationBoard(7, 5, 0.03, 0.02, "DICT_5X5_10").find_corners(few["0.png"])


def test_the_distortion_goes() -> None:
    """What a bent lens shows, undistorted, is what a straight lens of the same focal length shows."""
    straight = Lens(320, 240, 300.0, 305.0, 163.0, 117.0)
    rotation, shift = turned(0.2, -0.3, 0.1), np.array([-0.2, -0.16, 0.36])
    wide = CalibrationBoard(14, 10, 0.03)
    bent, wanted = (picture(lens, wide, rotation, shift).astype(float) for lens in (TRUE, straight))
    got = TRUE.undistort_image(bent.astype(np.uint8)).astype(float)
    inner = np.s_[20:-20, 20:-20]
    assert np.abs(got - wanted)[inner].mean() < 0.4 * np.abs(bent - wanted)[inner].mean()
    with pytest.raises(UsageError, match="delivers 64 x 48 pixels, its calibration is for 320 x 240"):
        TRUE.undistort_image(np.zeros((48, 64, 3), np.uint8))


def test_a_camera_delivers_straight_frames_or_says_why_not(tmp_path: Path) -> None:
    rotation, shift = turned(0.2, -0.3, 0.1), np.array([-0.11, -0.09, 0.36])
    image = picture(TRUE, BOARD, rotation, shift)
    write_video(tmp_path / "board.mp4", np.repeat(image[None], 60, axis=0), fps=20)
    straight = picture(TRUE.scale_to_square(120), BOARD, rotation, shift).astype(float)
    eye = make_camera(f"uvc:{tmp_path / 'board.mp4'}", "", 120, False, TRUE)
    frame = eye.read().image.astype(float)
    eye.close()
    assert np.abs(frame - straight)[10:-10, 10:-10].mean() < 6, "the lens of the frames is the one of the messages"
    eye = make_camera(f"uvc:{tmp_path / 'board.mp4'}", "", 120, False, Lens(640, 480, 600.0, 600.0, 320.0, 240.0))
    with pytest.raises(CameraFault, match="calibrate it again"):
        eye.read()
    eye.close()


def test_the_file_comes_back_and_keeps_other_cameras(tmp_path: Path) -> None:
    path = tmp_path / "cameras.json"
    here = Lens(640, 480, 600.0, 601.0, 320.0, 240.0, TRUE.distortion, (0.9, 0.0, 0.6), (0.0, 0.6, 0.0, -0.8))
    save_lens(path, "uvc:0", TRUE)
    save_lens(path, "realsense:1", here)
    assert load_lenses(str(path), ["uvc:0", "realsense:1"]) == {"uvc:0": TRUE, "realsense:1": here}
    (tmp_path / "c.yaml").write_text("uvc:0: {width: 64, height: 48, fx: 60, fy: 60, cx: 32, cy: 24}\n")
    assert load_lenses(str(tmp_path / "c.yaml"))["uvc:0"].fx == 60.0
    with pytest.raises(UnknownName, match="Did you mean 'uvc:0'"):
        load_lenses(str(path), ["uvc:1"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1]", "expected a mapping"),
        ("{", "cannot be read"),
        ('{"a": 3}', "camera 'a': expected width"),
        ('{"a": {"width": 64, "fx": 1}}', "height, fy, cx, cy missing"),
        ('{"a": {"widht": 64}}', "Did you mean 'width'"),
        ('{"a": {"width": 64, "height": 48, "fx": "x", "fy": 1, "cx": 1, "cy": 1}}', "fx: 'x' is not a number"),
        ('{"a": {"width": 64, "height": 48, "fx": 0, "fy": 1, "cx": 1, "cy": 1}}', "must be positive"),
        (
            '{"a": {"width": 64, "height": 48, "fx": 1, "fy": 1, "cx": 1, "cy": 1, "distortion": [1]}}',
            "expected 5 numbers",
        ),
        (
            '{"a": {"width": 64, "height": 48, "fx": 1, "fy": 1, "cx": 1, "cy": 1, "quaternion": [1, 1, 0, 0]}}',
            "length 1",
        ),
    ],
)
def test_a_wrong_file_is_explained(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(UsageError, match=words):
        load_lenses(str(tmp_path / "c.json"))


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import cv2

    folder, file = tmp_path / "pictures", tmp_path / "cameras.json"
    folder.mkdir()
    for name, image in shots(TRUE, BOARD, 9).items():
        cv2.imwrite(str(folder / name), image)
    command = ["calibrate", f"pictures={folder}", "columns=8", "rows=6", "square=0.03", f"file={file}"]
    assert main(command) == 0
    assert "of 9 pictures show the board" in capsys.readouterr().out
    assert json.loads(file.read_text())["uvc:0"]["fx"] == pytest.approx(300, rel=0.03)
    assert main([*command, f"place={folder / '0.png'}"]) == 2
    assert "first=[]: expected [x, y, z]" in capsys.readouterr().err
    assert (tmp_path / "cameras.corners.png").is_file(), "which shows the corners to touch"
    assert main([*command, f"place={folder / '0.png'}", "first=[0.4,0,0]", "last=[0.58,0,0]"]) == 0
    assert "camera position:" in capsys.readouterr().out
    assert len(json.loads(file.read_text())["uvc:0"]["position"]) == 3
    assert main(["calibrate", f"pictures={tmp_path / 'nowhere'}"]) == 2
    assert "no pictures there" in capsys.readouterr().err
