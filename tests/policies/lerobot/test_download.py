"""A checkpoint of the Hugging Face hub, from a server on this machine that answers as the hub does."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from robo_reward.errors import UsageError
from robo_reward.policies.lerobot.checkpoint import Checkpoint
from robo_reward.policies.lerobot.process import download_checkpoint
from tests.policies.lerobot.checkpoints import write_checkpoint

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """The requests of the hub's interface that a download needs: the list of a repository's files, and one file."""

    folder: Path

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        where = self.path.partition("?")[0]
        if where.startswith("/api/models/me/lift/revision/"):
            files = [{"rfilename": path.name} for path in self.folder.iterdir()]
            data, kind = json.dumps({"id": "me/lift", "sha": COMMIT, "siblings": files}).encode(), "application/json"
        elif where.startswith("/api/models/me/lift/tree/"):  # asked for by huggingface_hub from 2.0 on
            files = [
                {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": path.name}
                for path in self.folder.iterdir()
            ]
            data, kind = json.dumps(files).encode(), "application/json"
        elif where.startswith(f"/me/lift/resolve/{COMMIT}/"):
            data, kind = (self.folder / where.rpartition("/")[2]).read_bytes(), "application/octet-stream"
        else:
            data, kind = b"", ""
        self.send_response(200 if kind else 404)
        headers = {"Content-Type": kind, "Content-Length": str(len(data)), "ETag": f'"{hash(data):x}"'}
        for name, value in {**headers, "X-Repo-Commit": COMMIT}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    Hub.folder = write_checkpoint(tmp_path / "theirs")
    (Hub.folder / "model.bin").write_bytes(b"a pickle that nobody needs")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_a_policy_of_the_hub_is_downloaded_without_pickles(hub: None, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("huggingface_hub")
    folder = download_checkpoint(Path(sys.executable), "me/lift")
    assert COMMIT in folder.parts and Checkpoint.read(folder).history == 2
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors"}
    with pytest.raises(UsageError, match="'me/lost' is no folder here, and the Hugging Face hub does not give it"):
        download_checkpoint(Path(sys.executable), "me/lost")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert download_checkpoint(Path(sys.executable), "me/lift") == folder
    with pytest.raises(UsageError, match=r"'no/such' is no folder here, and the Hugging Face hub .* give its folder"):
        download_checkpoint(Path(sys.executable), "no/such")
