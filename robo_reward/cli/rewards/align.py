"""`robo-reward align`: from clips and people's answers to a reward that agrees with them."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from robo_reward.cli.folder import open_run
from robo_reward.cli.terminal import Terminal
from robo_reward.data.episode import EpisodeStore
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.errors import UnknownName, UsageError
from robo_reward.labelling.answers import Answer
from robo_reward.labelling.exchange import open_preferences
from robo_reward.labelling.store import FILE, Clip
from robo_reward.masking import MASK
from robo_reward.rewards.artifact import save_reward
from robo_reward.rewards.preference.align import METHODS, Alignment, learn_reward, load_frames
from robo_reward.rewards.preference.held_out import FEWEST, HeldOutResult
from robo_reward.scoring.resemblance import build_thumbnails, save_thumbnails
from robo_reward.vision.choose import choose_encoder


def run(config: DictConfig, arguments: list[str]) -> int:
    """Reads answers and clips, learns, and writes the reward, what it says of each clip, and how well it agrees."""
    console, begun = Terminal(), time.monotonic()
    if config.method not in METHODS:
        raise UnknownName("method", config.method, METHODS)
    answers, clips = read_preferences(config.preferences, config.annotator, config.clips)
    shown = FrameSpec(find_cameras(config.camera, clips), config.size)
    subject = Path(str(config.preferences)).parent.parent.name or "preferences"
    with open_run(config, arguments, "align", subject) as run:
        folder = run.path
        frames = {clip.id: load_frames(clip, config.size) for clip in clips}
        loaded = time.monotonic()
        console.print(f"{len(answers)} answers, {len(clips)} clips; {folder}", soft_wrap=True, highlight=False)
        chosen: Any = OmegaConf.to_container(config.encoder)
        encoder = choose_encoder(chosen, list(frames.values()), config.seed, len(shown.cameras))
        settings: Any = OmegaConf.to_container(config.settings)
        options = {"holdout": config.holdout, "seed": config.seed}
        found = learn_reward(
            frames, answers, encoder, shown, config.method, settings, **options, report=_make_reporter(console)
        )
        save_reward(found.reward, folder / "reward")
        save_thumbnails(build_thumbnails([frames[name] for name in found.clips]), folder / "reward")
        seconds = {"load": round(loaded - begun, 2), "learn": round(time.monotonic() - loaded, 2)}
        run.save("scores.json", found.scores)
        run.save("result.json", _summarise_result(config, found, shown, seconds))
    _print_summary(console, found, clips, folder)
    return 0


def read_preferences(where: str, annotator: str = "", folder: str = "") -> tuple[list[Answer], list[Clip]]:
    """Returns the answers of a store and the clips that they are about.

    Args:
        where: a store, a folder with one, a file of answers, or the URL of a database.
        annotator: whose answers; empty: all.
        folder: where clips are looked up that a file names without a folder, or that were moved.

    Raises:
        UsageError: there is no store, or it holds no answers yet.
    """
    if MASK in str(where):
        raise UsageError(
            f"preferences={where}: the password is not stored with a run; give preferences=URL with its password again"
        )
    path = Path(where)
    if "://" not in str(where):
        places = [path, path / FILE, path / "labels" / FILE]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise UsageError(f"no preferences at {where}: give the SOURCE of `robo-reward label`, or a database URL")
        where = str(found)
    with open_preferences(where, Path(folder) if folder else None) as store:
        answers, clips = store.load_answers(annotator), store.load_clips()
        known = store.list_annotators()
    if annotator and annotator not in known:
        raise UnknownName("annotator", annotator, known)
    wanted = {clip for answer in answers for clip in answer.clips}
    if not wanted:
        raise UsageError(f"{where} holds no answers yet: `robo-reward label` asks for them")
    return answers, [_find_moved_clip(clip, folder) for name, clip in clips.items() if name in wanted]


def _find_moved_clip(clip: Clip, folder: str) -> Clip:
    """Returns a clip with its path in a folder, if it is there and no longer at its own path."""
    there = Path(folder) / Path(clip.path).name
    return replace(clip, path=str(there)) if folder and not Path(clip.path).exists() and there.exists() else clip


def find_cameras(camera: str, clips: list[Clip]) -> tuple[str, ...]:
    """Returns the cameras that the clips show: the one given, else those that their episodes name.

    Raises:
        UsageError: neither is known, or clips differ.
    """
    if camera:
        return tuple(camera.split(","))
    said = {tuple(_read_clip_cameras(clip)) for clip in clips}
    if len(said) == 1 and (only := said.pop()):
        return only
    raise UsageError(
        "the clips do not record which camera they show; give camera=NAME. For clips of a task, NAME is "
        "one of the task's cameras; for your own videos it is any name, such as camera=front"
    )


def _read_clip_cameras(clip: Clip) -> list[str]:
    path = Path(clip.path)
    return EpisodeStore(path).read_entry(clip.id).meta.get("cameras", []) if path.is_dir() else []


def _format_clip_name(clip: Clip) -> str:
    """Returns the name of a clip for a person: its file, or its place in an episode store."""
    path, name = Path(clip.path), str(clip.meta.get("name", ""))
    if not path.is_dir():
        return name or str(path)
    keys = list(EpisodeStore(path).keys())
    return f"episode {keys.index(clip.id) + 1} of {path}" if clip.id in keys else f"{name or clip.id} of {path}"


def format_held_out(held: HeldOutResult) -> str:
    """Returns a line with the result of cross-validation, or with the reason why there is none."""
    if held.agreement:
        return f"accuracy on held-out clips, with {held.folds} rewards trained without them: {held.agreement}"
    if not held.folds:
        return "accuracy on held-out clips: not measured; no clips can be held out (holdout=0, or too few clips)"
    return (
        f"accuracy on held-out clips: not measured; only {held.comparisons} comparisons can be held out by clip, "
        f"at least {FEWEST} are needed. Answer more about the same clips, or give holdout=0.5"
    )


def _make_reporter(console: Terminal) -> Any:
    def print_progress(step: int, accuracy: float) -> None:
        console.print(f"  step {step:>5}  accuracy {accuracy:.2f}", highlight=False)

    return print_progress


def _summarise_result(
    config: DictConfig, found: Alignment, shown: FrameSpec, seconds: dict[str, float]
) -> dict[str, Any]:
    agreement = found.held_out.agreement
    return {
        "method": config.method,
        "cameras": list(shown.cameras),
        "size": shown.size,
        "pair_accuracy_train": found.train,
        "pair_accuracy_held_out": agreement.accuracy if agreement else None,
        "pair_accuracy_held_out_interval": [agreement.low, agreement.high] if agreement else None,
        "folds": found.held_out.folds,
        "counts": found.counts,
        "answers": {"learnt": list(found.learnt), "held_out_in_a_fold": list(found.held_out.answers)},
        "clips": list(found.clips),
        "seconds": seconds,
        "reward": "reward",
    }


def _print_summary(console: Terminal, found: Alignment, clips: list[Clip], folder: Path) -> None:
    console.print(f"accuracy on the training answers: {found.train:.2f}")
    console.print(format_held_out(found.held_out))
    order = sorted(found.scores, key=lambda clip: -found.scores[clip])
    known = {clip.id: clip for clip in clips}
    for what, clip in (("best", order[0]), ("worst", order[-1])):
        console.print(f"{what} clip: {_format_clip_name(known[clip])}, score {found.scores[clip]:.3f}")
    console.print(f"reward: {folder / 'reward'}", soft_wrap=True, highlight=False)
    console.print(f"next: robo-reward train task=TASK reward={folder / 'reward'}", soft_wrap=True, highlight=False)
