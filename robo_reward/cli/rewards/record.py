"""`robo-reward record`: episodes of a task, by its scripted expert, a person at the keyboard or a trained policy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from robo_reward.cli.goals import BY_TASK
from robo_reward.cli.rewards.record_for_cloning import record_for_cloning
from robo_reward.cli.rewards.record_person import PersonSession, record_keyboard
from robo_reward.cli.task import make_configured_task
from robo_reward.cli.terminal import Terminal
from robo_reward.data.collect import collect_episodes
from robo_reward.data.episode import EpisodeStore
from robo_reward.data.script import make_demonstrator, trim_episode
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.task import Task
from robo_reward.errors import UnknownName, UsageError
from robo_reward.policies.controller import PolicyController
from robo_reward.policies.policy import load_policy

PATIENCE = 3  # horizon of a slow demonstrator, as a multiple of the usual one
NOISE = 0.12  # of a slow demonstrator, as a share of a full step
PACES = (0.7, 1.3)  # range of random speed factors, as human demonstrators vary


def run(config: DictConfig, arguments: list[str]) -> int:
    """Adds episodes to a store one by one; those already recorded stay when the run is stopped."""
    if config.source or config.policy or config.n:
        return record_for_cloning(config, arguments)
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
        if config.by == "keyboard":
            session = PersonSession(task, store, config.episodes, config.seed + begun, frames, view=config.view)
            record_keyboard(session, console)
        else:
            record = _record_expert if config.by == "expert" else _record_policy
            record(task, frames, store, config, console)
    finally:
        console.print(f"{len(store) - begun} episodes added; store: {folder}", soft_wrap=True, highlight=False)
    is_policy = config.by not in ("expert", "keyboard")
    following = f"label {folder}" if is_policy else f"discover demos={folder}"
    console.print(f"next: robo-reward {following}", soft_wrap=True, highlight=False)
    return 0


def _record_expert(task: Task, frames: FrameSpec, store: EpisodeStore, config: DictConfig, console: Terminal) -> None:
    usual, task.horizon = task.horizon, PATIENCE * task.horizon
    for number in range(config.episodes):
        seed = config.seed + len(store)
        rng = np.random.default_rng([seed, 1])
        speed = min(config.speed * float(rng.uniform(*PACES)), 1.0)
        noise = NOISE if config.noise is None else config.noise
        actor = make_demonstrator(task, speed, noise, rng)
        about = {"by": "expert", "speed": round(speed, 3), "noise": noise}
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
        with PolicyController(policy, task, 1, seed) as controller:
            (episode,) = collect_episodes(task, controller, 1, seed, frames, about, threads=1)
        store.append(episode)
        done = "done" if episode.is_successful else "not done"
        console.print(f"{number + 1}/{config.episodes}  seed {seed}  {len(episode)} steps  {done}")
