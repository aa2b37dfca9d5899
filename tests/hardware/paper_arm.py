"""An arm on paper: it writes down what it is told."""

import json
import time
from typing import Any

import numpy as np

from robo_reward.errors import UsageError
from robo_reward.hardware.arm import ArmFault, ArmState, FaultKind, Mode, Target

FAR = ArmFault("too far", "Come back.", True, FaultKind.REFLEX, ("joint_reflex",))


class PaperArm:
    """Complains of joints beyond 8 rad and of widths beyond 1 m; slow motions to 5 rad take long.

    Like the real drivers it follows targets from `start_streaming` until `stop` or a fault, and refuses others.
    """

    name = "paper"

    def __init__(self, log: str) -> None:
        self._log, self._streaming = log, False

    def _write(self, call: str, **about: Any) -> None:
        with open(self._log, "a") as file:
            file.write(json.dumps({"call": call, "at": time.monotonic(), **about}) + "\n")

    def connect(self) -> None:
        self._write("connect")

    def state(self) -> ArmState:
        self._write("state")
        quat, zero = np.array((0.0, 1.0, 0.0, 0.0)), np.zeros(7)
        return ArmState(
            time.monotonic(),
            1.5,
            np.arange(7.0),
            zero,
            zero,
            np.zeros(6),
            np.ones(3),
            quat,
            0.07,
            Mode.IDLE,
            ("nothing",),
        )

    def start_streaming(self) -> None:
        self._write("start_streaming")
        self._streaming = True

    def stream(self, target: Target) -> None:
        self._write("stream")
        if not self._streaming:
            raise UsageError("call start_streaming first")
        if target.joints is not None and target.joints.max() > 8:
            self._streaming = False
            raise FAR

    def hold(self) -> None:
        self._write("hold")

    def stop(self) -> None:
        self._write("stop")
        self._streaming = False

    def recover(self) -> None:
        self._write("recover")

    def move_to(self, q: np.ndarray, speed_fraction: float = 0.1) -> None:
        self._write("move_to")
        if q.max() > 8:
            raise FAR
        if q.max() > 4:
            try:
                time.sleep(60)
            except BaseException:
                self._write("interrupted")
                raise
            self._write("arrived")

    def gripper(self, width: float, speed: float, force: float | None = None) -> None:
        self._write("gripper")
        if width > 1:
            raise UsageError("bad width")

    def close(self) -> None:
        self._write("close")


def make(log: str) -> PaperArm:
    return PaperArm(log)
