"""A reward of whole episodes that a server computes from frames and a goal sentence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from robo_reward.data.episode import Episode
from robo_reward.data.formats import name_goal
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.errors import UnknownName, UsageError
from robo_reward.rewards.contract import RewardOutput, validate_output
from robo_reward.rewards.http.answers import AnswerStore, compute_query_key
from robo_reward.rewards.http.connection import RewardServer, ServerSettings
from robo_reward.rewards.http.protocols import EpisodeQuery, Values, find_protocol


class HttpReward:
    """Sends frames and goal of episodes to a server and returns its numbers as the rewards of the steps.

    At most `max_frames` frames of an episode are sent, evenly spaced, the first and the last among them; the values
    between are interpolated. Step t is rewarded for frame t + 1.

    Args:
        server: address, key and patience.
        protocol: `simple` or `robometer`, see `robo_reward.rewards.http.protocols`.
        goal: the sentence; empty: that of each episode, or of its task.
        frames: cameras, and the largest side of a frame that is sent [pixels].
        max_frames: most frames of an episode that are sent; 0: all.
        batch: episodes per request; those of one request have equally many frames of one size.
        output: the value that is the reward; empty: the usual one of the protocol.
        frame_steps: `robometer` only: the server scores each frame by those before it, which takes it longer.
        store: file of the answers; None: in memory.

    Attributes:
        is_progress: whether the reward is progress in [0, 1].

    Raises:
        UsageError: an address that cannot be one.
        UnknownName: no such protocol, or it has no such output.
    """

    takes_any_frames = True

    def __init__(
        self,
        server: ServerSettings,
        protocol: str = "simple",
        goal: str = "",
        frames: FrameSpec | None = None,
        max_frames: int = 16,
        batch: int = 8,
        output: str = "",
        frame_steps: bool = False,
        store: Path | None = None,
    ) -> None:
        self._protocol = find_protocol(protocol)
        if output and output not in self._protocol.outputs:
            raise UnknownName(f"output of protocol={protocol}", output, self._protocol.outputs)
        if max_frames == 1:
            raise UsageError("max_frames=1: a step needs the frames at both of its ends; give 2 or more, or 0 for all")
        self.server, self.protocol, self.goal = RewardServer(server), protocol, goal
        self.frames: FrameSpec | None = frames or FrameSpec(size=224)
        self.max_frames, self.batch_size, self.frame_steps = max_frames, batch, frame_steps
        self.output = output or self._protocol.outputs[0]
        self.is_progress = self._protocol.is_progress
        self.answers = AnswerStore(store)

    def keep_answers(self, path: Path) -> None:
        """Keeps the answers in a file from here on; those in it are not asked for again."""
        self.answers = AnswerStore(path)

    def __call__(self, episode: Episode) -> RewardOutput:
        return self.batch([episode])[0]

    def batch(self, episodes: Sequence[Episode]) -> list[RewardOutput]:
        """Returns the rewards of episodes; those whose frames were sent before are not sent again.

        Raises:
            UsageError: an episode without frames, or without a goal.
            RewardServerError: the server gives no usable answer.
        """
        places = [self._choose_places(len(episode) + 1) for episode in episodes]
        queries = [self._make_query(episode, at) for episode, at in zip(episodes, places, strict=True)]
        about = f"{self.server.settings.url} {self.protocol} {self.frame_steps}"
        keys = [compute_query_key(query, about) for query in queries]
        self._ask({key: query for key, query in zip(keys, queries, strict=True) if self.answers.get(key) is None})
        return [
            self._spread_values(self.answers.get(key) or {}, at, len(episode))
            for key, at, episode in zip(keys, places, episodes, strict=True)
        ]

    def spec(self) -> dict[str, Any]:
        """Returns JSON without keys and headers, which belong to the user and not to the reward."""
        assert self.frames is not None
        return {
            "kind": "http",
            "url": self.server.settings.url,
            "protocol": self.protocol,
            "goal": self.goal,
            "frames": self.frames.to_json(),
            "max_frames": self.max_frames,
            "output": self.output,
            "frame_steps": self.frame_steps,
        }

    def _choose_places(self, count: int) -> np.ndarray:
        """Returns the indices of the frames that are sent."""
        if not self.max_frames or count <= self.max_frames:
            return np.arange(count)
        return np.linspace(0, count - 1, self.max_frames).round().astype(int)

    def _make_query(self, episode: Episode, places: np.ndarray) -> EpisodeQuery:
        assert self.frames is not None
        if episode.frames is None:
            raise UsageError(f"reward=http looks at frames, and an episode of {episode.task_id or 'no task'} has none")
        goal = self.goal or name_goal(episode)
        if not goal:
            raise UsageError("reward=http needs the goal as a sentence, which the data do not state. Give goal=...")
        limit = self.frames.size * (1 if episode.frames.shape[1] >= episode.frames.shape[2] else self._count_cameras())
        return EpisodeQuery(goal, _shrink_frames(episode.frames[places], limit))

    def _count_cameras(self) -> int:
        return len(self.frames.cameras) if self.frames else 1

    def _ask(self, missing: Mapping[str, EpisodeQuery]) -> None:
        """Asks for what is missing and keeps each answer as it arrives."""
        groups: dict[tuple[int, ...], list[str]] = defaultdict(list)
        for key, query in missing.items():
            groups[query.frames.shape].append(key)
        for group in groups.values():
            for start in range(0, len(group), self.batch_size):
                keys = group[start : start + self.batch_size]
                values = self._protocol.ask(self.server, [missing[key] for key in keys], self.frame_steps)
                self.answers.put(dict(zip(keys, values, strict=True)))

    def _spread_values(self, values: Values, places: np.ndarray, steps: int) -> RewardOutput:
        """Returns values at some frames as the rewards of all steps."""
        if self.output not in values:
            raise UsageError(f"reward.output={self.output}: the server answers only {', '.join(values)}")
        after = np.arange(1, steps + 1)
        terms = {name: np.interp(after, places, numbers) for name, numbers in values.items()}
        return validate_output(terms[self.output], terms, steps)


def _shrink_frames(frames: np.ndarray, limit: int) -> np.ndarray:
    """Returns frames (T, H, W, 3) scaled down until no side is longer than the limit; the aspect stays."""
    height, width = frames.shape[1:3]
    if max(height, width) <= limit:
        return np.ascontiguousarray(frames)
    scale = limit / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames])


def http_from_spec(spec: Mapping[str, Any]) -> HttpReward:
    """Rebuilds a reward from its spec; a key that its server needs is not in it."""
    return HttpReward(
        ServerSettings(spec["url"]),
        spec["protocol"],
        spec["goal"],
        FrameSpec.from_json(spec["frames"]),
        spec["max_frames"],
        output=spec["output"],
        frame_steps=spec.get("frame_steps", False),
    )
