"""Deployments for tests: a simulated arm, a scripted policy, a person who says yes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from robo_reward.configs.deployment import DeploySettings
from robo_reward.data.episode import EpisodeStore
from robo_reward.envs.arm.base import ArmTask
from robo_reward.envs.task import make_task
from robo_reward.hardware.deployment.clock import SteppedClock, WallClock
from robo_reward.hardware.deployment.control_loop import ControlContext
from robo_reward.hardware.deployment.journal import SuccessLabeler
from robo_reward.hardware.deployment.reset import ResetProcedure
from robo_reward.hardware.deployment.session import DeploymentSession
from robo_reward.hardware.deployment.time_scale import TimeScale
from robo_reward.hardware.drivers.mujoco import MujocoArm
from robo_reward.hardware.perception.camera_stream import SimulatedFrames
from robo_reward.hardware.perception.scene import SimulatedScene
from robo_reward.hardware.perception.state_estimator import Observer
from robo_reward.hardware.policy.process import PolicyProcess, PolicyReply, answer, read_reply
from robo_reward.hardware.policy.teleop import NoTeleop
from robo_reward.hardware.safety.filter import SafetyFilter
from robo_reward.hardware.safety.watchdog import Watchdog
from robo_reward.hardware.wire import pack_message
from robo_reward.policies.rollout.chunk import ChunkSpec
from tests.hardware import policies


class Inline:
    """A policy in this process, which answers at once."""

    horizons = ChunkSpec()

    def __init__(self, text: str) -> None:
        self.own = policies.load(text)
        self.action, self.observation, self.meta = self.own.action, self.own.observation, self.own.meta
        self._replies: list[PolicyReply] = []

    def send_observation(self, ticket: int, observation: np.ndarray) -> None:
        said = answer(
            self.own, pack_message({"kind": "ask", "ticket": ticket}, {"observation": np.asarray(observation)})
        )
        assert said is not None
        self._replies.append(read_reply(said))

    def receive_reply(self, timeout: float) -> PolicyReply | None:
        return self._replies.pop(0) if self._replies else None

    def reset(self) -> None:
        self.own.reset()

    def close(self) -> None:
        pass


class Person:
    """Answers every question alike, and remembers what was said."""

    def __init__(self, yes: bool = True, success: bool | None = None, on_ask: Any = None) -> None:
        self.yes, self.answer, self.on_ask = yes, success, on_ask
        self.asked: list[str] = []
        self.stop: Callable[[], bool] = lambda: False
        self.messages: list[str] = []

    def confirm(self, question: str) -> bool:
        self.asked.append(question)
        if self.on_ask:
            self.on_ask()
        return self.yes

    def ask_success(self, question: str) -> bool | None:
        self.asked.append(question)
        return self.answer

    def show_message(self, text: str) -> None:
        self.messages.append(text)


def simulated(
    folder: Path,
    kind: str = "steady",
    episodes: int = 1,
    horizon: int = 12,
    person: Person | None = None,
    wall: bool = False,
    frames: bool = False,
    reward: Any = None,
    retries: int = 3,
    **changes: Any,
) -> DeploymentSession:
    """A deployment on `MujocoArm`; whoever asks for one closes `rig.policy` and `rig.arm`."""
    task = make_task("fr3/lift")
    assert isinstance(task, ArmTask)
    arm = MujocoArm(task, realtime=wall)
    arm.connect()
    scene = SimulatedScene(arm)
    observer = Observer(task, scene)
    filter = SafetyFilter.from_task(task)
    rig = ControlContext(
        task=task,
        arm=arm,
        observer=observer,
        filter=filter,
        watchdog=Watchdog(silent=0.4, state_age=5.0),
        clock=WallClock(1 / 200) if wall else SteppedClock(1 / 200),
        policy=Inline(f"fr3/lift {kind}") if kind == "steady" else PolicyProcess(f"fr3/lift {kind}", policies.load),
        teleop=NoTeleop(),
        tempo=TimeScale(1.0, 3),
        frames=SimulatedFrames(arm, ("front",), 16) if frames else None,
        horizon=horizon,
    )
    for name, value in changes.items():
        setattr(rig, name, value)
    return DeploymentSession(
        rig,
        ResetProcedure(task, rig.arm, scene),
        SuccessLabeler(task, observer.unknown, reward),
        person or Person(),
        EpisodeStore(folder / "episodes", frames="exact"),
        folder / "live",
        DeploySettings(episodes, retries=retries),
        {"robot": "mujoco"},
    )


def closed(deployment: DeploymentSession) -> None:
    """Ends what `simulated` began."""
    if deployment.rig.policy is not None:
        deployment.rig.policy.close()
    deployment.rig.arm.close()
