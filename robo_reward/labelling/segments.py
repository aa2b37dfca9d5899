"""Preferences between segments of trajectories, as B-Pref and offline data sets keep them in arrays.

Sources: the `RewardModel` of B-Pref (rll-research/BPref, reward_model.py: `put_queries`, `get_label` and the buffers
`buffer_seg1`, `buffer_seg2` and `buffer_label`), whose labels are 1 where the second segment has the larger return and
-1 for segments that are equally good; and the preference data sets of Preference Transformer and its successors, whose
labels (N, 2) are (1, 0) where the first is better, (0, 1) where the second is, and (1/2, 1/2) for both.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from robo_reward.data.episode import Episode, EpisodeStore
from robo_reward.envs.state import Field, StateSpec
from robo_reward.files import open_arrays
from robo_reward.labelling.answers import Answer, BadAnswer
from robo_reward.labelling.store import Clip

MAX_ARRAYS = 4 << 30  # [bytes]
_EPOCH = "1970-01-01T00:00:00+00:00"


class ForeignPreferences(NamedTuple):
    """The content of a file of another project.

    Args:
        clips: the clips that it names, each once.
        answers: one for each comparison.
    """

    clips: list[Clip]
    answers: list[Answer]


def read_arrays(path: Path, folder: Path, annotator: str) -> ForeignPreferences:
    """Returns the comparisons of arrays in the manner of B-Pref; their segments become episodes of a new store.

    Args:
        path: an npz file with either `sa_t_1` and `sa_t_2`, or `buffer_seg1` and `buffer_seg2`, (N, T, D), state and
            action side by side, or `observations`, `actions`, `observations_2` and `actions_2` (N, T, ...); with
            `frames_1` and `frames_2` (N, T, H, W, 3) uint8 if there are pictures; and with `labels` or `buffer_label`:
            (N,) or (N, 1) with 0 where the first segment is better, 1 where the second is and -1 where both are equal,
            or (N, 2) with the probability that each is better.
        folder: the store is `NAME-segments` in it.
        annotator: name of the annotator.

    Raises:
        BadArtifact: it is not such a file.
        BadAnswer: labels of another form.
    """
    with open_arrays(path, MAX_ARRAYS) as arrays:
        found = {name: arrays[name] for name in arrays}
    segments = [_find_segments(found, path, side) for side in (1, 2)]
    labels = _parse_labels(found.get("labels", found.get("buffer_label")), len(segments[0].states), path)
    pairs = list(zip(*map(_make_episodes, segments), strict=True))
    keys = [tuple(map(_hash_episode, pair)) for pair in pairs]
    answers = []
    for number, (first, second) in enumerate(keys):
        if first == second:
            raise BadAnswer(f"{path}, pair {number}: both segments are the same")
        ranking = {0: ((first,), (second,)), 1: ((second,), (first,)), -1: ((first, second),)}[labels[number]]
        answers.append(build_answer((first, second), ranking, annotator, {"format": "arrays", "row": number}))
    store = EpisodeStore(folder / f"{path.stem}-segments", frames="exact")
    episodes = {key: episode for pair in zip(keys, pairs, strict=True) for key, episode in zip(*pair, strict=True)}
    for key in sorted(episodes.keys() - set(store.keys())):
        store.append(episodes[key], key)
    place = str(store.folder.resolve())
    clips = [Clip(key, place, {"name": key, "steps": len(episode)}) for key, episode in episodes.items()]
    return ForeignPreferences(clips, answers)


def _hash_episode(episode: Episode) -> str:
    """Returns the SHA-256 hash of an episode's arrays, 32 hex digits."""
    arrays = [episode.state, episode.action, *([] if episode.frames is None else [episode.frames])]
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()[:32]


def build_answer(
    clips: tuple[str, ...],
    ranking: tuple[tuple[str, ...], ...],
    annotator: str,
    about: dict[str, Any],
    seconds: float = 0.0,
    created: str = "",
    text: str = "",
) -> Answer:
    """Returns an answer whose uuid follows from its content, so that it is the same at the next import."""
    content = json.dumps([clips, ranking, annotator, about, seconds, created, text], sort_keys=True)
    return Answer(
        clips,
        annotator,
        ranking,
        seconds=seconds,
        created=created or _EPOCH,
        text=text,
        uuid=uuid.uuid5(uuid.NAMESPACE_URL, content).hex,
        provenance=about,
    )


class _Segments(NamedTuple):
    """The segments of one side: states, actions, and frames or None, each (N, T, ...)."""

    states: np.ndarray
    actions: np.ndarray
    frames: np.ndarray | None


def _make_episodes(segments: _Segments) -> list[Episode]:
    """Returns the segments as episodes; the last action, which nothing follows, is left out."""
    width = segments.states.shape[2]
    spec = StateSpec([Field("observation", (width,))] if width else [])
    return [
        Episode(
            state=state,
            action=action[:-1],
            success=np.zeros(len(action) - 1, bool),
            spec=spec,
            frames=None if segments.frames is None else segments.frames[number],
            meta={"success_known": False},
        )
        for number, (state, action) in enumerate(zip(segments.states, segments.actions, strict=True))
    ]


def _find_segments(arrays: Mapping[str, np.ndarray], path: Path, side: int) -> _Segments:
    suffix = "" if side == 1 else "_2"
    both = arrays.get(f"sa_t_{side}", arrays.get(f"buffer_seg{side}"))
    states = arrays.get(f"observations{suffix}")
    actions = arrays.get(f"actions{suffix}")
    states = both if states is None else states
    if states is None or states.ndim < 3 or states.dtype.kind not in "biuf" or states.shape[1] < 2:
        raise BadAnswer(
            f"{path} holds {', '.join(arrays) or 'nothing'}; expected sa_t_1, sa_t_2 and labels, or observations, "
            "actions, observations_2, actions_2 and labels, each (N, T, ...) with T from 2"
        )
    count, steps = states.shape[:2]
    actions = np.zeros((count, steps, 0)) if actions is None else actions
    frames = arrays.get(f"frames_{side}")
    for name, part in (("actions", actions), ("frames", states if frames is None else frames)):
        if part.shape[:2] != (count, steps):
            raise BadAnswer(f"{path}: {name} of side {side} are {part.shape[:2]}, expected (N, T) = {(count, steps)}")
    return _Segments(
        states.reshape(count, steps, -1).astype(float), actions.reshape(count, steps, -1).astype(float), frames
    )


def _parse_labels(labels: np.ndarray | None, count: int, path: Path) -> list[int]:
    """Returns for each pair 0 where the first is better, 1 where the second is, -1 where both are equal."""
    if (
        labels is None
        or labels.dtype.kind not in "biuf"
        or len(labels) != count
        or labels.size not in (count, 2 * count)
    ):
        found = "none" if labels is None else f"{labels.dtype} {labels.shape}"
        raise BadAnswer(f"{path}: labels are {found}, expected numbers (N,), (N, 1) or (N, 2) with N = {count}")
    if labels.size == 2 * count:
        difference = labels.reshape(count, 2) @ [-1.0, 1.0]
        return [int(d > 0) if d else -1 for d in difference]
    flat = labels.reshape(count)
    if not np.isin(flat, (-1, 0, 1)).all():
        raise BadAnswer(f"{path}: a label is {flat[~np.isin(flat, (-1, 0, 1))][0]}, expected 0, 1 or -1")
    return [int(label) for label in flat]
