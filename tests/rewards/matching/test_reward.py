"""The reward itself: what it shows the encoder, whom it compares with, and that it comes back the same."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from robo_reward.data.episode import Episode
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.state import Field, StateSpec
from robo_reward.errors import UnknownName, UsageError, WrongShape
from robo_reward.rewards.artifact import build_reward, load_reward, save_reward
from robo_reward.rewards.contract import EpisodeReward, Weights, digest_tensors
from robo_reward.rewards.matching import (
    DTW,
    ORCA,
    OT,
    FrameFeatures,
    GoalDistance,
    MatchingReward,
    MinDistance,
    Rule,
    StateFeatures,
    UnbalancedOT,
    compute_causal_reward,
    euclidean,
)
from robo_reward.rewards.weighted import WeightedReward
from robo_reward.vision.encoder import encoders

SPEC = StateSpec([Field("hand_position", (3,), "m"), Field("opening", (), "m")])
FRAMES = FrameSpec(("front",), 8)


class Mixing:
    """An encoder with weights that counts its calls: a linear map of the mean colour."""

    dim = 4

    def __init__(self, matrix: np.ndarray) -> None:
        self.matrix, self.calls = matrix, 0

    def encode(self, frames: np.ndarray) -> np.ndarray:
        self.calls += 1
        return (frames.astype(np.float32).mean((1, 2)) / 255.0) @ self.matrix

    def spec(self) -> dict:
        return {"kind": "mixing", "weights": digest_tensors({"matrix": self.matrix})}

    def weights(self) -> Weights:
        return {digest_tensors({"matrix": self.matrix}): {"matrix": self.matrix}}


@pytest.fixture(autouse=True)
def _mixing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(encoders._factories, "mixing", lambda spec, weights: Mixing(weights[spec["weights"]]["matrix"]))


def episode(seed: int, steps: int = 6, frames: bool = True) -> Episode:
    rng = np.random.default_rng(seed)
    return Episode(
        state=np.cumsum(rng.normal(size=(steps + 1, 4)), 0),
        action=rng.uniform(-1, 1, (steps, 2)),
        success=np.zeros(steps, bool),
        spec=SPEC,
        frames=rng.integers(0, 256, (steps + 1, 8, 8, 3), np.uint8) if frames else None,
    )


def encoder(seed: int = 0) -> Mixing:
    return Mixing(np.random.default_rng(seed).normal(size=(3, 4)).astype(np.float32))


def pixels(episode: Episode) -> np.ndarray:
    assert episode.frames is not None
    return episode.frames


def pictures(**options) -> MatchingReward:
    return MatchingReward.from_episodes(FrameFeatures(encoder(), FRAMES), [episode(100), episode(101, 9)], **options)


def states(**options) -> MatchingReward:
    return MatchingReward.from_episodes(StateFeatures(["hand_position"]), [episode(100), episode(101)], **options)


MAKERS = {
    "pictures": lambda: pictures(),
    "pictures_scaled": lambda: pictures(scale="first_episode", rule=DTW(), cost="euclidean"),
    "causal": lambda: pictures(causal=True, rule=OT(0.2)),
    "states": lambda: states(cost="euclidean", rule=ORCA(2.0), scale=3.0),
    "goal": lambda: states(cost="squared_euclidean", rule=GoalDistance()),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
class TestContract:
    def test_one_finite_number_per_step(self, make):
        reward = make()
        assert isinstance(reward, EpisodeReward)
        for steps in (1, 2, 7):
            output = reward(episode(1, steps))
            assert output.total.shape == (steps,) and output.total.dtype == np.float64
            assert np.isfinite(output.total).all()
            np.testing.assert_array_equal(sum(output.terms.values()), output.total)

    def test_a_batch_is_one_by_one(self, make):
        episodes = [episode(i, steps) for i, steps in enumerate((6, 3, 6, 9, 6))]
        together, alone = make(), make()
        for output, e in zip(together.batch(episodes), episodes, strict=True):
            np.testing.assert_allclose(output.total, alone(e).total, rtol=1e-6, atol=1e-9)
        assert make().batch([]) == []

    def test_comes_back_bit_for_bit(self, make, tmp_path: Path):
        reward, other = make(), episode(2)
        reward(episode(1))  # sets the scale where there is one to set
        back = load_reward(save_reward(reward, tmp_path))
        np.testing.assert_array_equal(back(other).total, reward(other).total)
        assert json.loads(json.dumps(back.spec())) == json.loads(json.dumps(reward.spec()))
        again = build_reward(json.loads(json.dumps(reward.spec())), reward.weights())
        np.testing.assert_array_equal(again(other).total, reward(other).total)

    def test_the_episode_is_unchanged(self, make):
        e = episode(3)
        before = e.state.copy(), None if e.frames is None else e.frames.copy()
        make()(e)
        np.testing.assert_array_equal(e.state, before[0])
        np.testing.assert_array_equal(e.frames, before[1])


def test_step_t_is_judged_by_frame_t_plus_1():
    e, reward = episode(5), pictures(rule=MinDistance())
    changed = pixels(e).copy()
    changed[0] = 0
    first = Episode(e.state, e.action, e.success, SPEC, frames=changed)
    np.testing.assert_array_equal(reward(first).total, reward(e).total)
    changed = pixels(e).copy()
    changed[3] = 0
    third = Episode(e.state, e.action, e.success, SPEC, frames=changed)
    assert (reward(third).total != reward(e).total).tolist() == [False, False, True, False, False, False]


def test_the_frames_of_all_episodes_go_through_the_encoder_at_once():
    counting = encoder()
    reward = MatchingReward.from_episodes(FrameFeatures(counting, FRAMES), [episode(100)])
    counting.calls = 0
    reward.batch([episode(i, 4 + i % 2) for i in range(6)])
    assert counting.calls == 1


def test_frames_of_another_size_still_go_through():
    e = episode(1)
    small = Episode(e.state, e.action, e.success, SPEC, frames=np.ascontiguousarray(pixels(e)[:, :4, :4]))
    outputs = pictures().batch([e, small])
    assert np.isfinite(outputs[1].total).all()


def test_states_match_by_hand():
    demonstration, e = episode(7), episode(8)
    reward = MatchingReward.from_episodes(
        StateFeatures(["hand_position", "opening"]), [demonstration], MinDistance(), cost="euclidean"
    )
    wanted = [-min(np.linalg.norm(x - y) for y in demonstration.state[1:]) for x in e.state[1:]]
    np.testing.assert_allclose(reward(e).total, wanted, rtol=1e-9)
    assert reward.frames is None


@pytest.mark.parametrize("rule", [OT(0.3), UnbalancedOT(), ORCA(2.0), DTW()])
def test_the_closest_demonstration_is_the_one_with_the_largest_sum(rule: Rule):
    demonstrations = [episode(s) for s in range(20, 24)]
    look = StateFeatures(["hand_position"])
    reward = MatchingReward.from_episodes(look, demonstrations, rule, cost="euclidean")
    alone = [MatchingReward.from_episodes(look, [d], rule, cost="euclidean") for d in demonstrations]
    for e in (episode(30), episode(31), demonstrations[2]):
        every = [single(e).total for single in alone]
        np.testing.assert_allclose(reward(e).total, max(every, key=np.sum), rtol=1e-12)


def test_causal_rewards_do_not_know_what_comes():
    demonstrations, e = [episode(s) for s in range(20, 23)], episode(33)
    moved = np.concatenate([e.state[:4], e.state[4:] + 3.0])  # from state 4 on, which judges step 3
    later = Episode(moved, e.action, e.success, SPEC)
    look = StateFeatures(["hand_position"])
    for rule in (OT(0.3), DTW(), ORCA(1.0), MinDistance()):
        causal = MatchingReward.from_episodes(look, demonstrations, rule, cost="euclidean", causal=True)
        np.testing.assert_allclose(causal(later).total[:3], causal(e).total[:3], rtol=1e-9)
    whole = MatchingReward.from_episodes(look, demonstrations, OT(0.3), cost="euclidean")
    assert not np.allclose(whole(later).total[:3], whole(e).total[:3])


def test_causal_rewards_by_hand():
    demonstrations, e, look = [episode(s) for s in (20, 21)], episode(33), StateFeatures(["hand_position"])
    reward = MatchingReward.from_episodes(look, demonstrations, OT(0.3), cost="euclidean", causal=True)
    x = torch.from_numpy(e.state[1:, :3])
    each = [
        compute_causal_reward(OT(0.3), euclidean(x, torch.from_numpy(d.state[1:, :3]))).numpy() for d in demonstrations
    ]
    sums = np.cumsum(each, axis=1)
    wanted = [each[int(sums[:, t].argmax())][t] for t in range(6)]
    np.testing.assert_allclose(reward(e).total, wanted, rtol=1e-9)


def test_the_first_episode_sums_to_ten_and_fixes_the_scale():
    reward = states(cost="euclidean", rule=OT(0.2), scale="first_episode")
    plain = states(cost="euclidean", rule=OT(0.2))
    first, second = episode(40), episode(41)
    assert reward.spec()["scale"] == "first_episode"
    assert reward(first).total.sum() == pytest.approx(-10.0)
    factor = 10.0 / -plain(first).total.sum()
    assert reward.spec()["scale"] == pytest.approx(factor)
    np.testing.assert_allclose(reward(second).total, plain(second).total * factor, rtol=1e-12)


def test_an_episode_without_any_reward_does_not_fix_the_scale():
    demonstration = episode(40)
    reward = MatchingReward.from_episodes(
        StateFeatures(["hand_position"]), [demonstration], MinDistance(), cost="euclidean", scale="first_episode"
    )
    np.testing.assert_allclose(reward(demonstration).total, 0.0, atol=1e-9)
    assert reward.scale == "first_episode"
    assert reward(episode(41)).total.sum() == pytest.approx(-10.0)


def test_a_demonstration_of_one_frame_and_a_constant_clip():
    flat = Episode(np.ones((4, 4)), np.zeros((3, 2)), np.zeros(3, bool), SPEC)
    for rule in (OT(), ORCA(), DTW(), UnbalancedOT()):
        for demonstration in (episode(1, 1), flat):
            reward = MatchingReward.from_episodes(StateFeatures(["hand_position"]), [demonstration], rule)
            assert np.isfinite(reward(flat).total).all()


def test_two_rewards_with_weights_share_a_folder(tmp_path: Path):
    """Also what the artifact must not mistake: an encoder's kind is no reward's."""
    folder = save_reward(pictures(), tmp_path)
    assert len(list(folder.glob("weights-*.safetensors"))) == 2
    both = WeightedReward({"a": (pictures(), 1.0)})  # type: ignore[dict-item]
    assert len(both.weights()) == 2
    assert load_reward(save_reward(both, tmp_path / "both")).spec() == both.spec()


def test_clear_errors():
    reward = pictures()
    with pytest.raises(UsageError, match="8 pixels from front"):
        reward(episode(1, frames=False))
    with pytest.raises(UnknownName, match="'hand_position'"):
        MatchingReward.from_episodes(StateFeatures(["hand_positon"]), [episode(1)])
    with pytest.raises(UsageError, match="at least one demonstration"):
        MatchingReward.from_episodes(StateFeatures(["opening"]), [])
    with pytest.raises(UsageError, match="at least one field"):
        StateFeatures([])
    with pytest.raises(WrongShape):
        MatchingReward(StateFeatures(["opening"]), [np.ones((3, 2)), np.ones((3, 1))])
    with pytest.raises(UsageError, match="not finite"):
        MatchingReward(StateFeatures(["opening"]), [np.full((3, 1), np.nan)])
    with pytest.raises(WrongShape, match="features of an episode"):
        MatchingReward(StateFeatures(["opening"]), [np.ones((3, 2))])(episode(1))
    for scale in ("first", np.inf):
        with pytest.raises(UsageError, match="first_episode"):
            states(scale=scale)
    with pytest.raises(UnknownName):
        states(cost="manhattan")
    with pytest.raises(UsageError, match="weights"):
        build_reward(reward.spec(), {})
