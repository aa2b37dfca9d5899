"""LeRobot data sets: our episodes come back as they were, and damaged sets are named before anything is written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from robo_reward.data.episode import Episode, EpisodeStore
from robo_reward.data.lerobot.places import read_columns
from robo_reward.data.lerobot.reader import LeRobotReader, open_lerobot
from robo_reward.data.lerobot.stats import aggregate_stats, compute_stats
from robo_reward.data.lerobot.writer import write_lerobot
from robo_reward.data.summary import EpisodeSource, split_cameras, summarise_episodes
from robo_reward.envs.state import Field, StateSpec
from robo_reward.envs.video.files import write_video
from robo_reward.errors import BadArtifact, RoboRewardError, UnknownName, UsageError
from tests.data.test_episode import make, same

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def film(steps: int, seed: int, height: int = 31, width: int = 70) -> np.ndarray:
    """Frames of smooth colours that move, which a codec keeps well: (steps + 1, height, width, 3)."""
    t, y, x = np.ogrid[: steps + 1, :height, :width]
    waves = [np.sin(x / 9 + seed + i) + np.cos(y / 7 - t / 5) for i in range(3)]
    return np.stack([np.broadcast_to(128 + 50 * wave, (steps + 1, height, width)) for wave in waves], -1).astype(
        np.uint8
    )


def source(episodes: list[Episode]) -> EpisodeSource:
    def iterate(frames: bool):
        return (
            e if frames else Episode(e.state, e.action, e.success, e.spec, e.task_id, e.reward, None, e.meta)
            for e in episodes
        )

    return EpisodeSource("store", "memory", len(episodes), iterate)


def filmed(steps: int, seed: int, **meta) -> Episode:
    plain = make(steps, seed, reward=seed != 1, fps=20.0, cameras=["front", "wrist"], **meta)
    return Episode(
        plain.state, plain.action, plain.success, plain.spec, plain.task_id, plain.reward, film(steps, seed), plain.meta
    )


def error(a: Episode, b: Episode) -> float:
    assert a.frames is not None and b.frames is not None and a.frames.shape == b.frames.shape
    return float(np.abs(a.frames.astype(int) - b.frames.astype(int)).mean())


@pytest.mark.parametrize("codec", ["av1", "h264"])
def test_episodes_come_back_as_they_were(tmp_path: Path, codec):
    episodes = [filmed(3 + 4 * i, i, note="é") for i in range(4)]
    write_lerobot(source(episodes), tmp_path / "out", codec=codec)
    reader = LeRobotReader(tmp_path / "out")
    assert len(reader) == 4 and list(reader.cameras) == ["front", "wrist"]
    for before, after in zip(episodes, reader.iterate_episodes(), strict=True):
        same(before, after)
        assert error(before, after) < 3
    for number in (3, 0, 2):  # any order, although all are in one video
        same(episodes[number], reader.load(number))
        assert error(episodes[number], reader.load(number)) < 3
    (wrist,) = [e for e in LeRobotReader(tmp_path / "out", ["wrist"]).iterate_episodes() if e.meta["seed"] == 2]
    assert wrist.frames is not None and wrist.meta["cameras"] == ["wrist"]
    assert np.abs(wrist.frames.astype(int) - film(11, 2)[:, :, 35:].astype(int)).mean() < 3
    with pytest.raises(UnknownName, match="front"):
        LeRobotReader(tmp_path / "out", ["frnt"])


def test_a_store_goes_out_and_comes_back(tmp_path: Path):
    store = EpisodeStore(tmp_path / "store")
    for i in range(3):
        store.append(make(5, i, reward=True))
    found = EpisodeSource("store", "s", 3, lambda frames: iter(store))
    write_lerobot(found, tmp_path / "out")
    for before, after in zip(store, LeRobotReader(tmp_path / "out").iterate_episodes(), strict=True):
        same(before, after)
    assert not (tmp_path / "out" / "videos").exists()


@pytest.mark.parametrize("unknown", [(), (1,), (0, 1, 2)])
def test_unknown_success_stays_unknown(tmp_path: Path, unknown: tuple[int, ...]):
    episodes = [make(4, i, fps=20.0, success_known=i not in unknown) for i in range(3)]
    for i in unknown:
        episodes[i].success[:] = False
    write_lerobot(source(episodes), tmp_path / "out")
    features = LeRobotReader(tmp_path / "out").info.features
    assert ("next.success" in features) == (not unknown)
    assert ("robo_reward.success" in features) == (len(unknown) == 1)
    back = open_lerobot(tmp_path / "out")
    for before, after in zip(episodes, back.iterate(True), strict=True):
        same(before, after)
    assert summarise_episodes(back).success.unknown == len(unknown)


def test_the_files_are_those_of_version_3(tmp_path: Path):
    episodes = [filmed(5, 0), filmed(6, 2)]
    write_lerobot(source(episodes), tmp_path, lambda episode: "Lift the cube.")
    info = json.loads((tmp_path / "meta" / "info.json").read_text())
    assert (info["codebase_version"], info["fps"], info["total_frames"]) == ("v3.0", 20, 11)
    assert info["features"]["observation.state"]["names"][:2] == ["hand_position.0", "hand_position.1"]
    assert info["features"]["observation.images.wrist"]["shape"] == [32, 36, 3]
    rows = pq.read_table(tmp_path / "data" / "chunk-000" / "file-000.parquet")
    assert rows["index"].to_pylist() == list(range(11))
    np.testing.assert_array_equal(rows["timestamp"].to_numpy()[:5], (np.arange(5) / 20).astype(np.float32))
    state = np.array(rows["observation.state"].to_pylist())
    np.testing.assert_array_equal(state[5:], episodes[1].state[:-1].astype(np.float32))
    assert pq.read_table(tmp_path / "meta" / "tasks.parquet")["task"].to_pylist() == ["Lift the cube."]
    about = pq.read_table(tmp_path / "meta" / "episodes" / "chunk-000" / "file-000.parquet").to_pylist()[1]
    assert (about["dataset_from_index"], about["dataset_to_index"], about["tasks"]) == (5, 11, ["Lift the cube."])
    assert about["videos/observation.images.front/from_timestamp"] == pytest.approx(6 / 20)
    stats = json.loads((tmp_path / "meta" / "stats.json").read_text())
    np.testing.assert_allclose(stats["observation.state"]["mean"], state.mean(0), rtol=1e-5)
    np.testing.assert_allclose(stats["observation.state"]["std"], state.std(0), rtol=1e-5)
    assert np.shape(stats["observation.images.front"]["mean"]) == (3, 1, 1)
    assert stats["action"]["count"] == [11]


def test_statistics_of_parts_are_those_of_the_whole():
    values = np.random.default_rng(0).normal(size=(90, 3)) * [1, 10, 0]
    whole, parts = compute_stats(values), aggregate_stats([compute_stats(values[:20]), compute_stats(values[20:])])
    for name in ("min", "max", "mean", "std", "count"):
        np.testing.assert_allclose(parts[name], whole[name], atol=1e-12)


def test_rows_and_videos_are_spread_over_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("robo_reward.data.lerobot.shards.MAX_TABLE", 1500)
    monkeypatch.setattr("robo_reward.data.lerobot.shards.MAX_FRAMES", 60_000)
    monkeypatch.setattr("robo_reward.data.lerobot.shards.CHUNK_SIZE", 2)
    episodes = [filmed(7, i) for i in range(5)]
    write_lerobot(source(episodes), tmp_path)
    assert len(list(tmp_path.glob("data/chunk-*/*.parquet"))) > 2 and (tmp_path / "data" / "chunk-001").is_dir()
    assert len(list(tmp_path.glob("videos/*/chunk-*/*.mp4"))) > 4
    for before, after in zip(episodes, LeRobotReader(tmp_path).iterate_episodes(), strict=True):
        same(before, after)
        assert error(before, after) < 3


def foreign(root: Path, version: str = "v3.0", success: bool = True) -> list[np.ndarray]:
    """A data set as LeRobot writes it, with two episodes of 4 and 6 rows; returns the states."""
    v3 = version == "v3.0"
    rng, lengths = np.random.default_rng(0), (4, 6)
    states = [rng.normal(size=(n, 2)).astype(np.float32) for n in lengths]
    features = {
        "observation.state": {"dtype": "float32", "shape": [2], "names": ["shoulder.pos", "elbow.pos"]},
        "action": {"dtype": "float32", "shape": [2], "names": None},
        "observation.images.top": {"dtype": "video", "shape": [32, 48, 3], "names": ["height", "width", "channels"]},
        **({"next.success": {"dtype": "bool", "shape": [1], "names": None}} if success else {}),
        **{name: {"dtype": "int64", "shape": [1]} for name in ("frame_index", "episode_index", "index", "task_index")},
    }
    info = {"codebase_version": version, "robot_type": "so101", "fps": 10, "total_episodes": 2, "features": features}
    paths = {
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    }
    tables, frames, begun = [], [], 0
    for number, state in enumerate(states):
        n = len(state)
        columns = {
            "observation.state": pa.array(state.tolist(), pa.list_(pa.float32())),
            "action": pa.array((-state).tolist(), pa.list_(pa.float32())),
            **({"next.success": pa.array([False] * (n - 1) + [number == 1])} if success else {}),
            "frame_index": list(range(n)),
            "episode_index": [number] * n,
            "index": list(range(begun, begun + n)),
            "task_index": [0] * n,
        }
        begun += n
        tables.append(pa.table(columns))
        frames.append(film(n - 1, number, 32, 48))
    places = [{"episode_index": i, "length": n, "tasks": ["Pick it up."]} for i, n in enumerate(lengths)]
    (root / "meta").mkdir(parents=True)
    (root / "data" / "chunk-000").mkdir(parents=True)
    if v3:
        for i, place in enumerate(places):
            place |= {"data/chunk_index": 0, "data/file_index": 0}
            name = "videos/observation.images.top"
            place |= {f"{name}/chunk_index": 0, f"{name}/file_index": 0, f"{name}/from_timestamp": 0.4 * i}
        pq.write_table(pa.concat_tables(tables), root / "data" / "chunk-000" / "file-000.parquet")
        folder = root / "meta" / "episodes" / "chunk-000"
        folder.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(places), folder / "file-000.parquet")
        write_video(
            root / "videos" / "observation.images.top" / "chunk-000" / "file-000.mp4", np.concatenate(frames), 10
        )
    else:
        info |= paths
        (root / "meta" / "episodes.jsonl").write_text("\n".join(map(json.dumps, places)))
        for i, (table, shown) in enumerate(zip(tables, frames, strict=True)):
            pq.write_table(table, root / "data" / "chunk-000" / f"episode_{i:06d}.parquet")
            write_video(root / "videos" / "chunk-000" / "observation.images.top" / f"episode_{i:06d}.mp4", shown, 10)
    (root / "meta" / "info.json").write_text(json.dumps(info))
    return states


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
@pytest.mark.parametrize("success", [True, False])
def test_data_sets_of_others(tmp_path: Path, version: str, success: bool):
    states = foreign(tmp_path, version, success)
    found = open_lerobot(tmp_path)
    for number, (state, episode) in enumerate(zip(states, found.iterate(True), strict=True)):
        np.testing.assert_array_equal(episode.state, state)
        np.testing.assert_array_equal(episode.action, -state[:-1])
        assert episode.spec.names == ("state",) and "elbow.pos" in episode.spec["state"].description
        assert episode.is_successful == (success and number == 1)
        assert episode.meta["task"] == "Pick it up." and episode.meta["robot_type"] == "so101"
        assert episode.frames is not None
        shown = film(len(state) - 1, number, 32, 48)
        assert np.abs(episode.frames.astype(int) - shown.astype(int)).mean() < 4
    summary = summarise_episodes(found)
    assert summary.success == ((1, 1, 0) if success else (0, 0, 2)) and summary.fps == 10
    assert summary.tasks == {"Pick it up.": 2}


def test_pictures_in_the_table(tmp_path: Path):
    import cv2

    foreign(tmp_path, "v2.1")
    info = json.loads((tmp_path / "meta" / "info.json").read_text())
    info["features"]["observation.images.top"]["dtype"] = "image"
    (tmp_path / "meta" / "info.json").write_text(json.dumps(info))
    for path in (tmp_path / "data").rglob("*.parquet"):
        table = pq.read_table(path)
        shown = [cv2.imencode(".png", frame[:, :, ::-1])[1].tobytes() for frame in film(len(table) - 1, 0, 32, 48)]
        column = pa.array([{"bytes": data, "path": None} for data in shown])
        pq.write_table(table.append_column("observation.images.top", column), path)
    episode = LeRobotReader(tmp_path).load(0)
    assert episode.frames is not None
    np.testing.assert_array_equal(episode.frames, film(3, 0, 32, 48))


def edit_info(root: Path, **more) -> None:
    path = root / "meta" / "info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **more}))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("old", r"info\.json: codebase_version is 'v1\.6', expected v2\.0, v2\.1 or v3\.x"),
        ("half", r"file-000\.parquet.*episode 1 has 3 rows, expected 6"),
        ("cut", r"file-000\.parquet.* not a readable Parquet file"),
        ("missing video", r"file-000\.mp4: there is no such file, which episode 0 needs"),
        ("short video", r"file-000\.mp4.* it has 0 of the 6 frames|file-000\.mp4.* frames from 0\.4 s"),
        ("rate", r"file-000\.mp4: it has 10 frames per second, expected 50"),
        ("columns", r"chunk-000/file-000\.parquet: the column 'tasks' is missing, expected as in version 3"),
        ("outside", r"info\.json: the path '\.\./x\.parquet' leads out of the data set"),
        ("promise", r"info\.json: it promises 7 episodes, 2 are described"),
        ("numbers", r"file-000\.parquet.*'observation.state'.* expected numbers of shape \(4, 3\)"),
    ],
)
def test_damaged_data_sets_are_named(tmp_path: Path, damage: str, said: str):
    foreign(tmp_path)
    rows = tmp_path / "data" / "chunk-000" / "file-000.parquet"
    video = tmp_path / "videos" / "observation.images.top" / "chunk-000" / "file-000.mp4"
    about = tmp_path / "meta" / "episodes" / "chunk-000" / "file-000.parquet"
    if damage == "old":
        edit_info(tmp_path, codebase_version="v1.6")
    elif damage == "half":
        pq.write_table(pq.read_table(rows).slice(0, 7), rows)
    elif damage == "cut":
        rows.write_bytes(rows.read_bytes()[:-10])
    elif damage == "missing video":
        video.unlink()
    elif damage == "short video":
        write_video(video, film(3, 0, 32, 48), 10)
    elif damage == "rate":
        edit_info(tmp_path, fps=50)
    elif damage == "columns":
        pq.write_table(pq.read_table(about).drop_columns(["tasks"]), about)
    elif damage == "outside":
        edit_info(tmp_path, data_path="../x.parquet")
    elif damage == "promise":
        edit_info(tmp_path, total_episodes=7)
    else:
        features = json.loads((tmp_path / "meta" / "info.json").read_text())["features"]
        features["observation.state"]["shape"] = [3]
        edit_info(tmp_path, features=features)
    with pytest.raises(RoboRewardError, match=said):
        list(open_lerobot(tmp_path).iterate(True))


def test_episodes_that_do_not_belong_together_are_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="no episodes"):
        write_lerobot(source([]), tmp_path)
    other = make(4, fps=10.0)
    with pytest.raises(UsageError, match=r"episode 1 of memory differs in the rate: 10 Hz, expected 20 Hz"):
        write_lerobot(source([make(4, fps=20.0), other]), tmp_path)
    with pytest.raises(UsageError, match=r"frames of episode 1 .* none"):
        write_lerobot(source([filmed(4, 0), make(4, fps=20.0, cameras=["front", "wrist"])]), tmp_path)


def test_a_data_set_that_another_program_changed_is_read_as_one_of_others(tmp_path: Path):
    write_lerobot(source([make(4, 0, fps=20.0), make(6, 1, fps=20.0)]), tmp_path)
    extras = tmp_path / "meta" / "robo_reward.json"
    content = json.loads(extras.read_text())
    content["lengths"].pop()
    extras.write_text(json.dumps(content))
    found = list(LeRobotReader(tmp_path).iterate_episodes())
    assert [len(e) for e in found] == [3, 5] and found[0].spec.names == ("state",)
    extras.write_text("{")
    with pytest.raises(BadArtifact, match=r"robo_reward\.json"):
        LeRobotReader(tmp_path)


def test_damaged_metadata_of_ours_is_named(tmp_path: Path):
    write_lerobot(source([make(4, 0, fps=20.0), make(6, 1, fps=20.0)]), tmp_path)
    lines = tmp_path / "meta" / "robo_reward_episodes.jsonl"
    first, second = lines.read_text().splitlines()
    lines.write_text(f"{first}\n{second[:-20]}\n")
    same(make(4, 0, fps=20.0), LeRobotReader(tmp_path).load(0))
    with pytest.raises(BadArtifact, match=r"robo_reward_episodes\.jsonl"):
        LeRobotReader(tmp_path).load(1)


def test_measured_rates_that_differ_slightly_are_one_rate(tmp_path: Path):
    episodes = [make(4, i, fps=rate) for i, rate in enumerate((24.87, 25.031, 25.2))]
    assert write_lerobot(source(episodes), tmp_path).fps == 25.0
    assert json.loads((tmp_path / "meta" / "info.json").read_text())["fps"] == 25
    for before, after in zip(episodes, LeRobotReader(tmp_path).iterate_episodes(), strict=True):
        same(before, after)


def test_states_without_numbers_and_single_numbers(tmp_path: Path):
    for number, fields in enumerate(([], [Field("angle")])):
        spec = StateSpec(fields)
        episode = Episode(
            np.full((4, spec.dim), 0.1), np.ones((3, 1)), np.ones(3, bool), spec, "own/task", meta={"fps": 20.0}
        )
        write_lerobot(source([episode]), tmp_path / str(number))
        same(episode, LeRobotReader(tmp_path / str(number)).load(0))


def test_a_small_file_of_many_rows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_lerobot(source([filmed(5, 0)]), tmp_path)
    path = tmp_path / "data" / "chunk-000" / "file-000.parquet"
    table = pa.table({"episode_index": np.zeros(400_000, int), "frame_index": np.zeros(400_000, int)})
    pq.write_table(table, path)
    assert path.stat().st_size < 10_000
    monkeypatch.setattr("robo_reward.data.lerobot.places.MAX_TABLE", 6 << 20)
    with pytest.raises(BadArtifact, match=r"file-000\.parquet: its columns take 6400000 bytes in memory"):
        LeRobotReader(tmp_path).load(0)


def test_frames_larger_than_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_lerobot(source([filmed(5, 0)]), tmp_path)
    monkeypatch.setattr("robo_reward.data.lerobot.reader.MAX_BYTES", 5 * 32 * 36 * 3)
    with pytest.raises(BadArtifact, match="6 frames of 36 x 32 pixels need more than"):
        LeRobotReader(tmp_path).load(0)


@pytest.mark.parametrize("cameras", [["wrist", "front"], ["front", "wrist"]])
def test_cameras_are_named_in_the_order_of_the_frames(tmp_path: Path, cameras: list[str]):
    write_lerobot(source([filmed(5, 0)]), tmp_path / "out")
    whole, chosen = (split_cameras(LeRobotReader(tmp_path / "out", names).load(0)) for names in ((), cameras))
    assert list(chosen) == cameras
    for camera in cameras:
        np.testing.assert_array_equal(chosen[camera], whole[camera])


def test_a_picture_that_is_stored_once_for_many_rows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    picture = np.random.default_rng(0).bytes(100_000)
    path = tmp_path / "pictures.parquet"
    pq.write_table(pa.table({"image": [{"bytes": picture}] * 2000, "other": [picture] * 2000}), path)
    assert path.stat().st_size < 400_000  # 400 MB in memory
    monkeypatch.setattr("robo_reward.data.lerobot.places.MAX_TABLE", 50 << 20)
    monkeypatch.setattr("robo_reward.data.lerobot.places.BATCH", 1 << 20)
    before = pa.total_allocated_bytes()
    with pytest.raises(BadArtifact, match=r"pictures\.parquet: its columns take \d{8} bytes in memory"):
        read_columns(path, ("image",))
    assert pa.total_allocated_bytes() - before < 50 << 20
    monkeypatch.setattr("robo_reward.data.lerobot.places.MAX_TABLE", 210 << 20)
    assert read_columns(path, ("image",)).equals(pq.read_table(path, columns=["image"]))


def test_depth_maps_are_named_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    foreign(tmp_path)
    path = tmp_path / "meta" / "info.json"
    info = json.loads(path.read_text())
    about = {"dtype": "video", "shape": [8, 8, 1], "names": None, "info": {"video.is_depth_map": True}}
    info["features"]["observation.images.top_depth"] = about
    path.write_text(json.dumps(info))
    reader = LeRobotReader(tmp_path)
    assert "top_depth" not in reader.cameras
    assert "maps of depth or segmentation are not read: observation.images.top_depth" in caplog.text
