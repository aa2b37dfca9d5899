"""`robo-reward emulate`: a Franka arm on the network, with a task's scene behind it."""

from __future__ import annotations

import contextlib
import signal
import threading
from pathlib import Path

from omegaconf import DictConfig

from robo_reward.cli.terminal import Terminal
from robo_reward.configs.emulation import Checks, HandBehavior
from robo_reward.envs.task import Task, make_task, task_names
from robo_reward.errors import RoboRewardError, UnknownName, UsageError
from robo_reward.hardware.emulator.emulator import USUAL_VERSION, Emulator
from robo_reward.hardware.emulator.tools.fault_server import FAULT_PORT
from robo_reward.hardware.emulator.tools.view import ViewServer
from robo_reward.hardware.emulator.wire.versions import GRIPPER_PORT, ROBOT_PORT
from robo_reward.hardware.emulator.world.cameras import CameraServer
from robo_reward.hardware.emulator.world.mujoco_plant import MujocoPlant
from robo_reward.hardware.emulator.world.scene import SCENE_PORT, SceneServer
from robo_reward.hardware.perception.cameras import CAMERA_PORT

GLANCE = 0.5
"""Interval at which the verb checks that the arm is still running [s]."""


def run(config: DictConfig, arguments: list[str]) -> int:
    """Serves until Ctrl-C or SIGTERM.

    Raises:
        UnknownName: no such robot, task or check.
        PortBusy: another program uses the port already.
        RoboRewardError: the emulator failed.
    """
    task = make_robot_task(config.task.id, config.robot.kind if "robot" in config else "", **config.task.options)
    robot = task.id.partition("/")[0]
    console = Terminal()
    stop = threading.Event()
    with contextlib.ExitStack() as stack:
        plant = MujocoPlant(task, config.seed, config.friction, config.inertia)
        stack.callback(plant.close)
        emulator = stack.enter_context(
            Emulator(
                robot,
                config.host,
                plant,
                config.lockstep,
                config.version or None,
                Checks(**config.checks),
                Path(config.log) if config.log else None,
                speed=config.speed,
                fault_port=FAULT_PORT if config.faults else None,
                hand=HandBehavior(**config.hand),
            )
        )
        stack.enter_context(CameraServer(plant, config.host, CAMERA_PORT, emulator.faults))
        if config.faults:
            stack.enter_context(SceneServer(plant, config.host, SCENE_PORT))
        page = stack.enter_context(ViewServer(emulator, config.view_port)).url if config.view else ""
        _print_greeting(console, emulator, task, config, page)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        while not stop.wait(GLANCE):
            if emulator.clock.failure is not None:
                raise RoboRewardError(f"the emulator stopped: {emulator.clock.failure}")
        console.print(f"\n{emulator.log.total} cycles; {_describe_reflexes(emulator)}", highlight=False)
    return 0


def make_robot_task(task_id: str, robot: str, **options: object) -> Task:
    """Returns the task on the wanted robot: `panda/push` on an `fr3` is `fr3/push`.

    Args:
        task_id: such as `panda/push`.
        robot: `panda` or `fr3`; empty for the task's own.

    Raises:
        UnknownName: no such robot, or no such task on it.
        UsageError: the task's robot is not one of Franka's.
    """
    own, _, name = task_id.partition("/")
    wanted = robot or own
    if robot and robot not in USUAL_VERSION:
        raise UnknownName("robot", robot, USUAL_VERSION)
    if wanted not in USUAL_VERSION:
        raise UsageError(f"task {task_id!r} is not one of a Franka arm: choose panda/… or fr3/…, or give robot=")
    tasks = [known for known in task_names() if known.startswith(f"{wanted}/")]
    if f"{wanted}/{name}" not in tasks:
        raise UnknownName("task", f"{wanted}/{name}", tasks)
    return make_task(f"{wanted}/{name}", **options)


def _print_greeting(console: Terminal, emulator: Emulator, task: Task, config: DictConfig, page: str) -> None:
    clock = "in lock-step with its client" if emulator.lockstep else "at 1 kHz"
    console.print(
        f"{emulator.robot} at {emulator.host}, {clock}, protocol version "
        f"{emulator.session.version.number}: {task.goal}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    console.print(f"ports: robot {ROBOT_PORT}, gripper {GRIPPER_PORT}, cameras {CAMERA_PORT}", highlight=False)
    if config.faults:
        console.print(f"       faults {FAULT_PORT}, scene {SCENE_PORT} (this machine only)", highlight=False)
    if page:
        console.print(f"view:  {page}", style="bold")
    console.print("Ctrl-C stops.", style="dim", highlight=False)


def _describe_reflexes(emulator: Emulator) -> str:
    errors = emulator.log.errors()
    return f"reflexes: {', '.join(errors)}" if errors else "no reflex"
