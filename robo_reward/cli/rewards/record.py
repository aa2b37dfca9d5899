"""`robo-reward record`: episodes of a task, by its scripted expert, a person at the keyboard or a trained policy."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from robo_reward.cli.goals import BY_TASK
from robo_reward.cli.task import make_configured_task
from robo_reward.cli.terminal import Terminal
from robo_reward.data.collect import collect_episodes
from robo_reward.data.episode import Episode, EpisodeStore
from robo_reward.data.keyboard import AGAIN, HELP, KEEP, KeyboardHand, raw_keys, read_key, render_half_blocks
from robo_reward.data.script import make_demonstrator, trim_episode
from robo_reward.envs.rendering.frames import FrameRenderer, FrameSpec
from robo_reward.envs.task import Task
from robo_reward.envs.worlds import Worlds
from robo_reward.errors import UnknownName, UsageError
from robo_reward.policies.policy import load_policy

PATIENCE = 3  # horizon of a slow demonstrator, as a multiple of the usual one
PACES = (0.7, 1.3)  # range of random speed factors, as human demonstrators vary
NEVER = 10**9


def run(config: DictConfig, arguments: list[str]) -> int:
    """Adds episodes to a store one by one; those already recorded stay when the run is stopped."""
    if config.by not in ("expert", "keyboard") and not Path(config.by).exists():
        raise UnknownName("way to record", config.by, ("expert", "keyboard"), "Or give a run folder: by=runs/NAME")
    if config.episodes < 1:
        raise UsageError(f"episodes={config.episodes}: expected at least one")
    if not 0 < config.speed <= 1:
        raise UsageError(f"speed={config.speed}: expected above 0, at most 1")
    task, goal = make_configured_task(config, arguments)
    frames = FrameSpec(tuple(config.cameras) or tuple(task.cameras[:1]), config.size)
    for camera in frames.cameras:
        if camera not in task.cameras:
            raise UnknownName("camera", camera, task.cameras)
    folder = Path(config.to or f"demos/{task.id.replace('/', '-')}")
    console = Terminal()
    if goal.success_by != BY_TASK:
        goal.print(console)
    store = EpisodeStore(folder, frames=config.frames)
    begun = len(store)
    try:
        record = {"expert": _record_expert, "keyboard": _record_keyboard}.get(config.by, _record_policy)
        record(task, frames, store, config, console)
    finally:
        console.print(f"{len(store) - begun} episodes added; store: {folder}", soft_wrap=True, highlight=False)
    console.print(f"next: robo-reward discover demos={folder}", soft_wrap=True, highlight=False)
    return 0


def _record_expert(task: Task, frames: FrameSpec, store: EpisodeStore, config: DictConfig, console: Terminal) -> None:
    usual, task.horizon = task.horizon, PATIENCE * task.horizon
    for number in range(config.episodes):
        seed = config.seed + len(store)
        rng = np.random.default_rng([seed, 1])
        speed = min(config.speed * float(rng.uniform(*PACES)), 1.0)
        actor = make_demonstrator(task, speed, config.noise, rng)
        about = {"by": "expert", "speed": round(speed, 3), "noise": config.noise}
        (episode,) = collect_episodes(task, actor, 1, seed, frames, about, threads=1)
        episode = trim_episode(episode, config.rest)
        store.append(episode)
        done = "done" if episode.is_successful else "not done"
        slow = "" if len(episode) <= usual else f", longer than the task's {usual}"
        console.print(
            f"{number + 1}/{config.episodes}  seed {seed}  {len(episode)} steps{slow}  {done}",
            style="" if episode.is_successful else "red",
        )


def _record_policy(task: Task, frames: FrameSpec, store: EpisodeStore, config: DictConfig, console: Terminal) -> None:
    policy = load_policy(config.by).require_compatible(task)
    for number in range(config.episodes):
        seed = config.seed + len(store)
        about = {"by": "policy", "policy": str(config.by)}
        (episode,) = collect_episodes(
            task, lambda state: policy.act(task.observation(state)), 1, seed, frames, about, threads=1
        )
        store.append(episode)
        done = "done" if episode.is_successful else "not done"
        console.print(f"{number + 1}/{config.episodes}  seed {seed}  {len(episode)} steps  {done}")


def _record_keyboard(task: Task, frames: FrameSpec, store: EpisodeStore, config: DictConfig, console: Terminal) -> None:
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
