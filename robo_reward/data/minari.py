"""Episodes to and from Minari, the data-set format of the gymnasium family."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from robo_reward.data.episode import Episode, EpisodeStore
from robo_reward.envs.state import Field, StateSpec
from robo_reward.errors import BadArtifact, MissingExtra, UsageError, WrongShape
from robo_reward.files import parse_json
from robo_reward.rewards.contract import RewardOutput

log = logging.getLogger(__name__)

_SUCCESS = ("success", "is_success")
"""Names of the success flag: in Minari's and our data sets, and in gymnasium-robotics."""
_DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, EOFError)
_AGAIN = "Download or create it again"
_SPEC, _EPISODE = "robo_reward_state", "robo_reward_episode"


class _EpisodeMetadata(msgspec.Struct):
    """The metadata of an episode that `export_minari` keeps beside its arrays."""

    task_id: str
    meta: dict[str, Any]
    terms: list[str] | None = []


def export_minari(episodes: Iterable[Episode], dataset_id: str, **about: Any) -> Any:
    """Writes episodes as a new local Minari data set.

    Observations are the flat states (T + 1, D). Success goes to `infos["success"]` (T + 1,) with a leading False
    for the start, each reward term to `infos["term_NAME"]` (T + 1,) with a leading 0. The state's fields and each
    episode's `meta` are kept as metadata. Frames are left out. All episodes are held in memory once.

    Args:
        episodes: of one state and action width; such as an `EpisodeStore`.
        dataset_id: such as `panda/lift-v0`; must not exist yet.
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

    stored = episodes.iterate_without_frames() if isinstance(episodes, EpisodeStore) else episodes
    kept = [replace(episode, frames=None) for episode in stored]
    if not kept:
        raise UsageError("no episodes to export")
    first = kept[0]
    for number, episode in enumerate(kept):
        if episode.spec != first.spec or episode.action.shape[1] != first.action.shape[1]:
            raise UsageError(f"episode {number} has another state or action than the first; export them separately")
    # A table has one set of columns, so every episode gets all terms; its metadata lists those it really has.
    terms = tuple(dict.fromkeys(name for episode in kept if episode.reward for name in episode.reward.terms))
    with warnings.catch_warnings():
        # Warnings about missing authors and links; there is no environment to recover from the data.
        warnings.filterwarnings("ignore", category=UserWarning, module="minari")
        dataset = minari.create_dataset_from_buffers(
            dataset_id,
            buffer=[
                EpisodeBuffer(id=number, **_episode_to_columns(episode, terms)) for number, episode in enumerate(kept)
            ],
            observation_space=Box(-np.inf, np.inf, (first.spec.dim,), np.float64),
            action_space=Box(-1.0, 1.0, (first.action.shape[1],), np.float64),
            **{"data_format": "arrow", **about},
        )
    dataset.storage.update_metadata({_SPEC: json.dumps(first.spec.to_json())})
    dataset.storage.update_episode_metadata(map(_episode_metadata, kept), range(len(kept)))
    return dataset


def import_minari(dataset: Any, spec: StateSpec | None = None, task_id: str = "") -> Iterator[Episode]:
    """Reads the episodes of a local Minari data set, one at a time.

    Args:
        dataset: its id, or a `minari.MinariDataset`; observations must be flat.
        spec: names for the observations of a data set that others made; `obs_0`, `obs_1`, ... if not given.
        task_id: for data sets that others made.

    Raises:
        MissingExtra: minari is not installed.
        UsageError: there is no such data set on this machine.
        BadArtifact: it is damaged.
        WrongShape: observations that are not flat, or not of the spec's width.
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
    for data in iterate_minari_episodes(dataset):
        (about,) = dataset.storage.get_episode_metadata([data.id])
        unjudged += _read_success(data) is None
        yield _minari_to_episode(data, about, spec or _plain_spec(data.observations), task_id)
    if unjudged:
        log.warning(
            "%d episodes of %s have neither %r nor %r in their infos: none of their steps counts as a success",
            *(unjudged, dataset.id, *_SUCCESS),
        )


def load_minari(dataset_id: str) -> Any:
    """Returns a local Minari data set.

    Raises:
        MissingExtra: minari is not installed, or the package that its file format needs.
        UsageError: there is no such data set on this machine.
        BadArtifact: it is damaged.
    """
    minari = _require_minari()
    try:
        return minari.load_dataset(dataset_id)
    except ImportError as error:
        module = "h5py" if "h5py" in str(error) else "pyarrow"
        raise MissingExtra(module, "minari", f"reading the Minari data set {dataset_id!r}") from error
    except (FileNotFoundError, ValueError) as error:
        raise UsageError(f"no Minari data set {dataset_id!r} on this machine: {error}") from error
    except _DAMAGED as error:
        raise BadArtifact(dataset_id, f"its Minari data set cannot be read: {error}", _AGAIN) from error


def iterate_minari_episodes(dataset: Any) -> Iterator[Any]:
    """Yields the `minari.EpisodeData` of a data set.

    Raises:
        BadArtifact: it is damaged.
    """
    try:
        yield from dataset.iterate_episodes()
    except _DAMAGED as error:
        raise BadArtifact(dataset.id, f"an episode of the Minari data set cannot be read: {error}", _AGAIN) from error


def _episode_to_columns(episode: Episode, terms: tuple[str, ...]) -> dict[str, Any]:
    steps, reward = len(episode), episode.reward
    known = {} if reward is None else reward.terms
    columns = {"success": np.r_[False, episode.success]}
    columns |= {f"term_{name}": np.r_[0.0, known.get(name, np.full(steps, np.nan))] for name in terms}
    return {
        "observations": episode.state,
        "actions": episode.action,
        "rewards": np.zeros(steps) if reward is None else reward.total,
        "terminations": np.zeros(steps, bool),
        "truncations": np.arange(steps) == steps - 1,
        # Minari 0.5.4's Arrow reader fails on arrays of one number per step, but not on plain lists.
        "infos": {name: values.tolist() for name, values in columns.items()},
    }


def _episode_metadata(episode: Episode) -> dict[str, Any]:
    terms = None if episode.reward is None else list(episode.reward.terms)
    return {_EPISODE: json.dumps({"task_id": episode.task_id, "meta": dict(episode.meta), "terms": terms})}


def _plain_spec(observations: Any) -> StateSpec:
    if not isinstance(observations, np.ndarray) or observations.ndim != 2:
        raise WrongShape("Minari observations", np.shape(observations), "(T + 1, D), flat; flatten the data set first")
    return StateSpec(
        [Field(f"obs_{i}", description=f"number {i} of the observation") for i in range(observations.shape[1])]
    )


def _minari_to_episode(data: Any, about: dict[str, Any], spec: StateSpec, task_id: str) -> Episode:
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
    success = _read_success(data)
    return Episode(
        state=np.asarray(data.observations, float),
        action=actions.reshape(len(actions), -1),
        success=np.zeros(len(actions), bool) if success is None else success,
        spec=spec,
        task_id=own.task_id,
        reward=reward,
        meta=own.meta if success is not None else {**own.meta, "success_known": False},
    )


def _read_success(data: Any) -> np.ndarray | None:
    """Returns whether each step succeeded, (T,), or None where the data set does not say.

    Infos have a value for the start as well; data sets of older versions of Minari may lack it.
    """
    steps = len(data.actions)
    for name in _SUCCESS:
        values = np.asarray((data.infos or {}).get(name, ()))
        if values.dtype.kind in "bif" and values.size in (steps, steps + 1):
            return values.reshape(-1)[-steps:] > 0 if steps else np.zeros(0, bool)
    return None


def _require_minari() -> Any:
    try:
        import minari
    except ImportError:
        raise MissingExtra("minari", "minari", "reading and writing Minari data sets") from None
    return minari
