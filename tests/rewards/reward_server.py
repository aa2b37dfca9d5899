"""A reward server over real HTTP that speaks both protocols, and fails as it is told to.

The multipart form is read by the standard library's parser of e-mail, which knows nothing of how it was written.
"""

from __future__ import annotations

import base64
import email.parser
import email.policy
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

Frames = np.ndarray


def brightness(frames: Frames) -> list[float]:
    """The share of white in each frame: what the server takes for progress."""
    return (frames.reshape(len(frames), -1).mean(1) / 255.0).tolist()


@dataclass
class Seen:
    """A request.

    Args:
        path: of the address.
        headers: lower case name -> value.
        goals: of its episodes.
        frames: of its episodes.
        fields: further fields of a form.
    """

    path: str
    headers: dict[str, str]
    goals: list[str]
    frames: list[Frames]
    fields: dict[str, str] = field(default_factory=dict)


@dataclass
class RewardServerScript:
    """What the server does.

    Args:
        replies: one per request, in order: a status, (status, headers, body), or a function that changes the answer;
            without any, requests are answered.
        success: whether Robometer's model has a head for success.
    """

    replies: list[Any] = field(default_factory=list)
    success: bool = True
    url: str = ""
    seen: list[Seen] = field(default_factory=list)


@contextmanager
def serve_rewards(script: RewardServerScript) -> Iterator[RewardServerScript]:
    """Serves until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            form = headers["content-type"].startswith("multipart/form-data")
            seen = read_form(self.path, headers, body) if form else read_json(self.path, headers, body)
            script.seen.append(seen)
            answer = answer_form(seen, script.success) if form else {"rewards": [brightness(f) for f in seen.frames]}
            reply = script.replies.pop(0) if script.replies else None
            if isinstance(reply, Callable):
                answer, reply = reply(answer), None
            status, more, text = (200, {}, json.dumps(answer)) if reply is None else complete(reply)
            if status == 0:  # hangs up
                self.close_connection = True
                return
            data = text.encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **more}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    script.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()


def complete(reply: Any) -> tuple[int, dict[str, str], str]:
    if isinstance(reply, int):
        return reply, {}, '{"detail": "as told"}'
    if isinstance(reply, str):
        return 200, {}, reply
    if isinstance(reply, float):
        time.sleep(reply)
        return 200, {}, "{}"
    return reply


def read_json(path: str, headers: dict[str, str], body: bytes) -> Seen:
    episodes = json.loads(body)["episodes"]
    frames = [np.frombuffer(base64.b64decode(e["frames"]), np.uint8).reshape(e["shape"]) for e in episodes]
    return Seen(path, headers, [e["goal"] for e in episodes], frames)


def read_form(path: str, headers: dict[str, str], body: bytes) -> Seen:
    head = f"Content-Type: {headers['content-type']}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    fields, arrays = {}, {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content: Any = part.get_payload(decode=True)
        if part.get_filename():
            assert part.get_filename() == f"{name}.npy" and part.get_content_type() == "application/octet-stream"
            arrays[name] = np.load(io.BytesIO(content), allow_pickle=False)
        else:
            fields[name] = content.decode()
    samples = [json.loads(fields.pop(f"sample_{i}")) for i in range(len(arrays))]
    goals, frames = [], []
    for sample in samples:
        trajectory = sample["trajectory"]
        assert sample["sample_type"] == "progress" and trajectory["video_embeddings"] is None
        found = arrays[trajectory["frames"]["__numpy_file__"]]
        assert list(found.shape) == trajectory["frames_shape"] and found.dtype == np.uint8
        assert trajectory["metadata"]["subsequence_length"] == len(found)
        goals.append(trajectory["task"])
        frames.append(found)
    assert len({f.shape for f in frames}) == 1  # the model's collator stacks them
    return Seen(path, headers, goals, frames, fields)


def answer_form(seen: Seen, success: bool) -> dict[str, Any]:
    progress = [brightness(f) for f in seen.frames]
    probs = {"success_probs": [[float(p > 0.5) for p in row] for row in progress]}
    return {
        "outputs_preference": None,
        "outputs_progress": {"progress_pred": progress},
        "outputs_success": probs if success else None,
    }
