"""Demonstrations for cloning come from every format, and what does not fit the task is named before training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robo_reward.data.cloning.checks import BadDemonstration
from robo_reward.data.cloning.demonstrations import load_demonstration_set
from robo_reward.data.collect import collect_episodes
from robo_reward.data.episode import Episode, EpisodeStore
from robo_reward.data.formats import FORMATS, export_episodes, open_episodes
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.task import Task, make_task
from robo_reward.errors import BadArtifact, RoboRewardError, UsageError
from tests.data.test_lerobot import foreign

STEPS = 40


@pytest.fixture(scope="module")
def task() -> Task:
    found = make_task("panda/lift")
    found.horizon = STEPS
    return found


@pytest.fixture(scope="module")
def episodes(task: Task) -> list[Episode]:
    """Three successful episodes with noise on what was executed, and pictures of two cameras in 20 x 20 pixels."""
    rng = np.random.default_rng(0)
    clean: list[np.ndarray] = []

    def act(state):
        clean.append(task.expert(state))
        return clean[-1] + rng.normal(0, 0.05, clean[-1].shape) * (1, 1, 1, 0)

    found = collect_episodes(task, act, 3, 1, FrameSpec(("front", "wrist"), 20), threads=1)
    assert all(episode.is_successful for episode in found)
    labels = np.clip(np.stack(clean, axis=1), -1, 1)
    return [replace(episode, clean_action=labels[i]) for i, episode in enumerate(found)]


def fill(folder: Path, episodes: list[Episode]) -> Path:
    store = EpisodeStore(folder, frames="exact")
    for number, episode in enumerate(episodes):
        store.append(episode, f"demo-{number}")
    return folder


@pytest.mark.parametrize("kind", ["store", *FORMATS])
def test_every_format_gives_the_same_demonstrations(tmp_path: Path, task: Task, episodes: list[Episode], kind: str):
    for module in {"lerobot": ("pyarrow",), "robomimic": ("h5py",), "minari": ("minari", "h5py")}.get(kind, ()):
        pytest.importorskip(module)
    where = fill(tmp_path / "store", episodes)
    if kind != "store":
        export_episodes(open_episodes(where), kind, where := tmp_path / "out")
    found = load_demonstration_set(where, task, ("wrist", "front"), 16)
    assert len(found) == 3 and found.steps == 3 * STEPS and found.cameras == ("wrist", "front")
    assert found.first_pictures.tolist() == [0, STEPS + 1, 2 * (STEPS + 1)]
    for number, episode in enumerate(episodes):
        np.testing.assert_array_equal(found.episodes[number].state, episode.state)
        np.testing.assert_array_equal(found.episodes[number].action, episode.clean_action)  # the label, not the noise
        assert found.episodes[number].frames is None
        pictures = found.get_pictures(number)
        assert {camera: array.shape for camera, array in pictures.items()} == dict.fromkeys(
            ("wrist", "front"), (STEPS + 1, 16, 16, 3)
        )
        assert episode.frames is not None
        for camera, part in (("front", episode.frames[:, :, :20]), ("wrist", episode.frames[:, :, 20:])):
            assert abs(float(pictures[camera].mean()) - float(part.mean())) < 3
    found.close()


@pytest.mark.parametrize("kind", FORMATS)
def test_executed_actions_survive_every_format(tmp_path: Path, episodes: list[Episode], kind: str):
    for module in {"lerobot": ("pyarrow",), "robomimic": ("h5py",), "minari": ("minari", "h5py")}[kind]:
        pytest.importorskip(module)
    plain = replace(episodes[1], clean_action=None)  # no noise: stays without labels of its own
    source = open_episodes(fill(tmp_path / "store", [episodes[0], plain]))
    export_episodes(source, kind, tmp_path / "out", frames=False)
    first, second = open_episodes(tmp_path / "out").iterate(False)
    np.testing.assert_array_equal(first.action, episodes[0].action)
    np.testing.assert_array_equal(first.clean_action, episodes[0].clean_action)
    np.testing.assert_array_equal(second.action, plain.action)
    assert second.clean_action is None


def test_a_store_without_pictures_reads_none(tmp_path: Path, task: Task, episodes: list[Episode]):
    found = load_demonstration_set(fill(tmp_path / "store", episodes), task)
    assert found.pictures is None and found.get_pictures(0) == {}
    assert "demo-1" in found.names[1] and str(tmp_path / "store") in found.names[1]


def change_meta(**values) -> Callable[[Episode], Episode]:
    return lambda e: replace(e, meta={**e.meta, **values})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_meta(fps=20.0), r"20 steps per second, expected the control rate of task panda/lift, 25"),
        (change_meta(fps="often"), r"the rate fps='often'"),
        (lambda e: replace(e, action=e.action[:, :3], clean_action=None), r"has 3 components, expected 4 \(dx, dy"),
        (lambda e: replace(e, clean_action=e.action * 3), r"clean action has dx = .* in \[-1, 1\]"),
        (lambda e: replace(e, task_id="panda/push"), r"an episode of task panda/push, expected panda/lift"),
        (change_meta(action={"kind": "joint_delta", "scale": [0.05]}), r"joint_delta of scale .*expected ee_delta"),
        (change_meta(cameras=["front", "side"]), r"no pictures of camera wrist, only of front, side"),
        (change_meta(cameras=["front", "wrist", "top"]), r"40 pixels wide, which 3 cameras"),
        (lambda e: replace(e, frames=None), r"it has no pictures, expected those of front, wrist"),
        (
            lambda e: replace(e, frames=np.repeat(e.frames, 2, axis=2)),
            r"camera front are 40 x 20 pixels, those of the episodes before it 20 x 20",
        ),
        (
            lambda e: replace(e, state=e.state[:3], action=e.action[:2], success=e.success[-2:],
                              frames=e.frames[:3], clean_action=None),
            r"it has 2 steps, expected at least the horizon of 8",
        ),
    ],
)  # fmt: skip
def test_the_episode_that_does_not_fit_is_named(
    tmp_path: Path, task: Task, episodes: list[Episode], change: Callable[[Episode], Episode], message: str
):
    where = fill(tmp_path / "store", [episodes[0], change(episodes[1]), episodes[2]])
    with pytest.raises(BadDemonstration, match=message) as caught:
        load_demonstration_set(where, task, ("front", "wrist"), horizon=8)
    assert f"episode 1 (demo-1) of {where}" in str(caught.value)


def test_sizes_may_differ_where_they_are_scaled(task: Task, episodes: list[Episode]):
    frames = episodes[1].frames
    assert frames is not None
    larger = replace(episodes[1], frames=frames.repeat(2, axis=1).repeat(2, axis=2))
    found = load_demonstration_set([episodes[0], larger], task, ("front",), 16)
    before = load_demonstration_set(episodes[:2], task, ("front",), 16)
    difference = np.abs(found.get_pictures(1)["front"].astype(int) - before.get_pictures(1)["front"])
    assert difference.mean() < 6


def test_fields_of_another_state_are_named(tmp_path: Path, task: Task):
    where = tmp_path / "lerobot"
    pytest.importorskip("pyarrow")
    foreign(where)
    with pytest.raises(BadDemonstration, match=r"without hand_position, .* and with state, expected the 7 fields"):
        load_demonstration_set(where, task)
    with pytest.raises(BadDemonstration, match=r"episode 0 of .*10 steps per second"):
        load_demonstration_set(where, task, ("top",), state=False)  # a policy that only looks needs no such fields


def test_a_number_that_is_not_finite_is_named(tmp_path: Path, task: Task, episodes: list[Episode]):
    h5py = pytest.importorskip("h5py")
    export_episodes(open_episodes(fill(tmp_path / "store", episodes)), "robomimic", tmp_path / "out", frames=False)
    with h5py.File(tmp_path / "out" / "demo.hdf5", "a") as file:
        file["data/demo_2/actions"][5, 1] = np.nan
    with pytest.raises(BadArtifact, match=r"episode 2 \(demo_2\) of .*demo\.hdf5: .*not finite at step 5"):
        load_demonstration_set(tmp_path / "out", task)


def test_a_damaged_episode_is_named(tmp_path: Path, task: Task, episodes: list[Episode]):
    where = fill(tmp_path / "store", episodes)
    path = where / "episodes" / "demo-1.npz"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(BadArtifact, match=r"episode 1 \(demo-1\) of"):
        load_demonstration_set(where, task)


def test_failures_are_left_out(task: Task, episodes: list[Episode]):
    failed = replace(episodes[1], success=np.zeros(STEPS, bool))
    found = load_demonstration_set([episodes[0], failed], task)
    assert len(found) == 1 and found.skipped == 1
    assert len(load_demonstration_set([episodes[0], failed], task, successes_only=False)) == 2
    with pytest.raises(UsageError, match="none of the 1 episodes of the given episodes ends with success"):
        load_demonstration_set([failed], task)
    with pytest.raises(UsageError, match="holds no episodes; record some first"):
        load_demonstration_set([], task)


def test_the_task_decides_where_success_is_unknown(task: Task, episodes: list[Episode]):
    unknown = replace(episodes[0], success=np.zeros(STEPS, bool), meta={**episodes[0].meta, "success_known": False})
    on_table = replace(unknown, state=np.repeat(unknown.state[:1], STEPS + 1, axis=0))
    found = load_demonstration_set([unknown, on_table], task)
    assert len(found) == 1 and found.skipped == 1


def test_actions_of_another_scale_are_refused(task: Task, episodes: list[Episode]):
    in_metres = [replace(e, action=e.action * 0.02, clean_action=None) for e in episodes]
    with pytest.raises(BadDemonstration, match=r"hand moves .* times as far .*1\.0 means 0\.02 m.*Divide the actions"):
        load_demonstration_set(in_metres, task)
    with pytest.raises(BadDemonstration, match=r"episode 1 of .*hand moves .* times as far"):  # one among others
        load_demonstration_set([episodes[0], in_metres[1], episodes[2]], task)


def test_noise_of_the_execution_is_not_taken_for_another_scale(task: Task, episodes: list[Episode]):
    """The labels of an expert at rest ask for nothing while the noise moves the hand."""
    at_rest = [replace(e, clean_action=e.action * (0.01, 0.01, 0.01, 1)) for e in episodes]
    assert len(load_demonstration_set(at_rest, task)) == 3


def test_small_pictures_are_enlarged_with_a_warning(task: Task, episodes: list[Episode]):
    halved = replace(episodes[2], frames=np.ascontiguousarray(episodes[2].frames[:, ::2, ::2]))  # type: ignore[index]
    found = load_demonstration_set([*episodes[:2], halved], task, ("wrist",), 20)
    assert found.warnings == ("pictures of wrist have 10 x 10 pixels and are enlarged to 20 x 20 in 1 of 3 episodes",)


def test_constant_columns_are_a_warning(task: Task, episodes: list[Episode]):
    still = [replace(e, clean_action=np.c_[e.action[:, :3], np.ones(STEPS)]) for e in episodes]
    found = load_demonstration_set(still, task)
    assert any("the action is constant in gripper" in warning for warning in found.warnings)
    assert not load_demonstration_set(episodes, task).warnings


def test_another_robot_is_a_warning(episodes: list[Episode]):
    found = load_demonstration_set(episodes, make_task("fr3/lift"))
    assert found.warnings == ("the task is panda/lift instead of fr3/lift in 3 of 3 episodes",)


def test_there_is_nothing(tmp_path: Path, task: Task):
    with pytest.raises(RoboRewardError, match="there is no such file or folder"):
        load_demonstration_set(tmp_path / "nothing", task)
    EpisodeStore(tmp_path / "empty")
    with pytest.raises(UsageError, match="holds no episodes; record some first"):
        load_demonstration_set(tmp_path / "empty", task)
