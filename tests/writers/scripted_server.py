"""A server that plays a script: each request gets the next reply, or the last one again."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """What is sent back."""

    status: int = 200
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


def chat(text: str | None, finish: str = "stop", usage: tuple[int, int] | None = (10, 20)) -> Reply:
    """A chat completion."""
    body: dict[str, Any] = {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
    }
    if usage:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return Reply(body=json.dumps(body))


def failure(status: int, message: str = "no", headers: Mapping[str, str] | None = None, **more: Any) -> Reply:
    """An error as OpenAI words it."""
    return Reply(status, json.dumps({"error": {"message": message, **more}}), headers or {})


@dataclass
class Script:
    """The replies, and what was asked."""

    replies: list[Reply]
    models: tuple[str, ...] = ()
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    under_way: int = 0
    most: int = 0
    barrier: threading.Barrier | None = None

    def next(self, body: dict[str, Any]) -> Reply:
        """Notes a request and gives its reply."""
        with self.lock:
            self.asked.append(body)
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@contextmanager
def serving(*replies: Reply, models: tuple[str, ...] = (), barrier: int = 0) -> Iterator[Script]:
    """Runs the script on a free port of this machine; `barrier` requests must be under way before any is answered."""
    script = Script(list(replies), models, barrier=threading.Barrier(barrier, timeout=10) if barrier else None)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            script.authorizations.append(self.headers.get("Authorization", ""))
            with script.lock:
                script.under_way += 1
                script.most = max(script.most, script.under_way)
            if script.barrier:
                script.barrier.wait()
            reply = script.next(body)
            with script.lock:
                script.under_way -= 1
            self._send(reply)

        def do_GET(self) -> None:
            data = [{"id": name, "object": "model", "created": 0, "owned_by": "x"} for name in script.models]
            found = bool(script.models)
            self._send(Reply(200 if found else 404, json.dumps({"object": "list", "data": data})))

        def _send(self, reply: Reply) -> None:
            data = reply.body.encode()
            self.send_response(reply.status)
            for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    script.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
