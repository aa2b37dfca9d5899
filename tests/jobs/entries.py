"""What the tests' jobs run. Each entry tries something; the tests look at the job from outside."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from robo_reward.jobs.context import JobContext


def ok(job: JobContext) -> dict[str, Any]:
    sys.stdout.write("working" + "\n")
    return {"value": job.spec.get("value", 1), "pid": os.getpid(), "temporary": tempfile.gettempdir()}


def raises(job: JobContext) -> dict[str, Any]:
    sys.stdout.write("about to raise" + "\n")
    raise ValueError("the reward is not finite")


def segfault(job: JobContext) -> dict[str, Any]:
    return {"never": ctypes.string_at(0)}


def kill_self(job: JobContext) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def hang(job: JobContext) -> dict[str, Any]:
    sys.stdout.write("hanging" + "\n")
    (job.folder / "pid").write_text(str(os.getpid()))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(0.05)


def hog(job: JobContext) -> dict[str, Any]:
    import numpy as np

    return {"sum": float(np.ones(1 << 31).sum())}


def torch_hog(job: JobContext) -> dict[str, Any]:
    import torch

    return {"sum": float(torch.ones(1 << 32).sum())}


def exits(job: JobContext) -> dict[str, Any]:
    raise SystemExit(0)


def exits_hard(job: JobContext) -> dict[str, Any]:
    os._exit(0)


def returns_text(job: JobContext) -> Any:
    return "done"


def spoofs_stdout(job: JobContext) -> dict[str, Any]:
    sys.stdout.write('{"kind": "done"}\nTraceback\nfps step: 1' + "\n")
    raise RuntimeError("after the spoof")


def plants_link(job: JobContext) -> dict[str, Any]:
    os.symlink("/etc/passwd", job.folder / "result.json")
    os._exit(0)


def plants_pipe(job: JobContext) -> dict[str, Any]:
    os.mkfifo(job.folder / "result.json")
    os._exit(0)


def burns(job: JobContext) -> dict[str, Any]:
    while True:
        pass


def counts(job: JobContext) -> dict[str, Any]:
    """Counts to `spec["to"]`, a checkpoint per step; dies at `spec["die_at"]` in the first attempt."""
    state = job.load("count.json") or {"count": 0, "attempts": 0}
    state["attempts"] += 1
    while state["count"] < job.spec["to"] and not job.is_stop_requested():
        state["count"] += 1
        job.save("count.json", state)
        job.report_progress({"count": state["count"]})
        if state["count"] == job.spec.get("die_at") and state["attempts"] == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(job.spec.get("pause", 0))
    return state


def computes(job: JobContext) -> dict[str, Any]:
    """torch, MuJoCo and numpy all work inside; so do threads and files in the job's folder."""
    import mujoco
    import mujoco.rollout
    import numpy as np
    import torch

    torch.set_num_threads(1)
    product = torch.eye(64) @ torch.full((64, 64), 2.0)
    model = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><body><freejoint/><geom size='.1'/></body></worldbody></mujoco>"
    )
    data = mujoco.MjData(model)
    for _ in range(10):
        mujoco.mj_step(model, data)
    start = np.zeros((4, mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_FULLPHYSICS)))
    start[:, 4] = 1.0
    with mujoco.rollout.Rollout(nthread=2) as pool:
        states, _ = pool.rollout(model, [mujoco.MjData(model) for _ in range(2)], start, nstep=10)
    np.savez(job.folder / "data.npz", states=states)
    os.replace(job.folder / "data.npz", job.checkpoints / "data.npz")
    answers: list[int] = []
    thread = threading.Thread(target=answers.append, args=(1,))
    thread.start()
    thread.join()
    return {"matmul": product.sum(), "z": data.qpos[2], "rolled": states[0, -1, 3], "threads": answers}


def renders(job: JobContext) -> dict[str, Any]:
    import mujoco
    import numpy as np

    from robo_reward.envs.rendering.render import render_frames

    model = mujoco.MjModel.from_xml_string(SPHERE)
    frames = render_frames(model, [(np.zeros(0), np.zeros(0))], width=64, height=48)
    return {"shape": frames.shape, "brightest": frames.max()}


SPHERE = "<mujoco><worldbody><light pos='0 0 3'/><geom size='1'/></worldbody></mujoco>"


def _try(action: Callable[[], Any]) -> str:
    try:
        return f"done: {action()!r}"
    except (OSError, KeyError, ValueError, subprocess.SubprocessError) as error:
        return type(error).__name__


def attacks(job: JobContext) -> dict[str, Any]:
    """Everything that a confined job must not be able to do; name to the exception or what came of it."""
    import socket

    other, port, parent = Path(job.spec["other"]), job.spec["port"], job.spec["parent"]
    libc = ctypes.CDLL(None, use_errno=True)

    def fork() -> int:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        return child

    def raw_execve() -> None:
        argv = (ctypes.c_char_p * 2)(b"/bin/true", None)
        if libc.execve(b"/bin/true", argv, None):
            raise OSError(ctypes.get_errno(), "execve")

    def raw(number: int, *arguments: int) -> int:
        answer = libc.syscall(number, *arguments)
        if answer < 0:
            raise OSError(ctypes.get_errno(), f"system call {number}")
        return answer

    def shell() -> int:
        status = os.system(f"touch {other / 'shell'}")
        if status != 0:
            raise OSError("shell")
        return status

    def in_thread() -> str:
        found: list[str] = []
        thread = threading.Thread(target=lambda: found.append(_try(lambda: (other / "reward.py").read_text())))
        thread.start()
        thread.join()
        return found[0]

    return {
        "write passwd": _try(lambda: open("/etc/passwd", "a")),
        "write home": _try(lambda: (other.parent / "planted").write_text("x")),
        "write tmp": _try(lambda: Path(f"/tmp/planted-{os.getpid()}").write_text("x")),
        "write package": _try(lambda: (Path(__file__).parent / "planted.py").write_text("x")),
        "truncate": _try(lambda: os.truncate(other / "reward.py", 0)),
        "delete": _try(lambda: (other / "reward.py").unlink()),
        "move in": _try(lambda: os.rename(other / "reward.py", job.folder / "stolen")),
        "hard link": _try(lambda: os.link(other / "reward.py", job.folder / "stolen")),
        "symlink": _try(lambda: os.symlink(other, job.folder / "there")),
        "read other": _try(lambda: (other / "reward.py").read_text()),
        "list other": _try(lambda: os.listdir(other)),
        "read in thread": in_thread(),
        "read shadow": _try(lambda: Path("/etc/shadow").read_text()),
        "read environ": _try(lambda: Path(f"/proc/{parent}/environ").read_bytes()),
        "read memory": _try(lambda: open(f"/proc/{parent}/mem", "rb").read(1)),
        "chmod": _try(lambda: os.chmod(other / "reward.py", 0)),
        "tcp": _try(lambda: socket.create_connection(("127.0.0.1", port), 1)),
        "udp": _try(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)),
        "unix": _try(lambda: socket.socket(socket.AF_UNIX)),
        "io_uring": _try(lambda: raw(425, 8, 0)),
        "subprocess": _try(lambda: subprocess.run(["/bin/true"], check=True)),
        "shell": _try(shell),
        "fork": _try(fork),
        "execve": _try(raw_execve),
        "signal parent": _try(lambda: os.kill(parent, 0)),
        "signal group": _try(lambda: os.kill(0, 0)),
        "ptrace": _try(lambda: raw(101, 16, parent, 0, 0)),
        "new user space": _try(lambda: raw(272, 0x10000000)),
        "raise limit": _try(lambda: __import__("resource").setrlimit(4, (1 << 30, 1 << 30))),
        "keep after parent": _try(lambda: _raise_if(libc.prctl(1, 0, 0, 0, 0))),
        "key": _try(lambda: os.environ["OPENAI_API_KEY"]),
        "inherited files": sorted(set(os.listdir("/proc/self/fd"))),
        "environment": dict(os.environ),
    }


def _raise_if(status: int) -> int:
    if status:
        raise OSError("refused")
    return status


def reads(job: JobContext) -> dict[str, Any]:
    return {"text": Path(job.spec["path"]).read_text()}


def resolves(job: JobContext) -> dict[str, Any]:
    import socket

    return {"found": socket.getaddrinfo("localhost", 80)}


def loads_library(job: JobContext) -> dict[str, Any]:
    return {"loaded": ctypes.CDLL(job.spec["path"])}


def cripples(job: JobContext) -> dict[str, Any]:
    """What would slow down, move or signal another process of the same user; name to the error."""
    import fcntl

    victim = job.spec["victim"]
    libc = ctypes.CDLL(None, use_errno=True)

    def raw(number: int, *arguments: int) -> int:
        answer = libc.syscall(number, *arguments)
        if answer < 0:
            raise OSError(ctypes.get_errno(), f"system call {number}")
        return answer

    def own_a_pipe() -> None:
        fcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, victim)

    def flag_a_file() -> None:
        with open(ctypes.__file__, "rb") as file:
            fcntl.ioctl(file, 0x40086602, (0x40).to_bytes(8, "little"))  # FS_IOC_SETFLAGS, FS_NODUMP_FL

    return {
        "nice": _try(lambda: os.setpriority(os.PRIO_PROCESS, victim, 19)),
        "processors": _try(lambda: os.sched_setaffinity(victim, {0})),
        "scheduler": _try(lambda: os.sched_setscheduler(victim, os.SCHED_IDLE, os.sched_param(0))),
        "disk priority": _try(lambda: raw(251, 1, victim, 3 << 13)),
        "signal by descriptor": _try(own_a_pipe),
        "file attribute": _try(flag_a_file),
        "file attribute by path": _try(lambda: raw(469, -100, 0, 0, 0, 0)),
        "remove shared memory": _try(lambda: raw(31, 0, 0, 0)),
    }


def fills_memory_file(job: JobContext) -> dict[str, Any]:
    """Memory that no limit of the kernel on one process counts: written behind a descriptor, never mapped."""
    handle, piece = os.memfd_create("hog"), bytes(1 << 20)
    for _ in range(1 << 10):
        os.write(handle, piece)
    return _wait_for_the_end()


def fills_shared_mapping(job: JobContext) -> dict[str, Any]:
    import mmap

    shared = mmap.mmap(-1, 1 << 30)
    for start in range(0, 1 << 30, 4096):
        shared[start] = 1
    return _wait_for_the_end()


def starts_threads(job: JobContext) -> dict[str, Any]:
    threading.stack_size(64 << 10)
    for _ in range(200):
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    return _wait_for_the_end()


def _wait_for_the_end() -> dict[str, Any]:
    time.sleep(60)
    return {}


def rewrites_its_spec(job: JobContext) -> dict[str, Any]:
    attempt = 1 + (job.load("attempt.json") or 0)
    job.save("attempt.json", attempt)
    (job.folder / "spec.json").write_text('{"entry": "other.package:look", "value": 2}')
    raise ValueError(f"attempt {attempt}: {job.spec['entry']} {job.spec['value']}")


def calls_plugin(job: JobContext) -> dict[str, Any]:
    from importlib.metadata import entry_points

    (entry,) = (e for e in entry_points(group="robo_reward.tasks") if e.name == "mylab/left")
    return entry.load()(job)


def loads_model(job: JobContext) -> dict[str, Any]:
    """MuJoCo says of a file that it may not open that it is empty."""
    import mujoco

    return {"bodies": mujoco.MjModel.from_xml_path(str(job.spec["path"])).nbody}


def steps_environments(job: JobContext) -> dict[str, Any]:
    import importlib

    moved = {}
    for module, name in job.spec["environments"].items():
        importlib.import_module(module)
        suite = importlib.import_module(f"robo_reward.envs.suites.{module.removeprefix('gymnasium_')}")
        env = suite.describe(name).make()
        env.reset(seed=0)
        before = env.unwrapped.data.qpos.copy()
        env.step(env.action_space.sample())
        moved[module] = bool((env.unwrapped.data.qpos != before).any())
    return {"moved": moved}
