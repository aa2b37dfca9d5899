"""The reward keeps the contract, whatever recognises its steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from robo_reward.data.episode import Episode
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.errors import UnknownName, UsageError, WrongShape
from robo_reward.rewards.artifact import build_reward
from robo_reward.rewards.perceptual.discover import fit_steps
from robo_reward.rewards.perceptual.reward import PerceptualReward, encode_clips
from robo_reward.testing.episode_reward import EpisodeRewardContract
from robo_reward.vision.pixels import PixelsEncoder
from tests.rewards.perceptual.scenes import LENGTHS, clip, episode

FRAMES = FrameSpec(("front",), 24)


def fitted(form: str) -> PerceptualReward:
    encoder = PixelsEncoder(12)
    features = encode_clips(encoder, [clip(lengths, seed) for seed, lengths in enumerate(LENGTHS)])
    cuts = [(a, a + b) for a, b, _ in LENGTHS]
    return PerceptualReward(encoder, fit_steps(features, cuts, 20.0, form), FRAMES, 20.0)  # type: ignore[arg-type]


class Contract(EpisodeRewardContract):
    form = ""

    def make_reward(self) -> PerceptualReward:
        return fitted(self.form)

    def make_episode(self, steps: int, seed: int) -> Episode:
        whole = episode((12 + seed % 3, 8, 14), seed)
        return replace(
            whole,
            state=whole.state[: steps + 1],
            action=whole.action[:steps],
            success=whole.success[:steps],
            frames=None if whole.frames is None else whole.frames[: steps + 1],
        )


class TestGaussian(Contract):
    form = "gaussian"


class TestOrdered(Contract):
    form = "ordered"


@pytest.mark.parametrize("form", ["gaussian", "ordered"])
def test_the_end_of_the_task_is_its_last_step(form: str) -> None:
    worked = fitted(form)(episode((13, 9, 13), 50))
    assert list(worked.terms) == ["step_1", "step_2", "step_3"]
    assert worked.total[-1] > 0.8
    assert worked.terms["step_3"][-1] > 0.5 > worked.terms["step_1"][-1]


def test_doing_the_task_pays_more_than_standing_still() -> None:
    done = episode((13, 9, 13), 50)
    assert done.frames is not None
    idle = replace(done, frames=np.repeat(done.frames[:1], len(done.frames), axis=0))
    worked, stood = fitted("ordered").batch([done, idle])
    assert worked.total[-1] > 0.8 > 0.4 > stood.total[-1]
    assert worked.total.sum() > 2 * stood.total.sum()


def test_step_t_is_judged_by_frame_t_plus_1() -> None:
    one = episode((13, 9, 13), 51)
    assert one.frames is not None
    changed = one.frames.copy()
    changed[20:] = changed[0]
    reward = fitted("ordered")
    before, after = reward(one), reward(replace(one, frames=changed))
    np.testing.assert_allclose(after.total[:19], before.total[:19], atol=1e-9)
    assert abs(after.total[19] - before.total[19]) > 1e-3


def test_an_episode_s_own_rate_goes_before_the_demonstrations() -> None:
    one = episode((13, 9, 13), 52)
    reward = fitted("ordered")
    assert not np.array_equal(reward(one).total, reward(replace(one, meta={"fps": 100.0})).total)
    np.testing.assert_array_equal(reward(one).total, reward(replace(one, meta={})).total)


def test_wrong_input_is_named() -> None:
    reward, one = fitted("gaussian"), episode((13, 9, 13), 53)
    with pytest.raises(UsageError, match="24 pixels from front"):
        reward(replace(one, frames=None))
    assert one.frames is not None
    with pytest.raises(WrongShape, match="24"):
        reward(replace(one, frames=one.frames[:, ::2, ::2]))
    with pytest.raises(UsageError, match="needs its weights"):
        build_reward(reward.spec(), {})
    strange = {**reward.spec(), "model": {"form": "gausian"}}
    with pytest.raises(UnknownName, match="'gaussian'"):
        build_reward(strange, reward.weights())
