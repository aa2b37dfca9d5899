import pytest

from robo_reward.errors import UsageError
from robo_reward.hardware.deployment.time_scale import SIMULATED_LAG, TimeScale


def test_the_tempo_rises_to_its_value_and_stays() -> None:
    tempo = TimeScale(0.5, ramp=10, first=0.4)
    values = [tempo.scale_at(step) for step in range(20)]
    assert values[0] == pytest.approx(0.2)
    assert values == sorted(values)
    assert values[10:] == [0.5] * 10
    assert [TimeScale(0.5, ramp=0).scale_at(step) for step in range(3)] == [0.5] * 3


def test_the_lag_is_that_of_training_in_the_policys_time() -> None:
    dt = 0.04
    for value in (1.0, 0.5, 0.25):
        behind = dt / value + TimeScale(value).compute_lag(dt)  # the stream's step and the arm's own lag [s]
        assert behind * value == pytest.approx(SIMULATED_LAG)


@pytest.mark.parametrize(("value", "ramp", "first"), [(0.0, 1, 1.0), (1.5, 1, 1.0), (0.5, -1, 1.0), (0.5, 1, 0.0)])
def test_senseless_numbers_are_refused(value: float, ramp: int, first: float) -> None:
    with pytest.raises(UsageError, match="expected"):
        TimeScale(value, ramp, first)
