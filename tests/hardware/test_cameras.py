import socket
import time

import numpy as np
import pytest

from robo_reward.envs.render import NoRenderer
from robo_reward.envs.task import make_task
from robo_reward.envs.video import write_video
from robo_reward.errors import MissingExtra, UnknownName, UsageError
from robo_reward.hardware.cameras import CameraFault, EmulatorCamera, UvcCamera, square
from robo_reward.hardware.emulator.camera_server import CameraServer
from robo_reward.hardware.emulator.mujoco_plant import MujocoPlant

HOST = "127.0.2.1"


class Painted:
    """A scene whose frames count up."""

    def __init__(self) -> None:
        self.count = 0

    def render(self, camera: str, size: int) -> np.ndarray:
        if camera not in ("front", "side"):
            raise UnknownName("camera", camera, ("front", "side"))
        self.count += 1
        return np.full((size, size, 3), self.count, np.uint8)


@pytest.fixture
def server():
    with CameraServer(Painted(), HOST, port=0) as server:
        yield server


def camera(server: CameraServer, name: str = "front", **options) -> EmulatorCamera:
    return EmulatorCamera(name, HOST, port=server.port, **options)


def test_frames_are_fresh_and_stamped(server: CameraServer) -> None:
    eye = camera(server, size=16)
    begun = time.monotonic()
    first, second = eye.read(), eye.read()
    eye.close()
    assert first.image.shape == (16, 16, 3)
    assert (first.image == 1).all() and (second.image == 2).all()
    assert begun <= first.stamp < second.stamp <= time.monotonic()


def test_a_frozen_camera_shows_by_its_stamps(server: CameraServer) -> None:
    eye = camera(server)
    before = eye.read()
    server.eyes.faults.cameras_frozen = True
    during = [eye.read() for _ in range(2)]
    server.eyes.faults.cameras_frozen = False
    after = eye.read()
    eye.close()
    assert {frame.stamp for frame in during} == {before.stamp}
    assert all((frame.image == before.image).all() for frame in during)
    assert after.stamp > before.stamp and (after.image != before.image).all()


def test_each_camera_freezes_with_its_own_frame(server: CameraServer) -> None:
    one, other = camera(server, "front"), camera(server, "side")
    seen = one.read().image[0, 0, 0], other.read().image[0, 0, 0]
    server.eyes.faults.cameras_frozen = True
    assert (one.read().image[0, 0, 0], other.read().image[0, 0, 0]) == seen
    one.close()
    other.close()


def test_an_unknown_camera_is_named_and_the_connection_lives(server: CameraServer) -> None:
    eye = camera(server, "fromt")
    with pytest.raises(CameraFault, match="Did you mean 'front'"):
        eye.read()
    eye.name = "front"
    assert eye.read().image.shape == (112, 112, 3)
    eye.close()


@pytest.mark.parametrize(
    "line", [b"hello\n", b"[]\n", b'{"camera": 3, "size": 8}\n', b'{"camera": "front", "size": 9e9}\n']
)
def test_garbage_is_answered(server: CameraServer, line: bytes) -> None:
    with socket.create_connection((HOST, server.port), 2) as connection:
        connection.sendall(line)
        assert b"expected" in connection.recv(500)


def test_nobody_there() -> None:
    with pytest.raises(CameraFault, match=r"robo-reward emulate host=127\.0\.2\.9"):
        EmulatorCamera(host="127.0.2.9", port=9)


def test_the_emulator_dies(server: CameraServer) -> None:
    eye = camera(server)
    eye.read()
    server.close()
    with pytest.raises(CameraFault, match="start it again"):
        eye.read()
    eye.close()


def test_sizes() -> None:
    with pytest.raises(UsageError, match="8 to 2048"):
        EmulatorCamera(size=4)


def test_square_takes_the_middle() -> None:
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, 10:30] = 200
    assert (square(image, 10) == 200).all()
    assert square(image, 64).shape == (64, 64, 3)


def test_uvc_plays_a_file_and_says_when_it_ends(tmp_path) -> None:
    frames = np.zeros((6, 48, 64, 3), np.uint8)
    frames[..., 0] = 220  # red: the order of colours shows
    write_video(tmp_path / "red.mp4", frames, fps=20)
    eye = UvcCamera(str(tmp_path / "red.mp4"), size=24)
    frame = eye.read()
    assert frame.image.shape == (24, 24, 3)
    assert frame.image[12, 12, 0] > 150 > 90 > frame.image[12, 12, 2]
    time.sleep(0.5)
    with pytest.raises(CameraFault, match="stopped delivering"):
        eye.read()
    eye.close()


def test_no_such_device() -> None:
    with pytest.raises(CameraFault, match="ls /dev/video"):
        UvcCamera("/no/such/video.mp4")


def test_realsense_is_an_extra() -> None:
    from robo_reward.hardware.cameras import RealSenseCamera

    try:
        import pyrealsense2  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        with pytest.raises(MissingExtra, match=r"robo-reward\[realsense\]"):
            RealSenseCamera()
    else:
        with pytest.raises(CameraFault, match="none is connected"):
            RealSenseCamera()


def test_the_emulated_scene_reaches_another_socket() -> None:
    """Frames of the task's own scene, the same as the plant draws."""
    plant = MujocoPlant(make_task("fr3/push"))
    try:
        expected = plant.render("side", 48)
    except NoRenderer as error:
        pytest.skip(str(error))
    with CameraServer(plant, HOST, port=0) as server:
        eye = EmulatorCamera("side", HOST, 48, port=server.port)
        assert (eye.read().image == expected).all()
        plant.rearrange()
        assert (eye.read().image != expected).any()
        eye.close()
    plant.close()
