"""`robo-reward preferences`: people's answers from the files of other projects, and a store as a file."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from robo_reward.cli.terminal import Terminal
from robo_reward.data.episode import EpisodeStore
from robo_reward.data.output import require_absent
from robo_reward.errors import UsageError
from robo_reward.labelling.exchange import export_preferences, import_preferences
from robo_reward.labelling.store import PreferenceStore


def run(config: DictConfig, arguments: list[str]) -> int:
    """Adds the comparisons of a file to a store of preferences, or writes a store to a file.

    A second import of a file adds nothing.

    Raises:
        BadAnswer: a row that is not a comparison; nothing is added.
        UsageError: there is no such file, or a clip that it names.
    """
    if config.action == "export":
        return _export(config.file, config.to)
    if bool(config.left) != bool(config.right):
        raise UsageError("left and right name the two clips of a task of Label Studio; give both")
    sides = (config.left, config.right) if config.left else None
    path = Path(config.file)
    if not path.is_file():
        raise UsageError(f"file={path}: no such file; give a file of preferences")
    folder = Path(config.clips) if config.clips else None
    if folder is not None and not folder.is_dir():
        raise UsageError(f"clips={folder}: no such folder; give the one that holds the clips")
    where = config.to or str(path.resolve().parent)
    with PreferenceStore(where) as store:
        counts = import_preferences(store, path, folder, config.annotator, sides)
        clips = store.load_clips().values()
        place = store.where
    console = Terminal()
    console.print(
        f"{counts.new} answers added, {counts.known} already there, about {counts.clips} clips; store: {place}"
    )
    if any(Path(clip.path).is_dir() and _has_no_frames(clip.path, clip.id) for clip in list(clips)[:1]):
        console.print("its segments have no pictures, which `robo-reward align` needs", style="yellow")
    else:
        console.print(f"next: robo-reward align preferences={config.to or path.parent}")
    return 0


def _export(where: str, to: str) -> int:
    """Writes a store to a new file.

    Raises:
        UsageError: there is no store, or the file exists or has an ending that is not known.
    """
    if not to:
        raise UsageError(
            "to=... is missing: the new file. Such as: robo-reward preferences export STORE to=answers.jsonl"
        )
    if "://" not in where and not Path(where).exists():
        raise UsageError(f"there is no store of preferences at {where}; give its folder, its file or its address")
    require_absent(Path(to))
    Path(to).parent.mkdir(parents=True, exist_ok=True)
    with PreferenceStore(where) as store:
        path = export_preferences(store, to)
        answers, clips = store.load_answers(), store.load_clips()
    Terminal().print(f"{len(answers)} answers about {len(clips)} clips; exported to {path}", soft_wrap=True)
    return 0


def _has_no_frames(folder: str, key: str) -> bool:
    return EpisodeStore(folder).load(key).frames is None
