"""Objects on the table and their reset between episodes: by an emulator, by a simulation, or by a person."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from robo_reward.envs.arm.base import ArmTask
from robo_reward.errors import RoboRewardError
from robo_reward.hardware.drivers.mujoco import MujocoArm
from robo_reward.hardware.perception.state_estimator import ARM_FIELDS, ObjectsLost
from robo_reward.hardware.wire import SCENE_PORT


class SceneReset(Protocol):
    """Puts the objects back between episodes."""

    def __call__(self, episode: int) -> np.ndarray:
        """Arranges the scene for an episode; returns the arm's start joints (7,) [rad]."""
        ...


class EmulatorScene:
    """The table of a running emulator: an `ObjectSource` with exact states, and an automatic `SceneReset`.

    Args:
        task: the task whose fields are read.
        host: the emulated robot's address.
        seed: of the arrangements; episode n is always the same.
        port: of the emulator's scene service.
        timeout: how long an answer may take [s].

    Raises:
        RoboRewardError: no emulator serves its scene at that address.
    """

    def __init__(
        self, task: ArmTask, host: str = "127.0.0.1", seed: int = 0, port: int = SCENE_PORT, timeout: float = 2.0
    ) -> None:
        self.fields = tuple(name for name in task.spec.names if name not in ARM_FIELDS)
        self._task, self._seed = task, seed
        try:
            self._socket = socket.create_connection((host, port), timeout)
        except OSError as error:
            remedy = "start it with `robo-reward emulate`; on a real robot give objects=none or a tracker of your own"
            raise RoboRewardError(f"no emulator serves its scene at {host}:{port} ({error}); {remedy}") from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines = self._socket.makefile("rb")

    def read(self) -> Mapping[str, np.ndarray]:
        fields = self._query_emulator({"ask": "state"})["fields"]
        return {name: np.array(fields[name], float) for name in self.fields}

    def __call__(self, episode: int) -> np.ndarray:
        seed = np.random.SeedSequence([self._seed, episode]).generate_state(1)[0]
        return np.array(self._query_emulator({"ask": "rearrange", "seed": int(seed)})["start"], float)

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def _query_emulator(self, question: dict[str, Any]) -> dict[str, Any]:
        try:
            self._socket.sendall(json.dumps(question).encode() + b"\n")
            answer = json.loads(self._lines.readline() or b"null")
        except (OSError, ValueError) as error:
            raise ObjectsLost(f"the emulator does not answer ({error})") from error
        if not answer or not answer["ok"]:
            raise ObjectsLost(f"the emulator refused: {(answer or {}).get('error', 'it closed the connection')}")
        return answer


class SimulatedScene:
    """The table of a `MujocoArm`: an `ObjectSource` with exact states, and an automatic `SceneReset`.

    Args:
        arm: steps the scene.
        seed: of the arrangements.
    """

    def __init__(self, arm: MujocoArm, seed: int = 0) -> None:
        self.fields = tuple(name for name in arm.task.spec.names if name not in ARM_FIELDS)
        self._arm, self._seed = arm, seed

    def read(self) -> Mapping[str, np.ndarray]:
        state = self._arm.read_scene_state()
        return {name: state[name] for name in self.fields}

    def __call__(self, episode: int) -> np.ndarray:
        self._arm.reset(int(np.random.SeedSequence([self._seed, episode]).generate_state(1)[0]))
        return self._arm.data.qpos[:7].copy()

    def close(self) -> None:
        pass


class ManualSceneReset:
    """Asks a person to arrange the table; the arm starts as the task's own starts do.

    Args:
        task: samples the starts.
        ask: shows a question and waits for the answer, true to go on.
        seed: of the arm's starts.
    """

    def __init__(self, task: ArmTask, ask: Callable[[str], bool], seed: int = 0) -> None:
        self._task, self._ask, self._seed = task, ask, seed

    def __call__(self, episode: int) -> np.ndarray:
        if not self._ask(f"episode {episode + 1}: put the objects back for {self._task.goal!r} and step away"):
            raise KeyboardInterrupt
        return self._task.sample(np.random.default_rng([self._seed, episode]), 1).qpos[0, :7].copy()
