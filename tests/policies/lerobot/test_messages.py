"""Messages to the process of a LeRobot policy, and every way in which that process can fail."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robo_reward.errors import UsageError
from robo_reward.policies.lerobot.child import BadFrame, pack_frame, read_frame
from robo_reward.policies.lerobot.process import LeRobotFailed, LeRobotProcess, download_checkpoint, find_python

FAKE = Path(__file__).with_name("fake_child.py")


class Stream:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def read(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise EOFError
        self.at += size
        return self.data[self.at - size : self.at]


def start() -> LeRobotProcess:
    return LeRobotProcess(Path(sys.executable), FAKE)


@pytest.fixture(scope="module")
def process() -> Iterator[LeRobotProcess]:
    found = start()
    yield found
    found.close()


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8"])
def test_arrays_come_through_as_they_are(dtype: str):
    arrays = {"a": np.arange(24).reshape(2, 3, 4).astype(dtype), "empty": np.zeros((0, 3), dtype)}
    head, found = read_frame(Stream(pack_frame({"kind": "é"}, arrays)).read)
    assert head == {"kind": "é"} and found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@given(st.integers(0, 200), st.integers(1, 255))
def test_a_changed_byte_is_noticed(at: int, change: int):
    data = bytearray(pack_frame({"kind": "act"}, {"a": np.arange(9.0)}))
    data[at % len(data)] ^= change
    with pytest.raises((BadFrame, EOFError)):
        read_frame(Stream(bytes(data)).read)


@pytest.mark.parametrize(
    "listed", ['[["a", "object", [1]]]', '[["a", "uint8", [-1]]]', '[["a", "uint8", [9]]]', "[3]", '{"a": 1}', "[]"]
)
def test_descriptions_that_do_not_fit_are_refused(listed: str):
    from zlib import crc32

    from robo_reward.policies.lerobot.child import MAGIC, PREFIX

    text, data = f'{{"head": {{}}, "arrays": {listed}}}'.encode(), b"12345678"
    with pytest.raises(BadFrame):
        read_frame(Stream(PREFIX.pack(MAGIC, len(text), len(data), crc32(data, crc32(text))) + text + data).read)


def test_a_process_answers_and_sees_none_of_our_variables(process: LeRobotProcess, monkeypatch: pytest.MonkeyPatch):
    large = np.random.default_rng(0).integers(0, 256, (3, 1 << 20), dtype=np.uint8)
    head, found = process.ask({"kind": "echo", "x": [1]}, {"large": large})
    assert head["x"] == [1]
    assert not [name for name in head["environment"] if name.startswith("ROBO_REWARD") or name == "PYTHONPATH"]
    np.testing.assert_array_equal(found["large"], large)
    with pytest.raises(LeRobotFailed, match="sizes 3 and 4"):
        process.ask({"kind": "echo", "fault": "failed"})
    assert process.ask({"kind": "echo"})[0]["kind"] == "echo"  # an error of one query is not the end


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("crash", "its process was ended by SIGKILL.*out of memory on device 0"),
        ("exit", "its process ended with code 1.*no module named lerobot"),
        ("garbage", "it sent bytes that are no message"),
        ("damage", "checksum"),
        ("half", "its process ended with code 3"),
        ("hang", "it did not answer to 'echo' within 0.2 s"),
    ],
)
def test_a_process_that_fails_is_ended_and_says_why(fault: str, said: str):
    process = start()
    process.ask({"kind": "echo"})
    with pytest.raises(LeRobotFailed, match=f"(?s){said}"):
        process.ask({"kind": "echo", "fault": fault}, timeout=0.2 if fault == "hang" else 60)
    assert process.process.poll() is not None
    with pytest.raises(LeRobotFailed, match=f"(?s){said}"):
        process.ask({"kind": "echo"})


def test_an_interrupted_query_is_not_answered_by_the_next(monkeypatch: pytest.MonkeyPatch):
    def interrupt(self: LeRobotProcess, size: int, deadline: float) -> bytes:
        raise KeyboardInterrupt

    process = start()
    with monkeypatch.context() as patch:
        patch.setattr(LeRobotProcess, "_receive", interrupt)
        with pytest.raises(KeyboardInterrupt):
            process.ask({"kind": "echo", "x": 1})
    with pytest.raises(LeRobotFailed, match="interrupted"):
        process.ask({"kind": "echo", "x": 2})


def test_an_interpreter_that_is_none(tmp_path: Path):
    with pytest.raises(UsageError, match=r"python=/nothing: expected the folder of a virtual environment .*uv venv"):
        find_python("/nothing")
    with pytest.raises(UsageError):
        find_python(str(tmp_path))
    assert find_python(sys.prefix) == Path(sys.prefix) / "bin" / "python"
    assert find_python(sys.executable) == Path(sys.executable)
    broken = tmp_path / "python"
    broken.write_text("no program")
    broken.chmod(0o755)
    with pytest.raises(LeRobotFailed, match="it cannot be started"):
        LeRobotProcess(broken)


def test_a_python_without_lerobot():
    process = LeRobotProcess(Path(sys.executable))
    with pytest.raises(LeRobotFailed, match=r"No module named 'lerobot'. Install it there: uv pip install --python "):
        process.ask({"kind": "load", "folder": "/nothing", "device": "", "sampling_steps": 0})
    process.close()


def test_a_policy_of_the_hub_is_downloaded_by_the_other_python(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("robo_reward.policies.lerobot.process.CHILD", FAKE)
    assert download_checkpoint(Path(sys.executable), "lerobot/act") == Path("/cache/lerobot/act")


def test_the_program_ends_with_its_parent():
    program = """
import sys, time
from pathlib import Path
from robo_reward.policies.lerobot.process import LeRobotProcess
process = LeRobotProcess(Path(sys.executable))
print(process.process.pid, flush=True)
time.sleep(60)
"""
    import subprocess

    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
    for _ in range(200):
        if not Path(f"/proc/{child}").exists() or " Z " in Path(f"/proc/{child}/stat").read_text():
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    raise AssertionError("the child outlived its parent by 10 s")
