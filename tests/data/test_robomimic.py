"""robomimic's HDF5 files: our episodes come back bit for bit, files of others are read, damaged ones are named."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from robo_reward.data.episode import Episode
from robo_reward.data.robomimic import open_robomimic, write_robomimic
from robo_reward.data.summary import summarise_episodes
from robo_reward.errors import BadArtifact, UsageError
from tests.data.test_episode import make, same
from tests.data.test_lerobot import filmed, source

h5py = pytest.importorskip("h5py")


def test_episodes_come_back_bit_for_bit(tmp_path: Path):
    episodes = [filmed(3 + i, i, note="é") for i in range(12)]
    write_robomimic(source(episodes), tmp_path / "demo.hdf5")
    back = open_robomimic(tmp_path / "demo.hdf5")
    assert back.count == 12
    for before, after in zip(episodes, back.iterate(True), strict=True):
        same(before, after)
        np.testing.assert_array_equal(before.frames, after.frames)
    assert all(episode.frames is None for episode in back.iterate(False))


@pytest.mark.parametrize("unknown", [(), (1,), (0, 1, 2)])
def test_unknown_success_stays_unknown(tmp_path: Path, unknown: tuple[int, ...]):
    episodes = [make(4, i, fps=20.0, success_known=i not in unknown) for i in range(3)]
    for i in unknown:
        episodes[i].success[:] = False
    write_robomimic(source(episodes), tmp_path / "demo.hdf5")
    back = open_robomimic(tmp_path / "demo.hdf5")
    for before, after in zip(episodes, back.iterate(True), strict=True):
        same(before, after)
    assert summarise_episodes(back).success.unknown == len(unknown)


def test_the_layout_is_robomimic_s(tmp_path: Path):
    episodes = [filmed(5, 1), filmed(6, 2)]
    write_robomimic(source(episodes), tmp_path / "demo.hdf5")
    with h5py.File(tmp_path / "demo.hdf5") as file:
        data = file["data"]
        assert list(data) == ["demo_0", "demo_1"] and data.attrs["total"] == 11
        arguments = json.loads(data.attrs["env_args"])
        assert arguments["env_name"] == "panda/lift" and arguments["type"] == 2
        demo = data["demo_0"]
        assert demo.attrs["num_samples"] == 5
        assert (
            set(demo["obs"])
            == set(demo["next_obs"])
            == {"hand_position", "gripper_width", "front_image", "wrist_image"}
        )
        np.testing.assert_array_equal(demo["obs/hand_position"], episodes[0].state[:-1, :3])
        np.testing.assert_array_equal(demo["next_obs/gripper_width"], episodes[0].state[1:, 3:])
        assert demo["obs/wrist_image"].shape == (5, 31, 35, 3) and demo["obs/wrist_image"].dtype == np.uint8
        assert demo["actions"].shape == (5, 2) and demo["states"].shape == (5, 4)
        np.testing.assert_array_equal(demo["rewards"], episodes[0].success)  # it has no reward of its own
        np.testing.assert_array_equal(demo["dones"], [0, 0, 0, 0, 1])
        assert [name.decode() for name in file["mask/success"]] == ["demo_0"]


def foreign(path: Path, rewards: Sequence[Sequence[float]], whole: bool = True) -> list[np.ndarray]:
    """A file as robosuite's collection scripts and robomimic's own make it."""
    rng, hands = np.random.default_rng(0), []
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps(
            {"env_name": "Lift", "type": 1, "env_kwargs": {"control_freq": 25, "robots": ["Panda"]}}
        )
        for number, values in enumerate(rewards):
            rows = len(values)
            demo = data.create_group(f"demo_{number}")
            demo.attrs["num_samples"] = rows
            hand = rng.normal(size=(rows + 1, 3))
            hands.append(hand)
            shown = rng.integers(0, 255, (rows + 1, 16, 16, 3), np.uint8)
            for group, part in (("obs", slice(0, rows)), ("next_obs", slice(1, rows + 1))):
                if group == "obs" or whole:
                    demo[f"{group}/robot0_eef_pos"], demo[f"{group}/object-state"] = hand[part], hand[part, :2]
                    demo[f"{group}/agentview_image"] = shown[part]
            demo["actions"], demo["rewards"] = rng.uniform(-1, 1, (rows, 7)), np.array(values)
            demo["dones"], demo["states"] = np.zeros(rows, int), rng.normal(size=(rows, 32))
    return hands


@pytest.mark.parametrize("whole", [True, False])
def test_files_of_others(tmp_path: Path, whole: bool):
    hands = foreign(tmp_path / "lift.hdf5", [[0, 0, 0, 1], [0, 0, 0], *[[0, 1]] * 9], whole)
    found = open_robomimic(tmp_path / "lift.hdf5")
    episodes = list(found.iterate(True))
    for hand, episode in zip(hands, episodes, strict=True):
        np.testing.assert_array_equal(episode.states["robot0_eef_pos"], hand if whole else hand[:-1])
        assert episode.spec.names == ("object_state", "robot0_eef_pos") and episode.frames is not None
        assert len(episode.frames) == len(episode) + 1
    assert [e.is_successful for e in episodes[:2]] == [True, False]
    assert episodes[10].meta["robomimic_demo"] == "demo_10"
    summary = summarise_episodes(found)
    assert (summary.fps, summary.robot, summary.cameras, summary.tasks) == (25, "Panda", ("agentview",), {"Lift": 11})
    assert summary.success == (10, 1, 0)


@pytest.mark.parametrize("rewards", [[[0, 0], [0, 0]], [[0.3, 1.0], [0.0, 0.5]]])
def test_success_that_a_file_does_not_say_is_unknown(tmp_path: Path, rewards: list[list[float]]):
    foreign(tmp_path / "lift.hdf5", rewards)
    found = open_robomimic(tmp_path / "lift.hdf5")
    assert summarise_episodes(found).success == (0, 0, 2)
    assert [e.reward.total.tolist() for e in found.iterate(False) if e.reward] == rewards


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("cut", r"lift\.hdf5: it (is not a readable HDF5 file|cannot be read)"),
        ("half", r"demo_1.* num_samples has 4 rows, actions have 2: it is incomplete"),
        ("missing", r"demo_0.*actions is missing"),
        ("outside", r"demo_0.*actions is missing, or is a link"),
        ("other", r"lift\.hdf5: it has no group data"),
        ("empty", r"lift\.hdf5: its group data holds no demo_0"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, damage: str, said: str):
    path = tmp_path / "lift.hdf5"
    foreign(path, [[0, 1, 1], [0, 0, 0, 1]])
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-2000])
    else:
        with h5py.File(path, "a") as file:
            if damage == "half":
                short = file["data/demo_1/actions"][:2]
                del file["data/demo_1/actions"]
                file["data/demo_1/actions"] = short
            elif damage == "missing":
                del file["data/demo_0/actions"]
            elif damage == "outside":
                del file["data/demo_0/actions"]
                file["data/demo_0/actions"] = h5py.ExternalLink("/etc/passwd", "/x")
            else:
                del file["data"]
                if damage == "empty":
                    file.create_group("data")
    with pytest.raises(BadArtifact, match=said):
        list(open_robomimic(path).iterate(True))


def test_an_existing_file_is_never_replaced(tmp_path: Path):
    (tmp_path / "demo.hdf5").write_text("mine")
    with pytest.raises(FileExistsError):
        write_robomimic(source([make(3)]), tmp_path / "demo.hdf5")
    with pytest.raises(UsageError, match="no episodes"):
        write_robomimic(source([]), tmp_path / "other.hdf5")
    assert (tmp_path / "demo.hdf5").read_text() == "mine"


def test_a_state_without_fields(tmp_path: Path):
    from robo_reward.envs.state import StateSpec

    episode = Episode(np.zeros((4, 0)), np.ones((3, 1)), np.ones(3, bool), StateSpec([]), "own/task")
    write_robomimic(source([episode]), tmp_path / "demo.hdf5")
    (back,) = open_robomimic(tmp_path / "demo.hdf5").iterate(True)
    same(episode, back)


@pytest.mark.parametrize(("count", "gigabytes"), [(1, 5), (3, 3)])
def test_arrays_larger_than_memory_are_refused(tmp_path: Path, count: int, gigabytes: int):
    foreign(tmp_path / "lift.hdf5", [[0, 1]])
    with h5py.File(tmp_path / "lift.hdf5", "a") as file:
        for number in range(count):  # unwritten, so that the file stays small
            shape, chunks = (2, (gigabytes << 30) // 16), (1, 1024)
            file["data/demo_0/obs"].create_dataset(f"vast_{number}", shape, "f8", chunks=chunks)
            file["data/demo_0/next_obs"].create_dataset(f"vast_{number}", shape, "f8", chunks=chunks)
    assert (tmp_path / "lift.hdf5").stat().st_size < 1 << 20
    with pytest.raises(BadArtifact, match=r"bytes in memory, expected at most"):
        list(open_robomimic(tmp_path / "lift.hdf5").iterate(True))


def test_maps_are_not_read(tmp_path: Path):
    foreign(tmp_path / "lift.hdf5", [[0, 1]])
    with h5py.File(tmp_path / "lift.hdf5", "a") as file:
        file["data"].attrs["env_args"] = json.dumps({"env_name": "Lift", "env_kwargs": {"control_freq": None}})
        for group in ("obs", "next_obs"):
            file[f"data/demo_0/{group}/agentview_depth"] = np.zeros((2, 300, 200, 1), np.float32)
            file[f"data/demo_0/{group}/flat_depth"] = np.zeros((2, 300, 200), np.float32)
            file[f"data/demo_0/{group}/matrix"] = np.zeros((2, 3, 3))
    (episode,) = open_robomimic(tmp_path / "lift.hdf5").iterate(True)
    assert episode.spec.names == ("matrix", "object_state", "robot0_eef_pos") and "fps" not in episode.meta
    assert episode.meta["cameras"] == ["agentview"]
