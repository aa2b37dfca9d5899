"""`robo-reward check`: does a reward agree with the people it was learnt from, and with the ground truth?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from omegaconf import DictConfig

from robo_reward.artifact import load_reward
from robo_reward.checks.rank import spearman, within_clips
from robo_reward.cli.align import read_preferences
from robo_reward.cli.folder import write_json
from robo_reward.cli.terminal import Terminal
from robo_reward.code.language import compile_program
from robo_reward.envs.frames import FrameSpec
from robo_reward.envs.state import StateSpec
from robo_reward.envs.task import make_task, task_names
from robo_reward.episode import Episode, EpisodeStore
from robo_reward.errors import UsageError
from robo_reward.files import Count, Share, load_yaml
from robo_reward.preferences.align import load_frames, split_answers
from robo_reward.preferences.answers import Answer
from robo_reward.preferences.comparisons import accuracy, comparisons
from robo_reward.preferences.store import Clip
from robo_reward.reward import EpisodeReward


class AlignForm(msgspec.Struct):
    """What `check` reads of the configuration of an `align` run."""

    preferences: str = ""
    annotator: str = ""
    holdout: Share = 0.0
    seed: Count = 0


def run(config: DictConfig, arguments: list[str]) -> int:
    """Judges the clips of the answers with the reward of a run and prints the figures."""
    console, folder = Terminal(), Path(config.run)
    settings = _settings(folder)
    reward = load_reward(folder / "reward")
    if not isinstance(reward, EpisodeReward):
        raise UsageError(f"{folder} holds a reward of single steps; check judges rewards made by `robo-reward align`")
    answers, clips = read_preferences(config.preferences or settings["preferences"], settings["annotator"])
    episodes = [episode_of(clip, reward.frames) for clip in clips]
    totals = [output.total for output in reward.batch(episodes)]
    found = figures(clips, episodes, totals, answers, settings["holdout"], settings["seed"])
    for name, value in found.items():
        shown = "none" if value is None else f"{value:.3f}"
        console.print(f"{name.replace('_', ' '):<44} {shown}", highlight=False)
    write_json(folder / "check.json", found)
    return 0


def _settings(folder: Path) -> dict[str, Any]:
    found = load_yaml(folder / "config.yaml", AlignForm)
    if found is None or not (folder / "reward" / "reward.json").is_file():
        raise UsageError(f"{folder} is not a run of `robo-reward align`: it lacks config.yaml or reward/")
    return msgspec.to_builtins(found)


def episode_of(clip: Clip, shown: FrameSpec | None) -> Episode:
    """A clip as an episode; a plain video becomes one without state."""
    path = Path(clip.path)
    if path.is_dir():
        return EpisodeStore(path).load(clip.id)
    frames = load_frames(clip, shown.size if shown else 112)
    steps = len(frames) - 1
    return Episode(np.zeros((steps + 1, 0)), np.zeros((steps, 0)), np.zeros(steps, bool), StateSpec([]), frames=frames)


def figures(
    clips: list[Clip],
    episodes: list[Episode],
    totals: list[np.ndarray],
    answers: list[Answer],
    holdout: float,
    seed: int,
) -> dict[str, float | None]:
    """Agreement with people, and with the task's expert reward where the clips are episodes of a task that has one."""
    scores = np.array([total.mean() for total in totals])
    numbers = {clip.id: i for i, clip in enumerate(clips)}
    learnt, kept = split_answers(answers, holdout, seed)
    found: dict[str, float | None] = {
        "pair_accuracy_learnt": _accuracy(scores, learnt, numbers),
        "pair_accuracy_held_out": _accuracy(scores, kept, numbers),
        "spearman_with_peoples_order": spearman(scores, wins(answers, numbers)),
    }
    truths = {i: truth for i, episode in enumerate(episodes) if (truth := _truth(episode)) is not None}
    if truths:
        known, returns = list(truths), np.array([truth.sum() for truth in truths.values()])
        found["spearman_with_expert_reward_over_clips"] = spearman(scores[known], returns)
        within = [within_clips(totals[i][None], truth[None]) for i, truth in truths.items()]
        clock = [within_clips(np.arange(len(truth))[None], truth[None]) for truth in truths.values()]
        found["spearman_with_expert_reward_in_clips"] = float(np.nanmean(within))
        found["the_same_of_a_clock"] = float(np.nanmean(clock))
    return found


def _accuracy(scores: np.ndarray, answers: list[Answer], numbers: dict[str, int]) -> float | None:
    try:
        return accuracy(scores, comparisons(answers, numbers))
    except UsageError:  # no answers on this side, or ties alone
        return None


def wins(answers: list[Answer], numbers: dict[str, int]) -> np.ndarray:
    """The share of its comparisons that each clip wins, (n,); a half for clips without any."""
    known = comparisons(answers, numbers)
    won, count = np.zeros((2, len(numbers)))
    np.add.at(won, known.winner, known.target)
    np.add.at(won, known.loser, 1 - known.target)
    np.add.at(count, np.concatenate([known.winner, known.loser]), 1)
    return np.where(count > 0, won / np.maximum(count, 1), 0.5)


def _truth(episode: Episode) -> np.ndarray | None:
    if episode.task_id not in task_names():
        return None
    task = make_task(episode.task_id)
    if not task.expert_reward or task.spec != episode.spec:
        return None
    return compile_program(task.expert_reward, task.spec, task.action.dim)(episode.transitions()).total
