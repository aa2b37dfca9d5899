"""A policy of chunks for tests: linear in its observations, its pictures and its noise, so that each of them counts."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.task import ActionSpec, ObservationSpec, Task, make_task
from robo_reward.policies.policy import PolicyMismatch


@dataclass
class LinearChunks:
    observation: ObservationSpec
    action: ActionSpec
    meta: dict[str, Any]
    frames: FrameSpec | None = None
    history: int = 2
    chunk: int = 6
    execute: int = 3
    noise: float = 0.3
    hangs: bool = False
    scale: float = 1.0

    def __post_init__(self) -> None:
        rng = np.random.default_rng(7)
        size = (self.history * self.observation.dim, self.chunk * self.action.dim)
        self.weight = 0.2 * rng.normal(size=size).astype(np.float32)
        self.size = self.frames.size if self.frames else 0
        self.noise_shape = (self.chunk + 2, self.action.dim)
        self.asked: list[Any] = []
        self.seeds: list[int] = []

    def reset(self, seed: int = 0) -> None:
        self.seeds.append(seed)

    def act(self, observations: Any, noise: np.ndarray | None = None) -> np.ndarray:
        self.asked.append(observations)
        if self.hangs and len(self.asked) > 1:
            time.sleep(60)
        states = observations["state"] if self.frames else observations
        assert states.shape[1:] == (self.history, self.observation.dim)
        rows = (states.reshape(len(states), -1) @ self.weight).reshape(len(states), self.chunk, self.action.dim)
        if noise is not None:
            rows = rows + self.noise * noise[:, : self.chunk]
        for i, camera in enumerate(self.frames.cameras if self.frames else ()):
            shown = observations[camera]
            assert shown.dtype == np.uint8 and shown.shape[1:] == (self.history, self.size, self.size, 3)
            change = shown.astype(np.float32).mean(axis=(2, 3, 4)) / 255  # (B, To)
            rows = rows + (i + 1) * (change @ np.arange(1, self.history + 1))[:, None, None]
        return self.scale * np.tanh(rows).astype(np.float32)

    def require_compatible(self, task: Task) -> "LinearChunks":
        if self.action != task.action:
            raise PolicyMismatch("another action")
        return self


def linear_chunks(task: Task, **changes: Any) -> LinearChunks:
    return LinearChunks(task.observation, task.action, {"task": task.id}, **changes)


def load(text: str) -> LinearChunks:
    """Loads `TASK CAMERAS SIZE HISTORY CHUNK EXECUTE [hangs|gentle]` in a process; CAMERAS joined by +, or 0."""
    task, cameras, size, history, chunk, execute, *rest = text.split()
    frames = None if cameras == "0" else FrameSpec(tuple(cameras.split("+")), int(size))
    given = {"history": int(history), "chunk": int(chunk), "execute": int(execute)}
    return linear_chunks(
        make_task(task), frames=frames, hangs="hangs" in rest, scale=0.2 if "gentle" in rest else 1.0, **given
    )
