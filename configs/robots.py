"""The options of `robot=`."""

from __future__ import annotations

from dataclasses import dataclass, field

from robo_reward.configs.values import Flag, Real, Reals


@dataclass(frozen=True, kw_only=True)
class RobotConfig:
    """Any arm that is not simulated in this process, those of plug-ins included.

    Args:
        host: address of the robot, or of an emulator on 127.x.x.x
        tempo: tempo of policies unless `tempo=` is given
        process: run the robot library in a separate control process with its own heartbeat
    """

    host: str = ""
    tempo: Real = 0.35
    process: Flag = True


@dataclass(frozen=True)
class ContactConfig:
    """The settings of contact with a Franka arm; see `robo_reward.hardware.drivers.franka.compliance`.

    Args:
        stiffness: joint stiffness [N m/rad]
        torque_threshold: the robot stops itself above this external joint torque [N m]
        clearance: extra opening of fingers that hold nothing [m]
        force_threshold: the robot stops itself above this external force or torque on the hand [N, N m]
    """

    stiffness: Reals = (300.0, 300.0, 300.0, 300.0, 125.0, 75.0, 50.0)
    torque_threshold: Reals = (40.0,) * 7
    clearance: Real = 0.008
    force_threshold: Reals = (40.0,) * 6


@dataclass(frozen=True, kw_only=True)
class FrankaConfig(RobotConfig):
    """Franka Research 3, system 5.9 or later, through franky.

    Args:
        realtime: enforce: no motion without a real-time kernel; ignore: allowed, but the robot stops itself when this
            computer is late
        gripper: whether a Franka Hand is mounted
        force: grasping force [N]
        compliance: see robo_reward.hardware.drivers.franka.compliance
    """

    host: str = "172.16.0.2"
    realtime: str = "enforce"
    gripper: Flag = True
    force: Real = 20.0
    compliance: ContactConfig = field(default_factory=ContactConfig)


@dataclass(frozen=True, kw_only=True)
class PandaConfig(FrankaConfig):
    """Franka Emika Robot ("Panda"), system 4.2, through franka-rs."""

    tempo: Real = 0.25


@dataclass(frozen=True)
class MujocoConfig:
    """The task's scene in MuJoCo, without sockets.

    Args:
        realtime: run at the speed of the wall clock
    """

    realtime: Flag = False
