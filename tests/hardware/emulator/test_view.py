"""The live view over HTTP and in a real Chromium."""

import http.client
import json
import shutil
import time
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from robo_reward.envs.arm.model import FR3
from robo_reward.envs.rendering.render import NoRenderer
from robo_reward.envs.task import make_task
from robo_reward.errors import UnknownName, UsageError
from robo_reward.hardware.emulator.emulator import Emulator
from robo_reward.hardware.emulator.tools.view import EmulatorView, ViewServer
from robo_reward.hardware.emulator.world.mujoco_plant import MujocoPlant
from tests.labelling.pages import call
from tests.report.test_browser import ARGUMENTS, CONTRAST

pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'robo-reward[label]'")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def shown():
    plant = MujocoPlant(make_task("fr3/lift"), seed=1)
    try:
        plant.render("front", 32)
    except NoRenderer as error:
        pytest.skip(str(error))
    with Emulator("fr3", "127.0.2.11", plant) as emulator, ViewServer(emulator) as server:
        yield emulator, server
    plant.close()


@pytest.fixture(autouse=True)
def _well_again(shown):
    yield
    shown[0].faults.clear()


def ask(server: ViewServer, method: str, path: str, body: Any = None, **headers: str):
    where = urlsplit(server.url)
    assert where.port is not None
    return call(where.port, method, where.path + path, body, **headers)


def until(true, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_state_is_the_arms(shown) -> None:
    emulator, server = shown
    about, state = ask(server, "GET", "api/about").json, ask(server, "GET", "api/state").json
    assert (about["robot"], about["task"], about["version"]) == ("fr3", "fr3/lift", 10)
    assert about["cameras"] == ["front", "side", "top", "wrist"]
    assert np.allclose(about["q_min"], FR3.q_min)
    assert (state["mode"], state["connected"], state["errors"], state["done"]) == ("idle", False, [], False)
    assert np.allclose(state["q"], emulator.plant.state().q, atol=1e-3)
    assert state["gripper"]["width"] == pytest.approx(0.08)


def test_buttons_are_faults(shown) -> None:
    emulator, server = shown
    assert ask(server, "POST", "api/press", {"button": "user_stop", "args": [True]}).status == 200
    until(lambda: ask(server, "GET", "api/state").json["mode"] == "user_stopped")
    assert emulator.faults.user_stopped
    ask(server, "POST", "api/press", {"button": "clear"})
    until(lambda: ask(server, "GET", "api/state").json["mode"] == "idle")
    cube = emulator.plant.task_state().cube_position.copy()
    ask(server, "POST", "api/press", {"button": "rearrange"})
    assert np.abs(emulator.plant.task_state().cube_position - cube).max() > 1e-3


def test_wrong_buttons_are_answered(shown) -> None:
    _, server = shown
    wrong = ask(server, "POST", "api/press", {"button": "user_stp"})
    assert wrong.status == 422 and "user_stop" in wrong.json["error"]
    assert ask(server, "POST", "api/press", {"button": "drop_packets", "args": ["many"]}).status == 422
    assert ask(server, "POST", "api/press", {"button": "reflex", "args": ["none_such"]}).status == 422
    for body in (
        b"[]",
        b'{"button": "drop_packets", "args": [1e999]}',
        b'{"button": "stall", "args": [NaN]}',
        b"[" * 900,
    ):
        assert ask(server, "POST", "api/press", body).status == 400
    assert ask(server, "POST", "api/press", {"button": "x" * 2000}).status == 413
    assert ask(server, "POST", "api/press", {"button": "clear"}, content_type="text/plain").status == 415
    assert ask(server, "GET", "cameras/frnt").status == 404


def test_strangers_are_turned_away(shown) -> None:
    _, server = shown
    where = urlsplit(server.url)
    assert where.port is not None
    assert call(where.port, "GET", "/api/state").status == 404
    assert b"robo-reward emulate" in call(where.port, "GET", "/").body
    assert ask(server, "GET", "", host="evil.example").status == 403
    assert ask(server, "POST", "api/press", {"button": "clear"}, origin="http://evil.example").status == 403


def test_the_film_runs_and_freezes(shown) -> None:
    emulator, server = shown
    where = urlsplit(server.url)
    connection = http.client.HTTPConnection("127.0.0.1", where.port, timeout=20)
    connection.request("GET", where.path + "cameras/front")
    reply = connection.getresponse()
    assert reply.getheader("content-type", "").startswith("multipart/x-mixed-replace")
    data = b""
    while data.count(b"\xff\xd9\r\n--frame") < 2:
        data += reply.read1(65536)
    connection.close()
    jpeg = data[data.index(b"\xff\xd8") : data.index(b"\xff\xd9") + 2]
    assert len(jpeg) > 2000
    view = EmulatorView(emulator)
    before = view.encode_frame("front", 64)
    emulator.faults.camera_freeze(True)
    emulator.plant.rearrange()
    assert view.encode_frame("front", 64) == before
    emulator.faults.camera_freeze(False)
    assert view.encode_frame("front", 64) != before


def test_an_arm_without_a_scene_has_a_page() -> None:
    with Emulator("panda", "127.0.2.12") as emulator:
        view = EmulatorView(emulator)
        assert view.describe_emulator()["cameras"] == [] and json.dumps(view.read_state())
        with pytest.raises(UsageError, match="task="):
            view.press_button("rearrange", [])
        with pytest.raises(UnknownName):
            view.press_button("press", [])


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")
def test_in_a_browser(shown) -> None:
    _, server = shown
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        noise: list[str] = []
        page.on("console", lambda message: noise.append(message.text))
        page.on("pageerror", lambda error: noise.append(str(error)))
        page.goto(server.url, wait_until="commit")
        page.get_by_text("Pick up the red cube").wait_for()
        until(lambda: page.evaluate("document.querySelector('#picture').naturalWidth") == 400)
        page.get_by_text("User stop").click()
        until(lambda: page.locator("#mode").inner_text() == "user stopped")
        page.locator("#reflex-name").select_option("joint_reflex")
        page.get_by_text("Trigger").click()
        until(lambda: page.locator("#errors").inner_text() == "joint reflex")
        page.get_by_text("Clear all faults").click()
        until(lambda: page.locator("#mode").inner_text() == "reflex")  # only a client can recover
        page.get_by_role("button", name="wrist").click()
        until(lambda: page.evaluate("document.querySelector('#picture').src").endswith("wrist"))
        assert page.evaluate(CONTRAST) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert noise == []
        browser.close()
