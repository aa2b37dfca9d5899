"""`robo-reward score`: every episode of a data set scored by a reward, the worst and the best listed."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
from omegaconf import DictConfig

from robo_reward.cli.folder import open_run
from robo_reward.cli.interrupt import StopRequest, stop_on_signals
from robo_reward.cli.provenance import format_command
from robo_reward.cli.reward import keep_answers, load_reward_for_data, print_changes
from robo_reward.cli.terminal import Terminal
from robo_reward.data.episode import Episode
from robo_reward.data.items import DataItem, list_data_items
from robo_reward.data.summary import is_success_known
from robo_reward.errors import MissingExtra, RoboRewardError, UsageError
from robo_reward.files import write_json
from robo_reward.report.scores import ScoresPage, write_scores_page
from robo_reward.rewards.http.connection import ServerUnavailable
from robo_reward.rewards.perceptual.picture import write_png
from robo_reward.scoring.fit import FittedReward
from robo_reward.scoring.journal import ScoreJournal
from robo_reward.scoring.judge import judge_recording
from robo_reward.scoring.picture import draw_score, draw_strip
from robo_reward.scoring.score import RankedEpisode, ScoredEpisode, compute_success_auc, pick_ends, rank_episodes
from robo_reward.scoring.tables import build_row, write_csv, write_progress

SHOWN = ("json", "sidecar", "pictures", "listed", "by", "curve", "bad_below")
"""Keys that do not change what is computed from an episode, so that a run goes on with other values of them."""
SIDECAR_SCORES, SIDECAR_PROGRESS = "robo_reward_scores.json", "robo_reward_progress.parquet"


@dataclass
class _Sitting:
    """The outcome of one sitting.

    Attributes:
        problems: name -> reason, of the episodes that could not be scored.
        stopped: whether a signal ended it early.
    """

    problems: dict[str, str] = field(default_factory=dict)
    stopped: bool = False


def run(config: DictConfig, arguments: list[str]) -> int:
    """Scores the episodes that are not scored yet, and writes tables, pictures and a page; 130 if it was stopped."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # silences FFmpeg: this program reports broken videos itself
    console = Terminal()
    sidecar = _find_sidecar_folder(config.data) if config.sidecar else None
    reward = load_reward_for_data(config.reward, config.camera)
    items = list_data_items(config.data, config.fps, frames=reward.frames is not None or config.pictures > 0)
    _require_fit(items, reward, config.success)
    print_changes(console, reward.changes)
    subject = re.sub(r"[^\w.-]", "-", Path(str(config.data)).resolve().stem.replace(":", "-"))
    with open_run(config, arguments, "score", subject, free=SHOWN) as work, stop_on_signals() as stop:
        folder = work.path
        keep_answers(reward.reward, config.reward, folder)
        journal = ScoreJournal(folder / f"scored-{reward.fingerprint}.jsonl")
        console.print(f"{len(items)} episodes of {config.data}; {folder}")
        (folder / "strips").mkdir(exist_ok=True)
        with journal.open_for_append():
            done = _score_items(console, items, reward, journal, folder, stop, config.success)
        if done.stopped:
            console.print(f"stopped after {len(journal.episodes)} episodes; the same command goes on from here")
            return 130
        scored = [(i, journal.episodes[item.name]) for i, item in enumerate(items) if item.name not in done.problems]
        if not scored:
            raise RoboRewardError(f"none of the {len(items)} episodes of {config.data} could be scored, see above")
        by = config.by if config.by != "auto" else "final" if reward.is_ranked_by_end else "mean"
        ranked = rank_episodes(scored, by, config.curve, reward.is_bounded, config.bad_below)
        result = _summarise_result(config, reward, by, ranked, done.problems)
        _write_tables(console, folder, sidecar, config, items, ranked, result, reward)
        shown = _choose_shown(ranked, config.pictures, config.listed)
        drawn = dict(zip((one.rank for one in shown), _draw_pictures(folder, shown), strict=True))
        page = _write_page(folder, config.listed, ranked, drawn, result, format_command(arguments))
    _print_summary(console, config.listed, ranked, result, folder, page)
    return 0


def _find_sidecar_folder(data: str) -> Path:
    """Returns the folder that gets the side-car files.

    Raises:
        UsageError: the data are no folder.
    """
    folder = Path(data)
    if not folder.is_dir():
        raise UsageError(f"sidecar=true: {data} is no folder into which files can be written. Leave it out")
    return folder


def _require_fit(items: Sequence[DataItem], reward: FittedReward, rule: str) -> None:
    """Raises if reward or rule do not fit the first episode that can be read, before anything is written.

    Raises:
        ConditionError: the rule is not a condition on the episode's state.
        UnknownName: the rule names a field that the episode does not have.
        UsageError: the message names what is missing.
    """
    for item in items:
        try:
            episode = item.load()
        except (RoboRewardError, OSError):
            continue  # reported when its turn comes
        reward.require_fit(episode)
        if rule:
            judge_recording(rule, episode)
        return


def _score_items(
    console: Terminal,
    items: Sequence[DataItem],
    reward: FittedReward,
    journal: ScoreJournal,
    folder: Path,
    stop: StopRequest,
    rule: str = "",
) -> _Sitting:
    """Scores what the journal lacks; an episode that cannot be read or scored gets one line."""
    done = _Sitting()
    for number, item in enumerate(items, start=1):
        known = journal.episodes.get(item.name)
        if known is not None and known.stamp == item.stamp:
            continue
        if stop():
            done.stopped = True
            break
        try:
            episode = item.load()
            scored = _score_episode(item, episode, reward, rule)
        except ServerUnavailable:  # the other episodes would wait for it in vain, one after the other
            raise
        except (RoboRewardError, OSError) as error:
            done.problems[item.name] = str(error)
            console.print(f"{number}/{len(items)}  {item.name}: {error}", style="yellow")
            continue
        if episode.frames is not None:
            write_png(_strip_path(folder, item.name), draw_strip(episode.frames))
        journal.append(scored)
        outcome = {True: "  success", False: "  failure", None: ""}[scored.success]
        console.print(f"{number}/{len(items)}  {item.name}  mean {scored.mean:.3f}  end {scored.final:.3f}{outcome}")
    return done


def _score_episode(item: DataItem, episode: Episode, reward: FittedReward, rule: str = "") -> ScoredEpisode:
    success = episode.is_successful if is_success_known(episode) else None
    success = judge_recording(rule, episode) if rule else success
    return ScoredEpisode(item.name, item.stamp, success, reward.compute(episode).tolist())


def _strip_path(folder: Path, name: str) -> Path:
    return folder / "strips" / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.png"


def _summarise_result(
    config: DictConfig, reward: FittedReward, by: str, ranked: Sequence[RankedEpisode], problems: dict[str, str]
) -> dict[str, Any]:
    rows = [build_row(one) for one in ranked]
    worst, best = pick_ends(ranked, config.listed)
    return {
        "data": str(config.data),
        "reward": reward.name,
        "fingerprint": reward.fingerprint,
        "by": by,
        "curve": config.curve,
        "episodes": len(ranked),
        "successes": sum(row["success"] is True for row in rows),
        "failures": sum(row["success"] is False for row in rows),
        "auc": compute_success_auc([(row["score"], row["success"]) for row in rows]),
        "worst": [one.episode.name for one in worst],
        "best": [one.episode.name for one in best],
        "not_scored": [{"name": name, "problem": problem} for name, problem in problems.items()],
        "scores": rows,
    }


def _write_tables(
    console: Terminal,
    folder: Path,
    sidecar: Path | None,
    config: DictConfig,
    items: Sequence[DataItem],
    ranked: Sequence[RankedEpisode],
    result: dict[str, Any],
    reward: FittedReward,
) -> None:
    write_csv(folder / "scores.csv", result["scores"])
    for path in (folder / "scores.json", *([Path(config.json)] if config.json else [])):
        write_json(path, result)
    if sidecar is not None:
        kept = ("index", "score", "progress", "rank", "success", "label")
        episodes = {row["name"]: {key: row[key] for key in kept} for row in result["scores"]}
        about = {key: result[key] for key in ("reward", "fingerprint", "by")}
        document = {"format": "robo-reward/scores", "version": 1, **about, "episodes": episodes}
        write_json(sidecar / SIDECAR_SCORES, document)
    rows = [item.rows for item in items]
    try:
        write_progress(folder / "progress.parquet", ranked, rows, reward.name)
        if sidecar is not None:
            write_progress(sidecar / SIDECAR_PROGRESS, ranked, rows, reward.name)
    except MissingExtra as missing:
        console.print(f"no progress.parquet: {missing}", style="yellow")


def _choose_shown(ranked: Sequence[RankedEpisode], count: int, listed: int) -> Sequence[RankedEpisode]:
    """Returns the episodes that get a picture: the worst, and the best that are listed."""
    if len(ranked) <= count:
        return ranked
    best = min(listed, count // 2)
    return [*ranked[: count - best], *ranked[len(ranked) - best :]]


def _draw_pictures(folder: Path, ranked: Sequence[RankedEpisode]) -> list[Path]:
    """Draws `pictures/RANK-NAME.png` of each episode; those of an earlier ranking are deleted."""
    (folder / "pictures").mkdir(exist_ok=True)
    for old in (folder / "pictures").glob("*.png"):
        old.unlink()
    found = []
    for one in ranked:
        source = _strip_path(folder, one.episode.name)
        strip = cv2.imread(str(source)) if source.is_file() else None
        strip = None if strip is None else cv2.cvtColor(strip, cv2.COLOR_BGR2RGB)
        name = re.sub(r"[^\w.-]", "_", one.episode.name, flags=re.ASCII)[-80:]
        outcome = {True: ", success", False: ", failure", None: ""}[one.episode.success]
        title = f"{one.rank}. {one.episode.name}   score {one.score:.3f}{outcome}"
        path = folder / "pictures" / f"{one.rank:04d}-{name}.png"
        found.append(write_png(path, draw_score(one.progress, title, strip)))
    return found


def _write_page(
    folder: Path,
    listed: int,
    ranked: Sequence[RankedEpisode],
    drawn: dict[int, Path],
    result: dict[str, Any],
    command: str,
) -> Path:
    ends = pick_ends(ranked, listed)
    worst, best = ([(one.episode.name, drawn[one.rank]) for one in end if one.rank in drawn] for end in ends)
    return write_scores_page(folder / "report.html", ScoresPage(result, worst, best, command))


def _print_summary(
    console: Terminal,
    listed: int,
    ranked: Sequence[RankedEpisode],
    result: dict[str, Any],
    folder: Path,
    page: Path,
) -> None:
    console.print(f"ranked by {result['by']}, a higher score is better")
    for what, group in zip(("worst", "best"), pick_ends(ranked, listed), strict=True):
        for one in group:
            outcome = {True: "  success", False: "  failure", None: ""}[one.episode.success]
            console.print(f"{what:<6} {one.score:>9.3f}  episode {one.index + 1}  {one.episode.name}{outcome}")
    if result["not_scored"]:
        console.print(f"{len(result['not_scored'])} episodes could not be scored", style="yellow")
    if result["auc"] is not None:
        hits, misses = result["successes"], result["failures"]
        console.print(f"AUC of the scores: {result['auc']:.3f} ({hits} successes, {misses} failures)")
    for what, path in (
        ("scores", folder / "scores.csv"),
        ("pictures", folder / "pictures"),
        ("report", page.resolve()),
    ):
        console.print(f"{what}: {path}")
