"""Data sets of any kind as a list of episodes that are read one by one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from robo_reward.data.episode import CorruptEpisode, EpisodeStore
from robo_reward.data.formats import FORMATS, export_episodes
from robo_reward.data.items import list_data_items, read_row_counts
from robo_reward.data.lerobot.layout import EXTRA_EPISODES
from robo_reward.data.minari import export_minari
from robo_reward.data.summary import is_success_known
from robo_reward.envs.video.files import write_video
from robo_reward.errors import BadArtifact, UsageError
from tests.data.test_lerobot import film, filmed, foreign, source
from tests.rewards.perceptual.scenes import LENGTHS, clip, episode


@pytest.fixture
def store(tmp_path: Path) -> Path:
    store = EpisodeStore(tmp_path / "run" / "episodes", frames="exact")
    for seed, lengths in enumerate(LENGTHS):
        store.append(episode(lengths, seed), key=f"e{seed}")
    return store.folder


def test_a_store_and_a_run_that_has_one(store: Path) -> None:
    for place in (store, store.parent):
        items = list_data_items(place)
        assert [item.name for item in items] == ["e0", "e1", "e2", "e3"]
        loaded = items[2].load()
        assert loaded.frames is not None and len(loaded) == sum(LENGTHS[2]) - 1 and is_success_known(loaded)
    assert list_data_items(store, frames=False)[0].load().frames is None


def test_a_damaged_episode_stops_no_other(store: Path) -> None:
    path = store / "episodes" / "e1.npz"
    path.write_bytes(path.read_bytes()[:500])
    items = list_data_items(store)
    assert len(items[0].load()) and len(items[3].load())
    with pytest.raises(CorruptEpisode):
        items[1].load()


def test_folders_of_videos_and_pictures(tmp_path: Path) -> None:
    for seed, lengths in enumerate(LENGTHS[:2]):
        write_video(tmp_path / "set" / "day 1" / f"{seed + 9}.mp4", clip(lengths, seed), 10.0, crf=5)
    folder = tmp_path / "set" / "pictures"
    folder.mkdir()
    for number, frame in enumerate(clip(LENGTHS[0], 3)):
        cv2.imwrite(str(folder / f"{number}.png"), frame)
    (tmp_path / "set" / "notes.txt").write_text("not an episode")
    items = list_data_items(tmp_path / "set", fps=5.0)
    assert [item.name for item in items] == ["day 1/9.mp4", "day 1/10.mp4", "pictures"]
    first, _, last = (item.load() for item in items)
    assert first.meta["fps"] == 10.0 and last.meta["fps"] == 5.0
    assert first.spec.dim == 0 and not is_success_known(first)
    assert len(first) == sum(LENGTHS[0]) - 1
    stamp = items[0].stamp
    write_video(tmp_path / "set" / "day 1" / "9.mp4", clip(LENGTHS[2], 4), 10.0, crf=5)
    assert list_data_items(tmp_path / "set")[0].stamp != stamp
    (only,) = list_data_items(tmp_path / "set" / "day 1" / "10.mp4")
    assert only.name == "10.mp4"


def test_a_folder_of_stores_and_a_link_that_leads_nowhere(store: Path) -> None:
    root = store.parent.parent
    EpisodeStore(root / "other", frames="exact").append(episode(LENGTHS[0], 7), key="e0")
    (root / "lost.mp4").symlink_to(root / "nowhere.mp4")
    items = list_data_items(root)
    assert [item.name for item in items] == ["lost.mp4", "other/e0", *(f"run/episodes/e{i}" for i in range(4))]
    assert len(items[1].load()) == sum(LENGTHS[0]) - 1
    with pytest.raises(UsageError, match="no such file"):
        items[0].load()


def test_the_videos_of_a_run(tmp_path: Path) -> None:
    write_video(tmp_path / "run" / "videos" / "episode1.mp4", clip(LENGTHS[0], 0), 10.0)
    (tmp_path / "run" / "policy").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("seed: 0\n")
    assert [item.name for item in list_data_items(tmp_path / "run")] == ["episode1.mp4"]


def _damage_line(root: Path) -> None:
    path = root / EXTRA_EPISODES
    first, second, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + b"x" * (len(second) - 1) + b"\n" + third)


def _delete_array(path: Path, name: str) -> None:
    with pytest.importorskip("h5py").File(path, "a") as file:
        del file[name]


DAMAGES: dict[str, Callable[[Path], None]] = {
    "lerobot": _damage_line,
    "robomimic": lambda root: _delete_array(root / "demo.hdf5", "data/demo_1/actions"),
    "minari": lambda root: _delete_array(next(root.glob("**/main_data.hdf5")), "episode_1/actions"),
}
"""Format -> damages its second episode."""


@pytest.mark.parametrize("to", FORMATS)
def test_data_sets_of_other_projects_are_read_one_episode_at_a_time(tmp_path: Path, to: str) -> None:
    for module in ("pyarrow", "h5py", "minari"):
        pytest.importorskip(module)
    episodes = [filmed(4 + i, i) for i in range(3)]
    export_episodes(source(episodes), to, tmp_path / "mine")
    DAMAGES[to](tmp_path / "mine")
    items = list_data_items(tmp_path / "mine")
    assert [item.name for item in items] == ["mine 0", "mine 1", "mine 2"]
    assert [item.rows for item in items] == ([4, 5, 6] if to == "lerobot" else [None] * 3)
    for number in (2, 0):
        loaded = items[number].load()
        assert loaded.frames is not None and loaded.frames.shape == (5 + number, 31, 70, 3)
        np.testing.assert_array_equal(loaded.state, episodes[number].state)
    with pytest.raises(BadArtifact):
        items[1].load()
    assert list_data_items(tmp_path / "mine", frames=False)[0].load().frames is None


def test_data_sets_inside_a_folder(tmp_path: Path) -> None:
    for module in ("pyarrow", "h5py"):
        pytest.importorskip(module)
    for to in ("lerobot", "robomimic"):
        export_episodes(source([filmed(4, 0)]), to, tmp_path / to)
    write_video(tmp_path / "1.mp4", clip(LENGTHS[0], 0), 10.0)
    items = list_data_items(tmp_path)
    assert [item.name for item in items] == ["1.mp4", "lerobot 0", "robomimic/demo.hdf5 0"]
    assert [len(item.load()) for item in items[1:]] == [4, 4]


@pytest.mark.parametrize("kind", ["store", "video", "minari:", *FORMATS])
def test_a_replaced_data_set_has_another_stamp(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("pyarrow", "h5py", "minari"):
        pytest.importorskip(module)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    place = tmp_path / "mine"

    def write(seed: int) -> None:
        if kind == "store":
            EpisodeStore(place).append(filmed(4, seed), key="e")
        elif kind == "video":
            place.mkdir()
            write_video(place / "1.mp4", clip(LENGTHS[0], seed), 10.0)
        elif kind == "minari:":
            export_minari([filmed(4, seed)], "mine/set-v0")
        else:
            export_episodes(source([filmed(4, seed)]), kind, place)

    def read_stamp() -> str:
        data = {"minari:": "minari:mine/set-v0", "video": place / "1.mp4"}.get(kind, place)
        (item,) = list_data_items(data)
        item.load()
        return item.stamp

    write(0)
    first = read_stamp()
    (place / "robo_reward_scores.json").write_text("{}")  # written by score sidecar=true
    assert read_stamp() == first != ""
    if kind == "store":
        (video,) = place.glob("episodes/*.mp4")
        write_video(tmp_path / "other.mp4", film(4, 1), 10.0)
        (tmp_path / "other.mp4").replace(video)
        second = read_stamp()
        assert second != first
    shutil.rmtree(place)
    write(2)
    assert read_stamp() != first


def test_states_of_a_minari_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    export_minari([episode(lengths, seed) for seed, lengths in enumerate(LENGTHS[:2])], "dots/path-v0")
    items = list_data_items("minari:dots/path-v0", frames=False)
    loaded = items[1].load()
    np.testing.assert_array_equal(loaded.state, episode(LENGTHS[1], 1).state)
    assert len(items) == 2 and is_success_known(loaded)


def test_rows_of_lerobot_data_sets(tmp_path: Path) -> None:
    lines = ['{"episode_index": 1, "length": 7, "tasks": ["a"]}', '{"episode_index": 0, "length": 5, "tasks": ["b"]}']
    (tmp_path / "two" / "meta").mkdir(parents=True)
    (tmp_path / "two" / "meta" / "episodes.jsonl").write_text("\n".join(lines) + "\n")
    assert read_row_counts(tmp_path / "two") == [5, 7]
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    for number in (1, 0):
        path = tmp_path / "three" / "meta" / "episodes" / "chunk-000" / f"file-{number:03d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = {
            "episode_index": [2 * number, 2 * number + 1],
            "length": [10 + number, 20 + number],
            "tasks": ["", ""],
        }
        parquet.write_table(arrow.table(columns), path)
    assert read_row_counts(tmp_path / "three") == [10, 20, 11, 21]
    assert read_row_counts(tmp_path) == []


def test_nothing_there(tmp_path: Path) -> None:
    for place in ("nowhere", "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(UsageError, match="no"):
            list_data_items(tmp_path / place)
    EpisodeStore(tmp_path / "store")
    with pytest.raises(UsageError, match="no episodes"):
        list_data_items(tmp_path / "store")


@pytest.mark.parametrize("version", ["v2.1", "v3.0", "ours"])
def test_a_lerobot_data_set_of_links(tmp_path: Path, version: str) -> None:
    pytest.importorskip("pyarrow")
    if version == "ours":
        export_episodes(source([filmed(4, 0), filmed(6, 1)]), "lerobot", tmp_path / "blobs")
    else:
        foreign(tmp_path / "blobs", version)
    shutil.copytree(tmp_path / "blobs", tmp_path / "snapshot", copy_function=lambda a, b: Path(b).symlink_to(a))
    items = list_data_items(tmp_path / "snapshot")
    assert [(item.name, item.rows) for item in items] == [("snapshot 0", 4), ("snapshot 1", 6)]
    episode = items[1].load()
    assert episode.frames is not None and len(episode) == (6 if version == "ours" else 5)
    if version == "ours":
        np.testing.assert_array_equal(episode.state, filmed(6, 1).state)
