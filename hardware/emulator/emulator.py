"""An emulated Franka arm on the network: its assembly, start and stop."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

from robo_reward.configs.emulation import Checks, EmulateConfig, HandBehavior
from robo_reward.envs.arm.model import get_arm_model
from robo_reward.errors import RoboRewardError, UnknownName, UsageError
from robo_reward.hardware.emulator.clock import PATIENCE, EmulatorClock
from robo_reward.hardware.emulator.robot.session import RobotSession
from robo_reward.hardware.emulator.tools.cycle_log import CycleLog
from robo_reward.hardware.emulator.tools.fault_server import FaultServer
from robo_reward.hardware.emulator.tools.faults import Faults
from robo_reward.hardware.emulator.wire.gripper_server import GripperServer
from robo_reward.hardware.emulator.wire.server import RobotServer
from robo_reward.hardware.emulator.wire.versions import get_protocol_version
from robo_reward.hardware.emulator.world.plant import KinematicPlant, Plant

USUAL_VERSION = {"panda": 5, "fr3": 10}


class Emulator:
    """A Franka arm that unmodified clients of its control interface connect to; a context manager.

    ```python
    with Emulator("fr3", host="127.0.0.2", lockstep=True) as arm:
        ...  # franky.Robot("127.0.0.2") works here, or in any other process
        arm.faults.user_stop(True)
        arm.log.cycles()["q"]
    ```

    Args:
        robot: `fr3` or `panda`.
        host: the address to serve on; the ports are fixed, so every arm needs a separate address.
        plant: the simulated arm; None for a `KinematicPlant`.
        lockstep: whether robot time waits for the client.
        version: the protocol version, 10 or 5; None for the robot's usual one.
        checks: the armed reflexes; None for all.
        log_file: where every cycle is written.
        log_cycles: the number of cycles kept in memory.
        patience: how long lock-step waits for a command [s].
        speed: in lock-step, the largest ratio of robot time to wall clock time; 0 for no bound.
        fault_port: the port on which other processes inject faults, or None.
        hand: how the hand treats commands; None for an ideal hand.

    Attributes:
        faults: the faults to inject.
        log: the log of all cycles.
        plant: the simulated arm; its `step` and `reset` belong to the emulator's thread.
        session: the arm's state machine.

    Raises:
        UnknownName: no such robot or version.
        UsageError: the plant has another arm, or `speed` does not fit.
        PortBusy: the address is taken.
    """

    def __init__(
        self,
        robot: str = "fr3",
        host: str = EmulateConfig.host,
        plant: Plant | None = None,
        lockstep: bool = EmulateConfig.lockstep,
        version: int | None = None,
        checks: Checks | None = None,
        log_file: Path | None = None,
        log_cycles: int = 60_000,
        patience: float = PATIENCE,
        speed: float = EmulateConfig.speed,
        fault_port: int | None = None,
        hand: HandBehavior | None = None,
    ) -> None:
        if robot not in USUAL_VERSION:
            raise UnknownName("robot", robot, USUAL_VERSION)
        if speed < 0 or (speed and not lockstep):
            raise UsageError(f"speed={speed}: expected 0 (no bound) or more, and with lockstep=true only")
        body = plant if plant is not None else KinematicPlant(get_arm_model(robot))
        if body.arm.name != robot:
            raise UsageError(f"robot={robot} with a body of {body.arm.name!r}: expected the same arm")
        self.robot, self.host, self.lockstep = robot, host, lockstep
        self.faults, self.plant = Faults(), body
        self.log = CycleLog(log_cycles, log_file)
        lock = threading.RLock()
        self.session = RobotSession(
            body, get_protocol_version(USUAL_VERSION[robot] if version is None else version), checks, self.faults
        )
        self._server = RobotServer(self.session, host, lock, self.faults)
        self._parts: list[RobotServer | GripperServer | EmulatorClock | FaultServer | CycleLog] = [
            self.log,
            self._server,
        ]
        try:
            gripper = GripperServer(self.session, host, lock, self.faults, behavior=hand)
            self._parts.append(gripper)
            if fault_port is not None:
                self._parts.append(FaultServer(self.faults, host, fault_port))
        except BaseException:
            self.close()
            raise
        self.clock = EmulatorClock(self.session, self._server, lock, self.faults, self.log, lockstep, patience, speed)
        self._parts.append(self.clock)

    def start(self) -> Emulator:
        """Starts to serve, in threads of this process."""
        for part in self._parts:
            if not isinstance(part, CycleLog):
                part.start()
        return self

    def close(self) -> None:
        """Stops all services; the log stays readable."""
        for part in reversed(self._parts):
            part.close()

    @property
    def is_connected(self) -> bool:
        """True if a client is connected."""
        return self._server.is_connected

    def __enter__(self) -> Emulator:
        return self.start()

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
        if self.clock.failure is not None and error is None:
            raise RoboRewardError(f"the emulator stopped: {self.clock.failure}") from self.clock.failure
