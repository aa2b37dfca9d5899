"""The deployment under test in `benchmarks.faults`, in separate processes: `FOLDER ROBOT HOST SITUATION`.

It is built as by `robo-reward deploy`; only the policy and the operator are simulated. The folder gets `pids`,
`said` (what the operator reads, a JSON line each), `waiting` while an idle deployment waits for `go`, and the episodes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import _fault_policy
from benchmarks._fault_list import CAMERA_AGE, MISSED, SHAPE_FILE, SILENT, SLOW_HAND, TEMPO
from benchmarks.output import write_json
from robo_reward.cli.interrupt import stop_on_signals
from robo_reward.configs.deployment import DeployConfig, DeploySettings
from robo_reward.data.episode import EpisodeStore
from robo_reward.envs.arm.base import ArmTask
from robo_reward.envs.task import make_task
from robo_reward.errors import RoboRewardError
from robo_reward.hardware.deployment.build import DeploymentParts, build_deployment
from robo_reward.hardware.deployment.journal import SuccessLabeler
from robo_reward.hardware.deployment.reset import ResetProcedure
from robo_reward.hardware.deployment.session import DeploymentSession
from robo_reward.hardware.drivers.isolated import ArmProcess
from robo_reward.hardware.emulator.tools.fault_server import FaultClient
from robo_reward.hardware.policy.process import PolicyProcess

MOTION = {"idle": (0.8, 1.0), "moving": (0.8, 0.0), "gripping": (0.3, -1.0), SLOW_HAND: (0.3, -1.0)}
"""Situation -> speed of the hand (share of a full action), gripper action on the way out (-1 closed, 1 open)."""
HORIZON = {"idle": 12, "moving": 45, "gripping": 45, SLOW_HAND: 45}


class ConfirmingOperator:
    """An operator who fixes every problem and confirms everything, without checking the result.

    Args:
        folder: of the deployment.
        host: of the emulator.
        waits: whether the first motion waits for the file `go`.
    """

    def __init__(self, folder: Path, host: str, waits: bool) -> None:
        self._folder, self._host, self._waits = folder, host, waits
        self.policy: PolicyProcess | None = None
        self.stop: Callable[[], bool] = lambda: False

    def confirm(self, question: str) -> bool:
        self.show_message(f"{question}?")
        if "will move slowly" in question and self._waits:
            (self._folder / "waiting").touch()
            while not (self._folder / "go").exists():
                time.sleep(0.01)
            (self._folder / "go").unlink()
        if "shall it go on" in question:
            FaultClient(self._host).clear()
            (self._folder / SHAPE_FILE).unlink(missing_ok=True)
            if self.policy is not None and self.policy.process.is_alive():
                os.kill(self.policy.process.pid or 0, signal.SIGCONT)
            time.sleep(0.1)
        return True

    def ask_success(self, question: str) -> bool | None:
        return None

    def show_message(self, text: str) -> None:
        with (self._folder / "said").open("a", encoding="utf-8") as file:
            file.write(json.dumps(text) + "\n")


def deployment(task: ArmTask, parts: DeploymentParts, person: ConfirmingOperator, folder: Path) -> DeploymentSession:
    """Builds the deployment as `robo-reward deploy` does."""
    rig = parts.rig
    return DeploymentSession(
        rig,
        ResetProcedure(task, rig.arm, parts.scene, speed=0.3),
        SuccessLabeler(task, rig.observer.unknown),
        person,
        EpisodeStore(folder / "episodes"),
        folder / "live",
        DeploySettings(1),
        {"robot": task.arm.name},
    )


def run(folder: Path, robot: str, host: str, situation: str) -> str:
    """Runs episodes until the session ends and returns the reason."""
    task = make_task(f"{robot}/lift")
    assert isinstance(task, ArmTask)
    speed, gripper = MOTION[situation]
    person = ConfirmingOperator(folder, host, situation == "idle")
    deploy_config = DeployConfig(
        robot={"kind": robot, "realtime": "ignore", "process": True},
        host=host, horizon=HORIZON[situation], objects="none", teleop="none", cameras=("front",), size=16,
        tempo=TEMPO, missed=MISSED, silent=SILENT, camera_age=CAMERA_AGE,
    )  # fmt: skip
    with contextlib.ExitStack() as stack, stop_on_signals() as stop:
        person.policy = policy = PolicyProcess(f"{task.id} {speed} {gripper} {folder}", _fault_policy.load)
        stack.callback(policy.close)
        parts = build_deployment(deploy_config, task, policy, person.confirm, stop, stack, person.show_message)
        made = deployment(task, parts, person, folder)
        arm = parts.rig.arm
        assert isinstance(arm, ArmProcess)
        arm.print_line = person.show_message
        pids = {"main": os.getpid(), "policy": policy.process.pid, "arm": arm.process.pid}
        write_json(folder / "pids", pids)
        while not made.summary.stopped:
            number = made.summary.completed_count + (1 if situation == "idle" else 1000)
            made.settings = DeploySettings(number, retries=1000)
            made.run()
        return made.summary.stopped


def main() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # SIGHUP is ignored when the benchmark runs without a terminal
    folder, robot, host, situation = Path(sys.argv[1]), *sys.argv[2:]
    try:
        ended = run(folder, robot, host, situation)
    except RoboRewardError as error:
        ended = str(error)
    with (folder / "said").open("a", encoding="utf-8") as file:
        file.write(json.dumps(f"Ended: {ended}") + "\n")


if __name__ == "__main__":
    main()
