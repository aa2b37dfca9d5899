import socket
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from robo_reward.envs.rendering.render import NoRenderer
from robo_reward.envs.task import make_task
from robo_reward.envs.video.files import write_video
from robo_reward.errors import MissingExtra, UnknownName, UsageError
from robo_reward.hardware.emulator.world.cameras import CameraServer
from robo_reward.hardware.emulator.world.mujoco_plant import MujocoPlant
from robo_reward.hardware.perception.camera_stream import LatestFrames
from robo_reward.hardware.perception.cameras import (
    CameraDevice,
    CameraFault,
    EmulatorCamera,
    Frame,
    RealSenseCamera,
    UvcCamera,
    _NewestFrameReader,
    crop_square,
)
from tests.hardware.patience import eventually

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
    server.cameras.faults.cameras_frozen = True
    during = [eye.read() for _ in range(2)]
    server.cameras.faults.cameras_frozen = False
    after = eye.read()
    eye.close()
    assert {frame.stamp for frame in during} == {before.stamp}
    assert all((frame.image == before.image).all() for frame in during)
    assert after.stamp > before.stamp and (after.image != before.image).all()


def test_each_camera_freezes_with_its_own_frame(server: CameraServer) -> None:
    one, other = camera(server, "front"), camera(server, "side")
    seen = one.read().image[0, 0, 0], other.read().image[0, 0, 0]
    server.cameras.faults.cameras_frozen = True
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


def test_a_connection_that_was_cut_is_made_again() -> None:
    with CameraServer(Painted(), HOST, port=0) as first:
        eye = camera(first, size=16)
        eye.read()
        port = first.port
    with pytest.raises(CameraFault):
        eye.read()
    with pytest.raises(CameraFault, match="no emulator"):
        eye.read()
    with CameraServer(Painted(), HOST, port=port):
        assert (eye.read().image == 1).all()
    eye.close()


class Unplugged:
    """Stands in for OpenCV: delivers four pictures, is gone for two attempts to open it, and comes back."""

    opened = 0

    def __init__(self, device: object) -> None:
        Unplugged.opened += 1
        self.number, self.taken, self.released = Unplugged.opened, 0, False

    def isOpened(self) -> bool:
        return self.number not in (2, 3)

    def set(self, key: int, value: float) -> None:
        pass

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.taken += 1
        time.sleep(0.005)
        if self.number == 1 and self.taken > 4:
            return False, None
        return True, np.full((8, 8, 3), self.number, np.uint8)

    def release(self) -> None:
        self.released = True


def test_a_usb_camera_that_was_unplugged_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    monkeypatch.setattr(cv2, "VideoCapture", Unplugged)
    monkeypatch.setattr("robo_reward.hardware.perception.cameras.REOPEN", 0.03)
    Unplugged.opened = 0
    eye = UvcCamera(0, size=8)
    said: set[str] = set()

    def back() -> bool:
        try:
            return bool((eye.read().image == 4).all())
        except CameraFault as fault:
            said.add(fault.cause)
            return False

    assert eventually(back)
    assert any("stopped delivering" in text for text in said) and any("cannot be opened" in text for text in said)
    eye.close()


class FakeRealSense:
    """Stands in for pyrealsense2: the pipeline breaks after two frames, and starts again at the second attempt."""

    def __init__(self) -> None:
        self.starts = 0
        self.stream = self.format = self.camera_info = SimpleNamespace(color=0, rgb8=0, serial_number=0)

    def config(self) -> object:
        return SimpleNamespace(enable_device=lambda serial: None, enable_stream=lambda *arguments: None)

    def context(self) -> object:
        return SimpleNamespace(query_devices=self.broken)

    def broken(self) -> list[object]:
        raise SystemError("the device vanished")

    def pipeline(self) -> object:
        frames = iter(range(10**6))

        def start(config: object) -> None:
            self.starts += 1
            if self.starts == 2:
                raise RuntimeError("No device connected")

        def wait(timeout: int) -> object:
            time.sleep(0.005)
            if self.starts == 1 and next(frames) > 2:
                raise RuntimeError("Device disconnected")
            picture = np.full((8, 8, 3), self.starts, np.uint8)
            return SimpleNamespace(get_color_frame=lambda: SimpleNamespace(get_data=lambda: picture))

        return SimpleNamespace(start=start, stop=self.broken, wait_for_frames=wait)


def test_a_realsense_that_was_unplugged_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyrealsense2", FakeRealSense())
    monkeypatch.setattr("robo_reward.hardware.perception.cameras.REOPEN", 0.03)
    eye = RealSenseCamera(size=8)
    frames = LatestFrames([eye], rate=200)
    assert eventually(
        lambda: "camera 'realsense': it stopped delivering frames (Device disconnected)" in frames.describe_failures()
    )
    assert eventually(lambda: (frames.read().image == 3).all() and not frames.describe_failures())
    frames.close()


def test_sizes() -> None:
    with pytest.raises(UsageError, match="8 to 2048"):
        EmulatorCamera(size=4)


def test_square_takes_the_middle() -> None:
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, 10:30] = 200
    assert (crop_square(image, 10) == 200).all()
    assert crop_square(image, 64).shape == (64, 64, 3)


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


def test_an_opening_that_raises_anything_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robo_reward.hardware.perception.cameras.REOPEN", 0.01)
    opened = []

    def open_device() -> CameraDevice:
        opened.append(1)
        if len(opened) == 2:
            raise ValueError("enumeration failed")
        pictures = iter([np.zeros((8, 8, 3), np.uint8)] * (1 if len(opened) == 1 else 10**6))
        return CameraDevice(lambda: next(pictures, None), lambda: 1 / 0)

    newest = _NewestFrameReader("it", open_device, 1.0)
    assert eventually(lambda: len(opened) == 3 and newest._problem == "")
    newest.close()


def test_a_picture_of_another_size_than_was_calibrated_ends_for_good() -> None:
    def take() -> np.ndarray:
        raise UsageError("its calibration is for another size: calibrate it again")

    newest = _NewestFrameReader("it", lambda: CameraDevice(take, lambda: None), 1.0)
    with pytest.raises(CameraFault, match="calibrate it again") as caught:
        newest.read()
    assert caught.value.permanent
    newest.close()


class Moody:
    """A camera that gives pictures, and now and then raises something else."""

    name = "moody"

    def __init__(self) -> None:
        self.problem: Exception | None = None

    def read(self) -> Frame:
        if self.problem is not None:
            raise self.problem
        return Frame(time.monotonic(), np.zeros((8, 8, 3), np.uint8))

    def close(self) -> None:
        pass


def test_whatever_a_camera_raises_its_thread_goes_on() -> None:
    eye = Moody()
    frames = LatestFrames([eye], rate=200)
    eye.problem = ZeroDivisionError("a bug")
    assert eventually(lambda: "ZeroDivisionError: a bug" in frames.describe_failures()) and not frames.lost_for_good()
    eye.problem = CameraFault("moody", "calibrate it again", "then start again", permanent=True)
    assert eventually(frames.lost_for_good)
    eye.problem = None
    assert eventually(lambda: not frames.describe_failures())
    frames.close()
