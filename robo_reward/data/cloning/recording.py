"""Records demonstrations for cloning: many worlds at once, noise on what is executed, clean actions as labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from robo_reward.data.collect import Recorder
from robo_reward.data.episode import Episode, EpisodeStore
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.task import Task
from robo_reward.envs.worlds import Worlds
from robo_reward.errors import RoboRewardError, UsageError
from robo_reward.files import load_json, write_json

WorldActor = Callable[[Worlds], np.ndarray]
"""Returns the clean actions (N, A) of the present step of all worlds."""
MakeActor = Callable[[int, Sequence[str]], AbstractContextManager[WorldActor]]
"""Makes the actor of one batch from its seed and the mode of each world ("" where the task has no modes)."""

MOST_WORLDS, MOST_FILMED = 100, 25
"""Episodes that are recorded side by side without and with pictures: what is drawn beyond the last one is lost."""
FRAME_MEMORY = 512 << 20  # [bytes] of the frames of one batch
HOPELESS = 300
"""Episodes without a single success after which recording gives up."""
SETTINGS = "recording.json"


@dataclass(frozen=True)
class RecordingSettings:
    """The settings that decide which episodes a recording consists of.

    Args:
        source: who acts: `expert`, or the folder of a policy and a hash of its files.
        seed: of initial states and noise.
        noise: standard deviation of the noise on each component of the motion that is executed, as a share of a full
            step, drawn at each step. Grippers follow the clean action.
        modes: ways of solving, in equal numbers and from the same starts; empty for a task with one way.
        frames: cameras and size of the pictures, or None.
        worlds: episodes that are recorded side by side; 0: as many as suit the task and the memory.
    """

    source: str = "expert"
    seed: int = 0
    noise: float = 0.12
    modes: tuple[str, ...] = ()
    frames: FrameSpec | None = None
    worlds: int = 0

    def count_worlds(self, task: Task) -> int:
        """Returns how many episodes are recorded side by side."""
        if self.worlds:
            return min(self.worlds, task.max_worlds)
        most = min(MOST_WORLDS if self.frames is None else MOST_FILMED, task.max_worlds)
        if self.frames is None:
            return most
        return max(1, min(most, FRAME_MEMORY // ((task.horizon + 1) * int(np.prod(self.frames.shape)))))

    def choose_mode(self, batch: int) -> str:
        """Returns the mode of a batch, "" for a task with one way."""
        return self.modes[batch % len(self.modes)] if self.modes else ""

    def to_json(self, task: Task) -> dict[str, Any]:
        """Returns everything that decides the episodes, as JSON."""
        return {
            "task": task.id,
            "options": dict(task.options),
            "source": self.source,
            "seed": self.seed,
            "noise": self.noise,
            "modes": list(self.modes),
            **({"starts": "each in every mode"} if self.modes else {}),  # in earlier versions each had one mode
            "frames": None if self.frames is None else self.frames.to_json(),
            "worlds": self.count_worlds(task),
        }


@dataclass(frozen=True)
class RecordingProgress:
    """The progress of a recording.

    Args:
        kept: successful episodes in the store.
        tried: episodes that this start has run, failed ones included.
        succeeded: of these.
        modes: kept episodes of each mode.
    """

    kept: int
    tried: int
    succeeded: int
    modes: dict[str, int]


def record_demonstrations(
    task: Task,
    make_actor: MakeActor,
    store: EpisodeStore,
    n: int,
    settings: RecordingSettings,
    failures: EpisodeStore | None = None,
    stop: Callable[[], bool] = lambda: False,
    report: Callable[[RecordingProgress], None] = lambda _: None,
    threads: int | None = None,
) -> RecordingProgress:
    """Records until the store has n successful episodes.

    Episodes run in batches. The initial states, the noise and the keys of a batch depend on the settings and its
    number alone, so a recording that was stopped or killed continues to the same episodes as one that was not. The
    modes take turns batch by batch, each from the same initial states: which mode a start gets cannot be learnt.

    Args:
        task: the task to run.
        make_actor: makes the actor of a batch.
        store: of the successful episodes.
        n: successful episodes that the store has in the end.
        settings: which episodes; must be those that the store began with.
        failures: store of the episodes that fail, or None to drop them.
        stop: whether to stop; asked at every step.
        report: called after every batch.
        threads: of the simulator.

    Raises:
        UsageError: a store holds episodes of other settings.
        RoboRewardError: none of many episodes succeeds.
    """
    described = settings.to_json(task)
    if failures is not None and len(failures):
        claim_store(failures, described)
    claim_store(store, described)
    if len(store) >= n:
        return RecordingProgress(len(store), 0, 0, {})
    batch, kept = _find_state(store, settings.modes)
    shares = _share_out(n, settings.modes)
    tried: Counter[str] = Counter()
    succeeded: Counter[str] = Counter()
    progress = RecordingProgress(kept.total(), 0, 0, dict(kept))
    with closing(_BatchRunner(task, settings, threads)) as runner:
        while kept.total() < n:
            mode = settings.choose_mode(batch)
            if kept[mode] >= shares[mode]:
                batch += 1
                continue
            episodes = runner.run(batch, make_actor, stop)
            if episodes is None:
                break
            if failures is not None and not all(episode.is_successful for episode in episodes):
                failures.create_folder()
                claim_store(failures, described)
            _store_batch(episodes, batch, shares, kept, store, failures)
            tried.update(_get_mode(episode) for episode in episodes)
            succeeded.update(_get_mode(episode) for episode in episodes if episode.is_successful)
            batch += 1
            progress = RecordingProgress(kept.total(), tried.total(), succeeded.total(), dict(kept))
            report(progress)
            _require_hope(task, settings, tried, succeeded)
    return progress


def make_expert(task: Task) -> MakeActor:
    """Returns the maker of the task's scripted expert, which solves each world in the mode it is given."""

    @contextmanager
    def make(seed: int, modes: Sequence[str]) -> Iterator[WorldActor]:
        yield _ModeExpert(task, modes)

    return make


class _ModeExpert:
    """The expert of each world's mode."""

    def __init__(self, task: Task, modes: Sequence[str]) -> None:
        self.task = task
        self.worlds = {mode: np.flatnonzero(np.array(modes) == mode) for mode in dict.fromkeys(modes) if mode}

    def __call__(self, sim: Worlds) -> np.ndarray:
        if not self.worlds:
            return self.task.expert(sim.state)
        action = np.zeros((sim.n, self.task.action.dim))
        for mode, rows in self.worlds.items():
            action[rows] = self.task.expert_of_mode(sim.state.rows(rows), mode)
        return action


class _BatchRunner:
    """Runs one episode in every world of a simulator, again and again."""

    def __init__(self, task: Task, settings: RecordingSettings, threads: int | None) -> None:
        self.task, self.settings = task, settings
        self.worlds = settings.count_worlds(task)
        self._recorder = Recorder(task, self.worlds, settings.frames)
        try:
            self._sim = task.make_worlds(self.worlds, 0, threads=threads)
        except BaseException:
            self._recorder.close()
            raise
        self._clean = np.zeros((self.worlds, task.horizon, task.action.dim))

    def close(self) -> None:
        self._sim.close()
        self._recorder.close()

    def run(self, batch: int, make_actor: MakeActor, stop: Callable[[], bool]) -> list[Episode] | None:
        """Returns the episodes of a batch, as views that the next one overwrites, or None where it was stopped."""
        start = batch // max(1, len(self.settings.modes))
        seed = int(np.random.SeedSequence([self.settings.seed, start]).generate_state(1, np.uint64)[0] >> 1)
        rng = np.random.default_rng([self.settings.seed, batch, 1])
        mode = self.settings.choose_mode(batch)
        noisy = [i for i, name in enumerate(self.task.action.names) if name != "gripper"]
        self._sim.reset(seed)
        self._recorder.begin_episodes(self._sim)
        with make_actor(seed, [mode] * self.worlds) as actor:
            for step in range(self.task.horizon):
                if stop():
                    return None
                clean = np.clip(actor(self._sim), -1.0, 1.0)
                executed = clean.copy()
                executed[:, noisy] += rng.normal(0.0, self.settings.noise, (self.worlds, len(noisy)))
                self._clean[:, step] = clean
                if self._recorder.add_step(self._sim.step(executed)):
                    break
        about = {
            "by": "expert" if self.settings.source == "expert" else "policy",
            "source": self.settings.source,
            "seed": self.settings.seed,
            "batch": batch,
            "noise": self.settings.noise,
            "action": self.task.action.to_json(),
        }
        return [self._complete(e, i, mode) for i, e in enumerate(self._recorder.get_episodes(about))]

    def _complete(self, episode: Episode, world: int, mode: str) -> Episode:
        """Returns an episode with its clean actions, where noise was added, and with its mode, where there is one."""
        meta = {**episode.meta, **({"mode": mode} if mode else {})}
        clean = self._clean[world, : len(episode)] if self.settings.noise else None
        return replace(episode, meta=meta, clean_action=clean)


def _store_batch(
    episodes: Sequence[Episode],
    batch: int,
    shares: dict[str, int],
    kept: Counter[str],
    store: EpisodeStore,
    failures: EpisodeStore | None,
) -> None:
    """Adds the episodes of a batch that are needed and not there yet; `kept` counts those of each mode."""
    known = set(store.keys())
    failed = set(failures.keys()) if failures is not None else set()
    for world, episode in enumerate(episodes):
        key, mode = f"{batch:06d}-{world:05d}", _get_mode(episode)
        if not episode.is_successful:
            if failures is not None and key not in failed:
                failures.append(episode, key)
        elif kept[mode] < shares[mode]:
            kept[mode] += 1
            if key not in known:
                store.append(episode, key)


def _share_out(n: int, modes: Sequence[str]) -> dict[str, int]:
    """Returns how many of n episodes each mode gets."""
    names = list(modes) or [""]
    return {mode: n // len(names) + (i < n % len(names)) for i, mode in enumerate(names)}


def _get_mode(episode: Episode) -> str:
    return str(episode.meta.get("mode", ""))


def _require_hope(task: Task, settings: RecordingSettings, tried: Counter[str], succeeded: Counter[str]) -> None:
    """Raises RoboRewardError if none of many episodes succeeded, of a mode or at all."""
    for mode, count in tried.items():
        if count >= HOPELESS and not succeeded[mode]:
            what = f" in the mode {mode}" if mode else ""
            raise RoboRewardError(
                f"none of {count} episodes of {task.id}{what} succeeded; give less noise= than {settings.noise:g}, or "
                "another source="
            )


def _find_state(store: EpisodeStore, modes: Sequence[str]) -> tuple[int, Counter[str]]:
    """Returns the batch to run next and the episodes kept of each mode before it.

    The last batch of each mode that has successes is run again: it may have been stored in part, or as far as a
    smaller number needed it.
    """
    keys = {key: int(key.partition("-")[0]) for key in store.keys()}  # noqa: SIM118 - a store is not a mapping
    count = max(1, len(modes))
    last = [max((batch for batch in keys.values() if batch % count == i), default=0) for i in range(count)]
    begin = min(last) // count * count
    kept: Counter[str] = Counter()
    for key, number in keys.items():
        if number < begin:
            kept[str(store.read_entry(key).meta.get("mode", ""))] += 1
    return begin, kept


def claim_store(store: EpisodeStore, settings: dict[str, Any]) -> None:
    """Writes the settings into a new store.

    Raises:
        UsageError: the store holds episodes of other settings.
    """
    path = Path(store.folder) / SETTINGS
    remedy = "Give another to=FOLDER"
    found = load_json(path, dict[str, Any], remedy=remedy)
    if found is None:
        if len(store):
            raise UsageError(f"{store.folder} holds episodes that were recorded in another way. {remedy}")
        write_json(path, settings)
    elif found != settings:
        changed = [k for k in sorted({*found, *settings}) if found.get(k) != settings.get(k)]
        shown = ", ".join(f"{k} was {found.get(k)!r}, now {settings.get(k)!r}" for k in changed[:4])
        raise UsageError(f"{store.folder} holds a recording with other settings: {shown}. {remedy}")
