"""Episodes: one as arrays over time, and a folder of many."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from robo_reward.envs.state import State, StateSpec, Transitions
from robo_reward.envs.video.files import read_video, write_video
from robo_reward.errors import BadArtifact, MissingExtra, RoboRewardError, UnknownName, UsageError, WrongShape
from robo_reward.files import atomic_file, is_regular, load_json, open_arrays, parse_json, write_json
from robo_reward.rewards.contract import MAX_TERMS, RewardOutput

MAX_UNPACKED = 4 << 30  # [bytes] of the arrays of one episode
MAX_SMALL = 8 << 20  # [bytes] of a file other than episodes and videos


@dataclass(frozen=True, eq=False)
class Episode:
    """One episode of T steps, in order.

    Step t goes from `state[t]` by `action[t]` to `state[t + 1]`, where `success[t]` says whether the goal then
    holds.

    Args:
        state: (T + 1, D) float, in the order of `spec`.
        action: (T, A) float, each component in [-1, 1].
        success: (T,) bool.
        spec: the fields of the state.
        task_id: such as `panda/lift`.
        reward: the output of a reward for the T steps, or None.
        frames: (T + 1, H, W, 3) uint8, or None.
        meta: JSON: seed, camera, policy, notes.
        clean_action: (T, A) float, what an imitator learns where noise was added to the executed `action`: the
            action of the expert or policy without the noise; None where both are the same.

    Raises:
        WrongShape: lengths or widths that do not belong together.
        UsageError: states or actions that are not finite.
    """

    state: np.ndarray
    action: np.ndarray
    success: np.ndarray
    spec: StateSpec
    task_id: str = ""
    reward: RewardOutput | None = None
    frames: np.ndarray | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    clean_action: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.clean_action is not None:
            object.__setattr__(self, "clean_action", np.asarray(self.clean_action, dtype=float))
        for name, kind in (("state", float), ("action", float), ("success", bool)):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=kind))
        _check_shapes(self)

    def __len__(self) -> int:
        """Returns T, the number of steps."""
        return len(self.action)

    @property
    def states(self) -> State:
        """Named views of all T + 1 states."""
        return self.spec.view(self.state)

    @property
    def is_successful(self) -> bool:
        """True if the goal holds at the end."""
        return bool(self.success[-1])

    def to_transitions(self) -> Transitions:
        """Returns the T steps as a batch, without copying."""
        return Transitions(self.spec.view(self.state[:-1]), self.action, self.spec.view(self.state[1:]))


def _check_shapes(episode: Episode) -> None:
    action, state, success = episode.action, episode.state, episode.success
    if action.ndim != 2 or len(action) == 0:
        raise WrongShape("action", action.shape, "(T, A) with at least one step")
    steps = len(action)
    if state.shape != (steps + 1, episode.spec.dim):
        raise WrongShape("state", state.shape, f"(T + 1, D) = ({steps + 1}, {episode.spec.dim})")
    if success.shape != (steps,):
        raise WrongShape("success", success.shape, f"(T,) = ({steps},)")
    clean = action if episode.clean_action is None else episode.clean_action
    if clean.shape != action.shape:
        raise WrongShape("clean_action", clean.shape, f"that of action, {action.shape}")
    for name, array in (("state", state), ("action", action), ("clean_action", clean)):
        if not np.isfinite(array).all():
            row = int(np.argmin(np.isfinite(array).all(axis=1)))
            raise UsageError(f"{name} is not finite at step {row} of an episode of {episode.task_id or 'no task'}")
    frames = episode.frames
    if frames is not None and (frames.ndim != 4 or frames.shape[::3] != (steps + 1, 3) or frames.dtype != np.uint8):
        raise WrongShape(f"frames ({frames.dtype})", frames.shape, f"({steps + 1}, H, W, 3) uint8")
    if episode.reward is not None:
        for name, values in {"total": episode.reward.total, **episode.reward.terms}.items():
            if np.shape(values) != (steps,):
                raise WrongShape(f"reward {name!r}", np.shape(values), f"(T,) = ({steps},)")


class CorruptEpisode(BadArtifact):
    """A file of the store is not a readable episode of its name."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(path, f"this episode cannot be read: {problem}", "Delete it to continue without this episode")


class EpisodeHeader(msgspec.Struct):
    """The header of an episode file, which describes its arrays."""

    task_id: str
    meta: dict[str, Any]
    steps: Annotated[int, msgspec.Meta(ge=1)]
    success: bool
    total: float | None
    terms: Annotated[list[str], msgspec.Meta(max_length=MAX_TERMS)]
    spec: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{16}\Z")]
    video: Annotated[str, msgspec.Meta(pattern=r"\A([A-Za-z0-9_-]+\.mp4)?\Z")]
    frame_shape: list[Annotated[int, msgspec.Meta(ge=1, le=16384)]]


@dataclass(frozen=True)
class EpisodeEntry:
    """The summary of a stored episode, which is read without its arrays.

    Args:
        key: its name in the store; keys sort in the order of appending unless the caller chose them.
        task_id: such as `panda/lift`.
        steps: T.
        success: whether the goal holds at the end.
        total: the sum of its reward, or None.
        meta: the episode's metadata.
    """

    key: str
    task_id: str
    steps: int
    success: bool
    total: float | None
    meta: Mapping[str, Any]


class EpisodeStore:
    """A folder of episodes that only grows, also under several processes at once.

    `episodes/KEY.npz` is one episode (no pickles), beside it `KEY-*.mp4` if it has frames; `specs/` holds each state
    spec once, by fingerprint. Every file is written under a temporary name and then given its own, the npz last: a
    process killed at any moment leaves whole episodes only. The directory is the index.

    Args:
        folder: created if necessary.
        frames: how new episodes keep their frames: `mp4` (small, slightly changed), `exact` (in the npz), `drop`.
        fps: of the videos [Hz]; an episode's `meta["fps"]` takes precedence.
        create: make the folder now; otherwise with its first episode.

    Raises:
        UsageError: the folder belongs to something else or to a newer version.
    """

    FORMAT, VERSION = "robo-reward/episodes", 1

    def __init__(
        self,
        folder: Path | str,
        frames: Literal["mp4", "exact", "drop"] = "mp4",
        fps: float = 20.0,
        create: bool = True,
    ) -> None:
        if frames not in ("mp4", "exact", "drop"):
            raise UnknownName("way to keep frames", frames, ("mp4", "exact", "drop"))
        self.folder, self.frames, self.fps = Path(folder), frames, fps
        self._episodes, self._specs = self.folder / "episodes", self.folder / "specs"
        self._entries: dict[str, EpisodeEntry] = {}
        self._known_specs: dict[str, StateSpec] = {}
        if create or os.path.lexists(self.folder):
            self.create_folder()

    def create_folder(self) -> None:
        """Makes the folder, or checks that the one there is an episode store.

        Raises:
            UsageError: it belongs to something else or to a newer version.
        """
        for path in (self._episodes, self._specs):
            path.mkdir(parents=True, exist_ok=True)
        self._claim_folder()

    def append(self, episode: Episode, key: str | None = None) -> str:
        """Adds an episode and returns its key.

        Args:
            episode: what to add.
            key: its name, for a caller that may do the same work twice; a name is taken once.

        Returns:
            The key.

        Raises:
            UsageError: the key is taken or is no plain file name.
        """
        key = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}" if key is None else key
        if not key.replace("-", "").replace("_", "").isalnum() or not key.isascii() or len(key) > 128:
            raise UsageError(f"episode key {key!r} is not a plain name of letters, digits, '-' and '_'")
        if (self._episodes / f"{key}.npz").exists():
            raise _refuse_key(key)
        video = self._write_frames(episode, key)
        try:
            arrays = _episode_to_arrays(episode, self._save_spec(episode.spec), video.name if video else "")
            if self.frames == "exact" and episode.frames is not None:
                arrays["frames"] = episode.frames
            with atomic_file(self._episodes / f"{key}.npz", exclusive=True) as file:
                np.savez_compressed(file, **arrays)
        except BaseException as error:
            if video:
                video.unlink(missing_ok=True)
            if isinstance(error, FileExistsError):  # another process has written it meanwhile
                raise _refuse_key(key) from None
            raise
        return key

    def keys(self) -> tuple[str, ...]:
        """Returns all keys, sorted; each call reads the folder, so other processes' episodes appear."""
        return tuple(sorted(path.stem for path in self._episodes.glob("*.npz") if not path.name.startswith(".")))

    def list_entries(self, keep: Callable[[EpisodeEntry], bool] | None = None) -> list[EpisodeEntry]:
        """Returns the entry of every episode, or of those that `keep` accepts, in the order of keys."""
        found = [self.read_entry(key) for key in self.keys()]
        return found if keep is None else [entry for entry in found if keep(entry)]

    def read_entry(self, key: str) -> EpisodeEntry:
        """Returns the entry of one episode, without reading its arrays."""
        if key not in self._entries:
            with self._open_episode(key) as arrays:
                head = _read_header(arrays)
                self._entries[key] = EpisodeEntry(key, head.task_id, head.steps, head.success, head.total, head.meta)
        return self._entries[key]

    def load(self, key: str, frames: bool = True) -> Episode:
        """Returns one episode.

        Args:
            key: one of `keys()`.
            frames: read its frames too, if it has any.

        Raises:
            UnknownName: no such episode.
            CorruptEpisode: its file cannot be read.
        """
        with self._open_episode(key) as arrays:
            head = _read_header(arrays)
            if len(arrays["action"]) != head.steps:
                raise ValueError(f"it has {len(arrays['action'])} steps, {head.steps} are promised")
            return Episode(
                state=arrays["state"],
                action=arrays["action"],
                success=arrays["success"],
                spec=self._load_spec(head.spec),
                task_id=head.task_id,
                reward=_read_reward(arrays, head),
                frames=self._read_frames(arrays, head) if frames else None,
                meta=head.meta,
                clean_action=arrays.get("clean_action"),
            )

    def find_video(self, key: str) -> Path | None:
        """Returns the mp4 of an episode's frames, or None where it has no frames or keeps them in its npz.

        Raises:
            UnknownName: no such episode.
            CorruptEpisode: its file cannot be read.
        """
        with self._open_episode(key) as arrays:
            name = _read_header(arrays).video
        return self._episodes / name if name else None

    def __len__(self) -> int:
        return len(self.keys())

    def __iter__(self) -> Iterator[Episode]:
        """Reads all episodes in the order of keys, with frames."""
        return (self.load(key) for key in self.keys())

    def iterate_without_frames(self) -> Iterator[Episode]:
        """Reads all episodes in the order of keys, without their frames, which is far faster."""
        return (self.load(key, frames=False) for key in self.keys())

    def __contains__(self, key: object) -> bool:
        return key in self.keys()

    def _claim_folder(self) -> None:
        path = self.folder / "store.json"
        if not os.path.lexists(path):
            with suppress(FileExistsError):  # another process made it
                write_json(path, {"format": self.FORMAT, "version": self.VERSION}, exclusive=True)
        try:
            found: Any = load_json(path, dict[str, Any], MAX_SMALL) or {}
            version = found.get("version")
            matches = found.get("format") == self.FORMAT and isinstance(version, int) and version <= self.VERSION
        except BadArtifact:
            found, matches = "unreadable", False
        if not matches:
            raise UsageError(f"{self.folder} is not an episode store of version {self.VERSION} or earlier ({found})")

    @contextmanager
    def _open_episode(self, key: str) -> Iterator[Mapping[str, np.ndarray]]:
        """Opens the arrays of an episode; any error of theirs becomes a `CorruptEpisode`."""
        path = self._episodes / f"{key}.npz"
        if not os.path.lexists(path):
            raise UnknownName(f"episode of {self.folder}", key, self.keys())
        try:
            with open_arrays(path, MAX_UNPACKED) as arrays:
                yield arrays
        except (MissingExtra, CorruptEpisode):
            raise
        except RoboRewardError as error:
            raise CorruptEpisode(path, error.problem if isinstance(error, BadArtifact) else str(error)) from error

    def _write_frames(self, episode: Episode, key: str) -> Path | None:
        if self.frames != "mp4" or episode.frames is None:
            return None
        # A unique name: two processes with the same key must not share a video.
        path = self._episodes / f"{key}-{uuid.uuid4().hex[:8]}.mp4"
        return write_video(path, episode.frames, fps=float(episode.meta.get("fps", self.fps)), crf=12)

    def _read_frames(self, arrays: Mapping[str, np.ndarray], head: EpisodeHeader) -> np.ndarray | None:
        if not head.video:
            return arrays.get("frames")
        path = self._episodes / head.video
        if not is_regular(path):
            raise BadArtifact(path, "there is no such video")
        height, width = head.frame_shape  # the sides of a video are even, those of frames need not be
        return read_video(path)[:, :height, :width]

    def _save_spec(self, spec: StateSpec) -> str:
        if spec.fingerprint not in self._known_specs:
            with suppress(FileExistsError):  # the same fingerprint, the same content
                write_json(self._specs / f"{spec.fingerprint}.json", spec.to_json(), exclusive=True)
            self._known_specs[spec.fingerprint] = spec
        return spec.fingerprint

    def _load_spec(self, name: str) -> StateSpec:
        if name not in self._known_specs:
            path = self._specs / f"{name}.json"
            fields = load_json(path, list[dict[str, Any]], MAX_SMALL)
            if fields is None:
                raise BadArtifact(path, "there is no such file")
            self._known_specs[name] = StateSpec.from_json(fields)
        return self._known_specs[name]


def _episode_to_arrays(episode: Episode, spec: str, video: str) -> dict[str, Any]:
    reward = episode.reward
    head = {
        "task_id": episode.task_id,
        "meta": dict(episode.meta),
        "steps": len(episode),
        "success": episode.is_successful,
        "total": None if reward is None else float(np.sum(reward.total)),
        "terms": [] if reward is None else list(reward.terms),
        "spec": spec,
        "video": video,
        "frame_shape": [] if episode.frames is None else episode.frames.shape[1:3],
    }
    arrays = {"state": episode.state, "action": episode.action, "success": episode.success}
    if episode.clean_action is not None:
        arrays["clean_action"] = episode.clean_action
    if reward is not None:
        arrays["reward"] = np.stack([reward.total, *reward.terms.values()])  # (1 + terms, T)
    return {"head": np.frombuffer(json.dumps(head).encode(), np.uint8), **arrays}


def _read_header(arrays: Mapping[str, np.ndarray]) -> EpisodeHeader:
    return parse_json(arrays["head"].tobytes(), EpisodeHeader, "head")


def _read_reward(arrays: Mapping[str, np.ndarray], head: EpisodeHeader) -> RewardOutput | None:
    if "reward" not in arrays:
        return None
    total, *terms = arrays["reward"]
    return RewardOutput(total, dict(zip(head.terms, terms, strict=True)))


def _refuse_key(key: str) -> UsageError:
    return UsageError(f"episode {key!r} is in the store already; episodes are never replaced")
