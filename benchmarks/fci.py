"""The speed and punctuality of the FCI emulator: `python -m benchmarks.fci --json FILE [--quick]`.

An unmodified pylibfranka client in a process of its own moves an arm in the scene of fr3/push over real sockets:
lock-step against real time, then free-running at 1 kHz, idle and beside two busy processes. `latency` is that of a
whole deployment, from a measurement to the command that follows from it. `others` are the emulators on PyPI under the
same client, each in a virtual environment of its own (not with `--quick` unless it is there already).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import timeit
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.output import arguments, report
from robo_reward.envs.task import Task, make_task
from robo_reward.hardware.emulator.emulator import Emulator
from robo_reward.hardware.emulator.world.mujoco_plant import MujocoPlant
from robo_reward.hardware.emulator.world.scene import SceneServer
from robo_reward.policies.policy import MLPPolicy

TASK, HOST = "fr3/push", "127.0.2.21"
CLIENT = Path(__file__).with_name("_fci_client.py")
VENVS = Path("runs/bench/venvs")
OTHER_HOST = "127.0.2.31"
OTHERS = {
    "franky_sim": ("franky-sim", ["franky-sim", "-s", "mujoco", "--hostname", OTHER_HOST]),
    "franka_sim": ("franka-sim", ["run-franka-sim-server", "--physics", "mujoco"]),
}
"""Key -> package and command. Only the first takes an address; the second listens on all interfaces."""
BUSY = 2
TARGETS = {"lockstep_speedup": ">= 3", "mean_period_us": "<= 1010", "plant_step_us": "<= 60"}


def client(seconds: float, host: str = HOST) -> dict[str, float]:
    """Returns the measurements of `_fci_client.py`."""
    words = [sys.executable, str(CLIENT), host, str(seconds)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60 + 5 * seconds)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["the client died"])[-1])
    return json.loads(done.stdout)


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keeps the processors busy with other work."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def lockstep(seconds: float) -> dict[str, Any]:
    """Returns robot time over wall time, and how long a cycle waits for the client."""
    plant = MujocoPlant(make_task(TASK))
    with Emulator("fr3", HOST, plant, lockstep=True) as emulator:
        found = client(seconds)
        cycles = emulator.log.cycles()
    waits = cycles["lateness"][cycles["received"]]
    return {
        "lockstep_speedup": found["robot"] / found["wall"],
        "lockstep_cycle_us": 1e6 * found["wall"] / found["cycles"],
        "lockstep_wait_us": 1e6 * float(np.median(waits)),
    }


def free(seconds: float, load: int = 0) -> dict[str, Any]:
    """Returns periods and lateness of the cycles while a client moves the arm."""
    plant = MujocoPlant(make_task(TASK))
    with Emulator("fr3", HOST, plant) as emulator, busy(load):
        try:
            found: dict[str, Any] = client(seconds)
        except RuntimeError as error:
            found = {"gap_ms": None, "aborted": str(error)}
        cycles = emulator.log.cycles()
    moving = cycles[cycles["robot_mode"] == 2]
    late = np.percentile(moving["lateness"], [50, 99, 100]) * 1e3
    return {
        "mean_period_us": 1e6 * float(np.diff(moving["wall"]).mean()),
        "p50_lateness_ms": float(late[0]),
        "p99_lateness_ms": float(late[1]),
        "max_lateness_ms": float(late[2]),
        "cycles_without_command": int((~moving["received"]).sum()),
        "client_gap_ms": found["gap_ms"],
        "aborted": found.get("aborted"),
    }


def plant_step() -> float:
    """Returns the time to simulate one millisecond of the scene and read its state [us]."""
    plant, still = MujocoPlant(make_task(TASK)), np.zeros(7)
    return 1e6 * min(timeit.repeat(lambda: plant.step(still), number=1000, repeat=5)) / 1000


def deploy_latency(robot: str, episodes: int) -> dict[str, Any]:
    """Returns the latency of `robo-reward deploy` from a measurement to the resulting command, and its parts [ms].

    From the deployment's own histogram. Deployment and policy run in separate processes, the emulator at 1 kHz; the
    policy is a network of the usual size with random weights.
    """
    task = make_task(f"{robot}/push")
    plant = MujocoPlant(task)
    with tempfile.TemporaryDirectory() as work, Emulator(robot, HOST, plant), SceneServer(plant, HOST):
        policy = _untrained(task).save(Path(work) / "policy")
        words = [
            sys.executable,
            "-m",
            "robo_reward.cli",
            "deploy",
            f"policy={policy}",
            f"robot={robot}",
            f"host={HOST}",
        ]
        words += [f"host={HOST}", "robot.realtime=ignore", "confirm=false", "label=false", f"episodes={episodes}"]
        words += [f"runs={work}", "run=latency"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60 + 60 * episodes)
        result = json.loads((Path(work) / "latency" / "result.json").read_text())
    if done.returncode or not result["latency_ms"]["first_command"]["count"]:
        return {"p50": None, "why": (done.stdout.strip().splitlines() or ["?"])[-1]}
    found = result["latency_ms"]
    kept = ("p50", "p95", "p99", "count")
    parts = {name: found[name]["p50"] for name in ("read_state", "inference", "answer")}
    return {**{key: found["first_command"][key] for key in kept}, "of_which_p50": parts}


def _untrained(task: Task) -> MLPPolicy:
    """Returns a policy of two layers of 64 with random weights, like PPO's initial policy."""
    rng = np.random.default_rng(0)
    sizes = (task.observation.dim, 64, 64, task.action.dim)
    weights = tuple(rng.normal(0, 0.1, pair).astype(np.float32) for pair in itertools.pairwise(sizes))
    biases = tuple(np.zeros(size, np.float32) for size in sizes[1:])
    return MLPPolicy(weights, biases, "tanh", False, task.observation, task.action, {"task": task.id})


def beside(key: str, seconds: float, install: bool) -> dict[str, Any]:
    """Measures another emulator with the same client, or returns why that failed."""
    package, command = OTHERS[key]
    folder = (VENVS / package).absolute()
    if not (folder / "bin" / command[0]).exists():
        if not install:
            return _not(f"not installed; run without --quick to have {package} installed in {VENVS / package}")
        venv.create(folder, with_pip=True)
        words = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", package]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            return _not(f"does not install: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    words, where = [str(folder / "bin" / command[0]), *command[1:]], {**os.environ, **_model()}
    server = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=where)
    try:
        if not _listens(server, 60):
            server.kill()
            said = (server.communicate()[0].strip().splitlines() or ["nothing"])[-1]
            return _not(f"does not serve; it said: {said[:200]}")
        found = client(seconds, OTHER_HOST)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return _not(f"the client stopped: {error}")
    finally:
        server.kill()
        server.communicate()
    period = 1e6 * found["wall"] / found["cycles"]
    return {"mean_period_us": period, "speed": found["robot"] / found["wall"], "client_gap_ms": found["gap_ms"]}


def _model() -> dict[str, str]:
    """Returns the arm model for franka-sim, which otherwise downloads one; franky-sim includes the same arm."""
    sources = list((VENVS / "franky-sim").absolute().glob("lib/*/site-packages/franky_sim/assets/fr3.xml"))
    if not sources:
        return {}
    text = sources[0].read_text().replace('meshdir="assets"', f'meshdir="{sources[0].parent / "meshes"}"')
    patched = (VENVS / "fr3.xml").absolute()
    patched.write_text(text)
    return {"FR3_MJCF": str(patched)}


def _not(why: str) -> dict[str, Any]:
    return {"mean_period_us": None, "speed": None, "client_gap_ms": None, "why": why}


def _listens(server: subprocess.Popen[str], seconds: float) -> bool:
    """Returns whether it accepts connections in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((OTHER_HOST, 1337), 1):
            time.sleep(2)  # gives the server time to drop the probe connection above
            return True
        time.sleep(0.2)
    return False


def main() -> None:
    """Measures, prints and writes."""
    args = arguments(__doc__)
    seconds = 3.0 if args.quick else 20.0
    values: dict[str, Any] = {"plant_step_us": plant_step(), **lockstep(min(seconds, 10.0))}
    idle, load = free(seconds), free(seconds, BUSY)
    latency = {robot: deploy_latency(robot, 1 if args.quick else 4) for robot in ("fr3", "panda")}
    values |= {"mean_period_us": idle["mean_period_us"], "p99_lateness_ms": idle["p99_lateness_ms"]}
    values |= {"idle": idle, "load": load, "latency_ms": latency["fr3"]["p50"], "latency": latency}
    values["others"] = {key: beside(key, min(seconds, 5.0), install=not args.quick) for key in OTHERS}
    report(args, values, TARGETS)


if __name__ == "__main__":
    main()
