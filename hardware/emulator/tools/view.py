"""The live view: a page of this machine that shows an emulated arm and injects faults."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from robo_reward.errors import BadArtifact, RoboRewardError, UnknownName, UsageError
from robo_reward.files import parse_json
from robo_reward.hardware.emulator.robot.reflex import ERRORS
from robo_reward.hardware.emulator.tools.fault_server import CALLS, Name, Value, inject_fault
from robo_reward.hardware.emulator.wire.versions import ControllerMode, GeneratorMode
from robo_reward.hardware.emulator.world.cameras import SceneCameras
from robo_reward.hardware.emulator.world.mujoco_plant import MujocoPlant
from robo_reward.web.guard import Application
from robo_reward.web.page import make_page, read_json_body, respond_json
from robo_reward.web.server import listen, make_server

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from robo_reward.hardware.emulator.emulator import Emulator

STATIC = {"index.html": "text/html", "style.css": "text/css", "view.js": "text/javascript"}
FRAME_PERIOD = 1 / 8  # [s]; a higher frame rate would take CPU time from the emulated arm
SIZE = 400
_BODY_LIMIT = 1024
_BOUNDARY = b"frame"


class EmulatorView:
    """The content of the page, independent of HTTP.

    Args:
        emulator: the arm to show.

    Attributes:
        closing: whether the page's streams should end.
    """

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._eyes = SceneCameras(emulator.plant, emulator.faults)
        plant = emulator.plant
        self._scene = plant if isinstance(plant, MujocoPlant) else None
        self.closing = False

    def describe_emulator(self) -> dict[str, Any]:
        """Returns the facts that do not change."""
        emulator, arm = self._emulator, self._emulator.plant.arm
        task = self._scene.task if self._scene else None
        return {
            "robot": emulator.robot,
            "host": emulator.host,
            "lockstep": emulator.lockstep,
            "version": emulator.session.version.number,
            "task": task.id if task else "",
            "goal": task.goal if task else "",
            "cameras": list(task.cameras) if task else [],
            "q_min": list(arm.q_min),
            "q_max": list(arm.q_max),
            "tau_max": list(arm.tau_max),
            "errors": list(ERRORS),
        }

    def read_state(self) -> dict[str, Any]:
        """Returns the current state of the arm."""
        session, faults = self._emulator.session, self._emulator.faults
        body, motion = session.state, session.motion
        return {
            "mode": session.mode.name.lower(),
            "connected": self._emulator.is_connected,
            "time": session.time / 1000,
            "generator": GeneratorMode(motion.generator).name.lower() if motion else "",
            "controller": ControllerMode(motion.controller).name.lower() if motion else "",
            "success_rate": session.success_rate if motion else None,
            "q": _round_numbers(body.q),
            "q_d": _round_numbers(session.q_d),
            "dq": _round_numbers(body.dq),
            "tau_ext": _round_numbers(body.tau_ext),
            "wrench": _round_numbers(body.wrench),
            "gripper": {
                "width": round(body.gripper_width, 4),
                "force": round(body.gripper_force, 1),
                "moving": body.gripper_moving,
            },
            "contact": body.contact,
            "errors": sorted(session.errors),
            "done": self._scene.success() if self._scene else None,
            "faults": {
                "user_stop": faults.user_stopped,
                "guiding": faults.guided,
                "gripper_failure": faults.gripper_fails,
                "camera_freeze": faults.cameras_frozen,
                "refuse_connections": faults.refused,
                "stall": faults.is_stalled,
                "delay": faults.delay_ms,
            },
        }

    def press_button(self, name: str, args: list[Any]) -> None:
        """Executes a button: one of `fault_server.CALLS`, or `rearrange`.

        Raises:
            UnknownName: no such button.
            UsageError: arguments that the fault does not take.
        """
        if name == "rearrange":
            if self._scene is None:
                raise UsageError("this arm has no objects around it; start the emulator with task=…")
            self._scene.rearrange()
            return
        if name not in CALLS:
            raise UnknownName("button", name, (*CALLS, "rearrange"))
        inject_fault(self._emulator.faults, name, args)

    def encode_frame(self, camera: str, size: int = SIZE) -> bytes:
        """Returns a frame as JPEG.

        Raises:
            UnknownName: the task has no such camera.
        """
        import cv2

        frame = self._eyes.capture_frame(camera, size)
        encoded, data = cv2.imencode(".jpg", frame.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
        if not encoded:
            raise RoboRewardError(f"a frame of camera {camera!r} could not be encoded")
        return data.tobytes()


class ButtonPress(msgspec.Struct):
    """The body of a request for a button.

    Attributes:
        button: one of `fault_server.CALLS`, or `rearrange`.
        args: the arguments of the fault.
    """

    button: Name
    args: list[Value] = []


class ViewServer:
    """Serves the page from a thread of this process; a context manager.

    Args:
        emulator: the arm to show.
        port: the port to serve on; 0 for any free one.

    Attributes:
        url: the page's address; it contains a secret token, without which requests are refused.

    Raises:
        MissingExtra: starlette or uvicorn is not installed.
        UsageError: the port cannot be served.
    """

    host = "127.0.0.1"

    def __init__(self, emulator: Emulator, port: int = 0) -> None:
        self._view, token = EmulatorView(emulator), secrets.token_urlsafe(18)
        self._server = make_server(make_app(self._view, token, self.host))
        self._listening = listen(self.host, port)
        self.url = f"http://{self.host}:{self._listening.getsockname()[1]}/{token}/"
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._listening]}, name="view", daemon=True
        )

    def start(self) -> ViewServer:
        """Starts to serve."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stops the page; a second call has no effect."""
        self._view.closing = self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(5)
        self._listening.close()

    def __enter__(self) -> ViewServer:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.close()


def make_app(view: EmulatorView, token: str, host: str) -> Application:
    """Returns the ASGI application of the page.

    Args:
        view: the content of the page.
        token: the secret part of the page's address.
        host: the address that the server is bound to.

    Raises:
        MissingExtra: starlette is not installed.
    """
    gets = {
        "/cameras/{camera}": partial(_stream_camera, view),
        "/api/about": partial(_answer_json, view.describe_emulator),
        "/api/state": partial(_answer_json, view.read_state),
    }
    posts = {"/api/press": partial(_handle_press, view)}
    folder = files("robo_reward.hardware.emulator.tools") / "page"
    return make_page(folder, STATIC, gets, posts, token=token, host=host, verb="emulate", name="the live view")


async def _answer_json(answer: Callable[[], Any], request: Request) -> Response:
    return respond_json(answer())


async def _handle_press(view: EmulatorView, request: Request) -> Response:
    body = await read_json_body(request, _BODY_LIMIT)
    try:
        pressed = parse_json(body, ButtonPress, "the request")
    except BadArtifact as error:
        return respond_json({"error": f'expected {{"button": NAME, "args": [...]}}: {error.problem}'}, 400)
    try:
        view.press_button(pressed.button, pressed.args)
    except RoboRewardError as error:
        return respond_json({"error": str(error)}, 422)
    return respond_json({"pressed": pressed.button})


async def _stream_camera(view: EmulatorView, request: Request) -> Response:
    """Streams a camera as MJPEG: one JPEG after the other, in one answer that does not end."""
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import StreamingResponse

    camera = request.path_params["camera"]
    try:
        first = await run_in_threadpool(view.encode_frame, camera)
    except RoboRewardError as error:
        return respond_json({"error": str(error)}, 404)

    async def generate_frames() -> AsyncIterator[bytes]:
        picture, loop = first, asyncio.get_running_loop()
        while not view.closing:
            due = loop.time() + FRAME_PERIOD
            yield b"--%s\r\ncontent-type: image/jpeg\r\ncontent-length: %d\r\n\r\n" % (_BOUNDARY, len(picture))
            yield picture + b"\r\n"
            picture = await run_in_threadpool(view.encode_frame, camera)
            await asyncio.sleep(max(0.0, due - loop.time()))

    kind = f"multipart/x-mixed-replace; boundary={_BOUNDARY.decode()}"
    return StreamingResponse(generate_frames(), media_type=kind, headers={"cache-control": "no-store"})


def _round_numbers(values: np.ndarray) -> list[float]:
    return [round(float(v), 4) for v in values]
