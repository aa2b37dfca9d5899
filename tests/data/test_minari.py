"""Round trips through Minari's own files and API."""

import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from robo_reward.data.episode import Episode, EpisodeStore
from robo_reward.data.minari import export_minari, import_minari, load_minari
from robo_reward.errors import BadArtifact, MissingExtra, UsageError, WrongShape
from tests.data.test_episode import SPEC, make, same

minari = pytest.importorskip("minari")
EpisodeBuffer = pytest.importorskip("minari.data_collector").EpisodeBuffer


@pytest.fixture(autouse=True)
def _datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))


@pytest.mark.parametrize("data_format", ["arrow", "hdf5", "parquet"])
def test_a_store_goes_out_and_comes_back(tmp_path: Path, data_format: str):
    store = EpisodeStore(tmp_path / "store")
    episodes = [make(3 + i, seed=i, reward=i != 1, note="é", frames=(8, 8) if i == 2 else None) for i in range(12)]
    for episode in episodes:
        store.append(episode)
    export_minari(store, "panda/lift-v0", author="us", data_format=data_format)
    back = list(import_minari("panda/lift-v0"))
    assert len(back) == 12
    for before, after in zip(episodes, back, strict=True):
        same(before, after)


@pytest.mark.parametrize("data_format", ["arrow", "hdf5"])
def test_a_relative_folder_of_data_sets(tmp_path: Path, data_format: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", "here")
    export_minari([make(4)], "panda/lift-v0", data_format=data_format)
    assert (tmp_path / "here" / "panda" / "lift-v0" / "data" / "metadata.json").is_file()
    same(make(4), *import_minari("panda/lift-v0"))


def test_minari_users_see_an_ordinary_data_set():
    episode = make(6, seed=1, reward=True)
    export_minari([episode], "panda/lift-v1")
    dataset = minari.load_dataset("panda/lift-v1")
    assert (dataset.total_episodes, dataset.total_steps) == (1, 6)
    data = dataset[0]
    assert dataset.observation_space.contains(data.observations[0]) and dataset.action_space.contains(data.actions[0])
    assert episode.reward is not None
    np.testing.assert_array_equal(data.rewards, episode.reward.total)
    np.testing.assert_array_equal(data.infos["success"], np.r_[False, episode.success])
    assert data.truncations.tolist() == [False] * 5 + [True] and not data.terminations.any()


def test_data_sets_that_others_made():
    env, buffers = gymnasium.make("Pendulum-v1"), []
    for steps in (200, 50):
        observations, actions, rewards = [env.reset(seed=steps)[0]], [], []
        for _ in range(steps):
            actions.append(env.action_space.sample())
            observation, reward, *_ = env.step(actions[-1])
            observations.append(observation)
            rewards.append(reward)
        ends = [False] * (steps - 1) + [True]
        columns = {"observations": np.array(observations), "actions": np.array(actions), "rewards": rewards}
        buffers.append(EpisodeBuffer(**columns, terminations=[False] * steps, truncations=ends))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = minari.create_dataset_from_buffers(
            "pendulum/random-v0", buffers, env=env, eval_env=env, data_format="arrow"
        )
    env.close()
    episodes = list(import_minari(dataset, task_id="pendulum"))
    assert [len(e) for e in episodes] == [200, 50]
    assert episodes[0].spec.names == ("obs_0", "obs_1", "obs_2") and episodes[0].task_id == "pendulum"
    assert episodes[0].reward is not None and (episodes[0].reward.total <= 0).all()
    with pytest.raises(WrongShape):
        next(import_minari(dataset, spec=SPEC))


def test_what_does_not_belong_together_is_refused():
    with pytest.raises(UsageError, match="no episodes"):
        export_minari([], "panda/none-v0")
    good = make(4)
    other = Episode(good.state, np.zeros((4, 3)), good.success, SPEC)
    with pytest.raises(UsageError, match="episode 1 has another"):
        export_minari([good, other], "panda/mixed-v0")


def foreign(dataset_id: str, infos: dict | None, data_format: str = "hdf5", steps: int = 8):
    """A data set as others make them: HDF5 is Minari's default."""
    generator = np.random.default_rng(0)
    columns: dict[str, Any] = {
        "observations": generator.normal(size=(steps + 1, 4)),
        "actions": generator.uniform(-1, 1, (steps, 2)),
    }
    ends = {"terminations": [False] * steps, "truncations": [False] * (steps - 1) + [True]}
    more = {} if infos is None else {"infos": infos}
    box = gymnasium.spaces.Box
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return minari.create_dataset_from_buffers(
            dataset_id,
            buffer=[EpisodeBuffer(id=0, **columns, rewards=[0.0] * steps, **ends, **more)],
            observation_space=box(-9, 9, (4,), np.float64),
            action_space=box(-9, 9, (2,), np.float64),
            data_format=data_format,
        )


@pytest.mark.parametrize("data_format", ["arrow", "hdf5", "parquet"])
@pytest.mark.parametrize("name", ["is_success", "success"])
def test_success_of_others_is_kept_per_step(name: str, data_format: str, caplog: pytest.LogCaptureFixture):
    foreign("own/done-v0", {name: [0.0] * 6 + [1.0, 0.0, 1.0]}, data_format)
    (episode,) = import_minari("own/done-v0")
    assert episode.success.tolist() == [False] * 5 + [True, False, True]
    assert not caplog.records


@pytest.mark.parametrize("infos", [None, {"distance": [0.0] * 9}])
def test_success_that_is_missing_is_said(infos: dict | None, caplog: pytest.LogCaptureFixture):
    foreign("own/blind-v0", infos)
    (episode,) = import_minari("own/blind-v0")
    assert not episode.success.any()
    assert "1 episodes of own/blind-v0 have neither 'success' nor 'is_success'" in caplog.text


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch):
    foreign("own/hdf5-v0", None)
    monkeypatch.delitem(sys.modules, "minari.dataset._storages.hdf5_storage", raising=False)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtra, match=r"'h5py', which is not installed: pip install 'robo-reward\[minari\]'"):
        load_minari("own/hdf5-v0")


@pytest.mark.parametrize("damage", ["cut", "rubbish", "empty", "metadata"])
def test_damaged_data_sets_are_named(tmp_path: Path, damage: str):
    foreign("own/broken-v0", None)
    folder = tmp_path / "datasets" / "own" / "broken-v0" / "data"
    path = folder / ("metadata.json" if damage == "metadata" else "main_data.hdf5")
    content = path.read_bytes()
    path.write_bytes({"cut": content[: len(content) // 2], "rubbish": b"x" * 5000}.get(damage, b""))
    with pytest.raises((BadArtifact, UsageError), match="own/broken-v0"):
        list(import_minari("own/broken-v0"))


@pytest.mark.parametrize("place", ["external", "virtual", "soft", "other", "ring", "huge"])
def test_arrays_outside_the_file_are_not_read(tmp_path: Path, place: str):
    h5py = pytest.importorskip("h5py")
    foreign("own/outside-v0", None)
    (tmp_path / "secret").write_bytes(b"s" * 9 * 4 * 8)
    path = tmp_path / "datasets" / "own" / "outside-v0" / "data" / "main_data.hdf5"
    with h5py.File(path, "a") as file:
        episode = file["episode_0"]
        if place == "ring":
            episode["infos/again"] = episode
        else:
            del episode["observations"]
        if place == "external":
            outside = [(str(tmp_path / "secret"), 0, 9 * 4 * 8)]
            episode.create_dataset("observations", (9, 4), "f8", external=outside)
        elif place == "virtual":
            layout = h5py.VirtualLayout((9, 4), "f8")
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.hdf5"), "x", (9, 4))
            episode.create_virtual_dataset("observations", layout)
        elif place == "soft":
            episode["observations"] = h5py.SoftLink("/episode_0/actions")
        elif place == "other":
            episode["observations"] = h5py.ExternalLink(str(tmp_path / "other.hdf5"), "x")
        elif place == "huge":
            episode.create_dataset("observations", (1 << 32, 4), "f8", chunks=(1024, 4))
    with pytest.raises(BadArtifact, match=r"main_data\.hdf5: .*(is a link|not an array of this|second name|at most)"):
        load_minari("own/outside-v0")


@pytest.mark.parametrize("kind", ["dictionary", "tuple", "short", "nan"])
def test_episodes_of_others_that_cannot_be_read_are_named(kind: str):
    spaces, steps = gymnasium.spaces, 5
    box = spaces.Box(-9, 9, (2,), np.float64)
    values = np.zeros((steps, 2))
    actions, action_space = {
        "dictionary": ({"arm": values}, spaces.Dict({"arm": box})),
        "tuple": ((values, values), spaces.Tuple((box, box))),
    }.get(kind, (values, box))
    observations = np.zeros((steps + 1 - (kind == "short"), 2))
    observations[-1] = np.nan if kind == "nan" else 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = minari.create_dataset_from_buffers(
            "own/odd-v0",
            buffer=[
                EpisodeBuffer(
                    id=0,
                    observations={"x": observations},
                    actions=actions,
                    rewards=[0.0] * steps,
                    terminations=[False] * steps,
                    truncations=[False] * steps,
                )
            ],
            observation_space=spaces.Dict({"x": box}),
            action_space=action_space,
            data_format="hdf5",
        )
    said = {"dictionary": "actions are a dictionary", "tuple": "actions are a tuple", "nan": "not finite at step 5"}
    with pytest.raises(BadArtifact, match=f"own/odd-v0, episode 0: .*{said.get(kind, '')}"):
        list(import_minari(dataset))


def test_maps_among_observations_are_not_read():
    from robo_reward.data.minari import _list_numbers

    tree = {"camera": {"depth": np.zeros((3, 8, 8, 1), np.float32), "flat_depth": np.zeros((3, 8, 8))}}
    assert list(_list_numbers({**tree, "arm": np.zeros((3, 2, 2))})) == ["arm"]


@pytest.mark.parametrize("data_format", ["hdf5", "arrow", "parquet"])
def test_jpegs_that_unpack_to_too_much_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data_format: str
) -> None:
    spaces = gymnasium.spaces
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    steps, picture = 4, spaces.Box(0, 255, (40, 60, 3), np.uint8)
    frames = np.random.default_rng(0).integers(0, 255, (steps + 1, 40, 60, 3), np.uint8)
    buffer = EpisodeBuffer(
        id=0,
        observations={"camera": frames, "arm": np.zeros((steps + 1, 2), np.float32)},
        actions=np.zeros((steps, 1), np.float32),
        rewards=[0.0] * steps,
        terminations=[False] * steps,
        truncations=[False] * steps,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = minari.create_dataset_from_buffers(
            f"own/{data_format}-v0",
            buffer=[buffer],
            observation_space=spaces.Dict({"camera": picture, "arm": spaces.Box(-1, 1, (2,))}),
            action_space=spaces.Box(-1, 1, (1,)),
            data_format=data_format,
        )
    monkeypatch.setattr("robo_reward.data.minari.MAX_EPISODE", frames.nbytes + 3)
    (episode,) = import_minari(dataset, frames=True)
    assert episode.frames is not None and episode.frames.shape == frames.shape
    monkeypatch.setattr("robo_reward.data.minari.MAX_EPISODE", frames.nbytes // 2)
    with pytest.raises(BadArtifact, match="its 5 pictures take more than"):
        list(import_minari(dataset, frames=True))
    if data_format == "parquet":
        monkeypatch.setattr("robo_reward.data.lerobot.places.MAX_TABLE", 1000)
        with pytest.raises(BadArtifact, match="bytes in memory, expected at most 1000"):
            list(import_minari(dataset, frames=True))
