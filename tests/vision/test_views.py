from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robo_reward.errors import UsageError, WrongShape
from robo_reward.vision.views import camera_views, check_views, collect_clips, crop_view, sample_frames
from tests.vision.scenes import episodes, pictures


@given(st.integers(1, 5), st.integers(1, 20), st.integers(1, 30))
def test_cameras_side_by_side_are_cut_apart_exactly(count, height, width):
    frames = np.repeat(np.arange(count, dtype=np.uint8), width)[None, None, :, None]
    frames = np.broadcast_to(frames, (2, height, count * width, 3))
    for camera, view in enumerate(camera_views(count)):
        part = crop_view(frames, view)
        assert part.shape == (2, height, width, 3)
        assert (part == camera).all()


def test_a_box_in_each_camera():
    assert camera_views(2, (0.5, 0.0, 1.0, 0.5)) == ((0.25, 0.0, 0.5, 0.5), (0.75, 0.0, 1.0, 0.5))


def test_shrinking_averages_areas():
    frames = np.random.default_rng(0).integers(0, 256, (3, 8, 12, 3), np.uint8)
    wanted = frames.reshape(3, 4, 2, 6, 2, 3).mean(axis=(2, 4))
    assert np.abs(crop_view(frames, (0, 0, 1, 1), (4, 6)) - wanted).max() <= 0.5


def test_a_crop_of_the_right_size_is_not_copied():
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    assert np.shares_memory(crop_view(frames, (0, 0, 0.5, 0.5), (4, 4)), frames)


@pytest.mark.parametrize(
    "view", [(0, 0, 0, 1), (0.5, 0, 0.4, 1), (-0.1, 0, 1, 1), (0, 0, 1, 1.1), (0, 0, 1), (0, 0, float("nan"), 1)]
)
def test_boxes_that_are_none(view):
    with pytest.raises(UsageError, match="left"):
        check_views([view])


def test_no_views():
    with pytest.raises(UsageError, match="at least one view"):
        check_views([])


def test_clips_come_from_episodes_and_arrays():
    found = episodes(2, steps=3)
    arrays = pictures(found)
    for source in (found, arrays, np.stack(arrays)):
        np.testing.assert_array_equal(np.stack(collect_clips(source)), np.stack(arrays))
    bare = replace(found[0], frames=None)
    with pytest.raises(UsageError, match="episode 0 has no frames"):
        collect_clips([bare])
    with pytest.raises(WrongShape, match="uint8"):
        collect_clips([arrays[0].astype(float)])


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(any), st.integers(1, 40), st.integers(0, 9))
def test_frames_are_sampled_once_each_and_from_everywhere(lengths, count, seed):
    numbers = iter(range(100))
    clips = [np.array([next(numbers) for _ in range(n)], np.uint8).reshape(n, 1, 1, 1).repeat(3, 3) for n in lengths]
    chosen = sample_frames(clips, count, np.random.default_rng(seed))[:, 0, 0, 0].astype(int)
    total = sum(lengths)
    assert len(chosen) == min(count, total)
    assert (np.diff(chosen) > 0).all()
    gaps = np.diff([-1, *chosen, total])
    assert gaps.max() <= 2 * total / len(chosen) + 1
