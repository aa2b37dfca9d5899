"""Short films of a policy at work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from robo_reward.cli.folder import RunFolder
from robo_reward.cli.terminal import Terminal
from robo_reward.envs.rendering.gl import NoRenderer
from robo_reward.envs.rendering.render import render_frames
from robo_reward.envs.task import Task
from robo_reward.envs.video.files import write_video
from robo_reward.policies.controller import PolicyController
from robo_reward.policies.policy import Policy

FILM_SIZE = (480, 360)  # width and height [px]


@dataclass(frozen=True)
class FilmedEpisode:
    """One filmed episode.

    Args:
        path: of the mp4.
        success: whether the goal was fulfilled at the last step.
        seed: of the initial conditions.
    """

    path: Path
    success: bool
    seed: int


def film_run(console: Terminal, run: RunFolder, task: Task, policy: Policy, config: DictConfig, seed: int) -> None:
    """Films the policy of a run into `videos/` and lists the films in `videos.json`; without a renderer, says so.

    Args:
        console: for the message.
        run: the run.
        task: the task of the run.
        policy: the policy that acts.
        config: `videos`, how many episodes, and `camera`.
        seed: of the initial conditions.
    """
    films: list[FilmedEpisode] = []
    try:
        if config.videos:
            films = film_episodes(task, policy, run.path / "videos", config.videos, config.camera, seed, FILM_SIZE)
    except NoRenderer as missing:
        console.print(f"no videos: {missing}", style="yellow")
    run.save("videos.json", [{"path": str(f.path.relative_to(run.path)), "success": f.success} for f in films])


def film_episodes(
    task: Task, policy: Policy, folder: Path, episodes: int, camera: str, seed: int, size: tuple[int, int]
) -> list[FilmedEpisode]:
    """Films whole episodes of a policy and returns a record of each.

    Args:
        task: the task to run.
        policy: the policy that acts.
        folder: gets `episode1.mp4` and so on.
        episodes: how many.
        camera: one of the task's cameras, or empty for its first.
        seed: of the initial conditions.
        size: width and height [px].

    Raises:
        NoRenderer: this machine cannot render; the message says what to install.
        UnknownName: no such camera.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sim = task.make_worlds(episodes, seed, threads=1)
    snapshots = [[(sim.qpos[i].copy(), sim.mocap[i].copy())] for i in range(episodes)]
    success, running = np.zeros(episodes, bool), np.ones(episodes, bool)
    with PolicyController(policy, task, episodes, seed) as controller:
        while running.any():
            result = sim.step(controller.act(sim))
            success = np.where(running, result.success, success)
            running &= ~result.has_ended
            for i in np.flatnonzero(running):
                snapshots[i].append((sim.qpos[i].copy(), sim.mocap[i].copy()))
    sim.close()
    films, shown = [], camera or task.cameras[0]
    for i in range(episodes):
        path = folder / f"episode{i + 1}.mp4"
        width, height = size
        frames = render_frames(task.model, snapshots[i], width=width, height=height, camera=shown, quality="high")
        write_video(path, frames, fps=1 / task.control_dt)
        films.append(FilmedEpisode(path, bool(success[i]), seed))
    return films
