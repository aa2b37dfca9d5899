"""The live view: a page of this machine that shows an emulated arm and makes things go wrong."""

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

from robo_reward.errors import BadArtifact, MissingExtra, RoboRewardError, UnknownName, UsageError
from robo_reward.files import parse_json
from robo_reward.hardware.emulator.camera_server import Eyes
from robo_reward.hardware.emulator.fault_server import CALLS, Name, Value, inject
from robo_reward.hardware.emulator.mujoco_plant import MujocoPlant
from robo_reward.hardware.emulator.reflex import ERRORS
from robo_reward.hardware.emulator.versions import Controller, Generator
from robo_reward.preferences.page.guard import Application, Guard
from robo_reward.preferences.page.server import listen, make_server

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from robo_reward.hardware.emulator.emulator import Emulator

STATIC = {"index.html": "text/html", "style.css": "text/css", "view.js": "text/javascript"}
FRAME_PERIOD = 1 / 8  # a faster film would take the processor from the arm
SIZE = 400
_BODY_LIMIT = 1024
_BOUNDARY = b"frame"


class View:
    """What the page shows, without a word of HTTP.

    Args:
        emulator: the arm.
    """

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._eyes = Eyes(emulator.plant, emulator.faults)
        plant = emulator.plant
        self._scene = plant if isinstance(plant, MujocoPlant) else None
        self.closing = False

    def about(self) -> dict[str, Any]:
        """What does not change."""
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

    def state(self) -> dict[str, Any]:
        """What the arm does now."""
        session, faults = self._emulator.session, self._emulator.faults
        body, motion = session.state, session.motion
        return {
            "mode": session.mode.name.lower(),
            "connected": self._emulator.connected,
            "time": session.time / 1000,
            "generator": Generator(motion.generator).name.lower() if motion else "",
            "controller": Controller(motion.controller).name.lower() if motion else "",
            "success_rate": session.success_rate if motion else None,
            "q": _numbers(body.q),
            "q_d": _numbers(session.q_d),
            "dq": _numbers(body.dq),
            "tau_ext": _numbers(body.tau_ext),
            "wrench": _numbers(body.wrench),
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
                "stall": faults.stalled,
                "delay": faults.delay_ms,
            },
        }

    def press(self, name: str, args: list[Any]) -> None:
        """A button: one of `fault_server.CALLS`, or `rearrange`.

        Raises:
            UnknownName: no such button.
            UsageError: arguments that do not go with it.
        """
        if name == "rearrange":
            if self._scene is None:
                raise UsageError("this arm has no things around it; start the emulator with task=…")
            self._scene.rearrange()
            return
        if name not in CALLS:
            raise UnknownName("button", name, (*CALLS, "rearrange"))
        inject(self._emulator.faults, name, args)

    def picture(self, camera: str, size: int = SIZE) -> bytes:
        """A frame as JPEG.

        Raises:
            UnknownName: the task has no such camera.
        """
        import cv2

        frame = self._eyes.frame(camera, size)
        encoded, data = cv2.imencode(".jpg", frame.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
        if not encoded:
            raise RoboRewardError(f"a frame of camera {camera!r} could not be encoded")
        return data.tobytes()


class Press(msgspec.Struct):
    """The body of a pressed button.

    Attributes:
        button: one of `fault_server.CALLS`, or `rearrange`.
        args: of the fault.
    """

    button: Name
    args: list[Value] = []


class ViewServer:
    """Serves the page from a thread of this process; a context manager.

    Args:
        emulator: the arm.
        port: 0 for any that is free.

    Attributes:
        url: the page's address; whoever does not know all of it gets nothing.

    Raises:
        MissingExtra: starlette or uvicorn is not installed.
        UsageError: the port cannot be served.
    """

    host = "127.0.0.1"

    def __init__(self, emulator: Emulator, port: int = 0) -> None:
        self._view, token = View(emulator), secrets.token_urlsafe(18)
        self._server = make_server(make_app(self._view, token, self.host))
        self._listening = listen(self.host, port)
        self.url = f"http://{self.host}:{self._listening.getsockname()[1]}/{token}/"
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._listening]}, name="view", daemon=True
        )

    def start(self) -> ViewServer:
        """Begins to serve."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Ends the page; closing twice is harmless."""
        self._view.closing = self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(5)
        self._listening.close()

    def __enter__(self) -> ViewServer:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.close()


def make_app(view: View, token: str, host: str) -> Application:
    """The ASGI application of the page.

    Args:
        view: what it shows.
        token: the secret part of its address.
        host: what the server is bound to.

    Raises:
        MissingExtra: starlette is not installed.
    """
    try:
        from starlette.applications import Starlette
        from starlette.routing import Route
    except ImportError:
        raise MissingExtra("starlette", "label", "the live view") from None
    routes = [
        Route("/", partial(_static, "index.html")),
        *(Route(f"/{name}", partial(_static, name)) for name in STATIC),
        Route("/cameras/{camera}", partial(_stream, view)),
        Route("/api/about", partial(_told, view.about)),
        Route("/api/state", partial(_told, view.state)),
        Route("/api/press", partial(_press, view), methods=["POST"]),
    ]
    return Guard(Starlette(routes=routes), token, host, "emulate")


async def _told(answer: Callable[[], Any], request: Request) -> Response:
    return _json(answer())


async def _press(view: View, request: Request) -> Response:
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        return _json({"error": "expected application/json"}, 415)
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _BODY_LIMIT:
            return _json({"error": f"more than {_BODY_LIMIT} bytes"}, 413)
    try:
        pressed = parse_json(body, Press, "the request")
    except BadArtifact as error:
        return _json({"error": f'expected {{"button": NAME, "args": [...]}}: {error.problem}'}, 400)
    try:
        view.press(pressed.button, pressed.args)
    except RoboRewardError as error:
        return _json({"error": str(error)}, 422)
    return _json({"pressed": pressed.button})


async def _stream(view: View, request: Request) -> Response:
    """A camera as a film: one JPEG after the other, in one answer that does not end (MJPEG)."""
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import StreamingResponse

    camera = request.path_params["camera"]
    try:
        first = await run_in_threadpool(view.picture, camera)
    except RoboRewardError as error:
        return _json({"error": str(error)}, 404)

    async def film() -> AsyncIterator[bytes]:
        picture, loop = first, asyncio.get_running_loop()
        while not view.closing:
            due = loop.time() + FRAME_PERIOD
            yield b"--%s\r\ncontent-type: image/jpeg\r\ncontent-length: %d\r\n\r\n" % (_BOUNDARY, len(picture))
            yield picture + b"\r\n"
            picture = await run_in_threadpool(view.picture, camera)
            await asyncio.sleep(max(0.0, due - loop.time()))

    kind = f"multipart/x-mixed-replace; boundary={_BOUNDARY.decode()}"
    return StreamingResponse(film(), media_type=kind, headers={"cache-control": "no-store"})


async def _static(name: str, request: Request) -> Response:
    from starlette.responses import Response

    content = (files("robo_reward.hardware.emulator") / "page" / name).read_bytes()
    return Response(content, media_type=STATIC[name], headers={"cache-control": "no-cache"})


def _json(value: Any, status: int = 200) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse(value, status, headers={"cache-control": "no-store"})


def _numbers(values: np.ndarray) -> list[float]:
    return [round(float(v), 4) for v in values]
