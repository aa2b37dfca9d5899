"""A run is a folder: its settings and versions, used by one process at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from robo_reward.cli.arguments.secrets import mask_value
from robo_reward.cli.provenance import collect_provenance
from robo_reward.errors import BadArtifact, RoboRewardError
from robo_reward.files import load_json, load_yaml, write_json, write_text
from robo_reward.rewards.contract import fingerprint_spec

PLACE = ("run", "runs", "videos", "camera", "executor", "logger", "logger_options")
"""Keys that do not change the result of a run: where and how fast it runs, what is filmed, where it is logged."""
ADDED = (("workspace", None), ("table", 0.0), ("min_chroma", 0.12), ("clips", ""), ("prediction_type", "standard"))
"""Keys that runs of earlier versions lack, with the value that reproduces their behaviour."""
ADDED_TO_GROUPS = {
    "search": (("initial", ""), ("seeds", 1), ("confidence", 0.95)),
    "policy": (("normalise_reward", False),),
}
"""The same for the keys of groups."""
PATIENCE = (
    "base_url",
    "key_env",
    "timeout",
    "retries",
    "backoff",
    "concurrency",
    "poll",
    "price_in",
    "price_out",
    "budget",
)
"""Keys of a writer that set its address, time limits and prices, not its answers: a run that stopped at its budget
continues in its folder, with its ledger, when the budget is raised."""
TRANSFER = ("batch", "timeout", "retries", "backoff", "key_env", "headers", "answers")
"""Keys of a reward behind a server that set how it is asked, not its answers."""


class RunBusy(RoboRewardError):
    """Another process works in the run folder."""


def prepare_run_folder(config: DictConfig, verb: str, subject: str = "", free: Sequence[str] = ()) -> Path:
    """Returns the folder of a run: the same settings lead to the same folder, so that starting again resumes.

    The folder is named after the task, or after `subject` where a verb has none. An explicit `run=NAME` with
    other settings than the folder holds is refused, so that nothing is mixed or lost. `free` names keys that may
    change. Passwords and keys are masked before anything is compared or written.
    """
    plain: Any = OmegaConf.to_container(config, resolve=True)
    value = mask_value(plain)
    mark = fingerprint_spec(_select_settings(value, free))
    folder = _name_folder(config, verb, subject, mark)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.yaml"
    remedy = f"Give another run=NAME, or delete {folder}"
    old = load_yaml(path, dict[str, Any], remedy=remedy)
    if old is None and os.path.lexists(path):
        raise BadArtifact(path, "it is not a regular file", remedy)
    if old is not None and fingerprint_spec(_select_settings(old := mask_value(old), free)) != mark:
        raise RoboRewardError(
            f"{folder} holds a run with other settings: {_describe_difference(old, value, free)}. "
            "Give another run=NAME, or leave run empty for a generated name."
        )
    mode = 0o666 if value == plain else 0o600  # a masked value may still say something about the secret
    write_text(path, OmegaConf.to_yaml(OmegaConf.create(value)), mode=mode)
    config.run = config.run or folder.name  # also visible to a caller from Python
    return folder


def _name_folder(config: DictConfig, verb: str, subject: str, mark: str) -> Path:
    seed = f"-s{config.seed}" if "seed" in config else ""
    name = config.run or f"{verb}-{subject or config.task.id.replace('/', '-')}{seed}-{mark[:6]}"
    return Path(config.runs) / name


def _select_settings(value: dict[str, Any], free: Sequence[str] = ()) -> dict[str, Any]:
    """Returns the settings that decide what a run computes."""
    kept = {k: v for k, v in value.items() if k not in PLACE and k not in free and (k, v) not in ADDED}
    if isinstance(kept.get("writer"), dict):
        kept["writer"] = {k: v for k, v in kept["writer"].items() if k not in PATIENCE}
    if isinstance(kept.get("reward"), dict):
        kept["reward"] = {k: v for k, v in kept["reward"].items() if k not in TRANSFER}
    for group, added in ADDED_TO_GROUPS.items():
        if isinstance(kept.get(group), dict):
            kept[group] = {k: v for k, v in kept[group].items() if (k, v) not in added}
    return kept


def _describe_difference(old: dict[str, Any], new: dict[str, Any], free: Sequence[str] = ()) -> str:
    """Returns the first few settings that differ."""

    def flatten_keys(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        items: dict[str, Any] = {}
        for key, item in value.items():
            items |= flatten_keys(item, f"{prefix}{key}.") if isinstance(item, dict) else {f"{prefix}{key}": item}
        return items

    was, now = flatten_keys(_select_settings(old, free)), flatten_keys(_select_settings(new, free))
    changed = [k for k in sorted({*was, *now}) if was.get(k) != now.get(k)]
    return ", ".join(f"{k} was {was.get(k)!r}, now {now.get(k)!r}" for k in changed[:4])


@contextmanager
def lock_run(folder: Path) -> Iterator[None]:
    """Locks the run folder for this process while the block runs.

    Raises:
        RunBusy: another process holds it.
        BadArtifact: `lock` is a link, a pipe or a folder.
    """
    path = folder / "lock"
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # no truncation, no blocking
    try:
        handle = os.open(path, flags, 0o644)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise
        raise BadArtifact(path, "it is not a regular file", "Delete it") from error
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise BadArtifact(path, "it is not a regular file", "Delete it")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunBusy(f"another process is working in {folder}; wait for it or give another run=NAME") from None
        yield
    finally:
        os.close(handle)


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run, while this process holds it.

    Args:
        path: of the folder.
        arguments: of the command that makes the run, for `provenance.json`.
    """

    path: Path
    arguments: Sequence[str]

    def save(self, name: str, value: Any) -> None:
        """Writes a JSON file into the folder."""
        write_json(self.path / name, value)

    def save_provenance(self, **more: Any) -> None:
        """Writes `provenance.json`: command, versions, git revision, machine, and what is given."""
        self.save("provenance.json", {**collect_provenance(self.arguments), **more})

    def add_provenance(self, **more: Any) -> None:
        """Adds entries to `provenance.json`."""
        known = load_json(self.path / "provenance.json", dict[str, Any], remedy="Delete it") or {}
        self.save("provenance.json", {**known, **more})


@contextmanager
def open_run(
    config: DictConfig,
    arguments: Sequence[str],
    verb: str,
    subject: str = "",
    free: Sequence[str] = (),
    keep_provenance: bool = False,
) -> Iterator[RunFolder]:
    """Makes or finds the folder of a run and holds it while the block runs; it then has its settings and provenance.

    Args:
        config: the settings, see `prepare_run_folder`.
        arguments: of the command.
        verb: first part of the folder's name.
        subject: second part, where it is not the task.
        free: keys that may differ from an earlier start in the same folder.
        keep_provenance: leave the provenance of the first start.

    Raises:
        RoboRewardError: the folder holds a run with other settings.
        RunBusy: another process holds the folder.
        BadArtifact: `config.yaml` or `lock` is damaged, a link, a pipe or a folder.
    """
    value = mask_value(OmegaConf.to_container(config, resolve=True))
    path = _name_folder(config, verb, subject, fingerprint_spec(_select_settings(value, free)))
    path.mkdir(parents=True, exist_ok=True)
    with lock_run(path):
        prepare_run_folder(config, verb, subject, free)  # inside the lock: a refused second start changes nothing
        run = RunFolder(path, arguments)
        if not (keep_provenance and (path / "provenance.json").exists()):
            run.save_provenance()
        yield run
