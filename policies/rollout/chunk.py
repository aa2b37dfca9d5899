"""The lengths of a policy: its cameras, how many observations it remembers and how many actions it decides on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.errors import UsageError

MOST_HISTORY, MOST_CHUNK = 100, 1000
"""Most observations that a policy may remember, and most actions that it may decide on at once."""
MOST_PICTURE_BYTES = 32 * 2**20
"""Most bytes of pictures in one observation."""


@dataclass(frozen=True)
class ChunkSpec:
    """The horizons of a policy that decides on a chunk of actions at a time.

    Args:
        frames: cameras and size of the pictures that it looks through; None: it sees the state alone.
        history: To, number of observations that it is shown, the newest last.
        chunk: H, number of actions that it returns; the first is for the step of the newest observation.
        execute: number of these that are executed before it is asked again, 1 to H.
        noise_shape: (Tp, A) of the noise that its samples start from; None: it draws none, or its own.

    Raises:
        UsageError: numbers that do not fit each other.
    """

    frames: FrameSpec | None = None
    history: int = 1
    chunk: int = 1
    execute: int = 1
    noise_shape: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name, value, most in (
            ("history", self.history, MOST_HISTORY),
            ("chunk", self.chunk, MOST_CHUNK),
            ("execute", self.execute, self.chunk),
        ):
            if not 1 <= value <= most:
                raise UsageError(f"a policy with {name}={value}: expected 1 to {most}")
        if self.count_picture_bytes() > MOST_PICTURE_BYTES:
            raise UsageError(
                f"a policy that looks at {self.history} x {len(self.frames.cameras) if self.frames else 0} pictures of "
                f"{self.frames.size if self.frames else 0} pixels: expected at most {MOST_PICTURE_BYTES >> 20} MiB in "
                "one observation. Train it with smaller pictures or fewer observations"
            )

    @classmethod
    def from_policy(cls, policy: Any) -> ChunkSpec:
        """Returns the horizons of any policy; one that does not state them decides on one action at a time."""
        shape = getattr(policy, "noise_shape", None)
        return cls(
            getattr(policy, "frames", None),
            int(getattr(policy, "history", 1)),
            int(getattr(policy, "chunk", 1)),
            int(getattr(policy, "execute", 1)),
            None if shape is None else (int(shape[0]), int(shape[1])),
        )

    @property
    def is_single_step(self) -> bool:
        """True for a policy that maps one observation of the state to one action, and nothing else."""
        return self == ChunkSpec()

    def count_picture_bytes(self) -> int:
        """Returns the size of the pictures in one observation [bytes]."""
        return 0 if self.frames is None else self.history * len(self.frames.cameras) * 3 * self.frames.size**2

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON value from which `from_json` rebuilds the same spec, but for the shape of the noise."""
        frames = None if self.frames is None else self.frames.to_json()
        return {"frames": frames, "history": self.history, "chunk": self.chunk, "execute": self.execute}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ChunkSpec:
        """Rebuilds a spec from the value of `to_json`."""
        frames = value.get("frames")
        frames = None if frames is None else FrameSpec.from_json(frames)
        return cls(frames, value.get("history", 1), value.get("chunk", 1), value.get("execute", 1))
