"""Recording for cloning: labels without noise, exact continuation, failures apart, modes in equal numbers."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robo_reward.data.cloning import recording
from robo_reward.data.cloning.recording import RecordingProgress, RecordingSettings, make_expert, record_demonstrations
from robo_reward.data.episode import Episode, EpisodeStore
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.task import Task, make_task
from robo_reward.errors import RoboRewardError, UsageError
from robo_reward.files import write_json

WORLDS = 4


@pytest.fixture(scope="module")
def task() -> Task:
    found = make_task("panda/push")
    found.horizon = 21  # some succeed within this time, some do not
    return found


def record(task: Task, folder: Path, n: int, **more: Any) -> RecordingProgress:
    settings = RecordingSettings(worlds=WORLDS, **{"noise": 0.2, **more.pop("settings", {})})
    arguments = {"threads": 1, **more}
    if "failures" not in arguments:
        arguments["failures"] = EpisodeStore(folder / "failures")
    return record_demonstrations(task, make_expert(task), EpisodeStore(folder / "store"), n, settings, **arguments)


def read(folder: Path) -> dict[str, Episode]:
    store = EpisodeStore(folder)
    return {key: store.load(key) for key in store.keys()}  # noqa: SIM118 - a store is not a mapping


def require_same(one: Path, two: Path) -> None:
    first, second = read(one), read(two)
    assert list(first) == list(second)
    for a, b in zip(first.values(), second.values(), strict=True):
        for name in ("state", "action", "success", "clean_action"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        assert a.meta == b.meta


@pytest.fixture(scope="module")
def whole(task: Task, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of 6 episodes that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    done = record(task, folder, 6)
    assert done.kept == 6 and done.succeeded >= 6
    return folder


def test_labels_are_the_expert_s_and_states_follow_what_was_executed(task: Task, whole: Path):
    every = read(whole / "store") | read(whole / "failures")
    first = [every[key] for key in sorted(every) if key.startswith("000000-")]
    assert len(first) == WORLDS
    excess = []
    for episode in first:
        assert episode.clean_action is not None
        expert = np.clip(task.expert(task.spec.view(episode.state[:-1])), -1, 1)
        np.testing.assert_array_equal(episode.clean_action, expert)
        inner = np.abs(episode.action) < 1
        excess.append((episode.action - expert)[inner])
    assert abs(np.concatenate(excess).std() - 0.2) < 0.03
    # The states follow from the executed actions, in a simulator that starts as the recording's did.
    seed = int(np.random.SeedSequence([0, 0]).generate_state(1, np.uint64)[0] >> 1)
    sim = task.make_worlds(WORLDS, seed, threads=1)
    for step in range(task.horizon):
        np.testing.assert_array_equal(sim.state.array, [episode.state[step] for episode in first])
        sim.step(np.stack([episode.action[step] for episode in first]))
    sim.close()


def test_only_successes_are_kept_and_failures_lie_apart(whole: Path):
    assert all(episode.is_successful for episode in read(whole / "store").values())
    failed = read(whole / "failures")
    assert failed and not any(episode.is_successful for episode in failed.values())


@pytest.mark.parametrize("steps", [10, 30, 41])
def test_a_recording_that_was_stopped_continues_exactly(task: Task, whole: Path, tmp_path: Path, steps: int):
    asked = iter(range(steps))
    done = record(task, tmp_path, 6, stop=lambda: next(asked, None) is None)
    assert done.kept < 6
    record(task, tmp_path, 6)
    require_same(tmp_path / "store", whole / "store")
    require_same(tmp_path / "failures", whole / "failures")


def test_a_recording_that_was_killed_between_two_episodes_continues_exactly(
    task: Task, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real, count = EpisodeStore.append, 0

    def append(self: EpisodeStore, episode: Episode, key: str | None = None) -> str:
        nonlocal count
        count += 1
        if count == 6:
            raise KeyboardInterrupt
        return real(self, episode, key)

    with monkeypatch.context() as patch:
        patch.setattr(EpisodeStore, "append", append)
        with pytest.raises(KeyboardInterrupt):
            record(task, tmp_path, 6)
    assert len(EpisodeStore(tmp_path / "store")) + len(EpisodeStore(tmp_path / "failures")) == 5
    record(task, tmp_path, 6)
    require_same(tmp_path / "store", whole / "store")


def test_more_are_added_and_enough_stay(task: Task, whole: Path, tmp_path: Path):
    record(task, tmp_path, 3)
    record(task, tmp_path, 6)
    require_same(tmp_path / "store", whole / "store")
    assert record(task, tmp_path, 5).tried == 0
    assert len(EpisodeStore(tmp_path / "store")) == 6


def test_failures_may_be_dropped(task: Task, whole: Path, tmp_path: Path):
    record(task, tmp_path, 6, failures=None)
    require_same(tmp_path / "store", whole / "store")
    assert not (tmp_path / "failures").exists()


def test_failures_of_another_recording_are_refused(task: Task, whole: Path, tmp_path: Path):
    failures = EpisodeStore(tmp_path / "failures", create=False)
    assert not failures.folder.exists()  # made with the first failure
    record(task, tmp_path, 6, failures=failures)
    require_same(tmp_path / "failures", whole / "failures")
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(UsageError, match=r"failures holds a recording with other settings: seed was 0, now 1"):
        record(task, tmp_path, 6, settings={"seed": 1})
    record(task, tmp_path, 6)  # the same settings give the same episodes, although failures are there already
    require_same(tmp_path / "store", whole / "store")
    require_same(tmp_path / "failures", whole / "failures")


def test_other_settings_or_other_episodes_are_refused(task: Task, whole: Path, tmp_path: Path):
    with pytest.raises(UsageError, match=r"other settings: noise was 0\.2, now 0\.1\. Give another to="):
        record(task, whole, 6, settings={"noise": 0.1})
    EpisodeStore(tmp_path / "store").append(next(iter(read(whole / "store").values())))
    with pytest.raises(UsageError, match=r"recorded in another way\. Give another to="):
        record(task, tmp_path, 6)


def test_nothing_that_succeeds_is_no_endless_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recording, "HOPELESS", WORLDS)
    task = make_task("panda/push")
    task.horizon = 5
    with pytest.raises(
        RoboRewardError, match=r"none of 4 episodes of panda/push succeeded; give less noise= than 0\.2"
    ):
        record(task, tmp_path, 6)


def test_without_noise_there_is_one_action(task: Task, tmp_path: Path):
    record(task, tmp_path, 1, settings={"noise": 0.0, "frames": FrameSpec(("front", "wrist"), 16)})
    (episode,) = read(tmp_path / "store").values()
    assert episode.clean_action is None and episode.meta["cameras"] == ["front", "wrist"]
    assert episode.frames is not None and episode.frames.shape[1:] == (16, 32, 3)
    assert episode.meta["action"]["kind"] == "ee_delta" and episode.meta["fps"] == pytest.approx(25.0)


def test_frames_limit_the_worlds(task: Task):
    few = RecordingSettings(frames=FrameSpec(("front", "wrist"), 512)).count_worlds(task)
    assert few == recording.FRAME_MEMORY // (22 * 512 * 1024 * 3) == 15
    assert RecordingSettings().count_worlds(task) == recording.MOST_WORLDS


def test_every_start_is_recorded_in_every_mode(tmp_path: Path):
    cup = make_task("panda/cup")
    done = record(cup, tmp_path / "whole", 5, settings={"modes": cup.modes, "noise": 0.1})
    found = read(tmp_path / "whole" / "store").values()
    assert Counter(episode.meta["mode"] for episode in found) == done.modes == {cup.modes[0]: 3, cup.modes[1]: 2}
    starts: dict[str, list[bytes]] = {mode: [] for mode in cup.modes}
    for episode in found:
        assert cup.modes[cup.mode_of(episode.states)] == episode.meta["mode"]
        starts[episode.meta["mode"]].append(episode.state[0].tobytes())
    first, second = starts.values()
    assert len({*first}) == 3 and second == first[:2]  # as long as none fails
    # A recording that grows in three pieces, the first of which needs one mode only, is the same.
    for n in (1, 3, 5):
        record(cup, tmp_path / "grown", n, settings={"modes": cup.modes, "noise": 0.1})
    grown = read(tmp_path / "grown" / "store")
    whole = read(tmp_path / "whole" / "store")
    assert grown.keys() == whole.keys()
    for key, episode in whole.items():
        np.testing.assert_array_equal(grown[key].state, episode.state)


def test_recordings_of_earlier_versions_with_one_mode_per_start_are_refused(tmp_path: Path):
    cup, folder = make_task("panda/cup"), tmp_path / "store"
    folder.mkdir()
    earlier = {**RecordingSettings(modes=cup.modes, worlds=WORLDS, noise=0.2).to_json(cup)}
    earlier.pop("starts")
    write_json(folder / recording.SETTINGS, earlier)
    with pytest.raises(UsageError, match=r"other settings: starts was None, now 'each in every mode'"):
        record(cup, tmp_path, 2, settings={"modes": cup.modes})
