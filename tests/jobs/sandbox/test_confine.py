from __future__ import annotations

import ctypes.util
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from robo_reward.errors import UsageError
from robo_reward.jobs.failures import JobFailed, JobOutOfMemory
from robo_reward.jobs.job import Job
from robo_reward.jobs.plugin_paths import find_plugin_paths
from robo_reward.jobs.runner import run_job
from robo_reward.jobs.sandbox import landlock
from robo_reward.jobs.sandbox.layers import probe_layers
from robo_reward.jobs.sandbox.limits import Limits
from robo_reward.jobs.sandbox.seccomp import AUDIT, build_filter

MakeJob = Callable[..., Job]
linux = pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are Linux's")


@pytest.fixture(scope="module")
def held() -> dict[str, str]:
    return probe_layers()


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
    assert sorted(os.listdir(victim.parent)) == [".attacks.spec.json", ".victim.spec.json", "attacks", "victim"]


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


UNPRIVILEGED = """
import json, os, subprocess, sys
from robo_reward.jobs.job import Job
from robo_reward.jobs.runner import run_job
victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
try:
    job = Job.create(sys.argv[1], {"entry": "tests.jobs.entries:cripples", "victim": victim.pid})
    tried = run_job(job.folder, timeout=60)
    state = [os.getpriority(os.PRIO_PROCESS, victim.pid), os.sched_getscheduler(victim.pid),
             sorted(os.sched_getaffinity(victim.pid)), victim.poll()]
    print(json.dumps({"tried": tried, "state": state}))
finally:
    victim.kill()
"""


@linux
@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="takes the capabilities of root away")
def test_a_job_of_an_ordinary_user_leaves_the_users_other_processes_alone(tmp_path: Path):
    """As root the kernel's capability rule hides it: the job has none, the victim has all."""
    command = [
        "setpriv",
        "--bounding-set=-all",
        "--inh-caps=-all",
        sys.executable,
        "-c",
        UNPRIVILEGED,
        str(tmp_path / "j"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found["tried"].values()) == {"PermissionError"}, found["tried"]
    assert found["state"] == [os.getpriority(os.PRIO_PROCESS, 0), os.SCHED_OTHER, sorted(os.sched_getaffinity(0)), None]


@linux
@pytest.mark.parametrize(
    ("entry", "kind", "reason"),
    [
        ("fills_memory_file", JobOutOfMemory, "shared memory included"),
        ("fills_shared_mapping", JobOutOfMemory, "shared memory included"),
        ("starts_threads", JobFailed, "threads; its limit is 64"),
    ],
)
def test_what_the_kernel_does_not_limit_is_watched(make_job: MakeJob, entry: str, kind: type[JobFailed], reason: str):
    limits = Limits(memory=256 << 20, threads=64)
    with pytest.raises(JobFailed, match=reason) as caught:
        run_job(make_job(entry).folder, timeout=60, limits=limits)
    assert type(caught.value) is kind


def test_a_job_cannot_rewrite_what_its_next_run_reads(make_job: MakeJob):
    job = make_job("rewrites_its_spec", value=1)
    with pytest.raises(JobFailed, match=r"attempt 1: tests\.jobs\.entries:rewrites_its_spec"):
        run_job(job.folder)
    assert job.load_spec()["entry"] == "other.package:look", "the job may write in its folder"
    with pytest.raises(JobFailed, match=r"attempt 2: tests\.jobs\.entries:rewrites_its_spec"):
        run_job(job.folder)
    job.sealed_path.unlink()
    with pytest.raises(UsageError, match=r"Job\.create"):
        run_job(job.folder)


PLUGIN = """
import gymnasium.envs.mujoco.mujoco_env  # imports glfw
from pathlib import Path

def look(job):
    return {"text": (Path(__file__).parent / "data.txt").read_text()}
"""


def test_a_plugin_outside_of_the_interpreter_can_be_imported(
    tmp_path: Path, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
):
    """As an editable installation, or a package on PYTHONPATH, is; its entry is another package's."""
    package, metadata = tmp_path / "lib" / "mylab", tmp_path / "lib" / "mylab-1.0.dist-info"
    for folder in (package, metadata):
        folder.mkdir(parents=True)
    (package / "__init__.py").write_text(PLUGIN)
    (package / "data.txt").write_text("scene")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mylab\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[robo_reward.tasks]\nmylab/left = mylab:look\n")
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    monkeypatch.delitem(sys.modules, "mylab", raising=False)  # of another test
    find_plugin_paths.cache_clear()
    try:
        assert run_job(make_job("calls_plugin").folder, timeout=60) == {"text": "scene"}
    finally:
        find_plugin_paths.cache_clear()


def test_of_a_folder_that_an_installer_puts_on_the_path_only_the_modules_are_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """An editable installation by a build tool that names no modules in the metadata."""
    site, source = tmp_path / "site", tmp_path / "project"
    metadata = site / "other_lab-1.0.dist-info"
    for folder in (metadata, source / "other_lab", source / "other_scenes", source / "runs" / "it"):
        folder.mkdir(parents=True)
    for name in ("other_lab/__init__.py", "other_scenes/__init__.py", "other_numbers.py", "runs/it/secret"):
        (source / name).write_text("")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: other-lab\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[robo_reward.tasks]\nother/left = other_lab:left\n")
    (metadata / "RECORD").write_text("_other_lab.pth,,\n")
    (site / "_other_lab.pth").write_text(f"{source}\n")
    monkeypatch.syspath_prepend(site)
    monkeypatch.syspath_prepend(source)
    find_plugin_paths.cache_clear()
    try:
        found = set(find_plugin_paths())
    finally:
        find_plugin_paths.cache_clear()
    wanted = {source / "other_lab", source / "other_scenes", source / "other_numbers.py", metadata}
    assert wanted <= found
    assert not {path for path in found - wanted if path.is_relative_to(tmp_path)}


ENVIRONMENTS = {
    "dm_control": "finger-spin",
    "gymnasium_robotics": "FetchPush-v4",
    "metaworld": "drawer-open-v3",
}


def test_a_job_can_step_the_environments_of_other_packages(make_job: MakeJob):
    """They import glfw, which looks for its library with a program unless it is told where it is."""
    for module in ENVIRONMENTS:
        pytest.importorskip(module, reason="needs the extra `suites`")
    found = run_job(make_job("steps_environments", environments=ENVIRONMENTS).folder, timeout=100)
    assert found == {"moved": dict.fromkeys(ENVIRONMENTS, True)}


@pytest.mark.parametrize("entry", ["reads", "resolves", "loads_library", "loads_model"])
def test_a_refusal_names_the_sandbox(make_job: MakeJob, tmp_path: Path, entry: str):
    (tmp_path / "secret").write_text("x")
    with pytest.raises(JobFailed, match="The job's sandbox may have refused this"):
        run_job(make_job(entry, path=tmp_path / "secret").folder)


def test_packages_of_another_environment_can_be_read(
    tmp_path: Path, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
):
    """As a cluster's modules put them on PYTHONPATH; what lies beside them stays closed."""
    other = tmp_path / "other" / "lib" / "site-packages"
    other.mkdir(parents=True)
    (other / "module.py").write_text("scene")
    (other.parent / "secret").write_text("x")
    monkeypatch.setenv("PYTHONPATH", str(other))
    assert run_job(make_job("reads", path=other / "module.py").folder, timeout=60) == {"text": "scene"}
    with pytest.raises(JobFailed, match="PermissionError"):
        run_job(make_job("reads", name="beside", path=other.parent / "secret").folder)


def test_extra_paths_can_be_read(make_job: MakeJob, tmp_path: Path):
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "weights").write_text("abc")
    job = make_job("reads", path=tmp_path / "start" / "weights")
    assert run_job(job.folder, read=[tmp_path / "start"]) == {"text": "abc"}


def test_layers_say_what_holds(held: dict[str, str]):
    assert set(held) == {"process", "environment", "memory", "files", "network", "programs", "signals"}
    assert all(verdict == "holds" or verdict.startswith("does not hold: ") for verdict in held.values())
    assert held["process"] == held["environment"] == "holds"
    if landlock.query_abi_version() >= 3:
        assert held["files"] == "holds"


FALLBACK = """
import json, os, socket, sys, threading
from pathlib import Path
from robo_reward.jobs.sandbox import confine, landlock, seccomp
landlock.query_abi_version = lambda: 0
seccomp.read_kernel_machine = lambda: "riscv64"
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
        ({0: 141, 16: 0}, True),  # setpriority
        ({0: 144, 16: 1}, True),  # sched_setscheduler
        ({0: 203, 16: 0}, False),  # sched_setaffinity of the calling thread
        ({0: 203, 16: 1}, True),
        ({0: 251, 16: 1}, True),  # ioprio_set
        ({0: 469}, True),  # file_setattr
        ({0: 31, 16: 7}, True),  # shmctl
        ({0: 72, 24: 3}, False),  # fcntl(F_GETFL)
        ({0: 72, 24: 8}, True),  # fcntl(F_SETOWN)
        ({0: 72, 24: 15}, True),  # fcntl(F_SETOWN_EX)
        ({0: 16, 24: 0x5401}, False),  # ioctl(TCGETS)
        ({0: 16, 24: 0x40086602}, True),  # ioctl(FS_IOC_SETFLAGS)
        ({0: 16, 24: 0x5412}, True),  # ioctl(TIOCSTI)
        ({0: 0x40000029}, True),  # x32
    ],
)
def test_calls_are_judged_by_their_arguments(call: dict[int, int], refused: bool):
    answer = _simulate(build_filter("x86_64", 77), {4: AUDIT["x86_64"], **call})
    assert (answer != 0x7FFF0000) == refused
    assert _simulate(build_filter("x86_64", 77), {4: 0x40000003, **call}) != 0x7FFF0000, "32-bit calls"
