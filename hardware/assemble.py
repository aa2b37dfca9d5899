"""From settings to a deployment: which arm, which eyes, which scene, which policy."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robo_reward.envs.panda.base import ArmTask
from robo_reward.errors import UsageError
from robo_reward.hardware.arm_process import ArmProcess
from robo_reward.hardware.arms import driver_options, make_arm
from robo_reward.hardware.calibration import Lens, load_lenses
from robo_reward.hardware.cameras import Camera, EmulatorCamera, RealSenseCamera, UvcCamera
from robo_reward.hardware.frames import Frames, LatestFrames, SimulatedFrames
from robo_reward.hardware.limits import Workspace, policy_limits
from robo_reward.hardware.live import Rig
from robo_reward.hardware.mujoco_arm import MujocoArm
from robo_reward.hardware.observe import NoObjects, ObjectSource, Observer, object_source
from robo_reward.hardware.pace import make_pace
from robo_reward.hardware.policy_process import PolicyProcess, PolicySource
from robo_reward.hardware.robot import Arm
from robo_reward.hardware.safety import SafetyFilter, SafetySettings
from robo_reward.hardware.scene import ByHand, EmulatorScene, SceneReset, SimulatedScene
from robo_reward.hardware.teleop import make_teleop
from robo_reward.hardware.tempo import Tempo
from robo_reward.hardware.watchdog import Watchdog

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """What a deployment is made of.

    Args:
        rig: for episodes; its arm is not yet connected.
        scene: puts things back.
    """

    rig: Rig
    scene: SceneReset


@dataclass(frozen=True)
class Wishes:
    """The settings of `robo-reward deploy` that decide what is put together; see `configs/deploy.yaml`."""

    robot: Mapping[str, Any]
    host: str = ""
    policy_folder: str = ""
    policy_server: str = ""
    token: str = ""
    horizon: int = 0
    tempo: float = 0.35
    speed: float = 0.3
    acceleration: float = 0.5
    workspace: Sequence[Sequence[float]] | None = None
    table: float = 0.0
    ramp: int = 10
    teleop: str = "none"
    objects: str = "auto"
    cameras: Sequence[str] = ()
    size: int = 112
    calibration: str = ""
    clock: str = "auto"
    missed: int = 3
    silent: float = 0.75
    camera_age: float = 0.5
    seed: int = 0

    @property
    def address(self) -> str:
        """The robot's."""
        return self.host or str(self.robot.get("host", ""))

    @property
    def emulated(self) -> bool:
        """Whether the robot is an emulator on this machine."""
        return self.address.startswith("127.")


def policy_source(folder: str, server: str, token: str) -> PolicySource | None:
    """The policy in a process of its own, or on a server; none if neither is named.

    Raises:
        UsageError: both are.
        PolicyDied: it cannot be loaded or reached.
    """
    if folder and server:
        raise UsageError("policy= and policy_server= name two policies: give one")
    if server:
        from robo_reward.hardware.policy_server import RemotePolicy

        return RemotePolicy(server, token)
    if not folder:
        return None
    path = Path(folder)
    return PolicyProcess(path / "policy" if (path / "policy" / "policy.json").is_file() else path)


def assemble(
    wishes: Wishes,
    task: ArmTask,
    policy: PolicySource | None,
    ask: Callable[[str], bool],
    stop: Callable[[], bool],
    stack: ExitStack,
    tell: Callable[[str], None] = log.warning,
) -> Parts:
    """Puts everything together and connects the arm; what must be closed is put on the stack, the arm last to go.

    Args:
        wishes: the settings.
        task: whose convention holds.
        policy: decides, or none.
        ask: asks the person beside the robot.
        stop: whether somebody asked to stop.
        stack: closes everything.
        tell: shows the operator a line.

    Raises:
        ArmFault: the arm cannot be reached.
        UsageError: settings that do not fit.
    """
    if policy is None and wishes.teleop == "none":
        raise UsageError("nobody would decide: give policy=RUN, policy_server=ws://... or teleop=keyboard")
    tempo, space = Tempo(wishes.tempo, wishes.ramp), workspace_of(task, wishes.workspace, wishes.table)
    arm = _arm(wishes, task, tempo.lag(task.control_dt))
    stack.callback(arm.close)
    if isinstance(arm, ArmProcess):
        arm.stop_asked, arm.tell = stop, tell
    arm.connect()
    objects, scene = _scene(wishes, task, arm, ask)
    stack.callback(objects.close)
    frames = _frames(wishes, task, arm)
    if frames is not None:
        stack.callback(frames.close)
    teleop = make_teleop(wishes.teleop, task.action)
    stack.callback(teleop.close)
    settings = SafetySettings(ramp_steps=0)  # the tempo rises instead, which the policy does not notice
    limits = policy_limits(task.arm, wishes.speed, wishes.acceleration)
    filter = SafetyFilter(task.arm, task.controller, limits, space, settings)
    longest = task.control_dt / tempo.at(0)
    clock = ("none" if isinstance(arm, MujocoArm) else "wall") if wishes.clock == "auto" else wishes.clock
    rig = Rig(
        task=task,
        arm=arm,
        observer=Observer(task, objects),
        filter=filter,
        watchdog=Watchdog(wishes.missed, wishes.silent, wishes.camera_age, state_age=max(0.25, 2 * longest)),
        pace=make_pace(clock, 1 / settings.rate, lambda: arm.state().robot_time),
        policy=policy,
        tempo=tempo,
        teleop=teleop,
        frames=frames,
        stop=stop,
        horizon=wishes.horizon or task.horizon,
    )
    return Parts(rig, scene)


def workspace_of(task: ArmTask, box: Sequence[Sequence[float]] | None, table: float) -> Workspace:
    """Returns the space of the hand: the task's own box, or a box of the user's, above the table.

    Args:
        task: whose starts must be in it.
        box: lower and upper corner [m], or none.
        table: height of the table's top above the arm's base [m].

    Raises:
        UsageError: no box, one without the start pose, or a table that cannot be meant.
    """
    if not np.isfinite(table) or abs(table) > 1.0:
        raise UsageError(f"table={table}: expected the height of its top above the arm's base, -1 to 1 m")
    try:
        corners = np.array([task.low, task.high] if box is None else [list(corner) for corner in box], float)
    except (TypeError, ValueError):
        corners = np.zeros(0)
    if corners.shape != (2, 3) or not np.isfinite(corners).all():
        raise UsageError(f"workspace={box}: expected two corners [[x, y, z], [x, y, z]] in m")
    for i, axis in enumerate("xyz"):
        low, high = corners[:, i]
        if low >= high:
            raise UsageError(f"workspace={box}: its {axis} goes from {low:g} to {high:g} m, expected the lower first")
    corners[0, 2] = max(corners[0, 2], table)
    space = Workspace.of(corners[0], corners[1], table=table)
    starts = np.array((task.start_low, task.start_high))
    if (space.excess(starts) > 0).any():
        raise UsageError(
            f"workspace from {corners[0].round(3)} to {corners[1].round(3)} m does not contain the start poses of the "
            f"hand, {starts[0].round(3)} to {starts[1].round(3)} m; enlarge workspace= or lower table="
        )
    return space


def _arm(wishes: Wishes, task: ArmTask, lag: float) -> Arm:
    options, kind = driver_options(wishes.robot), str(wishes.robot["kind"])
    if kind == "mujoco":
        return MujocoArm(task, wishes.seed, realtime=bool(options.get("realtime", False)))
    if not wishes.address:
        raise UsageError(f"robot={kind} needs host=, the robot's address")
    given = dict(options.get("compliance") or {})
    options["compliance"] = {"lag": lag, "braking": wishes.acceleration, **given}
    return make_arm(kind, wishes.address, options, process=bool(wishes.robot.get("process", True)))


def _scene(wishes: Wishes, task: ArmTask, arm: Arm, ask: Callable[[str], bool]) -> tuple[ObjectSource, SceneReset]:
    """Who knows where things are, and who puts them back."""
    if isinstance(arm, MujocoArm):
        scene = SimulatedScene(arm, wishes.seed)
        return scene, scene
    chosen = ("emulator" if wishes.emulated else "none") if wishes.objects == "auto" else wishes.objects
    if chosen == "emulator":
        scene = EmulatorScene(task, wishes.address, wishes.seed)
        return scene, scene
    source: ObjectSource = NoObjects() if chosen == "none" else object_source(chosen, task, wishes.address)
    return source, ByHand(task, ask, wishes.seed)


def _frames(wishes: Wishes, task: ArmTask, arm: Arm) -> Frames | None:
    if not wishes.cameras:
        return None
    if isinstance(arm, MujocoArm):
        return SimulatedFrames(arm, wishes.cameras, wishes.size)
    lenses = load_lenses(wishes.calibration, wishes.cameras)
    cameras = [
        make_camera(text, wishes.address, wishes.size, wishes.emulated, lenses.get(text)) for text in wishes.cameras
    ]
    return LatestFrames(cameras, task.action.rate_hz)


def make_camera(text: str, host: str, size: int, emulated: bool, lens: Lens | None = None) -> Camera:
    """A camera by its name in `cameras=`; emulated ones have perfect lenses.

    Raises:
        UsageError: a name that means no camera on this robot.
        CameraFault: it cannot be opened.
    """
    kind, _, which = text.partition(":")
    if kind == "uvc":
        return UvcCamera(int(which) if which.isdigit() else which or 0, size, lens=lens)
    if kind == "realsense":
        return RealSenseCamera(which, size, lens=lens)
    if emulated:
        return EmulatorCamera(text, host, size)
    raise UsageError(f"camera {text!r}: expected uvc:NUMBER or realsense:SERIAL; names are for emulated ones")
