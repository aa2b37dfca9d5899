"""Min-max normalisation."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robo_reward.errors import UsageError, WrongShape
from robo_reward.policies.diffusion.normaliser import MIN_RANGE, MinMax

ROWS = arrays(np.float32, st.tuples(st.integers(1, 8), st.integers(1, 4)), elements=st.floats(-1000, 1000, width=32))


@given(ROWS)
def test_normalising_maps_the_data_to_the_unit_range_and_back(data: np.ndarray) -> None:
    found, rows = MinMax.fit(data), torch.from_numpy(data)
    scaled = found.normalise(rows)
    low, high = data.min(0), data.max(0)
    for column in range(data.shape[1]):
        if high[column] - low[column] < MIN_RANGE:
            assert not scaled[:, column].any()
            continue
        expected = [
            2 * (float(x) - float(low[column])) / (float(high[column]) - float(low[column])) - 1
            for x in data[:, column]
        ]
        np.testing.assert_allclose(scaled[:, column], expected, atol=2e-2 if high[column] - low[column] < 1 else 1e-4)
    np.testing.assert_allclose(found.denormalise(scaled), data, atol=1e-3)


def test_a_constant_column_is_ignored_later_and_comes_back_as_its_constant() -> None:
    found = MinMax.fit(np.array([[0.7, 0.0], [0.7, 1.0]], np.float32))
    assert found.normalise(torch.tensor([[123.0, 0.5]])).tolist() == [[0.0, 0.0]]
    torch.testing.assert_close(found.denormalise(torch.tensor([[0.9, 1.0]])), torch.tensor([[0.7, 1.0]]))


def test_bounds_that_are_none_are_refused() -> None:
    with pytest.raises(UsageError, match=r"column 1 .* expected low <= high"):
        MinMax(torch.zeros(2), torch.tensor([1.0, -1.0]))
    with pytest.raises(UsageError, match="column 0"):
        MinMax.fit(np.array([[np.nan]], np.float32))
    with pytest.raises(WrongShape):
        MinMax(torch.zeros(2), torch.zeros(3))
    with pytest.raises(UsageError, match="at least one row"):
        MinMax.fit(np.zeros((0, 3), np.float32))
