"""Diagnoses the setup of this computer and a robot, and suggests a remedy for each problem; nothing moves."""

from __future__ import annotations

import os
import re
import resource
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from robo_reward.envs.arm.model import get_arm_model
from robo_reward.errors import RoboRewardError
from robo_reward.finding import Finding
from robo_reward.hardware.arm import ArmDriver, ArmFault, ArmState, Mode, describe_arm
from robo_reward.hardware.deployment.build import make_camera
from robo_reward.hardware.drivers.franka.base import UNHOMED, FrankaArm
from robo_reward.hardware.drivers.registry import make_arm
from robo_reward.hardware.safety.limits import MotionLimits, official_limits

ROBOT_PORT = 1337
LIBRARIES = {"fr3": ("franky-control", "franka"), "panda": ("franka-rs", "panda")}
VERSIONS = {"fr3": "10, system 5.9 or later", "panda": "5, system 4.2.1 or later of 4.2"}
"""Protocol version and system version of each arm; the drivers refuse any other."""
PERIOD = 1e-3
MAX_JITTER = 0.3e-3
"""Largest wake-up delay [s]: libfranka's budget for user code in a cycle of the robot; a longer delay uses it up."""
MAX_REST_FORCE = 5.0
"""Largest external force on an arm at rest whose load is set correctly [N]."""
PING_COUNT = 10
MAX_ROUND_TRIP = 1e-3
"""Largest round-trip time to a robot on a cable [s]."""


def diagnose_robot(
    kind: str,
    host: str,
    options: dict[str, Any],
    cameras: Sequence[str] = (),
    seconds: float = 2.0,
) -> list[Finding]:
    """Checks everything that a deployment needs; connects to the robot and reads, but moves nothing.

    Args:
        kind: `fr3` or `panda`.
        host: the robot's address.
        options: of its driver.
        cameras: as in `robo-reward deploy`.
        seconds: how long the loop's jitter is measured.

    Returns:
        The result of every check.
    """
    checks: list[Callable[[], Iterable[Finding]]] = [
        lambda: _check_libraries(kind),
        _check_kernel,
        _check_priority_rights,
        _check_frequency_governor,
        lambda: _check_loop_jitter(seconds),
        lambda: _check_network(host),
        lambda: _check_robot(kind, host, options),
        lambda: _check_cameras(host, cameras),
    ]
    return [finding for check in checks for finding in check()]


def _check_libraries(kind: str) -> Iterable[Finding]:
    package, extra = LIBRARIES.get(kind, ("", ""))
    if not package:
        return
    for name, of in ((package, extra), ("ruckig", extra)):
        try:
            yield Finding(name, True, version(name))
        except PackageNotFoundError:
            yield Finding(name, False, "not installed", f"pip install 'robo-reward[{of}]'")


def _check_kernel() -> Iterable[Finding]:
    realtime = Path("/sys/kernel/realtime")
    found = realtime.is_file() and realtime.read_text(encoding="ascii").strip() == "1"
    remedy = "" if found else "install a PREEMPT_RT kernel (docs/deploy.md); without one, robot.realtime=ignore"
    text = f"{os.uname().release}{'' if found else ', which gives no guarantees'}"
    yield Finding("real-time kernel", found, text, remedy, needed=False)


def _check_priority_rights() -> Iterable[Finding]:
    soft, _ = resource.getrlimit(resource.RLIMIT_RTPRIO)
    may = os.geteuid() == 0 or soft != 0
    value = "root" if os.geteuid() == 0 else f"up to {soft}"
    remedy = "" if may else "add your user to a group with `rtprio 99` in /etc/security/limits.conf, and log in again"
    yield Finding("real-time priority", may, value, remedy, needed=False)


def _check_frequency_governor() -> Iterable[Finding]:
    files = sorted(Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor"))
    if not files:
        yield Finding("frequency governor", True, "not reported by the system")
        return
    found = {file.read_text(encoding="ascii").strip() for file in files}
    fine = found == {"performance"}
    remedy = "" if fine else "cpupower frequency-set -g performance"
    yield Finding("frequency governor", fine, ", ".join(sorted(found)), remedy, needed=False)


def measure_wake_up_delays(seconds: float, period: float = PERIOD) -> np.ndarray:
    """Measures how late a loop wakes up that sleeps to absolute deadlines, as (N,) delays [s].

    Args:
        seconds: how long to measure.
        period: of the loop [s].
    """
    count = max(int(seconds / period), 1)
    delays, due = np.empty(count), time.perf_counter()
    for i in range(count):
        due += period
        left = due - time.perf_counter()
        if left > 0:
            time.sleep(left)
        delays[i] = time.perf_counter() - due
    return delays


def _check_loop_jitter(seconds: float) -> Iterable[Finding]:
    late = measure_wake_up_delays(seconds)
    p99, worst = float(np.percentile(late, 99)), float(late.max())
    fine = p99 <= MAX_JITTER
    remedy = "close other programs; a real-time kernel and the performance governor; the policy on another computer"
    text = f"a 1 kHz loop wakes up {p99 * 1e3:.2f} ms late (p99), {worst * 1e3:.1f} ms at worst; "
    text += f"{MAX_JITTER * 1e3:.1f} ms is fine"
    yield Finding("loop jitter", fine, text, "" if fine else remedy, needed=False)


def _check_network(host: str) -> Iterable[Finding]:
    if not host:
        yield Finding("network", False, "no address", "give host=, the robot's address")
        return
    try:
        socket.create_connection((host, ROBOT_PORT), timeout=2.0).close()
        yield Finding("FCI", True, f"{host}:{ROBOT_PORT} answers")
    except OSError as error:
        remedy = "check cable, power and address (`ping`); unlock the brakes and activate FCI in Desk"
        yield Finding("FCI", False, f"{host}:{ROBOT_PORT}: {error.strerror or error}", remedy)
    yield from _check_round_trips(host)


def _check_round_trips(host: str) -> Iterable[Finding]:
    """Measures round trips with the system's own `ping`: the robot's ports are not for measuring."""
    try:
        words = ["ping", "-n", "-q", "-c", str(PING_COUNT), "-i", "0.2", host]
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        yield Finding("network", True, "round trips not measured: this system has no `ping`")
        return
    except (OSError, subprocess.TimeoutExpired) as error:
        yield Finding("network", True, f"round trips not measured: {error}")
        return
    found = re.search(r"= [\d.]+/([\d.]+)/([\d.]+)", done.stdout)
    if not found:
        yield Finding("network", False, f"{host} does not answer a ping", "check cable and address", needed=False)
        return
    mean, slowest = (float(number) for number in found.groups())
    fine = slowest <= MAX_ROUND_TRIP * 1e3
    text = f"round trip {mean:.2f} ms, {slowest:.2f} ms at worst of {PING_COUNT}"
    remedy = "" if fine else "a direct cable to the control box; no switch, no wireless"
    yield Finding("network", fine, text, remedy, needed=False)


def _check_robot(kind: str, host: str, options: dict[str, Any]) -> Iterable[Finding]:
    if not host:
        return
    try:
        arm = make_arm(kind, host, options, process=False)
        arm.connect()
    except ArmFault as fault:
        yield Finding("robot", False, fault.cause, fault.remedy)
        return
    except RoboRewardError as error:
        yield Finding("robot", False, str(error))
        return
    try:
        yield from _check_robot_state(kind, arm)
    except ArmFault as fault:
        yield Finding("robot", False, fault.cause, fault.remedy)
    finally:
        arm.close()


def _check_robot_state(kind: str, arm: ArmDriver) -> Iterable[Finding]:
    state = arm.state()
    remedies = {
        Mode.REFLEX: "look at the arm and free it; `robo-reward deploy` asks you to confirm the recovery",
        Mode.USER_STOPPED: "release the user stop",
        Mode.GUIDING: "let go of the guiding buttons",
        Mode.OTHER: "unlock the brakes and activate FCI in Desk",
    }
    ready = state.mode is Mode.IDLE
    errors = f" ({', '.join(state.errors)})" if state.errors else ""
    yield Finding("robot", ready, f"{arm.name}, {state.mode.value}{errors}", remedies.get(state.mode, ""))
    if kind in VERSIONS:
        yield Finding("protocol", True, f"version {VERSIONS[kind]}")
    yield _check_joints(official_limits(get_arm_model(kind)), state.q)
    yield _check_hand(arm, state)
    yield from _check_load(arm, state)
    begun, first = time.monotonic(), state.robot_time
    times = [_measure_duration(arm.state) for _ in range(100)]
    rate = (arm.state().robot_time - first) / (time.monotonic() - begun)
    text = f"{np.median(times) * 1e3:.1f} ms, {max(times) * 1e3:.1f} ms at worst"
    quick = max(times) < 0.02
    remedy = "" if quick else "close other programs; 20 ms is fine"
    yield Finding("reading a state", quick, text, remedy, needed=False)
    steady = 0.9 < rate < 1.1
    remedy = "" if steady else "an emulator in lock-step or a loaded computer; deploy with clock=robot"
    yield Finding("robot's clock", steady, f"{rate:.2f} of this computer's", remedy, needed=False)


def _check_hand(arm: ArmDriver, state: ArmState) -> Finding:
    """Reports the hand's position, how far it is open, and whether it was homed.

    A hand that was not homed reports that it opens to 0 mm.
    """
    text = f"hand at {np.round(state.hand_position, 3)} m, gripper {state.gripper_width * 1e3:.0f} mm open"
    if not (isinstance(arm, FrankaArm) and arm.has_hand):
        return Finding("hand", bool(state.is_finite()), text)
    text += f" of {arm.max_width * 1e3:.0f} mm"
    return Finding("hand", bool(state.is_finite()) and arm.is_homed, text, "" if arm.is_homed else UNHOMED[1])


def _check_load(arm: ArmDriver, state: ArmState) -> Iterable[Finding]:
    """Reports the load that the robot assumes at its flange, and the external force at rest.

    The force is large if the load is wrong.
    """
    said = describe_arm(arm)
    if "m_ee" not in said:
        return
    force = float(np.linalg.norm(state.wrench[:3]))
    fine = force < MAX_REST_FORCE
    text = f"{said['m_ee']:.2f} kg at {np.round(said['F_x_Cee'], 3)} m from the flange, {said['m_load']:.2f} kg more "
    text += f"held; external force at rest {force:.1f} N"
    remedy = "" if fine else "enter mass and centre of the hand in Desk: with a wrong load the arm jumps when it begins"
    yield Finding("load", fine, text, remedy, needed=False)


def _check_joints(limits: MotionLimits, q: np.ndarray) -> Finding:
    """Checks that the joints are inside the official limits, and reports the distance to the nearest limit."""
    outside = limits.describe_violation(q)
    if outside:
        return Finding("joints", False, outside, "guide the arm back by hand")
    room = np.minimum(q - limits.q_min, limits.q_max - q)
    least = int(room.argmin())
    low, high = limits.q_min[5], limits.q_max[5]
    text = f"inside the {limits.name}'s limits (joint 6: {low:g} to {high:g} rad); "
    return Finding("joints", True, f"{text}nearest to an end is joint {least + 1}, by {room[least]:.2f} rad")


def _measure_duration(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def _check_cameras(host: str, cameras: Sequence[str]) -> Iterable[Finding]:
    for name in cameras:
        try:
            camera = make_camera(name, host, 112, host.startswith("127."))
        except RoboRewardError as error:
            yield Finding(f"camera {name}", False, str(error))
            continue
        try:
            frames = [camera.read() for _ in range(10) if time.sleep(0.05) is None]
            age = time.monotonic() - frames[-1].stamp
            new = len({frame.stamp for frame in frames})
            fine = age < 0.2 and new > 3
            height, width, _ = frames[-1].image.shape
            text = f"{width} x {height}, {new} of 10 frames new, {age * 1e3:.0f} ms old"
            yield Finding(
                f"camera {name}", fine, text, "" if fine else "its frames do not change: unplug it and plug it in again"
            )
        except RoboRewardError as error:
            yield Finding(f"camera {name}", False, str(error))
        finally:
            camera.close()
