"""From answers and rewards to pairs of episodes, and from these to pairs of chunks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robo_reward.data.episode import Episode, EpisodeStore
from robo_reward.envs.state import Field, StateSpec
from robo_reward.errors import UsageError
from robo_reward.labelling.answers import Answer
from robo_reward.labelling.store import Clip
from robo_reward.policies.alignment.chunks import EpisodeChunks
from robo_reward.policies.alignment.job import Preferences
from robo_reward.policies.alignment.matching import match_chunks
from robo_reward.policies.alignment.ranked_episodes import load_ranked_episodes, pair_by_scores, rank_rollouts
from robo_reward.policies.diffusion.networks.build import SIZES
from robo_reward.policies.policy import PolicyMismatch
from robo_reward.rewards.contract import RewardOutput
from tests.policies.alignment.shifters import make_episodes, make_job, make_policy, make_ranked, reach


@pytest.fixture(autouse=True)
def _small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, ("mlp", "cpu"), {"width": 32, "blocks": 1})


def store_episodes(folder: Path, episodes: list[Episode]) -> dict[str, Clip]:
    store = EpisodeStore(folder)
    names = [store.append(episode, f"e{number}") for number, episode in enumerate(episodes)]
    return {name: Clip(name, str(folder)) for name in names}


def test_a_ranking_becomes_the_pairs_that_it_contains(tmp_path: Path) -> None:
    clips = store_episodes(tmp_path, make_episodes(4))
    answers = (Answer(("e0", "e1", "e2"), "ann", (("e2",), ("e0", "e1"))), Answer(("e1", "e3"), "ann"))  # can't tell
    ranked = load_ranked_episodes(Preferences(answers, clips), reach())
    pairs = ranked.pairs
    found = set(zip(pairs.winner.tolist(), pairs.loser.tolist(), pairs.target.tolist(), strict=True))
    assert found == {(2, 0, 1.0), (2, 1, 1.0), (0, 1, 0.5)}
    assert len(ranked.episodes) == 3  # nobody said anything about e3
    assert ranked.is_liked.tolist() == [False, False, True]
    assert ranked.is_disliked.tolist() == [True, True, False]


def test_answers_that_teach_nothing_are_refused(tmp_path: Path) -> None:
    clips = store_episodes(tmp_path, make_episodes(2))
    tie = Answer(("e0", "e1"), "ann", (("e0", "e1"),))
    with pytest.raises(UsageError, match="all 1 comparisons are ties"):
        load_ranked_episodes(Preferences((tie,), clips), reach())
    with pytest.raises(UsageError, match="none of them compares two"):
        load_ranked_episodes(Preferences((Answer(("e0", "e1"), "ann"),), clips), reach())


def test_clips_that_the_policy_never_saw_are_refused(tmp_path: Path) -> None:
    episode = make_episodes(1)[0]
    spec = StateSpec([Field("somewhere", (episode.spec.dim,))])
    wide = np.zeros((len(episode), episode.action.shape[1] + 1))
    others = {
        "an episode of panda/lift, the policy acts in panda/reach": replace(episode, task_id="panda/lift"),
        "has the state": replace(episode, spec=spec),
        f"actions of {wide.shape[1]} numbers": replace(episode, action=wide),
    }
    for number, (said, other) in enumerate(others.items()):
        clips = store_episodes(tmp_path / str(number), [episode, other])
        answer = Answer(("e0", "e1"), "ann", (("e0",), ("e1",)))
        with pytest.raises(PolicyMismatch, match=said) as caught:
            load_ranked_episodes(Preferences((answer,), clips), reach())
        assert "clip e1" in str(caught.value)


def test_videos_and_lost_clips_are_refused(tmp_path: Path) -> None:
    video = tmp_path / "film.mp4"
    video.write_bytes(b"")
    answer = Answer(("e0", "e1"), "ann", (("e0",), ("e1",)))
    for path, said in ((video, "has no actions to learn from"), (tmp_path / "gone", "no longer at")):
        clips = {name: Clip(name, str(path)) for name in ("e0", "e1")}
        with pytest.raises(UsageError, match=said):
            load_ranked_episodes(Preferences((answer,), clips), reach())


def test_scores_compare_the_best_with_the_worst() -> None:
    scores = np.array([0.1, 5.0, 3.0, 0.2, 0.1, 4.0])
    pairs = pair_by_scores(scores, 1 / 3)
    found = set(zip(pairs.winner.tolist(), pairs.loser.tolist(), strict=True))
    assert found == {(1, 0), (1, 4), (5, 0), (5, 4)}
    with pytest.raises(UsageError, match="prefers none of them"):
        pair_by_scores(np.ones(6), 0.5)
    with pytest.raises(UsageError, match="not finite"):
        pair_by_scores(np.array([1.0, np.nan]), 0.5)


def reward_of_height(batch: object) -> RewardOutput:
    """Prefers a high hand."""
    total = batch.state.hand_position[:, 2]  # type: ignore[attr-defined]
    return RewardOutput(total, {})


class HeightReward:
    """A step reward for tests."""

    def __call__(self, batch: object) -> RewardOutput:
        return reward_of_height(batch)

    def spec(self) -> dict[str, str]:
        return {"kind": "function", "name": "height"}


def test_a_reward_ranks_own_episodes_and_a_stopped_ranking_goes_on(tmp_path: Path) -> None:
    task = reach()
    usual, task.horizon = task.horizon, 8
    try:
        whole = rank_rollouts(make_job(tmp_path / "whole", reward=HeightReward()), 59, 0.2)
        asked = iter([False, True, True])
        parts = make_job(tmp_path / "parts", reward=HeightReward(), stop=lambda: next(asked))
        assert not rank_rollouts(parts, 59, 0.2).episodes
        assert len(EpisodeStore(tmp_path / "parts" / "rollouts")) == 50
        resumed = rank_rollouts(replace(parts, stop=lambda: False), 59, 0.2)
    finally:
        task.horizon = usual
    assert np.array_equal(whole.scores, resumed.scores)
    height = [episode.states.hand_position[1:, 2].mean() for episode in whole.episodes]
    assert np.allclose(whole.scores, height)
    assert len(whole.episodes) == 60 and len(whole.pairs) == 144
    first, second = whole.episodes[::2], whole.episodes[1::2]
    for one, other in zip(first, second, strict=True):  # two episodes from every start, with different noise
        assert np.array_equal(one.state[0], other.state[0]) and not np.array_equal(one.action[0], other.action[0])
    assert len({episode.state[0].tobytes() for episode in first}) == 30
    assert whole.scores[whole.pairs.winner].min() >= np.quantile(whole.scores, 0.8) - 1e-9


def test_chunks_are_compared_where_both_episodes_have_seen_the_same() -> None:
    ranked, policy = make_ranked(2), make_policy()
    apart = [replace(e, state=e.state.copy()) for e in ranked.episodes]
    apart[1].state[:] = apart[0].state
    apart[1].state[4:] += 0.5  # from step 4 on, the second episode sees something else
    data = EpisodeChunks(policy, apart)
    pairs = match_chunks(policy.model, data, ranked.pairs, 0.1)
    rows = pairs.draw(np.random.default_rng(0), 400)
    assert np.mean(data.step[pairs.winner[rows]] < 4) > 0.9
    early = rows[data.step[pairs.winner[rows]] < 4]
    assert (data.step[pairs.winner[early]] == data.step[pairs.loser[early]]).all()
    uniform = match_chunks(policy.model, data, ranked.pairs, 1.0)
    rows = uniform.draw(np.random.default_rng(0), 2000)
    assert np.mean(data.step[uniform.winner[rows]] < 4) == pytest.approx(4 / data.count[0], abs=0.05)
