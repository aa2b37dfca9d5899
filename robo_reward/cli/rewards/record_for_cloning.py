"""`robo-reward record source=...`: demonstrations for cloning, many at once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from omegaconf import DictConfig
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from robo_reward.cli.folder import lock_run
from robo_reward.cli.goals import BY_TASK
from robo_reward.cli.interrupt import stop_on_signals
from robo_reward.cli.rewards.record_person import PersonSession, record_keyboard, record_spacemouse
from robo_reward.cli.task import make_configured_task
from robo_reward.cli.terminal import Terminal
from robo_reward.data.cloning.recording import (
    MakeActor,
    RecordingProgress,
    RecordingSettings,
    WorldActor,
    claim_store,
    make_expert,
    record_demonstrations,
)
from robo_reward.data.episode import EpisodeStore
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.task import Task
from robo_reward.errors import UnknownName, UsageError
from robo_reward.policies.controller import PolicyController
from robo_reward.policies.policy import find_policy_folder, load_policy

PEOPLE = ("keyboard", "spacemouse")
SOURCES = ("expert", "policy", "keyboard", "spacemouse")
USUAL_COUNT = 200
USUAL_NOISE = 0.12
INTERRUPTED = 130


def record_for_cloning(config: DictConfig, arguments: list[str]) -> int:
    """Records until the store has as many successful episodes as asked for; returns the exit code."""
    source = config.source or ("policy" if config.policy else "expert")
    if source not in SOURCES:
        raise UnknownName("source", source, SOURCES, "Of a policy: source=policy policy=runs/NAME")
    if (source == "policy") != bool(config.policy):
        raise UsageError("source=policy needs policy=RUN, and policy=RUN no other source, such as policy=runs/NAME")
    task, goal = make_configured_task(config, arguments)
    console = Terminal()
    if goal.success_by != BY_TASK:
        goal.print(console)
    make_actor = _load_actor(task, config.policy) if source == "policy" else make_expert(task)
    place = _open_place(config, task, source, arguments)
    if source in PEOPLE:
        return _record_person(config, place, console)
    begun = monotonic()
    with (
        lock_run(place.store.folder),
        stop_on_signals() as stop,
        _show_progress(console, len(place.store), place.n) as report,
    ):
        done = record_demonstrations(
            task, make_actor, place.store, place.n, place.settings, place.failures, stop, report
        )
    _print_outcome(console, done, monotonic() - begun, place)
    if done.kept < place.n:
        console.print(f"stopped with {done.kept} of {place.n} episodes; the same command continues", style="yellow")
        return INTERRUPTED
    _print_next(console, place)
    return 0


@dataclass(frozen=True)
class RecordingPlace:
    """The stores of a recording and its size.

    Args:
        task: the task.
        settings: that decide the episodes.
        n: successful episodes in the end.
        store: of these.
        failures: of the others, or None.
    """

    task: Task
    settings: RecordingSettings
    n: int
    store: EpisodeStore
    failures: EpisodeStore | None


def _open_place(config: DictConfig, task: Task, source: str, arguments: Sequence[str]) -> RecordingPlace:
    settings = _make_settings(config, task, source)
    n = config.n or (config.episodes if _is_given("episodes", arguments) else USUAL_COUNT)
    folder = Path(config.to or f"demos/{task.id.replace('/', '-')}")
    store = EpisodeStore(folder, frames=config.frames)
    failures = None
    if config.failures == "keep":
        failures = EpisodeStore(folder.with_name(f"{folder.name}-failures"), frames=config.frames, create=False)
    return RecordingPlace(task, settings, n, store, failures)


def _record_person(config: DictConfig, place: RecordingPlace, console: Terminal) -> int:
    """Records what a person does until the store has enough; a session that ends early loses nothing."""
    task, settings, store = place.task, place.settings, place.store
    with lock_run(store.folder):
        claim_store(store, settings.to_json(task))
        begun = len(store)
        shown = settings.frames or FrameSpec(task.cameras[:1], config.size)
        session = PersonSession(
            task,
            store,
            max(0, place.n - begun),
            config.seed + begun + (len(place.failures) if place.failures is not None else 0),
            shown,
            keeps_frames=settings.frames is not None,
            view=config.view,
            failures=place.failures,
            source=settings.source,
        )
        try:
            (record_keyboard if settings.source == "keyboard" else record_spacemouse)(session, console)
        finally:
            console.print(f"{len(store) - begun} episodes added, {len(store)} of {place.n}; store: {store.folder}")
    _print_next(console, place)
    return 0


def _print_next(console: Terminal, place: RecordingPlace) -> None:
    frames, looks = place.settings.frames, ""
    if frames is not None:
        looks = f" observation=[{','.join(frames.cameras)}] picture_size={frames.size}"
    command = f"robo-reward clone data={place.store.folder} task={place.task.id} policy=diffusion{looks}"
    console.print(f"next: {command}", soft_wrap=True, highlight=False)


def _make_settings(config: DictConfig, task: Task, source: str) -> RecordingSettings:
    """Returns the settings of the recording.

    Raises:
        UnknownName: the task has no such mode or camera.
        UsageError: modes of a task that has one way only.
    """
    for camera in config.cameras:
        if camera not in task.cameras:
            raise UnknownName("camera", camera, task.cameras)
    noise = USUAL_NOISE if source == "expert" else 0.0
    if config.noise is not None:
        noise = float(config.noise)
    if noise > 1:
        raise UsageError(f"noise={noise:g}: expected at most 1, a full step")
    return RecordingSettings(
        source=_name_policy(config.policy) if source == "policy" else source,
        seed=config.seed,
        noise=noise,
        modes=_choose_modes(config, task) if source == "expert" else (),
        frames=FrameSpec(tuple(config.cameras), config.size) if config.cameras else None,
        worlds=config.worlds,
    )


def _name_policy(folder: str) -> str:
    """Returns a policy's folder and a hash of its files, so that another policy does not continue its recording."""
    digest = hashlib.sha256()
    for path in sorted(find_policy_folder(Path(folder)).glob("policy.*")):
        digest.update(path.read_bytes())
    return f"{folder} {digest.hexdigest()[:12]}"


def _choose_modes(config: DictConfig, task: Task) -> tuple[str, ...]:
    if config.modes == "balanced":
        return task.modes
    names = (config.modes,) if isinstance(config.modes, str) else tuple(config.modes)
    for name in names:
        if not task.modes:
            raise UsageError(f"modes={name}: task {task.id} has one way to succeed; leave modes= out")
        if name not in task.modes:
            raise UnknownName(f"mode of {task.id}", name, task.modes)
    return tuple(dict.fromkeys(names))


def _load_actor(task: Task, folder: str) -> MakeActor:
    """Returns the maker of a policy's actor."""
    policy = load_policy(folder).require_compatible(task)

    @contextmanager
    def make(seed: int, modes: Sequence[str]) -> Iterator[WorldActor]:
        with closing(PolicyController(policy, task, len(modes), seed)) as controller:
            yield controller.act

    return make


@contextmanager
def _show_progress(console: Terminal, done: int, n: int) -> Iterator[Callable[[RecordingProgress], None]]:
    """Shows a bar of the episodes in the store; yields the function that moves it."""
    columns = (
        TextColumn("recording"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        line = bar.add_task("", total=n, completed=done, note="")

        def report(progress: RecordingProgress) -> None:
            share = progress.succeeded / max(progress.tried, 1)
            bar.update(line, completed=progress.kept, note=f"{share:.0%} of {progress.tried} succeed")

        yield report


def _print_outcome(console: Terminal, done: RecordingProgress, seconds: float, place: RecordingPlace) -> None:
    """Prints how many episodes there are, how many succeeded, and the speed."""
    if done.tried:
        speed = 60 * done.tried / max(seconds, 1e-9)
        console.print(f"{done.succeeded} of {done.tried} episodes succeed; {speed:.0f} episodes a minute")
    modes = ", ".join(f"{name} {count}" for name, count in sorted(done.modes.items()) if name)
    console.print(f"{done.kept} demonstrations{f' ({modes})' if modes else ''}; store: {place.store.folder}")
    if place.failures is not None and done.succeeded < done.tried:
        console.print(f"failures: {place.failures.folder}")


def _is_given(key: str, arguments: Sequence[str]) -> bool:
    return any(argument.startswith(f"{key}=") for argument in arguments)
