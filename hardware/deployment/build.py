"""Builds a deployment from its settings: the arm, the cameras, the scene and the policy."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from robo_reward.configs.deployment import DeployConfig
from robo_reward.envs.arm.base import ArmTask
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.errors import UsageError
from robo_reward.hardware.arm import ArmDriver
from robo_reward.hardware.deployment.clock import make_stream_clock
from robo_reward.hardware.deployment.control_loop import ControlContext
from robo_reward.hardware.deployment.time_scale import TimeScale
from robo_reward.hardware.drivers.isolated import ArmProcess
from robo_reward.hardware.drivers.mujoco import MujocoArm
from robo_reward.hardware.drivers.registry import driver_options, make_arm
from robo_reward.hardware.perception.calibration import Lens, load_lenses
from robo_reward.hardware.perception.camera_stream import FrameSource, LatestFrames, SimulatedFrames
from robo_reward.hardware.perception.cameras import FIRST_FRAME, Camera, EmulatorCamera, RealSenseCamera, UvcCamera
from robo_reward.hardware.perception.scene import EmulatorScene, ManualSceneReset, SceneReset, SimulatedScene
from robo_reward.hardware.perception.state_estimator import NoObjects, ObjectSource, Observer, load_object_source
from robo_reward.hardware.policy.observation import match_cameras
from robo_reward.hardware.policy.process import PolicyProcess, PolicySource
from robo_reward.hardware.policy.teleop import make_teleop
from robo_reward.hardware.safety.filter import SafetyFilter
from robo_reward.hardware.safety.limits import Workspace, policy_limits
from robo_reward.hardware.safety.watchdog import Watchdog
from robo_reward.policies.policy import find_policy_folder
from robo_reward.policies.rollout.chunk import ChunkSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeploymentParts:
    """The components of a deployment.

    Args:
        rig: for the control loop; its arm is connected.
        scene: puts the objects back.
    """

    rig: ControlContext
    scene: SceneReset


def policy_source(folder: str, server: str, token: str) -> PolicySource | None:
    """Returns the policy in a process of its own or on a server, or None when neither is configured.

    Raises:
        UsageError: both are.
        PolicyDied: it cannot be loaded or reached.
    """
    if folder and server:
        raise UsageError("policy= and policy_server= give two policies: give one of them")
    if server:
        from robo_reward.hardware.policy.server import RemotePolicy

        return RemotePolicy(server, token)
    if not folder:
        return None
    return PolicyProcess(find_policy_folder(Path(folder)))


def build_deployment(
    config: DeployConfig,
    task: ArmTask,
    policy: PolicySource | None,
    ask: Callable[[str], bool],
    stop: Callable[[], bool],
    stack: ExitStack,
    print_line: Callable[[str], None] = log.warning,
) -> DeploymentParts:
    """Builds all components and connects the arm; everything to close is put on the stack, the arm closes last.

    Args:
        config: the settings.
        task: task whose action and observation convention holds.
        policy: policy that decides, or None.
        ask: asks the person beside the robot for a confirmation.
        stop: returns True once a stop was requested.
        stack: closes everything.
        print_line: shows the operator a line.

    Raises:
        ArmFault: the arm cannot be reached.
        UsageError: settings that do not fit.
    """
    if policy is None and config.teleop == "none":
        raise UsageError("no source of actions: give policy=RUN, policy_server=ws://... or teleop=keyboard")
    horizons = getattr(policy, "horizons", ChunkSpec())
    config = choose_cameras(config, horizons.frames)
    tempo, space = TimeScale(config.tempo, config.ramp), make_workspace(task, config.workspace, config.table)
    arm = _make_arm(config, task, tempo.compute_lag(task.control_dt))
    stack.callback(arm.close)
    if isinstance(arm, ArmProcess):
        arm.stop_asked, arm.print_line = stop, print_line
    arm.connect()
    objects, scene = _make_scene(config, task, arm, ask)
    stack.callback(objects.close)
    frames = _make_frames(config, task, arm)
    if frames is not None:
        stack.callback(frames.close)
    teleop = make_teleop(config.teleop, task.action)
    stack.callback(teleop.close)
    limits = policy_limits(task.arm, config.speed, config.acceleration)
    filter = SafetyFilter(task.arm, task.controller, limits, space)
    longest = task.control_dt / tempo.scale_at(0)
    clock = ("none" if isinstance(arm, MujocoArm) else "wall") if config.clock == "auto" else config.clock
    rig = ControlContext(
        task=task,
        arm=arm,
        observer=Observer(task, objects),
        filter=filter,
        watchdog=Watchdog(config.missed, config.silent, config.camera_age, state_age=max(0.25, 2 * longest)),
        clock=make_stream_clock(clock, 1 / filter.settings.rate, lambda: arm.state().robot_time),
        policy=policy,
        tempo=tempo,
        teleop=teleop,
        frames=frames,
        cameras=tuple(config.cameras),
        stop=stop,
        horizon=config.horizon or task.horizon,
    )
    return DeploymentParts(rig, scene)


def make_workspace(task: ArmTask, box: Sequence[Sequence[float]] | None, table: float) -> Workspace:
    """Returns the workspace of the hand: the task's box or a box of the user's, above the table.

    Args:
        task: its start poses must be inside.
        box: lower and upper corner [m], or None for the task's box.
        table: height of the table's top above the arm's base [m].

    Raises:
        UsageError: no valid box, a box without the start pose, or an implausible table.
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
    space = Workspace.from_box(corners[0], corners[1], table=table)
    starts = np.array((task.start_low, task.start_high))
    if (space.distance_outside(starts) > 0).any():
        raise UsageError(
            f"workspace from {corners[0].round(3)} to {corners[1].round(3)} m does not contain the start poses of the "
            f"hand, {starts[0].round(3)} to {starts[1].round(3)} m; enlarge workspace= or lower table="
        )
    return space


def _make_arm(config: DeployConfig, task: ArmTask, lag: float) -> ArmDriver:
    options, kind = driver_options(config.robot), str(config.robot["kind"])
    if kind == "mujoco":
        return MujocoArm(task, config.seed, realtime=bool(options.get("realtime", False)))
    if not config.address:
        raise UsageError(f"robot={kind} needs host=, the robot's address")
    given = dict(options.get("compliance") or {})
    options["compliance"] = {"lag": lag, "braking": config.acceleration, **given}
    return make_arm(kind, config.address, options, process=bool(config.robot.get("process", True)))


def _make_scene(
    config: DeployConfig, task: ArmTask, arm: ArmDriver, ask: Callable[[str], bool]
) -> tuple[ObjectSource, SceneReset]:
    """Returns the source of object poses and the object that resets the scene."""
    if isinstance(arm, MujocoArm):
        scene = SimulatedScene(arm, config.seed)
        return scene, scene
    chosen = ("emulator" if config.is_emulated else "none") if config.objects == "auto" else config.objects
    if chosen == "emulator":
        scene = EmulatorScene(task, config.address, config.seed)
        return scene, scene
    source: ObjectSource = NoObjects() if chosen == "none" else load_object_source(chosen, task, config.address)
    return source, ManualSceneReset(task, ask, config.seed)


def choose_cameras(config: DeployConfig, seen: FrameSpec | None) -> DeployConfig:
    """Returns the settings with cameras for a policy that looks; a simulated or emulated robot has the policy's own.

    Args:
        config: the settings.
        seen: cameras and size of the pictures that the policy looks at, or None.

    Raises:
        UsageError: a real robot without `cameras=`, a camera that the robot does not have, or another size or number.
    """
    if seen is None:
        return config
    if not config.cameras:
        if config.robot["kind"] != "mujoco" and not config.is_emulated:
            such = ",".join(f"uvc:{i}" for i in range(len(seen.cameras)))
            raise UsageError(
                f"the policy looks through {', '.join(seen.cameras)}: give as many of the robot's cameras in this "
                f"order, such as cameras=[{such}], and size={seen.size}"
            )
        config = replace(config, cameras=seen.cameras, size=seen.size)
    match_cameras(seen, config.cameras, config.size)
    return config


def _make_frames(config: DeployConfig, task: ArmTask, arm: ArmDriver) -> FrameSource | None:
    if not config.cameras:
        return None
    if isinstance(arm, MujocoArm):
        return SimulatedFrames(arm, config.cameras, config.size)
    lenses = load_lenses(config.calibration, config.cameras)
    cameras = [
        make_camera(text, config.address, config.size, config.is_emulated, lenses.get(text)) for text in config.cameras
    ]
    # An emulator creates a renderer for each camera before its first picture.
    patience = 5.0 + (FIRST_FRAME * len(cameras) if config.is_emulated else 0.0)
    return LatestFrames(cameras, task.action.rate_hz, patience)


def make_camera(text: str, host: str, size: int, emulated: bool, lens: Lens | None = None) -> Camera:
    """Returns the camera with this name in `cameras=`; emulated ones have perfect lenses.

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
