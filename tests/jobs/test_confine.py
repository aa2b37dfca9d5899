from __future__ import annotations

import ctypes.util
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from robo_reward.jobs import landlock
from robo_reward.jobs.job import Job
from robo_reward.jobs.layers import layers
from robo_reward.jobs.runner import run_job
from robo_reward.jobs.seccomp import AUDIT, build_filter

MakeJob = Callable[..., Job]
linux = pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are Linux's")


@pytest.fixture(scope="module")
def held() -> dict[str, str]:
    return layers()


@pytest.fixture
def attacked(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], Path]:
    """What a job that tries everything came back with, and the folder of its victim."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("MY_ACCESS_TOKEN", "sk-secret")
    victim = make_job("ok", name="victim")
    (victim.folder / "reward.py").write_text("original")
    with socket.create_server(("127.0.0.1", 0)) as server:
        job = make_job("attacks", other=victim.folder, port=server.getsockname()[1], parent=os.getpid())
        return run_job(job.folder, timeout=60), victim.folder


def test_no_attack_gets_out(attacked: tuple[dict[str, Any], Path], held: dict[str, str]):
    found, victim = attacked
    environment, files = found.pop("environment"), found.pop("inherited files")
    assert len(files) == 5, "0-2, the pipe from the parent, and the listing itself"
    assert not [name for name, value in environment.items() if "sk-secret" in value]
    assert found.pop("key") == "KeyError"
    assert found.pop("chmod") == "done: None", "the call is answered, and does nothing"
    if all(verdict == "holds" for verdict in held.values()):
        assert not {name: answer for name, answer in found.items() if answer.startswith("done")}
        assert (victim / "reward.py").read_text() == "original"
        assert stat.S_IMODE((victim / "reward.py").stat().st_mode) & stat.S_IRUSR
    assert sorted(os.listdir(victim)) == ["reward.py", "spec.json"]
    assert sorted(os.listdir(victim.parent)) == ["attacks", "victim"]


def test_numerical_libraries_work_inside(make_job: MakeJob):
    result = run_job(make_job("computes").folder, timeout=120)
    assert result["matmul"] == 64 * 64 * 2
    assert result["z"] < 0 and result["rolled"] == pytest.approx(result["z"])
    assert result["threads"] == [1]


@pytest.mark.parametrize("backend", ["egl", "osmesa"])
def test_frames_can_be_drawn_inside(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, backend: str):
    if ctypes.util.find_library({"egl": "EGL", "osmesa": "OSMesa"}[backend]) is None:
        pytest.skip(f"no {backend} on this machine")
    monkeypatch.setenv("MUJOCO_GL", backend)
    result = run_job(make_job("renders").folder, timeout=120)
    assert result["shape"] == [1, 48, 64, 3] and result["brightest"] > 50


def test_extra_paths_can_be_read(make_job: MakeJob, tmp_path: Path):
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "weights").write_text("abc")
    job = make_job("reads", path=tmp_path / "start" / "weights")
    assert run_job(job.folder, read=[tmp_path / "start"]) == {"text": "abc"}


def test_layers_say_what_holds(held: dict[str, str]):
    assert set(held) == {"process", "environment", "memory", "files", "network", "programs", "signals"}
    assert all(verdict == "holds" or verdict.startswith("does not hold: ") for verdict in held.values())
    assert held["process"] == held["environment"] == "holds"
    if landlock.abi() >= 3:
        assert held["files"] == "holds"


FALLBACK = """
import json, os, socket, sys, threading
from pathlib import Path
from robo_reward.jobs import confine, landlock, seccomp
landlock.abi = lambda: 0
seccomp.platform_machine = lambda: "riscv64"
held = confine.confine(Path(sys.argv[1]), "json:loads")
try:
    socket.create_connection(("127.0.0.1", int(sys.argv[2])), 1).close()
    held["connected"] = "yes"
except OSError as error:
    held["connected"] = "no"
(Path(sys.argv[1]) / "held.json").write_text(json.dumps(held))
"""


@linux
def test_a_kernel_without_landlock_and_seccomp_is_no_error(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        subprocess.run([sys.executable, "-c", FALLBACK, str(tmp_path), port], check=True)
    held = json.loads((tmp_path / "held.json").read_text())
    assert "no Landlock" in held["files"] and "riscv64" in held["calls"]
    assert held["connected"] == ("yes" if held["network"] else "no")


@pytest.mark.parametrize("machine", list(AUDIT))
def test_every_jump_of_the_filter_lands_inside(machine: str):
    code = build_filter(machine, 1234)
    assert len(code) < 4096
    for at, (kind, yes, no, _) in enumerate(code):
        if kind & 0x07 == 0x05:
            assert at + 1 + max(yes, no) < len(code)
    assert code[-1][0] == 0x06


def _simulate(code: list[tuple[int, int, int, int]], data: dict[int, int]) -> int:
    """Runs the classic BPF of the filter over one call: an interpreter of our own, from the kernel's documentation."""
    at = value = 0
    while True:
        kind, yes, no, constant = code[at]
        if kind == 0x20:
            value = data.get(constant, 0)
        elif kind == 0x06:
            return constant
        else:
            true = {0x15: value == constant, 0x35: value >= constant, 0x45: bool(value & constant)}[kind]
            at += yes if true else no
        at += 1


@pytest.mark.parametrize(
    ("call", "refused"),
    [
        ({0: 0}, False),  # read
        ({0: 41}, True),  # socket
        ({0: 56, 16: 0x3D0F00}, False),  # clone of a thread
        ({0: 56, 16: 17}, True),  # fork
        ({0: 62, 16: 77}, False),  # kill(self)
        ({0: 62, 16: 1}, True),
        ({0: 234, 16: 77}, False),
        ({0: 157, 16: 1}, True),  # prctl(PR_SET_PDEATHSIG)
        ({0: 157, 16: 15}, False),
        ({0: 302, 32: 0, 36: 0}, False),  # getrlimit
        ({0: 302, 32: 8, 36: 0}, True),
        ({0: 302, 32: 0, 36: 0x7FFF}, True),
        ({0: 0x40000029}, True),  # x32
    ],
)
def test_calls_are_judged_by_their_arguments(call: dict[int, int], refused: bool):
    answer = _simulate(build_filter("x86_64", 77), {4: AUDIT["x86_64"], **call})
    assert (answer != 0x7FFF0000) == refused
    assert _simulate(build_filter("x86_64", 77), {4: 0x40000003, **call}) != 0x7FFF0000, "32-bit calls"
