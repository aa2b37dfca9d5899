"""Clips, and a labelling page served from a thread or from a process of its own."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from robo_reward.envs.video.files import write_video
from robo_reward.labelling.clips import find_clips
from robo_reward.labelling.page.app import make_app
from robo_reward.labelling.page.session import LabellingSession, LabellingSettings, load_or_create_token
from robo_reward.labelling.queries import make_queries
from robo_reward.labelling.store import PreferenceStore
from robo_reward.web.server import listen, make_server
from tests.house.source import ROOT


def write_clips(folder: Path, count: int, size: tuple[int, int] = (48, 32), frames: int = 6) -> Path:
    """So many short videos of a moving block, each of its own colour."""
    for i in range(count):
        pictures = np.full((frames, size[1], size[0], 3), (40 + 7 * i % 200, 80, 160 - 5 * i % 100), np.uint8)
        for t in range(frames):
            pictures[t, 8:24, 4 + 3 * t : 16 + 3 * t] = (240, 200, 10 * i % 250)
        write_video(folder / f"clip{i:02}.mp4", pictures, fps=20)
    return folder


class Served(NamedTuple):
    """A page that runs."""

    url: str
    store: PreferenceStore
    session: LabellingSession

    @property
    def port(self) -> int:
        return int(self.url.split(":")[2].split("/")[0])

    @property
    def path(self) -> str:
        return "/" + self.url.split("/", 3)[3]


@contextmanager
def served(
    folder: Path, where: str = "", mode: str = "pair", k: int = 2, target: int = 1000, **more: Any
) -> Iterator[Served]:
    """The page over a folder of clips, in a thread of this process."""
    work = folder / "labels"
    work.mkdir(exist_ok=True)
    clips = find_clips(folder, work / "videos")
    queries = make_queries("random", [video.id for video in clips.videos], k, seed=0, shared=more.pop("shared", 0.25))
    settings = LabellingSettings(mode, k, min(target, queries.total), folder.name, "Which is faster?", **more)
    with PreferenceStore(where or work / "preferences.db") as store, listen("127.0.0.1", 0) as listening:
        session = LabellingSession(clips, store, queries, settings)
        server = make_server(make_app(session, load_or_create_token(work), "127.0.0.1"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        port = listening.getsockname()[1]
        thread.start()
        try:
            yield Served(f"http://127.0.0.1:{port}/{load_or_create_token(work)}/", store, session)
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def call(port: int, method: str, path: str, body: Any = None, **headers: str) -> Reply:
    """One request; `content_type` and the like become header names."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {"content-type": "application/json"} if data is not None else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, data, sent)
        reply = connection.getresponse()
        return Reply(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())
    finally:
        connection.close()


@contextmanager
def command(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`robo-reward label FOLDER …` as a process, and its address."""
    words = [sys.executable, "-m", "robo_reward.cli", "label", str(folder), *arguments]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    try:
        end = time.monotonic() + 60
        for line in process.stdout:
            found = re.search(r"http://\S+", line)
            if found:
                yield process, found.group()
                break
            assert time.monotonic() < end
        else:
            pytest.fail(f"the page did not start: {process.stderr.read()}")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
