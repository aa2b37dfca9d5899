"""Episodes keep their shapes; the store keeps whole episodes through kills, races and rubbish."""

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robo_reward.data.episode import CorruptEpisode, Episode, EpisodeStore
from robo_reward.envs.state import Field, StateSpec
from robo_reward.errors import UnknownName, UsageError, WrongShape
from robo_reward.rewards.contract import RewardOutput
from tests.tampering import JSON

SPEC = StateSpec([Field("hand_position", (3,), "m", role="hand"), Field("gripper_width", (), "m", role="gripper")])


def make(steps: int = 5, seed: int = 0, frames: tuple[int, int] | None = None, reward: bool = False, **meta) -> Episode:
    rng = np.random.default_rng(seed)
    total = rng.normal(size=steps)
    return Episode(
        state=rng.normal(size=(steps + 1, 4)),
        action=rng.uniform(-1, 1, (steps, 2)),
        success=np.arange(steps) >= steps - seed % 2,
        spec=SPEC,
        task_id="panda/lift",
        reward=RewardOutput(total, {"reach": total / 4, "lift": 3 * total / 4}) if reward else None,
        frames=None if frames is None else np.full((steps + 1, *frames, 3), 30 * (1 + seed), np.uint8),
        meta={"seed": seed, **meta},
    )


def same(a: Episode, b: Episode) -> None:
    for name in ("state", "action", "success"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert (a.spec, a.task_id, dict(a.meta)) == (b.spec, b.task_id, dict(b.meta))
    assert (a.reward is None) == (b.reward is None)
    if a.reward is not None and b.reward is not None:
        np.testing.assert_array_equal(a.reward.total, b.reward.total)
        assert list(a.reward.terms) == list(b.reward.terms)
        for name, values in a.reward.terms.items():
            np.testing.assert_array_equal(values, b.reward.terms[name])


def test_transitions_pair_each_action_with_its_states():
    episode = make(7)
    batch = episode.to_transitions()
    assert len(episode) == 7 and batch.action.shape == (7, 2)
    np.testing.assert_array_equal(batch.previous.hand_position, episode.state[:7, :3])
    np.testing.assert_array_equal(batch.state.gripper_width, episode.state[1:, 3])
    assert episode.states.hand_position.shape == (8, 3)
    assert not make(3, seed=0).is_successful and make(3, seed=1).is_successful


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state": np.zeros((5, 4))}, r"state has shape \(5, 4\), expected .*\(6, 4\)"),
        ({"state": np.zeros((6, 3))}, r"\(6, 4\)"),
        ({"action": np.zeros((0, 2))}, "at least one step"),
        ({"success": np.zeros(6, bool)}, r"\(T,\) = \(5,\)"),
        ({"frames": np.zeros((5, 8, 8, 3), np.uint8)}, r"frames .*\(6, H, W, 3\)"),
        ({"frames": np.zeros((6, 8, 8, 3))}, "uint8"),
        ({"reward": RewardOutput(np.zeros(5), {"reach": np.zeros(4)})}, "'reach'"),
    ],
)
def test_wrong_shapes_are_named(change: dict, message: str):
    good = make(5)
    parts = {"state": good.state, "action": good.action, "success": good.success, "spec": SPEC}
    with pytest.raises(WrongShape, match=message):
        Episode(**{**parts, **change})
    with pytest.raises(UsageError, match="step 2"):
        Episode(**{**parts, "action": np.where(np.arange(5)[:, None] == 2, np.nan, good.action)})


def test_what_is_stored_comes_back_in_order(tmp_path: Path):
    store = EpisodeStore(tmp_path / "s")
    episodes = [make(3 + i, seed=i, reward=i % 2 == 0) for i in range(5)]
    keys = [store.append(episode) for episode in episodes]
    assert keys == sorted(keys) == list(store.keys()) and len(store) == 5 and keys[0] in store
    for before, after in zip(episodes, EpisodeStore(tmp_path / "s"), strict=True):
        same(before, after)
    assert len(list((tmp_path / "s" / "specs").iterdir())) == 1


def test_entries_filter_without_reading_arrays(tmp_path: Path):
    store = EpisodeStore(tmp_path)
    for i in range(4):
        store.append(make(3 + i, seed=i, reward=i == 2, note="π"), key=f"run-{i}")
    good = store.list_entries(lambda e: e.success and e.task_id.startswith("panda/"))
    assert [(e.key, e.steps, e.meta["seed"]) for e in good] == [("run-1", 4, 1), ("run-3", 6, 3)]
    expected = make(5, seed=2, reward=True).reward
    assert expected is not None and store.read_entry("run-2").total == pytest.approx(expected.total.sum())
    assert store.read_entry("run-0").total is None


@pytest.mark.parametrize(("mode", "error"), [("mp4", 5), ("exact", 0)])
def test_frames_come_back_in_their_own_size(tmp_path: Path, mode, error: int):
    store = EpisodeStore(tmp_path, frames=mode)
    episode = make(4, frames=(33, 47))
    back = store.load(store.append(episode))
    assert back.frames is not None and episode.frames is not None and back.frames.shape == (5, 33, 47, 3)
    assert np.abs(back.frames.astype(int) - episode.frames).max() <= error
    assert store.load(store.keys()[0], frames=False).frames is None
    dropped = EpisodeStore(tmp_path / "d", frames="drop")
    assert dropped.load(dropped.append(episode)).frames is None


def test_keys_are_taken_once(tmp_path: Path):
    store = EpisodeStore(tmp_path)
    store.append(make(seed=1), key="a")
    with pytest.raises(UsageError, match="already"):
        store.append(make(seed=2, frames=(8, 8)), key="a")
    same(store.load("a"), make(seed=1))
    assert not list(tmp_path.rglob("*.mp4"))
    for bad in ("../a", "a/b", "", ".x", "é"):
        with pytest.raises(UsageError, match="plain name"):
            store.append(make(), key=bad)
    with pytest.raises(UnknownName, match="'a'"):
        store.load("aa")


def test_half_written_and_foreign_files_are_not_episodes(tmp_path: Path):
    store = EpisodeStore(tmp_path)
    store.append(make(), key="whole")
    (tmp_path / "episodes" / ".half-x").write_bytes(b"PK")
    (tmp_path / "episodes" / "orphan-12345678.mp4").write_bytes(b"")
    assert store.keys() == ("whole",)
    content = (tmp_path / "episodes" / "whole.npz").read_bytes()
    for name, damage in (("cut", content[: len(content) // 2]), ("empty", b""), ("text", b"hello")):
        (tmp_path / "episodes" / f"{name}.npz").write_bytes(damage)
        with pytest.raises(CorruptEpisode, match=f"{name}.npz"):
            store.load(name)


def test_nothing_pickled_is_ever_read(tmp_path: Path):
    store = EpisodeStore(tmp_path)
    np.savez(tmp_path / "episodes" / "evil.npz", head=np.array([{"a": 1}], dtype=object))
    with pytest.raises(CorruptEpisode, match="pickle"):
        store.load("evil")


def test_a_folder_of_something_else_is_refused(tmp_path: Path):
    (tmp_path / "store.json").write_text(json.dumps({"format": "robo-reward/episodes", "version": 99}))
    with pytest.raises(UsageError, match="version"):
        EpisodeStore(tmp_path)
    (tmp_path / "store.json").write_text("rubbish")
    with pytest.raises(UsageError, match="not an episode store"):
        EpisodeStore(tmp_path)


WRITER = """
import sys
from robo_reward.data.episode import EpisodeStore
from tests.data.test_episode import make
store = EpisodeStore(sys.argv[1])
for i in range(int(sys.argv[3])):
    store.append(make(40, seed=i, worker=int(sys.argv[2])))
    if i == 0: print("going", flush=True)
"""


def start(folder: Path, worker: int, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(folder), str(worker), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def test_processes_append_together_and_may_be_killed(tmp_path: Path):
    writers = [start(tmp_path, worker, count) for worker, count in ((0, 15), (1, 15), (2, 100_000))]
    victim = writers[2]
    assert victim.stdout is not None and victim.stdout.readline()
    os.kill(victim.pid, signal.SIGKILL)
    for writer in writers:
        writer.communicate(timeout=60)
    store = EpisodeStore(tmp_path)
    workers = [entry.meta["worker"] for entry in store.list_entries()]
    assert workers.count(0) == workers.count(1) == 15 and workers.count(2) >= 1
    assert all(len(episode) == 40 for episode in store)


def rewrite(store: EpisodeStore, key: str, **changes: Any) -> None:
    """Changes the head or the arrays of an episode file."""
    path = store.folder / "episodes" / f"{key}.npz"
    with np.load(path) as found:
        arrays = dict(found)
    head = json.loads(arrays["head"].tobytes())
    arrays |= {name: value for name, value in changes.items() if isinstance(value, np.ndarray)}
    head |= {name: value for name, value in changes.items() if not isinstance(value, np.ndarray)}
    arrays["head"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
    np.savez(path, **arrays)


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 5},
        {"steps": "4"},
        {"meta": None},
        {"video": "../../../etc/passwd.mp4"},
        {"video": "gone.mp4", "frame_shape": [8, 8]},
        {"video": "x/y.mp4"},
        {"spec": "../store"},
        {"spec": "0123456789abcdef"},
        {"terms": ["a", "b"], "reward": np.zeros((2, 4))},
        {"action": np.zeros((4, 2, 2))},
        {"state": np.full((5, 4), np.nan)},
        {"success": np.zeros((4, 2))},
        {"frames": np.zeros(3)},
    ],
)
def test_an_episode_that_was_tampered_with_is_corrupt(tmp_path: Path, changes: dict[str, Any]):
    store = EpisodeStore(tmp_path, frames="exact")
    store.append(make(4), key="a")
    rewrite(store, "a", **changes)
    with pytest.raises(CorruptEpisode, match=r"a\.npz.*Delete it to continue without"):
        store.load("a")


def test_what_is_no_file_in_a_store_is_not_waited_for(tmp_path: Path):
    store = EpisodeStore(tmp_path / "s")
    key = store.append(make(4), key="a")
    (tmp_path / "s" / "episodes" / "link.npz").symlink_to(tmp_path / "s" / "episodes" / f"{key}.npz")
    os.mkfifo(tmp_path / "s" / "episodes" / "pipe.npz")
    for name in ("link", "pipe"):
        with pytest.raises(CorruptEpisode, match="no such file"):
            store.load(name)
    (tmp_path / "s" / "store.json").unlink()
    os.mkfifo(tmp_path / "s" / "store.json")
    with pytest.raises(UsageError, match="not an episode store"):
        EpisodeStore(tmp_path / "s")


def test_an_episode_that_unpacks_without_end_is_corrupt(tmp_path: Path):
    store = EpisodeStore(tmp_path)
    with zipfile.ZipFile(tmp_path / "episodes" / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("head.npy", b"x")
        archive.infolist()[0].file_size = 1 << 40
    with pytest.raises(CorruptEpisode, match="unpacks to"):
        store.load("bomb")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_episode_file_is_read_or_corrupt(tmp_path: Path, data: st.DataObject):
    store = EpisodeStore(tmp_path, frames="exact")
    path = tmp_path / "episodes" / "a.npz"
    if not (tmp_path / "whole").exists():
        store.append(make(4, frames=(8, 8)), key="a")
        path.rename(tmp_path / "whole")
    shutil.copy(tmp_path / "whole", path)
    if data.draw(st.booleans()):
        content = bytearray(path.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    else:
        name = data.draw(st.sampled_from(["task_id", "meta", "steps", "success", "total", "terms", "spec", "video"]))
        rewrite(store, "a", **{name: data.draw(JSON)})
    with suppress(CorruptEpisode):
        assert len(store.load("a")) == 4
    with suppress(CorruptEpisode):
        assert store.list_entries()[0].steps == 4
