"""Episodes to and from robomimic's HDF5 files.

The layout: `data/demo_K` with `obs/NAME`, `next_obs/NAME`, `actions`, `rewards`, `dones` and `states`, of T rows each;
`data` has the attributes `total` and `env_args`; `mask/NAME` lists demonstrations. `robo_reward/` at the root and
`data/demo_K/robo_reward/` are ours: they hold what the layout has no place for.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from robo_reward.data.episode import Episode
from robo_reward.data.hdf5 import AGAIN, count_bytes, get_array, import_h5py, open_hdf5, require_size
from robo_reward.data.pictures import is_map, is_picture, join_cameras, warn_of_maps
from robo_reward.data.summary import (
    DataSummary,
    EpisodeSource,
    get_clean_action,
    get_task_name,
    is_success_known,
    make_field_name,
    split_cameras,
    summarise_episodes,
)
from robo_reward.envs.state import Field, StateSpec
from robo_reward.errors import BadArtifact
from robo_reward.files import parse_json, raise_as_bad_artifact
from robo_reward.rewards.contract import RewardOutput

ENDINGS = (".hdf5", ".h5")
OWN = "robo_reward"
GYM = 2  # robomimic's number for environments of gymnasium
_SIGNATURE = b"\x89HDF\r\n\x1a\n"


class RobomimicExtras(msgspec.Struct):
    """The parts of one episode of ours that robomimic has no place for."""

    task_id: str
    meta: dict[str, Any]
    terms: list[str] | None


def write_robomimic(source: EpisodeSource, path: Path) -> DataSummary:
    """Writes episodes as a new file in robomimic's layout.

    Every field of the state is an observation of its own, a vector; the frames of each camera are
    `obs/CAMERA_image`, without loss. `rewards` is the total of the episode's reward, or 1 at successful steps where it
    has none; `actions` are the clean ones, for cloning, and `robo_reward/executed_action` what was executed where noise
    was added; `dones` is 1 at the last step and at successful ones. `mask/success` lists the demonstrations that are
    known to succeed.

    Args:
        source: episodes of one state, rate and set of cameras.
        path: the file, which must not exist.

    Raises:
        UsageError: no episodes, or episodes that do not belong together.
        MissingExtra: h5py is not installed.
    """
    h5py = import_h5py()
    summary = summarise_episodes(source)
    with h5py.File(path, "x") as file:
        data = file.create_group("data")
        file[f"{OWN}/state"] = json.dumps(summary.spec.to_json())
        successful: list[str] = []
        names: Counter[str] = Counter()
        for number, episode in enumerate(source.iterate(True)):
            name = f"demo_{number}"
            _write_demo(data.create_group(name), episode)
            names[episode.task_id] += 1
            if is_success_known(episode) and episode.is_successful:
                successful.append(name)
        if successful:
            file["mask/success"] = np.array(successful, "S")
        (task, _), *_ = names.most_common(1)
        arguments = {"env_name": task or get_task_name(episode), "type": GYM}
        arguments["env_kwargs"] = {"control_freq": summary.fps}
        data.attrs["total"] = summary.steps
        data.attrs["env_args"] = json.dumps(arguments)
    return summary


def open_robomimic(path: Path | str) -> EpisodeSource:
    """Returns the demonstrations of a file in robomimic's layout, in the order of their numbers.

    Files that `write_robomimic` made come back as they were. In those of others every observation that is not a picture
    becomes a field of the state. Without `next_obs` the last action is left out, because nothing follows it. Success
    is known if all rewards are 0 or 1 and there is a 1: then it is where the reward is 1.

    Raises:
        BadArtifact: it is not such a file, or it is damaged.
        MissingExtra: h5py is not installed.
    """
    path = Path(path)
    with open_hdf5(path) as file:
        names = _list_demos(file, path)
        if not names:
            raise BadArtifact(path, "its group data holds no demo_0, demo_1, ...", AGAIN)
        own = f"{OWN}/state" in file
        spec = _read_own_spec(file, path) if own else None
        about = _read_arguments(file["data"], path)
        has_success = not own and _has_sparse_rewards(file["data"], names)

    def read_demo(file: Any, name: str, frames: bool) -> Episode:
        with raise_as_bad_artifact(f"{path}, {name}", AGAIN):
            demo = file["data"][name]
            if spec is not None:
                return _restore_demo(demo, spec, frames)
            return _convert_demo(demo, about, has_success, frames)

    def iterate(frames: bool) -> Iterator[Episode]:
        with open_hdf5(path) as file:
            for name in names:
                yield read_demo(file, name, frames)

    def load(number: int, frames: bool) -> Episode:
        with open_hdf5(path) as file:
            return read_demo(file, names[number], frames)

    return EpisodeSource("robomimic", str(path), len(names), iterate, load, tuple(names))


def is_robomimic(path: Path) -> bool:
    """Returns whether a file is HDF5 with a group of demonstrations.

    Raises:
        BadArtifact: it is HDF5, but damaged.
        MissingExtra: it is HDF5, and h5py is not installed.
    """
    if path.suffix not in ENDINGS or not path.is_file():
        return False
    with path.open("rb") as file:
        if file.read(8) != _SIGNATURE:
            return False
    with open_hdf5(path) as file:
        return "data" in file


def _write_demo(demo: Any, episode: Episode) -> None:
    steps, success, reward = len(episode), episode.success, episode.reward
    known = is_success_known(episode)
    for name in episode.spec.names:
        values = episode.state[:, episode.spec.slice(name)]  # (T + 1, size): robomimic's networks take vectors only
        demo[f"obs/{name}"], demo[f"next_obs/{name}"] = values[:-1], values[1:]
    for camera, frames in split_cameras(episode).items():
        for group, part in (("obs", frames[:-1]), ("next_obs", frames[1:])):
            chunks = (1, *part.shape[1:])
            demo.create_dataset(f"{group}/{camera}_image", data=part, chunks=chunks, compression="gzip")
    demo["states"], demo["actions"] = episode.state[:-1], get_clean_action(episode)
    if episode.clean_action is not None:
        demo[f"{OWN}/executed_action"] = episode.action
    demo["rewards"] = success * float(known) if reward is None else np.asarray(reward.total, float)
    demo["dones"] = (success & known | (np.arange(steps) == steps - 1)).astype(np.int64)
    demo.attrs["num_samples"] = steps
    demo[f"{OWN}/success"] = success
    if reward is not None:
        demo[f"{OWN}/reward"] = np.stack([reward.total, *reward.terms.values()])  # (1 + terms, T)
    about = {
        "task_id": episode.task_id,
        "meta": dict(episode.meta),
        "terms": None if reward is None else list(reward.terms),
    }
    demo[f"{OWN}/about"] = json.dumps(about)


def _restore_demo(demo: Any, spec: StateSpec, frames: bool) -> Episode:
    """Returns an episode that we wrote, as it was."""
    about = parse_json(_read_text(demo, f"{OWN}/about"), RobomimicExtras, demo.name, AGAIN)
    steps = _check_length(demo)
    last = [np.asarray(get_array(demo, f"next_obs/{field.name}")[-1:], float).reshape(1, -1) for field in spec]
    final = np.concatenate([np.zeros((1, 0)), *last], axis=1)
    reward = None
    if about.terms is not None:
        total, *terms = get_array(demo, f"{OWN}/reward")[()]
        reward = RewardOutput(total, dict(zip(about.terms, terms, strict=True)))
    action, clean = get_array(demo, "actions")[()], None
    if "executed_action" in demo[OWN]:
        action, clean = get_array(demo, f"{OWN}/executed_action")[()], action
    return Episode(
        state=np.concatenate([get_array(demo, "states")[()].reshape(steps, -1), final]),
        action=action,
        success=get_array(demo, f"{OWN}/success")[()],
        spec=spec,
        task_id=about.task_id,
        reward=reward,
        frames=_read_frames(demo, about.meta.get("cameras", ()), True) if frames else None,
        meta=about.meta,
        clean_action=clean,
    )


def _convert_demo(demo: Any, about: dict[str, Any], has_success: bool, frames: bool) -> Episode:
    """Returns a demonstration of a file of others."""
    rows = _check_length(demo)
    whole = "next_obs" in demo
    arrays = _list_arrays(demo, "obs")
    names = [
        name
        for name, array in arrays.items()
        if array.dtype.kind in "biuf" and not is_picture(array) and not is_map(name, array)
    ]
    warn_of_maps(demo.file.filename, tuple(name for name, array in arrays.items() if is_map(name, array)))
    fields, parts = [], []
    for name in names:
        values = arrays[name][()]
        if whole:
            values = np.concatenate([values, get_array(demo, f"next_obs/{name}")[-1:]])
        fields.append(Field(make_field_name(name), values.shape[1:], description=f"observation {name}"))
        parts.append(np.asarray(values, float).reshape(len(values), -1))
    steps = rows if whole else rows - 1
    kwargs = about.get("env_kwargs") or {}
    robots = kwargs.get("robots", "")
    meta: dict[str, Any] = {
        "task": str(about.get("env_name", "")),
        "robot_type": robots if isinstance(robots, str) else ", ".join(map(str, robots)),
        "robomimic_demo": demo.name.rpartition("/")[2],
    }
    if kwargs.get("control_freq"):
        meta["fps"] = float(kwargs["control_freq"])
    cameras = _list_cameras(demo)
    if cameras:
        meta["cameras"] = cameras
    if not has_success:
        meta["success_known"] = False
    rewards = np.asarray(get_array(demo, "rewards")[()], float) if "rewards" in demo else None
    success = np.zeros(rows, bool) if rewards is None or not has_success else rewards > 0
    if not whole and rows > 1:
        success = np.r_[success[:-2], success[-2] | success[-1]]
    return Episode(
        state=np.concatenate([np.zeros((steps + 1, 0)), *parts], axis=1),
        action=np.asarray(get_array(demo, "actions")[()], float).reshape(rows, -1)[:steps],
        success=success,
        spec=StateSpec(fields),
        reward=None if rewards is None else RewardOutput(rewards[:steps], {}),
        frames=_read_frames(demo, cameras, whole) if frames else None,
        meta=meta,
    )


def _read_frames(demo: Any, cameras: Any, whole: bool) -> np.ndarray | None:
    """Returns the frames of all cameras side by side, in the order of `cameras` if those are named."""
    present = _list_cameras(demo)
    if not present:
        return None
    parts = {}
    for camera in [c for c in cameras if c in present] or present:
        name = f"{camera}_image" if f"{camera}_image" in demo["obs"] else camera
        parts[camera] = get_array(demo, f"obs/{name}")[()]
        if whole:
            parts[camera] = np.concatenate([parts[camera], get_array(demo, f"next_obs/{name}")[-1:]])
    return join_cameras(parts, demo.name)


def _list_arrays(demo: Any, group: str) -> dict[str, Any]:
    """Returns the arrays of a group of observations by name; empty where there is no such group."""
    h5py = import_h5py()
    if not isinstance(demo.get(group, getlink=True) if group in demo else None, h5py.HardLink):
        return {}
    return {name: get_array(demo, f"{group}/{name}") for name in demo[group]}


def _list_cameras(demo: Any) -> list[str]:
    return [name.removesuffix("_image") for name, array in _list_arrays(demo, "obs").items() if is_picture(array)]


def _check_length(demo: Any) -> int:
    """Returns the number of rows of a demonstration.

    Raises:
        BadArtifact: its arrays have different lengths, others than `num_samples` promises, or are too large.
    """
    rows = len(get_array(demo, "actions"))
    lengths = {"num_samples": int(demo.attrs.get("num_samples", rows))}
    for group in ("obs", "next_obs"):
        lengths |= {f"{group}/{name}": len(array) for name, array in _list_arrays(demo, group).items()}
    lengths |= {n: len(get_array(demo, n)) for n in ("rewards", "dones", "states") if n in demo}
    read = {name: get_array(demo, name) for name in ("actions", *lengths) if name in demo and "next_obs/" not in name}
    size = sum(count_bytes(array) for name, array in read.items() if not is_map(name, array))
    require_size(demo.name, "the episode", size)
    for name, length in lengths.items():
        if length != rows:
            raise BadArtifact(demo.name, f"{name} has {length} rows, actions have {rows}: it is incomplete", AGAIN)
    if rows < (1 if "next_obs" in demo else 2):
        raise BadArtifact(demo.name, f"it has {rows} rows, which is too short", AGAIN)
    return rows


def _read_text(group: Any, name: str) -> bytes:
    value = get_array(group, name)[()]
    if not isinstance(value, bytes):
        raise BadArtifact(group.name, f"{name} is not text", AGAIN)
    return value


def _read_own_spec(file: Any, path: Path) -> StateSpec:
    with raise_as_bad_artifact(path, AGAIN):
        return StateSpec.from_json(parse_json(_read_text(file, f"{OWN}/state"), list[dict[str, Any]], path, AGAIN))


def _read_arguments(data: Any, path: Path) -> dict[str, Any]:
    text = data.attrs.get("env_args", "{}")
    return parse_json(text, dict[str, Any], f"{path}, env_args", AGAIN)


def _list_demos(file: Any, path: Path) -> list[str]:
    h5py = import_h5py()
    if not isinstance(file.get("data", getlink=True) if "data" in file else None, h5py.HardLink):
        raise BadArtifact(path, "it has no group data, as robomimic's files have", "Give a data set of robomimic")
    data = file["data"]
    names = [
        name
        for name in getattr(data, "keys", tuple)()
        if re.fullmatch(r"demo_\d+", name) and isinstance(data.get(name, getlink=True), h5py.HardLink)
    ]
    return sorted(names, key=lambda name: int(name.removeprefix("demo_")))


def _has_sparse_rewards(data: Any, names: list[str]) -> bool:
    """Returns whether rewards mark success: all are 0 or 1, and at least one is 1."""
    found = False
    for name in names:
        if "rewards" not in data[name]:
            return False
        rewards = get_array(data[name], "rewards")[()]
        if not np.isin(rewards, (0, 1)).all():
            return False
        found |= bool((rewards == 1).any())
    return found
