"""Half-sent requests do not keep others away from the page."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'robo-reward[label]'")

from robo_reward.web import connections
from tests.house.source import ROOT
from tests.labelling.pages import call, served, write_clips

PAGE = """
import resource, sys
from pathlib import Path
from robo_reward.web.server import listen, serve
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})

with listen("127.0.0.1", 0) as listening:
    print(listening.getsockname()[1], flush=True)
    serve(app, listening)
"""


def half_sent(port: int) -> socket.socket:
    opened = socket.create_connection(("127.0.0.1", port), timeout=10)
    with suppress(ConnectionError):  # it may have made room for others already
        opened.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
    return opened


def ends(opened: socket.socket) -> bool:
    """Whether the server ends the connection, within ten seconds at most."""
    opened.settimeout(10)
    try:
        return opened.recv(1000) == b""
    except ConnectionResetError:
        return True


def test_many_half_sent_requests_keep_nobody_away() -> None:
    """A process that may open 128 files, and 150 connections that wait; the default is 1024 files."""
    command = [sys.executable, "-c", PAGE]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    try:
        port = int(process.stdout.readline())
        with ExitStack() as stack:
            waiting = [stack.enter_context(half_sent(port)) for _ in range(150)]
            for _ in range(20):
                reply = call(port, "GET", "/")
                assert (reply.status, reply.body) == (200, b"ok")
            assert ends(waiting[0])  # the oldest made room
        assert call(port, "GET", "/").status == 200
    finally:
        process.terminate()
        _, said = process.communicate(timeout=20)
    assert said == ""


def test_a_request_that_does_not_arrive_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "RECEIVE_SECONDS", 0.3)
    with served(write_clips(tmp_path, 2)) as page:
        silent = socket.create_connection(("127.0.0.1", page.port))
        slow = half_sent(page.port)
        body = socket.create_connection(("127.0.0.1", page.port))
        head = f"POST {page.path}api/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        body.sendall(head.encode() + b"Content-Length: 100\r\n\r\n{")
        kept = socket.create_connection(("127.0.0.1", page.port))
        for _ in range(2):  # a second request on the same connection
            kept.sendall(f"GET {page.path}api/state HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            assert kept.recv(100).startswith(b"HTTP/1.1 200")
            while b"}" not in kept.recv(10_000)[-3:]:
                pass
            time.sleep(0.05)
        with silent, slow, body, kept:
            assert all(map(ends, (silent, slow, body, kept)))
        assert call(page.port, "GET", page.path).status == 200


def test_answers_that_take_long_are_not_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "RECEIVE_SECONDS", 0.2)
    with served(write_clips(tmp_path, 2)) as page:
        ordinary = page.session.summary
        monkeypatch.setattr(page.session, "summary", lambda: time.sleep(0.5) or ordinary())
        assert call(page.port, "GET", f"{page.path}api/summary").status == 200


def test_limits_follow_the_files_that_may_be_open(monkeypatch: pytest.MonkeyPatch) -> None:
    for files, expected in ((1024, (256, 64)), (128, (32, 16)), (16, (8, 4)), (-1, (256, 64)), (1 << 20, (256, 64))):
        monkeypatch.setattr(connections.resource, "getrlimit", lambda _, soft=files: (soft, soft))
        assert connections.connection_limits() == expected
