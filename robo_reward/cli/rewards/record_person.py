"""Demonstrations by a person: with keys, step by step, or with a SpaceMouse, in real time."""

from __future__ import annotations

import select
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import numpy as np

from robo_reward.cli.terminal import Terminal
from robo_reward.data.episode import Episode, EpisodeStore
from robo_reward.data.keyboard import AGAIN, HELP, KEEP, KeyboardHand, raw_keys, read_key, render_half_blocks
from robo_reward.envs.rendering.frames import FrameRenderer, FrameSpec
from robo_reward.envs.task import Task
from robo_reward.envs.worlds import Worlds
from robo_reward.hardware.policy.teleop import Teleop, make_teleop

NEVER = 10**9
MOUSE_HELP = (
    "move the mouse: the hand follows · left button: open or close the gripper · right button or enter: keep the "
    "episode · r: discard it and start again · Ctrl-C: stop; kept episodes stay"
)


@dataclass
class PersonSession:
    """A sitting of a person who records episodes.

    Args:
        task: the task.
        store: of the episodes that are kept.
        count: episodes to keep in this session.
        seed: of the first episode's initial state; each further one has the next.
        frames: cameras and size of the pictures.
        keeps_frames: whether the pictures are stored, or only shown.
        view: show the first camera in the terminal.
        failures: store of the kept episodes that end without success; None: `store`.
        source: the device.
        kept: kept so far.
    """

    task: Task
    store: EpisodeStore
    count: int
    seed: int
    frames: FrameSpec
    keeps_frames: bool = True
    view: bool = True
    failures: EpisodeStore | None = None
    source: str = "keyboard"
    kept: int = field(default=0, init=False)

    def record(self, drive: Callable[[EpisodeDraft, str], bool], help: str, console: Terminal) -> None:
        """Records episodes until there are enough; those without success do not count where they are kept apart.

        Args:
            drive: records one episode into a draft under a headline; returns False where the person discards it.
            help: what the person can do.
            console: for the texts.

        Raises:
            KeyboardInterrupt: Ctrl-C, or the end of the input.
        """
        self.task.horizon = NEVER  # no time limit for a person
        console.print(f"{self.task.goal}\n{help}", highlight=False)
        with ExitStack() as stack:
            draws = self.keeps_frames or self.view
            filmer = stack.enter_context(FrameRenderer(self.task, self.frames)) if draws else None
            while self.kept < self.count:
                draft = EpisodeDraft(self, filmer)
                if drive(draft, f"episode {self.kept + 1}/{self.count}"):
                    self._keep(draft.finish(), console)
                self.seed += 1

    def _keep(self, episode: Episode, console: Terminal) -> None:
        apart = self.failures is not None and not episode.is_successful
        store = self.failures if self.failures is not None and apart else self.store
        store.create_folder()
        store.append(episode)
        self.kept += not apart
        done = "done" if episode.is_successful else "not done"
        console.print(f"\nkept{' apart' if apart else ''}: {len(episode)} steps, {done}", highlight=False)


class EpisodeDraft:
    """One episode while a person drives it.

    Args:
        session: of the person.
        filmer: draws the pictures, or None.
    """

    def __init__(self, session: PersonSession, filmer: FrameRenderer | None) -> None:
        self.session, self._filmer = session, filmer
        self.sim: Worlds = session.task.make_worlds(1, session.seed, threads=1)  # one thread: no pool to close
        self.states, self.actions, self.success = [self.sim.state.array[0].copy()], [], []
        self.pictures = [filmer(self.sim.qpos, self.sim.mocap)[0]] if filmer else []

    def add_step(self, action: np.ndarray) -> bool:
        """Executes an action (A,); returns True where the episode ends by itself."""
        result = self.sim.step(action[None])
        self.states.append(result.transitions.state.array[0].copy())
        self.actions.append(result.transitions.action[0].copy())
        self.success.append(bool(result.success[0]))
        if self._filmer:
            picture = self._filmer(result.qpos, result.mocap)[0]
            self.pictures = [*self.pictures, picture] if self.session.keeps_frames else [picture]
        return bool(result.terminated[0])

    def finish(self) -> Episode:
        """Returns the episode."""
        session, frames = self.session, None
        meta = {"by": session.source, "seed": session.seed, "fps": 1 / session.task.control_dt}
        meta["action"] = session.task.action.to_json()
        if session.keeps_frames:
            meta["cameras"], frames = list(session.frames.cameras), np.stack(self.pictures)
        arrays = np.stack(self.states), np.stack(self.actions), np.array(self.success)
        return Episode(*arrays, session.task.spec, session.task.id, frames=frames, meta=meta)

    def show(self, head: str, is_open: bool, help: str) -> None:
        """Shows the picture, and below it one line that is rewritten at every step."""
        x, y, z = self.sim.state.hand_position[0]
        grips = "gripper" in self.session.task.action.names
        gripper = f"  gripper {'open' if is_open else 'closed'}" if grips else ""
        done = "DONE: enter keeps it" if self.success and self.success[-1] else ""
        line = f"{head}  step {len(self.actions)}  hand {x:.2f} {y:+.2f} {z:.2f} m{gripper}  {done}"
        if self.session.view:
            frame, size = self.pictures[-1], shutil.get_terminal_size()
            columns = max(16, min(size.columns - 1, 2 * (size.lines - 5) * frame.shape[1] // frame.shape[0], 120))
            sys.stdout.write("\x1b[H\x1b[J" + render_half_blocks(frame, columns) + "\n" + help + "\n")
        sys.stdout.write("\r\x1b[K" + line)
        sys.stdout.flush()


def record_keyboard(session: PersonSession, console: Terminal) -> None:
    """Records episodes that a person drives by keys, one step for each key.

    Raises:
        UsageError: the standard input is no terminal, or the actions are no steps of the hand.
        KeyboardInterrupt: Ctrl-C, or the end of the input.
    """
    KeyboardHand(session.task.action)  # raises before any rendering if keys cannot control the task
    with raw_keys():
        session.record(_drive_by_keys, HELP, console)


def _drive_by_keys(draft: EpisodeDraft, head: str) -> bool:
    hand = KeyboardHand(draft.session.task.action)
    draft.show(head, hand.open, HELP)
    while True:
        key = read_key()
        if not key:
            raise KeyboardInterrupt
        if key == AGAIN or (key in KEEP and not draft.actions):
            return False
        if key in KEEP:
            return True
        action = hand.press_key(key)
        if action is None:
            continue
        has_ended = draft.add_step(action)
        draft.show(head, hand.open, HELP)
        if has_ended:
            return True


def record_spacemouse(session: PersonSession, console: Terminal, teleop: Teleop | None = None) -> None:
    """Records episodes that a person drives with a SpaceMouse, at the control rate of the task.

    Args:
        session: what is recorded.
        console: for the texts.
        teleop: the device; None opens the SpaceMouse that is connected.

    Raises:
        MissingExtra: pyspacemouse is not installed.
        UsageError: no SpaceMouse is connected, or the actions are no steps of the hand.
        KeyboardInterrupt: Ctrl-C.
    """
    device = teleop if teleop is not None else make_teleop("spacemouse", session.task.action)
    try:
        with _read_keys_if_terminal() as read:
            session.record(lambda draft, head: _drive_by_mouse(draft, head, device, read), MOUSE_HELP, console)
    finally:
        device.close()


@contextmanager
def _read_keys_if_terminal() -> Iterator[Callable[[], str]]:
    """Yields a function that returns a pressed key, or "" at once; always "" where standard input is no terminal."""
    if not sys.stdin.isatty():
        yield lambda: ""
        return
    with raw_keys():
        yield lambda: read_key() if select.select([sys.stdin], [], [], 0)[0] else ""


def _drive_by_mouse(draft: EpisodeDraft, head: str, teleop: Teleop, read: Callable[[], str]) -> bool:
    """Records one episode in real time; it begins with the first motion, and the hand rests while the mouse does."""
    spec, period = draft.session.task.action, draft.session.task.control_dt
    action = np.zeros(spec.dim)
    if "gripper" in spec.names:
        action[spec.names.index("gripper")] = 1.0
    moving = [i for i, name in enumerate(spec.names) if name != "gripper"]
    teleop.reset()
    due = time.monotonic()
    while True:
        key, given = read(), teleop.read()
        if key == AGAIN or given.event == "discard":
            return False
        if (key in KEEP or given.event in ("end", "success", "failure")) and draft.actions:
            return True
        if given.action is not None:
            action = given.action
        elif draft.actions:
            action = action.copy()
            action[moving] = 0.0
        if draft.actions or given.action is not None:
            has_ended = draft.add_step(action)
            draft.show(head, action[-1] > 0, MOUSE_HELP)
            if has_ended:
                return True
        due = max(due + period, time.monotonic())  # a slow step delays those after it instead of hurrying them
        time.sleep(max(0.0, due - time.monotonic()))
