"""A reward learnt from other pictures than those of the task is told, before it trains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from robo_reward.data.collect import collect_episodes
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.task import make_task
from robo_reward.errors import BadArtifact
from robo_reward.scoring.resemblance import (
    FILE,
    build_thumbnails,
    describe_strange_pictures,
    load_thumbnails,
    measure_resemblance,
    save_thumbnails,
)


def test_thumbnails_come_back_in_order(tmp_path: Path) -> None:
    (tmp_path / "reward.json").touch()
    assert load_thumbnails(tmp_path) is None
    clips = [np.full((t, 20, 30, 3), (10 * i, 50, 200), np.uint8) for i, t in enumerate((1, 5, 40))]
    clips[2][-1] = 255
    thumbnails = build_thumbnails(clips)
    assert thumbnails.shape == (24, 16, 16, 3)
    assert (thumbnails[8] == (10, 50, 200)).all() and (thumbnails[22] == (20, 50, 200)).all()
    assert (thumbnails[23] == 255).all()
    save_thumbnails(thumbnails, tmp_path)
    np.testing.assert_array_equal(load_thumbnails(tmp_path), thumbnails)
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:40])
    with pytest.raises(BadArtifact, match="damaged"):
        load_thumbnails(tmp_path)


def test_light_does_not_count_and_another_picture_does() -> None:
    rng = np.random.default_rng(0)
    known = rng.integers(60, 180, (4, 16, 16, 3))
    darker = (known[2:3] * (0.4, 0.5, 0.6) + 7).astype(np.uint8)
    assert measure_resemblance(known, darker) == pytest.approx(1.0, abs=0.02)
    assert measure_resemblance(known, 255 - known[2:3]) < 0.3
    assert measure_resemblance(known, rng.integers(0, 255, (3, 16, 16, 3))) < 0.3


def test_other_cameras_and_films_have_nothing_in_common_with_a_task() -> None:
    task, front = make_task("panda/reach"), FrameSpec(("front",), 64)

    def film(camera: str) -> np.ndarray:
        episodes = collect_episodes(task, task.expert, 2, seed=7, frames=FrameSpec((camera,), 64))
        return build_thumbnails([e.frames for e in episodes if e.frames is not None])

    assert describe_strange_pictures(task, front, film("front")) == ""
    assert describe_strange_pictures(make_task("fr3/push"), front, film("front")) == ""  # the same table and camera
    said = describe_strange_pictures(task, front, film("side"))
    assert "camera front" in said and "nothing in common" in said
    stripes = np.zeros((30, 48, 64, 3), np.uint8)
    stripes[:, :, ::8] = 255
    assert "nothing in common" in describe_strange_pictures(task, front, build_thumbnails([stripes]))
