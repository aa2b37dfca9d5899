"""LeRobot and robomimic open our data sets, and ours opens what LeRobot writes; in an environment of their own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from robo_reward.data.lerobot.reader import open_lerobot
from robo_reward.data.lerobot.writer import write_lerobot
from robo_reward.data.robomimic import write_robomimic
from tests.data.test_lerobot import film, filmed, source
from tests.lerobot_environment import install_into, run_program

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
ROBOMIMIC = "0.3.0"  # its requirements name a package that must be compiled, so those that it imports are installed
BESIDE = ("h5py", "imageio", "imageio-ffmpeg", "matplotlib", "psutil", "six", "tensorboardX", "termcolor")

READ = """
import json, sys
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.utils.feature_utils import dataset_to_policy_features
data = LeRobotDataset("local/ours", root=sys.argv[1])
cameras = ["observation.images.front", "observation.images.wrist"]
found = {"rows": len(data), "episodes": data.num_episodes, "fps": data.meta.fps, "tasks": [], "success": []}
arrays = {name: [] for name in ("observation.state", "action", "next.reward", "episode_index", *cameras)}
for i in range(len(data)):
    row = data[i]
    found["tasks"].append(row["task"])
    found["success"].append(bool(row["next.success"]))
    for name in arrays:
        arrays[name].append(row[name].numpy())
arrays["mean"] = data.meta.stats["observation.state"]["mean"]
np.savez(sys.argv[2], **{name: np.array(values) for name, values in arrays.items()})
one = LeRobotDataset("local/ours", root=sys.argv[1], episodes=[1], delta_timestamps={cameras[1]: [-0.05, 0.0]})
found["window"] = list(one[3][cameras[1]].shape)
found["policy"] = sorted(dataset_to_policy_features(data.meta.features))
json.dump(found, open(sys.argv[3], "w"))
"""

SEQUENCES = """
import json, sys
import robomimic.utils.obs_utils
robomimic.utils.obs_utils.initialize_obs_utils_with_obs_specs(
    {"obs": {"low_dim": ["hand_position", "gripper_width"], "rgb": ["wrist_image"]}}
)
from robomimic.utils.dataset import SequenceDataset
data = SequenceDataset(
    sys.argv[1], ["hand_position", "gripper_width", "wrist_image"], ["actions", "rewards", "dones"],
    load_next_obs=True, hdf5_cache_mode="low_dim", seq_length=5, filter_by_attribute="success",
)
row = data[3]
found = {"demos": data.n_demos, "sequences": len(data), "shapes": {n: v.shape for n, v in row["obs"].items()}}
found |= {"next": row["next_obs"]["hand_position"].tolist(), "actions": row["actions"].tolist()}
json.dump(found, open(sys.argv[2], "w"))
"""

WRITE = """
import sys
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
vector = {"dtype": "float32", "shape": (2,), "names": ["pan", "lift"]}
data = LeRobotDataset.create("local/theirs", fps=10, root=sys.argv[1], robot_type="so101", features={
    "observation.state": vector,
    "observation.images.top": {"dtype": "video", "shape": (64, 96, 3), "names": ["height", "width", "channels"]},
    "action": vector,
    "next.success": {"dtype": "bool", "shape": (1,), "names": None},
})
for e in range(3):
    for k in range(8 + e):
        data.add_frame({
            "observation.state": np.array([e, k / 3], np.float32), "action": np.array([k, -e], np.float32),
            "observation.images.top": np.full((64, 96, 3), 20 * k + 10 * e, np.uint8),
            "next.success": np.array([k == 8]), "task": f"Push block {e % 2}.",
        })
    data.save_episode()
data.finalize()
"""


@pytest.fixture(scope="module")
def python(lerobot_python: str) -> str:
    """The interpreter of an environment with LeRobot and robomimic in it."""
    install_into(lerobot_python, [*BESIDE])
    install_into(lerobot_python, ["--no-deps", f"robomimic=={ROBOMIMIC}"])
    return lerobot_python


def test_lerobot_opens_what_we_write(python: str, tmp_path: Path):
    episodes = [filmed(30, 0), filmed(12, 1), filmed(17, 2)]
    write_lerobot(source(episodes), tmp_path / "ours", lambda episode: "Lift the cube.")
    run_program(python, READ, tmp_path / "ours", tmp_path / "arrays.npz", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["rows"], found["episodes"], found["fps"]) == (59, 3, 20)
    assert set(found["tasks"]) == {"Lift the cube."} and found["window"] == [2, 3, 32, 36]
    assert found["success"] == [bool(flag) for episode in episodes for flag in episode.success]
    cameras = ["observation.images.front", "observation.images.wrist"]
    assert found["policy"] == ["action", *cameras, "observation.state"]  # nothing of ours is an input of a policy
    arrays = np.load(tmp_path / "arrays.npz")
    state = np.concatenate([episode.state[:-1] for episode in episodes]).astype(np.float32)
    np.testing.assert_array_equal(arrays["observation.state"], state)
    np.testing.assert_allclose(arrays["mean"], state.mean(0), rtol=1e-5)
    action = np.concatenate([episode.action for episode in episodes]).astype(np.float32)
    np.testing.assert_array_equal(arrays["action"], action)
    pictures = np.concatenate([episode.frames[:-1] for episode in episodes if episode.frames is not None])
    for camera, begin in (("front", 0), ("wrist", 35)):
        shown = 255 * arrays[f"observation.images.{camera}"].transpose(0, 2, 3, 1)[:, :31, :35]
        assert np.abs(shown - pictures[:, :, begin : begin + 35]).mean() < 3


def test_we_open_what_lerobot_writes(python: str, tmp_path: Path):
    run_program(python, WRITE, tmp_path / "theirs")
    episodes = list(open_lerobot(tmp_path / "theirs").iterate(True))
    assert [len(episode) for episode in episodes] == [7, 8, 9]
    for e, episode in enumerate(episodes):
        rows = np.arange(8 + e)
        np.testing.assert_array_equal(episode.state, np.stack([np.full(8 + e, e), rows / 3], 1).astype(np.float32))
        np.testing.assert_array_equal(episode.action[:, 0], rows[:-1])
        assert episode.meta["task"] == f"Push block {e % 2}." and episode.meta["robot_type"] == "so101"
        assert episode.frames is not None
        np.testing.assert_allclose(episode.frames.mean((1, 2, 3)), 20 * rows + 10 * e, atol=2)
    # Success is in row 8: the last of episode 1, whose action is left out, and the last but one of episode 2.
    assert [np.flatnonzero(episode.success).tolist() for episode in episodes] == [[], [7], [8]]


def test_data_comes_back_through_lerobot_s_own_tools(python: str, tmp_path: Path):
    write_lerobot(source([filmed(9, 0), filmed(12, 3), filmed(7, 2)]), tmp_path / "ours", lambda episode: "Lift.")
    delete = """
import sys
from lerobot.datasets.dataset_tools import delete_episodes
from lerobot.datasets.lerobot_dataset import LeRobotDataset
delete_episodes(LeRobotDataset("local/ours", root=sys.argv[1]), [0], output_dir=sys.argv[2], repo_id="local/less")
"""
    run_program(python, delete, tmp_path / "ours", tmp_path / "less")
    episodes = list(open_lerobot(tmp_path / "less").iterate(True))
    assert [len(episode) for episode in episodes] == [11, 6]
    for episode, (steps, seed) in zip(episodes, ((12, 3), (7, 2)), strict=True):
        before = filmed(steps, seed)
        np.testing.assert_array_equal(episode.state, before.state[:-1].astype(np.float32))
        assert episode.frames is not None
        shown = episode.frames[:, :31, :35].astype(int) - film(steps, seed)[:-1, :, :35]
        assert np.abs(shown).mean() < 3


def test_robomimic_opens_what_we_write(python: str, tmp_path: Path):
    episodes = [filmed(30, 1), filmed(9, 2), filmed(17, 3)]
    write_robomimic(source(episodes), tmp_path / "demo.hdf5")
    run_program(python, SEQUENCES, tmp_path / "demo.hdf5", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["demos"], found["sequences"]) == (2, 47)  # those that succeed
    assert found["shapes"] == {"hand_position": [5, 3], "gripper_width": [5, 1], "wrist_image": [5, 31, 35, 3]}
    np.testing.assert_allclose(found["next"], episodes[0].state[4:9, :3], rtol=1e-6)  # it rounds to single precision
    np.testing.assert_allclose(found["actions"], episodes[0].action[3:8], rtol=1e-6)
