import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robo_reward.hardware.messages import BadMessage, pack, unpack


@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8", "int64"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (4, 5)])
def test_arrays_come_back_bit_for_bit(dtype: str, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    array = rng.integers(0, 200, shape).astype(dtype)
    head, arrays = unpack(pack({"kind": "x", "n": 3}, {"a": array, "b": array}))
    assert head == {"kind": "x", "n": 3}
    assert list(arrays) == ["a", "b"]
    assert arrays["a"].dtype == array.dtype and arrays["a"].shape == array.shape
    assert arrays["b"].tobytes() == array.tobytes()


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_runs_nothing(data: bytes) -> None:
    with pytest.raises(BadMessage):
        unpack(data)


@given(st.integers(0, 60), st.integers(0, 255))
def test_a_damaged_message_is_read_or_refused_but_never_anything_else(at: int, value: int) -> None:
    data = bytearray(pack({"kind": "ask"}, {"observation": np.arange(3.0)}))
    data[at % len(data)] = value
    with contextlib.suppress(BadMessage):
        unpack(bytes(data))


def test_a_message_that_promises_more_than_it_holds_is_refused() -> None:
    data = pack({}, {"a": np.zeros(100)})
    with pytest.raises(BadMessage, match="cut short"):
        unpack(data[:-1])
    with pytest.raises(BadMessage, match="no message"):
        unpack(data + b"x")
