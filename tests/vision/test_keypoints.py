import numpy as np
import pytest

from robo_reward.testing.encoder import EncoderContract
from robo_reward.vision.keypoints import KeypointEncoder
from robo_reward.vision.probe import probe_state_fields
from robo_reward.vision.views import camera_views
from tests.vision.scenes import episodes, pictures

CLIPS = episodes(4)


class TestContract(EncoderContract):
    def make_encoder(self):
        return KeypointEncoder.fit(CLIPS, points=3, size=24, steps=3)


def test_the_loss_falls_and_is_reported():
    seen: list[tuple[int, int, float]] = []
    KeypointEncoder.fit(CLIPS, points=4, size=24, steps=60, progress=lambda *now: seen.append(now))
    assert [step for step, _, _ in seen] == list(range(1, 61))
    assert all(total == 60 for _, total, _ in seen)
    losses = np.array([loss for _, _, loss in seen])
    assert losses[-10:].mean() < 0.8 * losses[:10].mean()


def test_views_have_points_of_their_own():
    wide = [np.concatenate([clip, clip[:, ::-1]], axis=2) for clip in pictures(CLIPS)]
    encoder = KeypointEncoder.fit(wide, points=3, size=24, steps=4, views=camera_views(2))
    assert encoder.dim == 2 * 3 * 3
    found = encoder.encode(wide[0]).reshape(-1, 2, 3, 3)
    assert (found[:, 0] != found[:, 1]).any(axis=(1, 2)).all()
    assert np.abs(found[..., :2]).max() <= 1
    assert found[..., 2].min() >= 0
    assert found[..., 2].max() <= 1


def test_the_seed_decides():
    first, same, other = (KeypointEncoder.fit(CLIPS, points=2, size=16, steps=3, seed=seed) for seed in (1, 1, 2))
    assert first.spec() == same.spec()
    assert first.spec() != other.spec()


@pytest.mark.slow
def test_points_hold_the_positions():
    encoder = KeypointEncoder.fit(episodes(40), points=8, size=48, steps=900)
    found = probe_state_fields(encoder, episodes(20), episodes(8, seed=7), ["red_position", "blue_position"])
    assert all(value.r2 > 0.9 for value in found.values())
