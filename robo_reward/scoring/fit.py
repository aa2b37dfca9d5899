"""A reward that evaluates episodes which it was not made for: fields of the state and frames are fitted to it."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from robo_reward.data.episode import Episode
from robo_reward.data.sources import Demonstration
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.state import StateSpec
from robo_reward.envs.task import make_task, task_names
from robo_reward.errors import UnknownName, UsageError
from robo_reward.language.grammar import STATES
from robo_reward.language.language import compile_program
from robo_reward.language.problems import Change
from robo_reward.language.program import RewardProgram
from robo_reward.rewards.artifact import load_reward
from robo_reward.rewards.contract import EpisodeReward, StepReward, fingerprint_spec
from robo_reward.rewards.http.reward import HttpReward
from robo_reward.rewards.perceptual.reward import PerceptualReward
from robo_reward.rewards.preference.align import crop_to_square
from robo_reward.rewards.weighted import WeightedReward


class FittedReward:
    """Computes the rewards of episodes from any source.

    A program is compiled for the state of each episode, which needs the fields that the program names; other fields
    and their order do not matter. Frames are cut to the camera and resized to the size that the reward reads.

    Args:
        reward: a reward, the text of a program, or None for the expert reward of each episode's task.
        name: in messages.
        camera: of the data that the reward reads; empty: the one of the reward's own name.
    """

    def __init__(self, reward: StepReward | EpisodeReward | str | None, name: str, camera: str = "") -> None:
        self.reward, self.name, self.camera = reward, name, camera
        self._programs: dict[tuple[str, str, int], RewardProgram] = {}

    @property
    def frames(self) -> FrameSpec | None:
        """The frames that the reward reads, or None where states are enough."""
        return self.reward.frames if isinstance(self.reward, EpisodeReward) else None

    @property
    def is_bounded(self) -> bool:
        """True if the reward of a step is progress in [0, 1] by itself."""
        return isinstance(self.reward, PerceptualReward) or getattr(self.reward, "is_progress", False)

    @property
    def is_ranked_by_end(self) -> bool:
        """True if the reward of a step says how far the task is, so that the last steps rank an episode."""
        return self.is_bounded or not isinstance(self.reward, EpisodeReward) or isinstance(self.reward, HttpReward)

    @property
    def changes(self) -> tuple[Change, ...]:
        """The changes that made a reward program of the text, for the episodes so far."""
        return next((program.changes for program in self._programs.values() if program.changes), ())

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits: equal fingerprints, equal scores."""
        reward = self.reward
        spec = (
            {"source": reward} if isinstance(reward, str) else {"kind": "expert"} if reward is None else reward.spec()
        )
        return fingerprint_spec({"reward": spec, "camera": self.camera})

    def compute(self, episode: Episode) -> np.ndarray:
        """Returns the reward (T,) of each step of an episode.

        Raises:
            UsageError: the episode lacks fields of the state, frames or a camera that the reward needs.
            RoboRewardError: the reward cannot be computed on this episode.
        """
        reward = self.reward
        if isinstance(reward, EpisodeReward):
            return reward.batch([self._fit_frames(episode, reward)])[0].total
        return self._fit_states(episode, reward)(episode.to_transitions()).total

    def require_fit(self, episode: Episode) -> None:
        """Raises if an episode lacks what the reward needs.

        Raises:
            UsageError: fields of the state, frames or a camera are missing; the message names them.
        """
        if isinstance(self.reward, EpisodeReward):
            self._fit_frames(episode, self.reward)
        else:
            self._fit_states(episode, self.reward)

    def _fit_frames(self, episode: Episode, reward: EpisodeReward) -> Episode:
        wanted = reward.frames
        if wanted is None:
            require_fields(getattr(getattr(reward, "look", None), "fields", ()), episode.spec, self.name)
            return episode
        if episode.frames is None:
            cameras = ", ".join(wanted.cameras)
            raise UsageError(
                f"the reward {self.name} looks at frames of the camera {cameras}, and the episodes have no frames. "
                "Record them with frames, or give a reward on states"
            )
        if self.camera and len(wanted.cameras) > 1:
            raise UsageError(
                f"camera={self.camera}: the reward looks at {', '.join(wanted.cameras)}, which one cannot replace. "
                "Give data with these cameras"
            )
        chosen = (self.camera,) if self.camera else wanted.cameras
        frames = select_cameras(episode.frames, episode.meta.get("cameras", ()), chosen, "camera of the data")
        if isinstance(reward, HttpReward):
            return replace(episode, frames=frames)  # it scales them down itself
        if isinstance(reward, PerceptualReward):
            frames = resize_frames(frames, wanted)  # as `discover` shows it the demonstrations
        elif frames.shape[1:] != wanted.shape:
            frames = crop_to_square(frames, wanted.size)
        return replace(episode, frames=frames)

    def _fit_states(self, episode: Episode, reward: StepReward | str | None) -> StepReward:
        if reward is None:
            reward = _find_expert_reward(episode)
        if isinstance(reward, WeightedReward):
            return WeightedReward({n: (self._fit_states(episode, r), w) for n, (r, w) in reward.parts.items()})
        source = reward.source if isinstance(reward, RewardProgram) else reward
        if not isinstance(source, str):
            return reward  # type: ignore[return-value]
        if isinstance(reward, RewardProgram) and reward.state_spec == episode.spec:
            return reward
        key = (source, episode.spec.fingerprint, episode.action.shape[1])
        if key not in self._programs:
            require_fields(list_fields_read(source), episode.spec, self.name)
            self._programs[key] = compile_program(source, episode.spec, episode.action.shape[1], normalise=True)
        return self._programs[key]


def load_fitted_reward(kind: str, path: str, camera: str = "") -> FittedReward:
    """Returns the reward that `reward=...` names.

    Args:
        kind: `artifact`, with a path, or `expert`.
        path: a `.py` file with a reward program, a reward folder or a run folder with a reward.
        camera: of the data that the reward reads; empty: the one of the reward's own name.

    Raises:
        UsageError: there is no reward.
        BadArtifact: a reward folder that cannot be read.
    """
    if kind == "expert":
        return FittedReward(None, "expert", camera)
    if kind == "sparse":
        raise UsageError("reward=sparse is the success that the data already states. Give reward=PATH or reward=expert")
    file = Path(path)
    if file.suffix == ".py":
        return FittedReward(read_program(file), path, camera)
    return FittedReward(load_reward(file), path, camera)


def read_program(path: Path) -> str:
    """Returns the text of a file with a reward program.

    Raises:
        UsageError: there is no such file, or it is no text in UTF-8.
    """
    if not path.is_file():
        raise UsageError(f"no reward program at {path}")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not a text in UTF-8: {error}") from None


def require_fields(fields: Sequence[str], spec: StateSpec, name: str) -> None:
    """Raises if a reward reads fields that a state does not have.

    Raises:
        UsageError: the message names the missing fields.
    """
    missing = [field for field in fields if field not in spec]
    if not missing:
        return
    has = f"have {', '.join(spec.names)}" if spec.names else "have no states"
    raise UsageError(
        f"the reward {name} reads {', '.join(missing)} of the state, and the episodes {has}. "
        "Give data with these fields, or a reward on frames"
    )


def list_fields_read(source: str) -> list[str]:
    """Returns the fields that a program names as `state.FIELD` or `previous.FIELD`, sorted; empty for no Python."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []  # `compile_program` says what is wrong
    found = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in STATES
    }
    return sorted(found)


def select_cameras(frames: np.ndarray, shown: Sequence[str], chosen: Sequence[str], what: str) -> np.ndarray:
    """Returns the parts of frames (T, H, W, 3) that some cameras saw, side by side.

    Args:
        frames: of all cameras shown, side by side.
        shown: names of their cameras; empty if unknown: the frames are returned as they are.
        chosen: names of the wanted cameras, in order.
        what: in messages, such as `camera of demonstration 3`.

    Raises:
        UnknownName: a camera that is not shown.
    """
    shown, chosen = tuple(shown), tuple(chosen)
    if not shown or shown == chosen:
        return frames
    for name in chosen:
        if name not in shown:
            raise UnknownName(what, name, shown, "Give camera=NAME to choose one.")
    width = frames.shape[2] // len(shown)
    parts = [frames[:, :, width * shown.index(name) : width * (shown.index(name) + 1)] for name in chosen]
    return np.concatenate(parts, axis=2)


def resize_frames(frames: np.ndarray, wanted: FrameSpec) -> np.ndarray:
    """Returns frames (T, H, W, 3) scaled to the wanted size; another aspect is squeezed."""
    height, width, _ = wanted.shape
    if frames.shape[1:3] == (height, width):
        return frames
    return np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in frames])


def select_demonstration_cameras(
    demonstrations: Sequence[Demonstration], camera: str, size: int
) -> tuple[list[Demonstration], FrameSpec]:
    """Returns demonstrations with the frames of the wanted cameras at the wanted size, and what they show.

    Args:
        demonstrations: as they were read.
        camera: name; empty: as stored with the first episode, else `front`.
        size: width and height of the frames of a camera [pixels].

    Raises:
        UnknownName: a demonstration does not show the camera.
    """
    wanted = FrameSpec((camera,) if camera else demonstrations[0].cameras or ("front",), size)
    chosen = []
    for demo in demonstrations:
        what = f"camera of demonstration {demo.name}"
        frames = select_cameras(demo.frames, demo.cameras, wanted.cameras, what)
        chosen.append(replace(demo, frames=resize_frames(frames, wanted)))
    return chosen, wanted


def _find_expert_reward(episode: Episode) -> Any:
    """Returns the text of the expert reward of an episode's task."""
    if episode.task_id not in task_names():
        raise UsageError(
            f"reward=expert: an episode is of {episode.task_id or 'no task'}, which has no expert reward here. "
            "Give reward=PATH"
        )
    source = make_task(episode.task_id).expert_reward
    if not source:
        raise UsageError(f"reward=expert: the task {episode.task_id} has no expert reward. Give reward=PATH")
    return source
