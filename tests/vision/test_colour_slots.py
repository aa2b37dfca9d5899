import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robo_reward.errors import UsageError, WrongShape
from robo_reward.testing.encoder import EncoderContract
from robo_reward.vision.colour_slots import MOMENTS, ColourSlots
from robo_reward.vision.encoder import EncoderMismatch, build_encoder
from robo_reward.vision.probe import probe_state_fields
from robo_reward.vision.views import camera_views
from tests.vision.scenes import episodes, pictures, scene

CLIPS = episodes(12)
FRAMES = pictures(CLIPS)
SLOTS = ColourSlots.fit(CLIPS)
BLUE, RED = sorted(range(2), key=lambda k: SLOTS.weights()[SLOTS.spec()["weights"]]["colours"][k, 0])
PLACES = st.tuples(*[st.integers(-14, 14)] * 2).map(lambda p: np.array(p) / 24)  # whole pixels of a 48-pixel frame


def feature(frame: np.ndarray, slot: int, name: str, encoder: ColourSlots = SLOTS) -> float:
    return float(encoder.encode(frame[None])[0, encoder.names.index(f"v0.s{slot}.{name}")])


class TestContract(EncoderContract):
    def make_encoder(self):
        return ColourSlots.fit(CLIPS, parts=2)

    def make_frames(self, n, seed):
        frames = np.concatenate(pictures(episodes(1 + n // 15, seed=seed + 1)))
        return frames[:n]


def test_one_slot_for_each_colour_and_none_for_the_grey_arm():
    assert SLOTS.slots == 2
    assert SLOTS.dim == 2 * len(MOMENTS)
    assert ColourSlots.fit(CLIPS, min_chroma=0).slots > 2


def test_positions_are_read_off_by_a_linear_map():
    found = probe_state_fields(SLOTS, CLIPS, episodes(6, seed=7), ["red_position", "blue_position"])
    assert all(value.r2 > 0.97 for value in found.values())


@given(PLACES, PLACES)
def test_moving_an_object_moves_its_features_by_as_much(first, second):
    away = np.array([0.75, 0.75])
    frames = [scene(place, away, arm=-0.8) for place in (first, second)]
    for axis, names in enumerate((("x", "left", "right"), ("y", "top", "bottom"))):
        for name in names:
            moved = feature(frames[1], RED, name) - feature(frames[0], RED, name)
            seen = 36 / (36 + 1.5)  # a slot of 36 pixels is believed so much
            assert moved == pytest.approx((second - first)[axis] * seen, abs=0.02)
    for name in ("mass", "spread_x", "spread_y", "tilt"):
        assert feature(frames[1], RED, name) == pytest.approx(feature(frames[0], RED, name), abs=0.02)


@given(PLACES, PLACES, PLACES)
def test_the_other_colour_and_the_arm_change_nothing(red, blue, other):
    def reading(blue, arm):
        # away from the arm and from each other, so that nothing is hidden
        frame = scene(np.array([red[0], 0.5]), np.array([blue[0], 0.8]), arm)
        return SLOTS.encode(frame[None])[0].reshape(2, -1)[RED]

    np.testing.assert_allclose(reading(blue, -0.5), reading(other, 0.5), atol=1e-4)


def test_a_hidden_object_reads_as_average():
    frame = scene(np.array([9.0, 9.0]), np.array([0.0, 0.0]), arm=0)
    assert not SLOTS.encode(frame[None])[0].reshape(2, -1)[RED].any()


def test_moments_are_those_of_the_mask():
    frame = scene(np.array([-0.25, 0.5]), np.array([0.5, 0.0]), arm=0.8)
    mask = SLOTS.compute_masks(frame[None])[0, 0, RED].astype(float)
    rows, columns = np.mgrid[:48, :48]
    x, y = (columns + 0.5) / 24 - 1, (rows + 0.5) / 24 - 1
    mean = [np.average(axis, weights=mask) for axis in (x, y)]
    covariance = np.cov(x.ravel(), y.ravel(), aweights=mask.ravel(), ddof=0)
    deviation = np.sqrt(np.diag(covariance))
    wanted = [*mean, *deviation, covariance[0, 1] / (deviation.sum() + 0.02)]
    average = SLOTS.weights()[SLOTS.spec()["weights"]]["average"][0, RED]
    believed = mask.sum() / (mask.sum() + 1.5)
    got = [feature(frame, RED, name) / believed for name in ("x", "y", "spread_x", "spread_y", "tilt")]
    np.testing.assert_allclose(np.array(got) + average[1:6], wanted, atol=1e-3)
    assert feature(frame, RED, "mass") == pytest.approx(np.sqrt(2 * mask.sum() / 48**2), abs=1e-5)


def test_tilt_tells_the_diagonals_apart():
    frames = np.full((2, 48, 48, 3), 160, np.uint8)
    for i in range(8, 40):
        frames[0, i, i - 1 : i + 2] = frames[1, i, 46 - i : 49 - i] = (214, 44, 38)
    down, up = (feature(frame, RED, "tilt") for frame in frames)
    assert down > 0.1 > -0.1 > up


def test_two_things_of_one_colour_are_told_apart():
    encoder = ColourSlots.fit(CLIPS, parts=2)
    frame = scene(np.array([-0.5, 0.25]), np.array([0.0, 0.8]), arm=0.9)
    frame = np.maximum(frame, 0)
    other = scene(np.array([0.5, -0.25]), np.array([0.0, 0.8]), arm=0.9)
    both = np.where((other != frame) & (other[..., :1] > 100) & (other[..., 2:] < 60), other, frame)
    average = encoder.weights()[encoder.spec()["weights"]]["average"][0, RED, len(MOMENTS) :]
    for part, (x, y) in enumerate([(-0.5, 0.25), (0.5, -0.25)]):  # from left to right
        assert feature(both, RED, f"part{part}.x", encoder) + average[3 * part + 1] == pytest.approx(x, abs=0.05)
        assert feature(both, RED, f"part{part}.y", encoder) + average[3 * part + 2] == pytest.approx(y, abs=0.08)


def test_views_are_cameras_side_by_side():
    wide = [np.concatenate([clip, clip[:, :, ::-1]], axis=2) for clip in FRAMES]
    encoder = ColourSlots.fit(wide, views=camera_views(2))
    left, right = np.moveaxis(encoder.encode(wide[0]).reshape(-1, 2, 2, len(MOMENTS)), 1, 0)
    np.testing.assert_allclose(left[..., 1], -right[..., 1], atol=0.02)  # x is mirrored
    np.testing.assert_allclose(left[..., 2], right[..., 2], atol=0.02)


def test_a_still_thing_of_the_same_colour_is_left_out():
    clips = [clip.copy() for clip in FRAMES]
    for clip in clips:
        clip[:, 40:48, :10] = (214, 44, 38)
    encoder = ColourSlots.fit(clips)
    with_it, without = clips[0][:1].copy(), FRAMES[0][:1]
    np.testing.assert_allclose(encoder.encode(with_it), encoder.encode(without), atol=1e-6)


def test_larger_frames_are_read_at_the_fitted_size():
    frame = FRAMES[0][:3]
    larger = frame.repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_allclose(SLOTS.encode(larger), SLOTS.encode(frame), atol=1e-6)


def test_the_seed_decides():
    first, same, other = (ColourSlots.fit(CLIPS, frames=40, seed=seed) for seed in (1, 1, 2))
    assert first.spec() == same.spec()
    assert first.spec() != other.spec()


def test_nothing_that_moves():
    with pytest.raises(UsageError, match="min_chroma"):
        ColourSlots.fit([np.full((5, 32, 32, 3), 90, np.uint8)])
    with pytest.raises(UsageError, match="no frames"):
        ColourSlots.fit([])
    with pytest.raises(WrongShape, match="one size"):
        ColourSlots.fit([FRAMES[0], FRAMES[0][:, :20]])


def test_weights_of_another_encoder_are_refused_with_both_fingerprints():
    other = ColourSlots.fit(CLIPS[:3])
    with pytest.raises(EncoderMismatch) as error:
        build_encoder(SLOTS.spec(), other.weights())
    assert SLOTS.spec()["weights"] in str(error.value)
    assert other.spec()["weights"] in str(error.value)


def test_it_takes_less_than_a_millisecond_a_frame():
    frames = np.concatenate(pictures(episodes(4, size=112)))
    encoder = ColourSlots.fit([frames])
    encoder.encode(frames)
    begun = time.process_time()
    encoder.encode(frames)
    assert (time.process_time() - begun) / len(frames) < 1e-3
