"""A store goes out in every format and comes back; what does not fit is refused before anything is written."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from robo_reward.data.collect import collect_episodes
from robo_reward.data.episode import Episode, EpisodeStore
from robo_reward.data.formats import FORMATS, export_episodes, find_episodes, import_episodes, open_episodes
from robo_reward.data.summary import summarise_episodes
from robo_reward.envs.task import make_task
from robo_reward.errors import BadArtifact, RoboRewardError, UnknownName, UsageError
from tests.data.test_episode import make, same
from tests.data.test_lerobot import film, filmed, foreign, source

pytest.importorskip("pyarrow")
pytest.importorskip("h5py")
minari = pytest.importorskip("minari")


def fill(folder: Path, episodes: list[Episode]) -> EpisodeStore:
    store = EpisodeStore(folder, frames="exact")
    for number, episode in enumerate(episodes):
        store.append(episode, f"{number:06d}")
    return store


@pytest.mark.parametrize("to", FORMATS)
def test_a_store_goes_out_and_comes_back(tmp_path: Path, to: str):
    episodes = [filmed(3 + i, i, note="é", **({"success_known": False} if i == 3 else {})) for i in range(12)]
    episodes[3].success[:] = False
    store = fill(tmp_path / "run" / "episodes", episodes)
    exported = export_episodes(open_episodes(tmp_path / "run"), to, tmp_path / "out" / to)
    back = open_episodes(tmp_path / "out" / to)
    import_episodes(back, tmp_path / "again", "exact")
    again = EpisodeStore(tmp_path / "again")
    assert again.keys() == store.keys()
    for before, after in zip(store, again, strict=True):
        same(before, after)
        assert before.frames is not None and after.frames is not None
        assert before.frames.shape == after.frames.shape
        assert np.abs(before.frames.astype(int) - after.frames.astype(int)).mean() < (3 if to == "lerobot" else 1e-9)
    summary = summarise_episodes(back)
    assert replace(summary, format="") == replace(exported, format="")
    assert summary.success.unknown == 1 and summary.cameras == ("front", "wrist")
    assert len(list((tmp_path / "out").iterdir())) == 1  # nothing temporary is left


@pytest.mark.parametrize("to", FORMATS)
def test_episodes_of_a_task(tmp_path: Path, to: str):
    task = make_task("panda/lift")
    task.horizon = 20
    episodes = collect_episodes(task, task.expert, 2, seed=3, threads=1)
    fill(tmp_path / "store", episodes)
    export_episodes(open_episodes(tmp_path / "store"), to, tmp_path / "out")
    import_episodes(open_episodes(tmp_path / "out"), tmp_path / "again", task=task)
    for before, after in zip(episodes, EpisodeStore(tmp_path / "again"), strict=True):
        same(before, after)
    if to == "lerobot":
        info = json.loads((tmp_path / "out" / "meta" / "info.json").read_text())
        assert (info["fps"], info["robot_type"]) == (25, "panda")
        (row, *_) = json.loads((tmp_path / "out" / "meta" / "stats.json").read_text())["action"]["count"]
        assert row == 40


@pytest.mark.parametrize("to", FORMATS)
def test_nothing_is_overwritten_and_nothing_half_remains(tmp_path: Path, to: str):
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match=r"out=.*out exists already, and nothing is overwritten"):
        export_episodes(source([make(3)]), to, tmp_path / "out")
    with pytest.raises(UsageError, match="differs in the rate"):
        export_episodes(source([make(3, fps=5.0), make(3)]), to, tmp_path / "new")
    odd = replace(filmed(4, 0), frames=film(4, 0, 10, 12))
    if to != "minari":
        with pytest.raises(RoboRewardError, match=r"frames of episode 1|\(10, 12\)"):
            export_episodes(source([filmed(4, 0), odd]), "lerobot", tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with pytest.raises(UnknownName, match="lerobot"):
        export_episodes(source([make(3)]), "lerbot", tmp_path / "new")


def test_an_import_that_breaks_leaves_nothing(tmp_path: Path):
    foreign(tmp_path / "theirs")
    video = next((tmp_path / "theirs").rglob("*.mp4"))
    video.write_bytes(video.read_bytes()[:2000])
    with pytest.raises(RoboRewardError, match=r"file-000\.mp4"):
        import_episodes(open_episodes(tmp_path / "theirs"), tmp_path / "store")
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


def test_frames_can_be_left_out(tmp_path: Path):
    export_episodes(source([filmed(4, 0)]), "lerobot", tmp_path / "out", frames=False)
    assert not list((tmp_path / "out").rglob("*.mp4"))
    import_episodes(source([filmed(4, 0)]), tmp_path / "store", "drop")
    assert EpisodeStore(tmp_path / "store").load("000000").frames is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"meta": {"fps": 30.0}}, r"its rate is 30 Hz, expected 25 Hz"),
        ({"meta": {"fps": 25.0, "robot_type": "so101"}}, r"its robot is so101, expected panda"),
        (
            {"meta": {"fps": 25.0, "cameras": ["laptop"]}},
            r"its camera is laptop, expected one of front, side, top, wrist",
        ),
        ({"action": np.zeros((6, 7))}, r"its number of action components is 7, expected 4 \(dx, dy, dz, gripper\)"),
        ({}, r"its state is hand_position, gripper_width, expected hand_position, "),
    ],
)
def test_data_of_another_robot_does_not_become_a_task_s(tmp_path: Path, change: dict, said: str):
    task = make_task("panda/lift")
    plain = make(6, fps=25.0)
    if change:
        frames = film(6, 0, 16, 16) if "cameras" in change.get("meta", {}) else None
        state = np.zeros((7, task.spec.dim))
        plain = replace(plain, state=state, spec=task.spec, action=np.zeros((6, 4)), frames=frames)
    with pytest.raises(UsageError, match=rf"memory does not fit task panda/lift: {said}.* leave task= out"):
        import_episodes(source([replace(plain, **change)]), tmp_path / "store", task=task)
    assert not list(tmp_path.iterdir())


def test_cameras_can_be_chosen(tmp_path: Path):
    for to in FORMATS:
        export_episodes(source([filmed(4, 0)]), to, tmp_path / to)
        (episode,) = open_episodes(tmp_path / to, ["wrist"]).iterate(True)
        assert episode.frames is not None and episode.meta["cameras"] == ["wrist"]
        assert np.abs(episode.frames.astype(int) - film(4, 0)[:, :, 35:].astype(int)).mean() < 3
        with pytest.raises(UnknownName, match="wrist"):
            list(open_episodes(tmp_path / to, ["wrst"]).iterate(True))


def test_what_is_no_data_set_is_said(tmp_path: Path):
    with pytest.raises(UsageError, match="there is no such file or folder"):
        open_episodes(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("hello")
    for place in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(UsageError, match="holds no episodes that can be read; give an episode store"):
            open_episodes(place)
    (tmp_path / "site" / "data").mkdir(parents=True)
    (tmp_path / "site" / "data" / "metadata.json").write_text('{"title": "of another program"}')
    with pytest.raises(UsageError, match="holds no episodes"):
        open_episodes(tmp_path / "site")
    (tmp_path / "a.hdf5").write_text("no HDF5")
    with pytest.raises(BadArtifact, match="not a readable HDF5 file"):
        open_episodes(tmp_path / "a.hdf5")
    with pytest.raises(UsageError, match="no episodes"):
        summarise_episodes(open_episodes(EpisodeStore(tmp_path / "empty").folder))


def test_minari_finds_what_we_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "elsewhere"))
    episodes = [filmed(5, 0), filmed(6, 2)]
    export_episodes(source(episodes), "minari", tmp_path / "out")
    assert not (tmp_path / "elsewhere").exists()
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "out"))
    dataset = minari.load_dataset("panda/lift-v0")
    assert (dataset.total_episodes, dataset.total_steps) == (2, 11)
    np.testing.assert_array_equal(dataset[1].observations, episodes[1].state)
    np.testing.assert_array_equal(dataset[1].infos["frames_wrist"], film(6, 2)[:, :, 35:])
    assert open_episodes("minari:panda/lift-v0").count == 2
    export_episodes(source(episodes), "minari", tmp_path / "out" / "more")
    with pytest.raises(UsageError, match=r"holds 2 Minari data sets; give one of .*more/panda/lift-v0"):
        open_episodes(tmp_path / "out")
    main = tmp_path / "out" / "panda" / "lift-v0" / "data" / "main_data.hdf5"
    main.write_bytes(main.read_bytes()[:3000])
    with pytest.raises((BadArtifact, UsageError), match="lift-v0"):
        list(open_episodes(tmp_path / "out" / "panda" / "lift-v0").iterate(True))


@pytest.mark.filterwarnings("ignore::UserWarning:minari")
@pytest.mark.parametrize("data_format", ["arrow", "hdf5"])
def test_goal_dictionaries_of_minari(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data_format: str):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    steps, rng = 5, np.random.default_rng(0)
    values = {name: rng.normal(size=(steps + 1, n)) for name, n in (("achieved_goal", 2), ("observation", 4))}
    values["desired_goal"] = np.ones((steps + 1, 2))
    box = gymnasium.spaces.Box
    minari.create_dataset_from_buffers(
        "point/maze-v0",
        buffer=[
            minari.data_collector.EpisodeBuffer(
                id=0,
                observations=values,
                actions=rng.uniform(-1, 1, (steps, 2)),
                rewards=[0.0] * steps,
                terminations=[False] * steps,
                truncations=[False] * (steps - 1) + [True],
                infos={"is_success": [0.0] * steps + [1.0]},
            )
        ],
        observation_space=gymnasium.spaces.Dict({n: box(-9, 9, v.shape[1:], np.float64) for n, v in values.items()}),
        action_space=box(-1, 1, (2,), np.float64),
        data_format=data_format,
        author="us", author_email="us", algorithm_name="none", code_permalink="none", description="goals",
    )  # fmt: skip
    (episode,) = open_episodes(tmp_path / "point" / "maze-v0").iterate(True)
    assert set(episode.spec.names) == set(values) and episode.is_successful
    for name, array in values.items():
        np.testing.assert_array_equal(episode.states[name], array)
    assert "success_known" not in episode.meta


def test_a_folder_named_data_is_not_the_data_set_beside_it(tmp_path: Path):
    export_episodes(source([filmed(4, 0)]), "minari", tmp_path / "other")
    (tmp_path / "data").mkdir()
    assert find_episodes(tmp_path / "data") is None
    (found,) = (tmp_path / "other").rglob("data")
    shutil.copytree(found, found.parent / "copy" / "data")
    assert open_episodes(found).count == 1


def test_actions_in_other_units_do_not_become_a_task_s(tmp_path: Path):
    task = make_task("panda/lift")
    episodes = [
        replace(make(6, fps=25.0), state=np.zeros((7, task.spec.dim)), spec=task.spec, action=np.full((6, 4), size))
        for size in (1.0, -57.3)
    ]
    with pytest.raises(
        UsageError, match=r"episode 1 of memory has an action of size 57\.3, expected .* leave task= out"
    ):
        import_episodes(source(episodes), tmp_path / "store", task=task)
    assert not list(tmp_path.iterdir())
    import_episodes(source(episodes), tmp_path / "store")
