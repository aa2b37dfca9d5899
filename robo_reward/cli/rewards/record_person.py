"""Demonstrations by a person: with keys, step by step, or with a SpaceMouse, in real time."""

from __future__ import annotations

import shutil
import sys

import numpy as np
from omegaconf import DictConfig

from robo_reward.cli.terminal import Terminal
from robo_reward.data.episode import Episode, EpisodeStore
from robo_reward.data.keyboard import AGAIN, HELP, KEEP, KeyboardHand, raw_keys, read_key, render_half_blocks
from robo_reward.envs.rendering.frames import FrameRenderer, FrameSpec
from robo_reward.envs.task import Task
from robo_reward.envs.worlds import Worlds

NEVER = 10**9


def record_keyboard(task: Task, frames: FrameSpec, store: EpisodeStore, config: DictConfig, console: Terminal) -> None:
    """Adds episodes that a person drives by keys, one step for each key."""
    KeyboardHand(task.action)  # raises before any rendering if keys cannot control the task
    task.horizon = NEVER  # no time limit for a person
    console.print(f"{task.goal}\n{HELP}", highlight=False)
    with raw_keys(), FrameRenderer(task, frames) as filmer:
        kept, seed = 0, config.seed + len(store)
        while kept < config.episodes:
            episode = _drive_episode(task, filmer, seed, f"episode {kept + 1}/{config.episodes}", config.view)
            seed += 1
            if episode is not None:
                store.append(episode)
                kept += 1
                console.print(
                    f"\nkept: {len(episode)} steps, {'done' if episode.is_successful else 'not done'}", highlight=False
                )


def _drive_episode(task: Task, filmer: FrameRenderer, seed: int, head: str, view: bool) -> Episode | None:
    """Returns one episode driven by keys, or None where the person discarded it.

    Raises:
        KeyboardInterrupt: Ctrl-C, or the end of the input.
    """
    sim, hand = task.make_worlds(1, seed, threads=1), KeyboardHand(task.action)  # one thread: no pool to close
    states, actions, success = [sim.state.array[0].copy()], [], []
    pictures = [filmer(sim.qpos, sim.mocap)[0]]
    _show_state(sim, pictures[-1], head, False, hand, 0, view)
    while True:
        key = read_key()
        if not key:
            raise KeyboardInterrupt
        if key == AGAIN or (key in KEEP and not actions):
            return None
        if key in KEEP:
            break
        action = hand.press_key(key)
        if action is None:
            continue
        result = sim.step(action[None])
        states.append(result.transitions.state.array[0].copy())
        actions.append(action)
        success.append(bool(result.success[0]))
        pictures.append(filmer(result.qpos, result.mocap)[0])
        _show_state(sim, pictures[-1], head, success[-1], hand, len(actions), view)
        if result.terminated[0]:
            break
    meta = {"by": "keyboard", "seed": seed, "fps": 1 / task.control_dt, "cameras": list(filmer.spec.cameras)}
    return Episode(
        np.stack(states), np.stack(actions), np.array(success), task.spec, task.id, frames=np.stack(pictures), meta=meta
    )


def _show_state(
    sim: Worlds, frame: np.ndarray, head: str, done: bool, hand: KeyboardHand, step: int, view: bool
) -> None:
    """Shows the picture, and below it one line that is rewritten at every key."""
    x, y, z = sim.state.hand_position[0]
    gripper = f"  gripper {'open' if hand.open else 'closed'}" if "gripper" in hand.action.names else ""
    line = f"{head}  step {step}  hand {x:.2f} {y:+.2f} {z:.2f} m{gripper}  {'DONE: enter keeps it' if done else ''}"
    if view:
        size = shutil.get_terminal_size()
        columns = max(16, min(size.columns - 1, 2 * (size.lines - 5) * frame.shape[1] // frame.shape[0], 120))
        sys.stdout.write("\x1b[H\x1b[J" + render_half_blocks(frame, columns) + "\n" + HELP + "\n")
    sys.stdout.write("\r\x1b[K" + line)
    sys.stdout.flush()
