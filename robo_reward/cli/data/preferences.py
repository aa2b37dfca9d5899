"""`robo-reward preferences import`: people's answers from the files of other projects."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from robo_reward.cli.terminal import Terminal
from robo_reward.data.episode import EpisodeStore
from robo_reward.errors import UsageError
from robo_reward.labelling.exchange import import_preferences
from robo_reward.labelling.store import PreferenceStore


def run(config: DictConfig, arguments: list[str]) -> int:
    """Adds the comparisons of a file to a store of preferences; a second import of the file adds nothing.

    Raises:
        BadAnswer: a row that is not a comparison; nothing is added.
        UsageError: there is no such file, or a clip that it names.
    """
    path = Path(config.file)
    if not path.is_file():
        raise UsageError(f"file={path}: no such file; give a file of preferences")
    folder = Path(config.clips) if config.clips else None
    if folder is not None and not folder.is_dir():
        raise UsageError(f"clips={folder}: no such folder; give the one that holds the clips")
    where = config.to or str(path.resolve().parent)
    with PreferenceStore(where) as store:
        counts = import_preferences(store, path, folder, config.annotator)
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


def _has_no_frames(folder: str, key: str) -> bool:
    return EpisodeStore(folder).load(key).frames is None
