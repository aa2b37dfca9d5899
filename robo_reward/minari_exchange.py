"""Episodes to and from Minari, the data-set format of the gymnasium family."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from robo_reward.envs.state import Field, StateSpec
from robo_reward.episode import Episode, EpisodeStore
from robo_reward.errors import MissingExtra, UsageError, WrongShape
from robo_reward.reward import RewardOutput

_SPEC, _EPISODE = "robo_reward_state", "robo_reward_episode"


def export_minari(episodes: Iterable[Episode], dataset_id: str, **about: Any) -> Any:
    """Writes episodes as a new local Minari data set.

    Observations are the flat states (T + 1, D). Success goes to `infos["success"]` (T + 1,) with a leading False for
    the start, each reward term to `infos["term_NAME"]` (T + 1,) with a leading 0. The state's fields and each episode's
    `meta` are kept as metadata. Frames are left out. All episodes are held in memory once.

    Args:
        episodes: of one state and action width; an `EpisodeStore` does.
        dataset_id: such as `panda/lift-v0`; must not exist yet.
        about: more for Minari: author, author_email, algorithm_name, description, data_format (`arrow`, `hdf5`,
            `parquet`).

    Returns:
        The `minari.MinariDataset`.

    Raises:
        MissingExtra: minari is not installed.
        UsageError: no episodes, or episodes of different states.
    """
    minari = _minari()
    from gymnasium.spaces import Box
    from minari.data_collector import EpisodeBuffer

    stored = episodes.without_frames() if isinstance(episodes, EpisodeStore) else episodes
    kept = [replace(episode, frames=None) for episode in stored]
    if not kept:
        raise UsageError("no episodes to export")
    first = kept[0]
    for number, episode in enumerate(kept):
        if episode.spec != first.spec or episode.action.shape[1] != first.action.shape[1]:
            raise UsageError(f"episode {number} has another state or action than the first; export them apart")
    # Every episode gets every term, because a table has one set of columns; `_about` says which it really has.
    terms = tuple(dict.fromkeys(name for episode in kept if episode.reward for name in episode.reward.terms))
    with warnings.catch_warnings():
        # Advice about authors and links that were not given; there is no environment to recover, the data is all.
        warnings.filterwarnings("ignore", category=UserWarning, module="minari")
        dataset = minari.create_dataset_from_buffers(
            dataset_id,
            buffer=[EpisodeBuffer(id=number, **_columns(episode, terms)) for number, episode in enumerate(kept)],
            observation_space=Box(-np.inf, np.inf, (first.spec.dim,), np.float64),
            action_space=Box(-1.0, 1.0, (first.action.shape[1],), np.float64),
            **{"data_format": "arrow", **about},
        )
    dataset.storage.update_metadata({_SPEC: json.dumps(first.spec.to_json())})
    dataset.storage.update_episode_metadata(map(_about, kept), range(len(kept)))
    return dataset


def import_minari(dataset: Any, spec: StateSpec | None = None, task_id: str = "") -> Iterator[Episode]:
    """Reads the episodes of a local Minari data set, one at a time.

    Args:
        dataset: its id, or a `minari.MinariDataset`; observations must be flat.
        spec: names for the observations of a data set that others made; `obs_0`, `obs_1`, ... if not given.
        task_id: for data sets that others made.

    Raises:
        MissingExtra: minari is not installed.
        WrongShape: observations that are not flat, or not of the spec's width.
    """
    if isinstance(dataset, str):
        dataset = _minari().load_dataset(dataset)
    own = dataset.storage.metadata.get(_SPEC)
    if spec is None and own is not None:
        spec = StateSpec.from_json(json.loads(own))
    for data in dataset.iterate_episodes():
        (about,) = dataset.storage.get_episode_metadata([data.id])
        yield _episode(data, about, spec or _plain_spec(data.observations), task_id)


def _columns(episode: Episode, terms: tuple[str, ...]) -> dict[str, Any]:
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
        # Minari 0.5.4's Arrow reader fails on arrays of one number per step, unless they come as plain lists.
        "infos": {name: values.tolist() for name, values in columns.items()},
    }


def _about(episode: Episode) -> dict[str, Any]:
    terms = None if episode.reward is None else list(episode.reward.terms)
    return {_EPISODE: json.dumps({"task_id": episode.task_id, "meta": dict(episode.meta), "terms": terms})}


def _plain_spec(observations: Any) -> StateSpec:
    if not isinstance(observations, np.ndarray) or observations.ndim != 2:
        raise WrongShape("Minari observations", np.shape(observations), "(T + 1, D), flat; flatten the data set first")
    return StateSpec(
        [Field(f"obs_{i}", description=f"number {i} of the observation") for i in range(observations.shape[1])]
    )


def _episode(data: Any, about: dict[str, Any], spec: StateSpec, task_id: str) -> Episode:
    infos, actions = data.infos or {}, np.asarray(data.actions, float)
    own = (
        json.loads(about[_EPISODE]) if _EPISODE in about else {"task_id": task_id, "meta": {"minari_id": int(data.id)}}
    )
    terms = own.get("terms", [])
    reward = None
    if terms is not None:
        named = {name: np.asarray(infos[f"term_{name}"], float).reshape(-1)[1:] for name in terms}
        reward = RewardOutput(np.asarray(data.rewards, float), named)
    success = np.asarray(infos["success"], bool).reshape(-1)[1:] if "success" in infos else np.zeros(len(actions), bool)
    return Episode(
        state=np.asarray(data.observations, float),
        action=actions.reshape(len(actions), -1),
        success=success,
        spec=spec,
        task_id=own["task_id"],
        reward=reward,
        meta=own["meta"],
    )


def _minari() -> Any:
    try:
        import minari
    except ImportError:
        raise MissingExtra("minari", "minari", "reading and writing Minari data sets") from None
    return minari
