"""Episodes to and from Minari, the data-set format of the gymnasium family."""

from __future__ import annotations

import json
import logging
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from robo_reward.data.episode import Episode, EpisodeStore
from robo_reward.data.hdf5 import MAX_EPISODE, open_hdf5, require_own_arrays
from robo_reward.data.lerobot.places import read_columns
from robo_reward.data.pictures import is_map, is_picture, join_cameras, warn_of_maps
from robo_reward.data.summary import (
    DataSummary,
    EpisodeSource,
    get_clean_action,
    is_success_known,
    make_field_name,
    split_cameras,
    summarise_episodes,
)
from robo_reward.envs.state import Field, StateSpec
from robo_reward.errors import BadArtifact, MissingExtra, UsageError, WrongShape
from robo_reward.files import load_json, parse_json, raise_as_bad_artifact
from robo_reward.rewards.contract import RewardOutput

log = logging.getLogger(__name__)

_SUCCESS = ("success", "is_success")
"""Names of the success flag: in Minari's and our data sets, and in gymnasium-robotics."""
_DAMAGED = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, EOFError),
    *(RuntimeError, AssertionError),  # of h5py, and of Minari's own checks
)
_AGAIN = "Download or create it again"
_HDF5 = "main_data.hdf5"
_SPEC, _EPISODE = "robo_reward_state", "robo_reward_episode"
_EXECUTED = "executed_action"
"""Name of the infos with the noise that was executed; the actions are then those without."""
_FRAMES = "frames_"
"""Beginning of the names of our frames in the infos; the name of the camera follows."""


class _EpisodeMetadata(msgspec.Struct):
    """The metadata of an episode that `export_minari` keeps beside its arrays."""

    task_id: str
    meta: dict[str, Any]
    terms: list[str] | None = []


def export_minari(episodes: Iterable[Episode], dataset_id: str, frames: bool = False, **about: Any) -> Any:
    """Writes episodes as a new local Minari data set.

    Observations are the flat states (T + 1, D). Success goes to `infos["success"]` (T + 1,) with a leading False
    for the start, each reward term to `infos["term_NAME"]` (T + 1,) with a leading 0. Where success is unknown it is
    NaN; where it is unknown in all episodes there is no `infos["success"]`. The state's fields and each episode's
    `meta` are kept as metadata. All episodes are held in memory once.

    Args:
        episodes: of one state and action width; such as an `EpisodeStore`.
        dataset_id: such as `panda/lift-v0`; must not exist yet.
        frames: also write the frames of each camera to `infos["frames_CAMERA"]` (T + 1, H, W, 3), without loss.
        about: more for Minari: author, author_email, algorithm_name, description, data_format (`arrow`, `hdf5`,
            `parquet`).

    Returns:
        The `minari.MinariDataset`.

    Raises:
        MissingExtra: minari is not installed.
        UsageError: no episodes, or episodes of different states.
    """
    minari = _require_minari()
    from gymnasium.spaces import Box
    from minari.data_collector import EpisodeBuffer

    stored = episodes.iterate_without_frames() if isinstance(episodes, EpisodeStore) and not frames else episodes
    kept = [episode if frames else replace(episode, frames=None) for episode in stored]
    if not kept:
        raise UsageError("no episodes to export")
    first = kept[0]
    for number, episode in enumerate(kept):
        if episode.spec != first.spec or episode.action.shape[1] != first.action.shape[1]:
            raise UsageError(f"episode {number} has another state or action than the first; export them separately")
    folder = os.environ.get("MINARI_DATASETS_PATH")
    # A table has one set of columns, so every episode gets all terms; its metadata lists those it really has.
    terms = tuple(dict.fromkeys(name for episode in kept if episode.reward for name in episode.reward.terms))
    known = {is_success_known(episode) for episode in kept}
    noisy = any(episode.clean_action is not None for episode in kept)
    # Minari joins a relative path to itself while it writes.
    with _datasets_in(Path(folder)) if folder else nullcontext(), warnings.catch_warnings():
        # Warnings about missing authors and links; there is no environment to recover from the data.
        warnings.filterwarnings("ignore", category=UserWarning, module="minari")
        dataset = minari.create_dataset_from_buffers(
            dataset_id,
            buffer=[
                EpisodeBuffer(id=number, **_episode_to_columns(episode, terms, known, noisy))
                for number, episode in enumerate(kept)
            ],
            observation_space=Box(-np.inf, np.inf, (first.spec.dim,), np.float64),
            action_space=Box(-1.0, 1.0, (first.action.shape[1],), np.float64),
            **{"data_format": "arrow", **about},
        )
    dataset.storage.update_metadata({_SPEC: json.dumps(first.spec.to_json())})
    dataset.storage.update_episode_metadata(map(_episode_metadata, kept), range(len(kept)))
    return dataset


def import_minari(
    dataset: Any,
    spec: StateSpec | None = None,
    task_id: str = "",
    frames: bool = False,
    numbers: Sequence[int] | None = None,
) -> Iterator[Episode]:
    """Reads the episodes of a local Minari data set, one at a time.

    Observations may be flat, or a dictionary, such as the `observation`, `achieved_goal` and `desired_goal` of
    gymnasium's goal environments: its arrays of numbers become fields of the state, its pictures are frames. Where
    neither `success` nor `is_success` is in the infos, `meta["success_known"]` is False.

    Args:
        dataset: its id, or a `minari.MinariDataset`.
        spec: names for the observations of a data set that others made; if not given, the keys of a dictionary, or
            `obs_0`, `obs_1`, ...
        task_id: for data sets that others made.
        frames: also read pictures in the observations or infos, those of several cameras side by side.
        numbers: of the episodes to read, counted from 0; None for all.

    Raises:
        MissingExtra: minari is not installed.
        UsageError: there is no such data set on this machine.
        BadArtifact: it is damaged.
        WrongShape: observations of another form, or not of the spec's width.
    """
    if isinstance(dataset, str):
        dataset = load_minari(dataset)
    own = dataset.storage.metadata.get(_SPEC)
    if spec is None and own is not None:
        try:
            spec = StateSpec.from_json(parse_json(own, list[dict[str, Any]], dataset.id))
        except (KeyError, TypeError, ValueError) as error:
            raise BadArtifact(dataset.id, f"the fields of its state cannot be read: {error}", _AGAIN) from error
    unjudged = 0
    for data in iterate_minari_episodes(dataset, numbers):
        about = _read_episode_metadata(dataset, data.id)
        where = f"{dataset.id}, episode {data.id}"
        fields = spec or _describe_observations(data.observations)
        with raise_as_bad_artifact(where, _AGAIN):
            state = _read_state(data)
        if state.ndim != 2 or state.shape[1] != fields.dim:
            raise WrongShape(f"the state of {where}", state.shape, f"(T + 1, {fields.dim})")
        with raise_as_bad_artifact(where, _AGAIN):
            unjudged += _read_success(data) is None
            episode = _add_pictures(_minari_to_episode(data, state, about, fields, task_id), data, frames)
        yield episode
    if unjudged and numbers is None:
        log.warning(
            "%d episodes of %s have neither %r nor %r in their infos: none of their steps counts as a success",
            *(unjudged, dataset.id, *_SUCCESS),
        )


def write_minari(source: EpisodeSource, folder: Path, dataset_id: str) -> DataSummary:
    """Writes episodes with their frames as a Minari data set in a folder that Minari finds as MINARI_DATASETS_PATH.

    Raises:
        MissingExtra: minari is not installed.
        UsageError: no episodes, or episodes that do not belong together.
    """
    _require_minari()
    summary = summarise_episodes(source)
    with _datasets_in(folder):
        export_minari(source.iterate(True), dataset_id, frames=True, data_format="hdf5", description=source.name)
    return summary


def open_minari(where: Path | str) -> EpisodeSource:
    """Returns the episodes of a Minari data set with their frames.

    Args:
        where: the id of a local data set, or the folder `data` of one.

    Raises:
        MissingExtra: minari is not installed, or the package that its file format needs.
        UsageError: there is no such data set on this machine.
        BadArtifact: it is damaged.
    """
    dataset = load_minari(where)
    return EpisodeSource(
        "minari",
        str(where),
        dataset.total_episodes,
        lambda frames: import_minari(dataset, frames=frames),
        lambda number, frames: next(import_minari(dataset, frames=frames, numbers=[number])),
    )


def find_minari(folder: Path) -> Path | None:
    """Returns the folder `data` of the only Minari data set in and below a folder; None where there is none.

    Raises:
        UsageError: there are several.
    """
    found = sorted(
        path.parent
        for depth in ("", "data/", "*/data/", "*/*/data/", "*/*/*/data/")
        for path in folder.glob(f"{depth}metadata.json")
        if path.parent.name == "data" and _is_metadata(path)
    )
    if len(found) > 1:
        names = ", ".join(str(path.parent) for path in found[:8])
        raise UsageError(f"{folder} holds {len(found)} Minari data sets; give one of {names}")
    return found[0] if found else None


def _is_metadata(path: Path) -> bool:
    """Returns whether a file is the metadata of a Minari data set, perhaps a damaged one."""
    try:
        return "minari_version" in (load_json(path, dict[str, Any]) or {})
    except BadArtifact:
        return (path.parent / _HDF5).is_file()


def make_minari_id(task_id: str) -> str:
    """Returns the id of a data set of a task, such as `panda/lift-v0`."""
    parts = [re.sub(r"[^A-Za-z0-9_-]+", "-", part).strip("-") for part in task_id.split("/")]
    return f"{'/'.join(filter(None, parts)) or 'robo_reward/episodes'}-v0"


@contextmanager
def _datasets_in(folder: Path) -> Iterator[None]:
    """Makes Minari write into a folder: it has no other way to say where."""
    before = os.environ.get("MINARI_DATASETS_PATH")
    os.environ["MINARI_DATASETS_PATH"] = str(folder.resolve())
    try:
        yield
    finally:
        if before is None:
            del os.environ["MINARI_DATASETS_PATH"]
        else:
            os.environ["MINARI_DATASETS_PATH"] = before


def load_minari(dataset_id: Path | str) -> Any:
    """Returns a local Minari data set.

    Args:
        dataset_id: its id, or the folder `data` of one.

    Raises:
        MissingExtra: minari is not installed, or the package that its file format needs.
        UsageError: there is no such data set on this machine.
        BadArtifact: it is damaged.
    """
    minari = _require_minari()
    try:
        folder = dataset_id if isinstance(dataset_id, Path) else find_minari_folder(dataset_id)
        if (folder / _HDF5).is_file():
            with suppress(MissingExtra):  # Minari names it below
                require_own_arrays(folder / _HDF5)
        return minari.MinariDataset(folder)
    except ImportError as error:
        module = "h5py" if "h5py" in str(error) else "pyarrow"
        raise MissingExtra(module, "minari", f"reading the Minari data set {str(dataset_id)!r}") from error
    except (FileNotFoundError, ValueError) as error:
        raise UsageError(f"no Minari data set {str(dataset_id)!r} on this machine: {error}") from error
    except _DAMAGED as error:
        raise BadArtifact(dataset_id, f"its Minari data set cannot be read: {error}", _AGAIN) from error


def find_minari_folder(dataset_id: str) -> Path:
    """Returns the folder `data` of a local data set."""
    from minari.storage.datasets_root_dir import get_dataset_path

    folder = get_dataset_path(dataset_id) / "data"
    if not folder.exists():
        raise FileNotFoundError(f"there is no folder {folder}")
    return folder


def iterate_minari_episodes(dataset: Any, numbers: Sequence[int] | None = None) -> Iterator[Any]:
    """Yields the `minari.EpisodeData` of a data set, of all episodes or of those with some numbers.

    Raises:
        BadArtifact: it is damaged.
    """
    chosen = dataset.episode_indices if numbers is None else numbers
    for number in chosen:
        try:
            with _bounded_pictures(_count_rows(dataset, int(number))):
                episode = next(iter(dataset.iterate_episodes([number])))
        except _DAMAGED as error:
            raise BadArtifact(
                dataset.id, f"an episode of the Minari data set cannot be read: {error}", _AGAIN
            ) from error
        yield episode


def _count_rows(dataset: Any, number: int) -> int:
    """Returns the number of rows of an episode's longest array, without reading it."""
    folder = Path(dataset.storage.data_path)
    if (folder / _HDF5).is_file():
        with open_hdf5(folder / _HDF5) as file:
            rows = [1]
            file[f"episode_{number}"].visititems(lambda _, item: rows.extend(getattr(item, "shape", ())[:1]))
            return max(rows)
    import pyarrow.dataset

    for path in sorted((folder / str(number)).rglob("*.parquet")):
        read_columns(path)  # refuses a small file that takes too much memory, which Minari reads without a limit
    about = {"format": dataset.storage.FORMAT, "ignore_prefixes": ["_", ".", "metadata.json"]}
    return max(1, pyarrow.dataset.dataset(str(folder / str(number)), **about).count_rows())


@contextmanager
def _bounded_pictures(rows: int) -> Iterator[None]:
    """Makes Minari refuse JPEG files that would unpack to more than `MAX_EPISODE` bytes, one in each row.

    Minari decodes all pictures of an episode at once; Pillow sees the size in a file's header and refuses more than
    twice `MAX_IMAGE_PIXELS`.

    Raises:
        ValueError: a picture is too large.
    """
    try:
        from PIL import Image
    except ImportError:  # Minari names what it lacks
        yield
        return
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = max(1, MAX_EPISODE // (3 * rows) // 2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    except Image.DecompressionBombError as error:
        raise ValueError(f"its {rows} pictures take more than {MAX_EPISODE >> 30} GiB in memory: {error}") from error
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _read_episode_metadata(dataset: Any, number: int) -> dict[str, Any]:
    try:
        (about,) = dataset.storage.get_episode_metadata([number])
    except _DAMAGED as error:
        raise BadArtifact(dataset.id, f"metadata of episode {number} cannot be read: {error}", _AGAIN) from error
    return about


def _episode_to_columns(episode: Episode, terms: tuple[str, ...], known: set[bool], noisy: bool) -> dict[str, Any]:
    """Returns the columns of an episode; `known` and `noisy` say of all episodes what is known and executed."""
    steps, reward = len(episode), episode.reward
    own = {} if reward is None else reward.terms
    columns = {}
    if known == {True, False}:
        columns["success"] = np.r_[0.0, episode.success if is_success_known(episode) else np.full(steps, np.nan)]
    elif True in known:
        columns["success"] = np.r_[False, episode.success]
    columns |= {f"term_{name}": np.r_[0.0, own.get(name, np.full(steps, np.nan))] for name in terms}
    executed = {} if not noisy else {_EXECUTED: np.concatenate([np.zeros_like(episode.action[:1]), episode.action])}
    pictures = {f"{_FRAMES}{camera}": frames for camera, frames in split_cameras(episode).items()}
    return {
        "observations": episode.state,
        "actions": get_clean_action(episode),
        "rewards": np.zeros(steps) if reward is None else reward.total,
        "terminations": np.zeros(steps, bool),
        "truncations": np.arange(steps) == steps - 1,
        # Minari 0.5.4's Arrow reader fails on arrays of one number per step, but not on plain lists.
        "infos": {**{name: values.tolist() for name, values in columns.items()}, **executed, **pictures},
    }


def _episode_metadata(episode: Episode) -> dict[str, Any]:
    terms = None if episode.reward is None else list(episode.reward.terms)
    return {_EPISODE: json.dumps({"task_id": episode.task_id, "meta": dict(episode.meta), "terms": terms})}


def _describe_observations(observations: Any) -> StateSpec:
    """Returns the fields of observations that others made."""
    if isinstance(observations, Mapping):
        arrays = _list_numbers(observations)
        if not arrays and not list_pictures(observations):
            raise WrongShape("Minari observations", (), "arrays of numbers (T + 1, ...), in a dictionary or alone")
        return StateSpec(
            [Field(name, values.shape[1:], description=f"observation {name}") for name, values in arrays.items()]
        )
    if is_picture(observations):
        return StateSpec([])
    if not isinstance(observations, np.ndarray) or observations.ndim != 2:
        raise WrongShape("Minari observations", np.shape(observations), "(T + 1, D), flat; flatten the data set first")
    return StateSpec(
        [Field(f"obs_{i}", description=f"number {i} of the observation") for i in range(observations.shape[1])]
    )


def _list_numbers(values: Mapping[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    """Returns the arrays of numbers of a tree of observations, by field name, without pictures or maps."""
    found: dict[str, np.ndarray] = {}
    for key, value in values.items():
        name = make_field_name(f"{prefix}{key}")
        if isinstance(value, Mapping):
            found |= _list_numbers(value, f"{name}_")
        elif isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.ndim:
            if is_map(name, value):
                warn_of_maps("Minari data set", (name,))
            elif not is_picture(value):
                found[name] = value
    return found


def list_pictures(values: Any, name: str = "camera") -> dict[str, np.ndarray]:
    """Returns the arrays of pictures (T + 1, H, W, 3) of a tree of observations or infos, by name."""
    if isinstance(values, Mapping):
        return {k: v for key, value in values.items() for k, v in list_pictures(value, str(key)).items()}
    return {name.removeprefix(_FRAMES): values} if is_picture(values) else {}


def _add_pictures(episode: Episode, data: Any, frames: bool) -> Episode:
    """Returns an episode with the cameras that its data has, and with their frames if wanted."""
    pictures = list_pictures(data.observations) or list_pictures(data.infos or {})
    if not pictures:
        return episode
    named = [camera for camera in episode.meta.get("cameras", ()) if camera in pictures]
    pictures = {camera: pictures[camera] for camera in named or pictures}
    meta = dict(episode.meta)
    if "minari_id" in meta and list(pictures) != ["camera"]:
        meta["cameras"] = list(pictures)
    joined = join_cameras(pictures, f"Minari episode {data.id}") if frames else None
    return replace(episode, frames=joined, meta=meta)


def _read_state(data: Any) -> np.ndarray:
    """Returns the numbers of all observations side by side (T + 1, D).

    Raises:
        UsageError: actions that are no array; and the errors of arrays that do not fit each other.
    """
    if isinstance(data.actions, (Mapping, tuple)):
        kind = "dictionary" if isinstance(data.actions, Mapping) else "tuple"
        raise UsageError(f"its actions are a {kind}, expected an array (T, ...); flatten the data set first")
    observations = data.observations
    if isinstance(observations, Mapping):
        parts = [np.asarray(v, float).reshape(len(v), -1) for v in _list_numbers(observations).values()]
        return np.concatenate([np.zeros((len(data.actions) + 1, 0)), *parts], axis=1)
    return np.zeros((len(observations), 0)) if is_picture(observations) else np.asarray(observations, float)


def _minari_to_episode(data: Any, state: np.ndarray, about: dict[str, Any], spec: StateSpec, task_id: str) -> Episode:
    infos, actions = data.infos or {}, np.asarray(data.actions, float)
    own = _EpisodeMetadata(task_id, {"minari_id": int(data.id)})
    if _EPISODE in about:
        own = parse_json(about[_EPISODE], _EpisodeMetadata, f"episode {data.id}", _AGAIN)
    reward = None
    if own.terms is not None:
        missing = [name for name in own.terms if f"term_{name}" not in infos]
        if missing:
            raise BadArtifact(f"episode {data.id}", f"the reward terms {', '.join(missing)} are missing", _AGAIN)
        named = {name: np.asarray(infos[f"term_{name}"], float).reshape(-1)[1:] for name in own.terms}
        reward = RewardOutput(np.asarray(data.rewards, float), named)
    actions, clean = actions.reshape(len(actions), -1), None
    executed = np.asarray(infos.get(_EXECUTED, ()), float) if _EPISODE in about else np.zeros(0)
    if executed.shape == (len(actions) + 1, actions.shape[1]) and not np.array_equal(executed[1:], actions):
        actions, clean = executed[1:], actions
    success = _read_success(data)
    if success is None and "success_known" not in own.meta:
        own.meta["success_known"] = False
    return Episode(
        state=state,
        action=actions,
        success=np.zeros(len(actions), bool) if success is None else success,
        spec=spec,
        task_id=own.task_id,
        reward=reward,
        meta=own.meta if success is not None else {**own.meta, "success_known": False},
        clean_action=clean,
    )


def _read_success(data: Any) -> np.ndarray | None:
    """Returns whether each step succeeded, (T,), or None where the data set does not say.

    Infos have a value for the start as well; data sets of older versions of Minari may lack it.
    """
    steps = len(data.actions)
    for name in _SUCCESS:
        values = np.asarray((data.infos or {}).get(name, ()))
        if values.dtype.kind in "bif" and values.size in (steps, steps + 1) and not np.isnan(values[-1:]).any():
            return values.reshape(-1)[-steps:] > 0 if steps else np.zeros(0, bool)
    return None


def _require_minari() -> Any:
    try:
        import minari
    except ImportError:
        raise MissingExtra("minari", "minari", "reading and writing Minari data sets") from None
    return minari
