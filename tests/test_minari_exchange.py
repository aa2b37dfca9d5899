"""Round trips through Minari's own files and API."""

import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from robo_reward.episode import Episode, EpisodeStore
from robo_reward.errors import UsageError, WrongShape
from robo_reward.minari_exchange import export_minari, import_minari
from tests.test_episode import SPEC, make, same

minari = pytest.importorskip("minari")
EpisodeBuffer = pytest.importorskip("minari.data_collector").EpisodeBuffer


@pytest.fixture(autouse=True)
def _datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))


@pytest.mark.parametrize("data_format", ["arrow", "parquet"])
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
