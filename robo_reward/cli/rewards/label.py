"""`robo-reward label`: a page in the browser on which people compare clips."""

from __future__ import annotations

import socket
from pathlib import Path

from omegaconf import DictConfig

from robo_reward.cli.terminal import Terminal
from robo_reward.errors import UsageError
from robo_reward.labelling.clips import ClipCollection, find_clips
from robo_reward.labelling.page.app import make_app
from robo_reward.labelling.page.session import (
    LabellingSession,
    LabellingSettings,
    clips_per_query,
    load_or_create_token,
)
from robo_reward.labelling.queries import make_queries
from robo_reward.labelling.store import FILE, PreferenceStore
from robo_reward.web.server import listen, serve

_QUESTIONS = {"pair": "Which clip is better?", "triplet": "From best to worst?", "rank": "From best to worst?"}


def run(config: DictConfig, arguments: list[str]) -> int:
    """Serves the page until Ctrl-C and says how many answers there are."""
    console = Terminal()
    k = clips_per_query(config.mode, config.k)
    if config.target < 1:
        raise UsageError(f"target={config.target}: expected at least one answer")
    source = Path(config.source)
    folder = _create_labels_folder(source)
    clips = find_clips(source, folder / "videos")
    queries = make_queries(config.query, [v.id for v in clips.videos], k, config.seed, config.shared, config.scores)
    with PreferenceStore(config.preferences or folder / FILE) as store:
        instructions = config.instructions or clips.goal or _QUESTIONS[config.mode]
        target = min(config.target, queries.total)
        title = source.resolve().name
        settings = LabellingSettings(config.mode, k, target, title, instructions, config.annotator)
        app = make_app(LabellingSession(clips, store, queries, settings), load_or_create_token(folder), config.host)
        with listen(config.host, config.port) as listening:
            _print_greeting(console, clips, store, listening, f"{load_or_create_token(folder)}/")
            serve(app, listening)
        console.print(f"\n{len(store)} answers in {store.where}")
    return 0


def _create_labels_folder(source: Path) -> Path:
    """Returns the folder in which the page keeps its token, and the answers unless another place is configured."""
    if not source.is_dir():
        raise UsageError(f"no folder {source}: give a run, a folder of videos or an episode store")
    folder = source / "labels"
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot create {folder} for the page's address: {error.strerror}; make it writable"
        ) from error
    return folder


def _print_greeting(
    console: Terminal, clips: ClipCollection, store: PreferenceStore, listening: socket.socket, path: str
) -> None:
    host, port = listening.getsockname()[:2]
    shown: str = socket.gethostname() if host in ("0.0.0.0", "::") else host
    for one in clips.refused:
        console.print(f"left out: {one.name}: {one.reason}", style="yellow")
    console.print(f"{len(clips.videos)} clips, {len(store)} answers in {store.where}")
    address = f"[{shown}]" if ":" in shown else shown
    console.print(f"\n  http://{address}:{port}/{path}\n", style="bold")
    if host in ("127.0.0.1", "::1"):
        console.print(
            f"From another machine: ssh -N -L {port}:127.0.0.1:{port} THIS_MACHINE, then open the same address there.",
            style="dim", soft_wrap=True, highlight=False,
        )  # fmt: skip
    console.print(
        "Ctrl-C stops the page; the same command resumes it at the same address.", style="dim", highlight=False
    )
