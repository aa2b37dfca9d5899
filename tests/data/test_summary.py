"""Metadata of episodes from others: a wrong rate or list of cameras is named."""

from __future__ import annotations

from typing import Any

import pytest

from robo_reward.data.summary import get_camera_names, get_rate, summarise_episodes
from robo_reward.errors import UsageError
from tests.data.test_episode import make
from tests.data.test_lerobot import source


@pytest.mark.parametrize(
    "meta", [{"fps": "20 Hz"}, {"fps": 0}, {"fps": float("nan")}, {"fps": None}, {"cameras": 3}, {"cameras": [1]}]
)
def test_wrong_metadata_is_named(meta: dict[str, Any]):
    with pytest.raises(UsageError, match=r"the metadata of an episode has the (rate|cameras)"):
        summarise_episodes(source([make(3, **meta)]))


def test_metadata_that_fits():
    assert get_rate(make(3, fps="25")) == 25 and get_rate(make(3)) == 20 and get_rate(make(3), 30.0) == 30
    assert get_camera_names({}) == () and get_camera_names({"cameras": ["front"]}) == ("front",)
