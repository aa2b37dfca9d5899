"""Settings that do not fit together are refused before any work."""

from typing import Any

import pytest

from robo_reward.errors import RoboRewardError, UsageError
from robo_reward.policies.diffusion.settings import DiffusionSettings


def test_settings_round_trip_and_the_chunk_begins_at_the_newest_observation() -> None:
    settings = DiffusionSettings(objective="flow", network="unet", history=3, horizon=16, execute=8)
    assert settings.chunk == 14
    assert DiffusionSettings.from_json(settings.to_json()) == settings


WRONG = [
    ({"execute": 9}, "execute=9 actions of a chunk of 8"),
    ({"history": 3, "execute": 7}, "execute=7 actions of a chunk of 6"),
    ({"history": 9}, "history=9 is longer than horizon=8"),
    ({"network": "unet", "horizon": 9}, "multiple of 2. Give horizon=10"),
    ({"network": "unet", "size": "paper", "horizon": 10}, "multiple of 4. Give horizon=12"),
    ({"network": "unett"}, "Did you mean 'unet'"),
    ({"objective": "dpm"}, "Did you mean 'ddpm'"),
    ({"horizon": 0}, "horizon=0: expected a whole number from 1"),
    ({"history": True}, "history=True"),
    ({"warm_start": 1.0}, "warm_start=1.0: expected a number from 0.0 to 0.99"),
    ({"learning_rate": float("nan")}, "learning_rate=nan"),
    ({"ema_power": 2}, "ema_power=2"),
]


@pytest.mark.parametrize(("given", "message"), WRONG, ids=[str(pair[0]) for pair in WRONG])
def test_wrong_settings_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        DiffusionSettings(**given)


@pytest.mark.parametrize("value", [{"more": 1}, {"horizon": "8"}, {"execute": 0}, {"network": 3}])
def test_settings_of_a_file_are_checked(value: dict[str, Any]) -> None:
    with pytest.raises(RoboRewardError):
        DiffusionSettings.from_json(value)
