"""`robo-reward check`: can a reward be trained on, and does it agree with people and with the ground truth?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
from omegaconf import DictConfig

from robo_reward.checks.rank import correlate_within_clips, spearman_correlation
from robo_reward.cli.rewards.align import read_preferences
from robo_reward.cli.rewards.examine import check_step_reward, choose_checked_task, load_checked_reward
from robo_reward.cli.terminal import Terminal
from robo_reward.cli.verbs import is_function_reference
from robo_reward.configs.values import FRAME_SIZE
from robo_reward.data.episode import Episode, EpisodeStore
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.state import StateSpec
from robo_reward.envs.task import make_task, task_names
from robo_reward.errors import BadArtifact, UsageError
from robo_reward.files import Finite, load_json, load_yaml, write_json
from robo_reward.labelling.answers import Answer
from robo_reward.labelling.comparisons import build_comparisons, ranking_accuracy
from robo_reward.labelling.store import Clip
from robo_reward.language.language import compile_program
from robo_reward.rewards.artifact import find_reward_folder, load_reward
from robo_reward.rewards.contract import EpisodeReward, StepReward
from robo_reward.rewards.preference.align import load_frames
from robo_reward.rewards.preference.held_out import HeldOutAgreement, build_decided_comparisons, measure_agreement
from robo_reward.scoring.fit import FittedReward


class AlignForm(msgspec.Struct):
    """The part of an `align` run's configuration that `check` reads."""

    preferences: str = ""
    annotator: str = ""
    clips: str = ""


class LearntAnswerIds(msgspec.Struct):
    """Ids of answers."""

    learnt: list[str]


class LearntForm(msgspec.Struct):
    """The part of `robo-reward align`'s `result.json` that says what the reward has learnt from.

    Args:
        answers: their ids.
        clips: ids of the clips that these compare.
        pair_accuracy_held_out: of the cross-validation.
        pair_accuracy_held_out_interval: its 95 % interval.
    """

    answers: LearntAnswerIds
    clips: list[str]
    pair_accuracy_held_out: Finite | None = None
    pair_accuracy_held_out_interval: tuple[Finite, Finite] | None = None


def run(config: DictConfig, arguments: list[str]) -> int:
    """Checks the reward that is named, prints the figures, and returns 1 if it cannot be trained on."""
    console, folder = Terminal(), Path(config.run)
    is_file = is_function_reference(config.run) or folder.suffix == ".py"
    if not is_file and not (find_reward_folder(folder) / "reward.json").is_file():
        raise UsageError(f"{str(folder)!r} holds no reward, and is not a run of `robo-reward align`, train or search")
    reward = None if is_file else load_reward(folder)
    if isinstance(reward, EpisodeReward):
        found, usable = _check_episode_reward(console, config, folder, reward), True
    else:
        task = choose_checked_task(config)
        step_reward = load_checked_reward(config.run, task)
        found, usable = check_step_reward(console, task, step_reward, config.seed)
        if config.preferences:
            found |= _compare_with_people(console, config, step_reward)
    if folder.is_dir():
        write_json(folder / "check.json", found)
    if config.json:
        write_json(Path(config.json), found)
    return 0 if usable else 1


def _check_episode_reward(
    console: Terminal, config: DictConfig, folder: Path, reward: EpisodeReward
) -> dict[str, float | list[float] | None]:
    """Evaluates the clips of the answers with a reward of whole episodes, and prints and returns the figures.

    The `result.json` of a run of `align` says which answers and clips it has learnt from, each by its id.
    """
    if not config.preferences:
        settings = _load_settings(folder)
        where, annotator, folder_of_clips = settings.preferences, settings.annotator, config.clips or settings.clips
    else:
        where, annotator, folder_of_clips = config.preferences, "", config.clips
    answers, clips = read_preferences(where, annotator, folder_of_clips)
    try:
        learnt = _load_learnt(folder)
    except BadArtifact as problem:
        if config.preferences:  # unknown whether it was trained on those
            raise
        console.print(f"{problem}; no answers are reported as held out", style="yellow")
        learnt = LearntForm(LearntAnswerIds([answer.uuid for answer in answers]), [clip.id for clip in clips])
    episodes = [clip_to_episode(clip, reward.frames) for clip in clips]
    totals = [output.total for output in reward.batch(episodes)]
    found = compute_figures(clips, episodes, totals, answers, learnt)
    _print_figures(console, found)
    return found


def _compare_with_people(
    console: Terminal, config: DictConfig, reward: StepReward
) -> dict[str, float | list[float] | None]:
    """Evaluates the clips of people's answers with a reward of single steps that has learnt from none of them."""
    answers, clips = read_preferences(config.preferences, "", config.clips)
    episodes = [clip_to_episode(clip, None) for clip in clips]
    fitted = FittedReward(reward, "the reward")
    totals = [fitted.compute(episode) for episode in episodes]
    found = compute_figures(clips, episodes, totals, answers, LearntForm(LearntAnswerIds([]), []))
    for name in [name for name, value in found.items() if value is None]:
        del found[name]
    _print_figures(console, found)
    return found


def _print_figures(console: Terminal, found: Mapping[str, float | list[float] | None]) -> None:
    for name, value in found.items():
        console.print(f"{name.replace('_', ' '):<46} {_format_value(value)}", highlight=False)


def _load_settings(folder: Path) -> AlignForm:
    found = load_yaml(folder / "config.yaml", AlignForm)
    if found is None or not (folder / "reward" / "reward.json").is_file():
        raise UsageError(
            f"{folder} is not a run of `robo-reward align`: it lacks config.yaml or reward/. "
            "To check its reward against other answers, give preferences=FOLDER"
        )
    return found


def _load_learnt(folder: Path) -> LearntForm:
    """Returns the answers and clips that a run has learnt from.

    Raises:
        BadArtifact: its `result.json` does not say.
    """
    remedy = "Runs of earlier versions did not store the ids of their answers: all count as training answers"
    found = load_json(folder / "result.json", LearntForm, remedy=remedy)
    if found is None:
        raise BadArtifact(folder / "result.json", "there is no such file", remedy)
    return found


def _format_value(value: float | list[float] | None) -> str:
    if value is None:
        return "none"
    return f"{value[0]:.3f} to {value[1]:.3f}" if isinstance(value, list) else f"{value:.3f}"


def clip_to_episode(clip: Clip, shown: FrameSpec | None) -> Episode:
    """Returns a clip as an episode; a plain video becomes one without state."""
    path = Path(clip.path)
    if path.is_dir():
        return EpisodeStore(path).load(clip.id)
    frames = load_frames(clip, shown.size if shown else FRAME_SIZE)
    steps = len(frames) - 1
    return Episode(np.zeros((steps + 1, 0)), np.zeros((steps, 0)), np.zeros(steps, bool), StateSpec([]), frames=frames)


def compute_figures(
    clips: list[Clip],
    episodes: list[Episode],
    totals: list[np.ndarray],
    answers: list[Answer],
    learnt: LearntForm,
) -> dict[str, float | list[float] | None]:
    """Computes the agreement with people, and with the task's expert reward for clips of a task that has one.

    Answers and clips that the reward has learnt from and those it has not are kept apart.
    """
    scores = np.array([total.mean() for total in totals])
    numbers = {clip.id: i for i, clip in enumerate(clips)}
    ids, seen = set(learnt.answers.learnt), set(learnt.clips)
    known, new = [a for a in answers if a.uuid in ids], [a for a in answers if a.uuid not in ids]
    old_clips = {clip: number for clip, number in numbers.items() if clip in seen}
    new_clips = {clip: number for clip, number in numbers.items() if clip not in seen}
    unseen = _answer_agreement(scores, new, new_clips)
    interval = learnt.pair_accuracy_held_out_interval
    found: dict[str, float | list[float] | None] = {
        "pair_accuracy_learnt": _answer_accuracy(scores, known, numbers),
        "pair_accuracy_held_out": learnt.pair_accuracy_held_out,
        "pair_accuracy_held_out_interval": list(interval) if interval else None,
        "pair_accuracy_new_answers_learnt_clips": _answer_accuracy(scores, new, old_clips),
        "pair_accuracy_new_answers_new_clips": unseen.accuracy if unseen else None,
        "pair_accuracy_new_answers_new_clips_interval": [unseen.low, unseen.high] if unseen else None,
        "spearman_with_peoples_order_learnt_clips": _order_correlation(scores, answers, old_clips),
        "spearman_with_peoples_order_new_clips": _order_correlation(scores, answers, new_clips),
    }
    truths = {i: truth for i, episode in enumerate(episodes) if (truth := _expert_reward(episode)) is not None}
    if truths:
        judged, returns = list(truths), np.array([truth.sum() for truth in truths.values()])
        found["spearman_with_expert_reward_over_clips"] = spearman_correlation(scores[judged], returns)
        within = [correlate_within_clips(totals[i][None], truth[None]) for i, truth in truths.items()]
        clock = [correlate_within_clips(np.arange(len(truth))[None], truth[None]) for truth in truths.values()]
        found["spearman_with_expert_reward_in_clips"] = float(np.nanmean(within))
        found["the_same_of_a_clock"] = float(np.nanmean(clock))
    return found


def _answer_accuracy(scores: np.ndarray, answers: list[Answer], numbers: dict[str, int]) -> float | None:
    try:
        return ranking_accuracy(scores, build_comparisons(answers, numbers))
    except UsageError:  # no answers in this subset, or only ties
        return None


def _answer_agreement(scores: np.ndarray, answers: list[Answer], numbers: dict[str, int]) -> HeldOutAgreement | None:
    known = build_decided_comparisons(answers, numbers)
    if known is None:
        return None
    return measure_agreement(scores[known.winner] > scores[known.loser], known.winner, known.loser)


def _order_correlation(scores: np.ndarray, answers: list[Answer], numbers: dict[str, int]) -> float | None:
    """Computes Spearman's ρ of scores and each clip's share of won comparisons; None below three clips."""
    if build_decided_comparisons(answers, numbers) is None:
        return None
    known = build_comparisons(answers, numbers)
    won, count = np.zeros((2, len(scores)))
    np.add.at(won, known.winner, known.target)
    np.add.at(won, known.loser, 1 - known.target)
    np.add.at(count, np.concatenate([known.winner, known.loser]), 1)
    compared = count > 0
    return spearman_correlation(scores[compared], won[compared] / count[compared]) if compared.sum() > 2 else None


def _expert_reward(episode: Episode) -> np.ndarray | None:
    if episode.task_id not in task_names():
        return None
    task = make_task(episode.task_id)
    if not task.expert_reward or task.spec != episode.spec:
        return None
    return compile_program(task.expert_reward, task.spec, task.action.dim)(episode.to_transitions()).total
