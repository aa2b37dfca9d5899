import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robo_reward.hardware.policy.process import PolicyDied, read_ready, read_reply, specification
from robo_reward.hardware.wire import LENGTH, BadMessage, pack_message, unpack_message
from tests.hardware import policies


@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8", "int64"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (4, 5)])
def test_arrays_come_back_bit_for_bit(dtype: str, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    array = rng.integers(0, 200, shape).astype(dtype)
    head, arrays = unpack_message(pack_message({"kind": "x", "n": 3}, {"a": array, "b": array}))
    assert head == {"kind": "x", "n": 3}
    assert list(arrays) == ["a", "b"]
    assert arrays["a"].dtype == array.dtype and arrays["a"].shape == array.shape
    assert arrays["b"].tobytes() == array.tobytes()


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_runs_nothing(data: bytes) -> None:
    with pytest.raises(BadMessage):
        unpack_message(data)


@given(st.integers(0, 60), st.integers(0, 255))
def test_a_damaged_message_is_read_or_refused_but_never_anything_else(at: int, value: int) -> None:
    data = bytearray(pack_message({"kind": "ask"}, {"observation": np.arange(3.0)}))
    data[at % len(data)] = value
    with contextlib.suppress(BadMessage):
        unpack_message(bytes(data))


def test_a_message_that_promises_more_than_it_holds_is_refused() -> None:
    data = pack_message({}, {"a": np.zeros(100)})
    with pytest.raises(BadMessage, match="cut short"):
        unpack_message(data[:-1])
    with pytest.raises(BadMessage, match="not a message"):
        unpack_message(data + b"x")


SCALARS = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=8)
JSON = st.recursive(
    SCALARS, lambda more: st.lists(more, max_size=4) | st.dictionaries(st.text(max_size=8), more, max_size=4),
    max_leaves=12,
)  # fmt: skip
READY: dict[str, Any] = {"kind": "ready", **specification(policies.load("fr3/lift steady"))}


def raw(text: bytes, rest: bytes = b"") -> bytes:
    return LENGTH.pack(len(text)) + text + rest


@settings(max_examples=60, deadline=None)
@given(JSON, JSON, st.binary(max_size=40))
def test_any_json_where_a_message_should_be_is_refused_or_read(head: Any, arrays: Any, rest: bytes) -> None:
    for document in (
        {"head": head, "arrays": arrays},
        head,
        {"head": {"kind": "reply"}, "arrays": [["a", *[arrays] * 2]]},
    ):
        with contextlib.suppress(BadMessage):
            unpack_message(raw(json.dumps(document).encode(), rest))


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\0", b"\xff" * 8, raw(b"[" * 200_000), raw(b'{"head":{},"arrays":' + b"[" * 100_000), raw(b"1" * 5000),
        raw(b'{"head":{},"arrays":[["a","float64",[1000000,1000000]]]}'),
        raw(b'{"head":{},"arrays":[["a","float64",[0,1000000000000000000]]]}'),
        raw(b'{"head":{},"arrays":[["a","float64",[1,1,1,1,1,1,1,1,1,1]]]}', b"12345678"),
        raw(b'{"head":{},"arrays":[["a","object",[1]]]}', b"12345678"),
        raw(b'{"head":{},"arrays":[["a","float64",[-1]]]}'), raw(b'{"head":{},"arrays":[[["a"],"float64",[1]]]}'),
        LENGTH.pack(2**32 - 1) + b"{}",
    ],
)  # fmt: skip
def test_what_is_no_message_is_refused_before_memory_is_taken(data: bytes) -> None:
    with pytest.raises(BadMessage):
        unpack_message(data)


def changed(document: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    copy = json.loads(json.dumps(document))
    place = copy
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return copy


PLACES = [
    ("kind",), ("action",), ("action", "kind"), ("action", "names"), ("action", "scale"), ("action", "rate_hz"),
    ("observation",), ("observation", "state"), ("observation", "state", 0), ("observation", "state", 0, "shape"),
    ("observation", "state", 0, "name"), ("observation", "parts"), ("observation", "parts", 0, "field"),
    ("observation", "parts", 0, "scale"), ("observation", "parts", 0, "centre"), ("observation", "parts", 0, "minus"),
    ("meta",),
]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PLACES), JSON)
def test_a_handshake_is_read_or_refused_whatever_stands_in_it(place: tuple[Any, ...], value: Any) -> None:
    with contextlib.suppress(BadMessage):
        read_ready(changed(READY, place, value))


def test_a_handshake_is_read_as_it_was_meant() -> None:
    said, own = read_ready(READY), policies.load("fr3/lift steady")
    assert said.action == own.action and said.observation.to_json() == own.observation.to_json()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("observation", "state", 0, "shape"), [10**6]),
        (("observation", "state", 0, "shape"), [1000, 1000]),
        (
            ("observation", "parts"),
            [{"field": READY["observation"]["state"][0]["name"], "scale": 1.0, "centre": []}] * 9999,
        ),
        (("observation", "parts", 0, "scale"), 0.0),
        (("observation", "parts", 0, "field"), "nowhere"),
        (("action", "scale"), [1.0]),
        (("kind",), "hello"),
    ],
)
def test_a_handshake_that_would_take_memory_or_means_nothing_is_refused(place: tuple[Any, ...], value: Any) -> None:
    with pytest.raises(BadMessage):
        read_ready(changed(READY, place, value))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["kind", "ticket", "seconds"]), JSON)
def test_a_reply_is_read_or_refused_whatever_stands_in_its_head(key: str, value: Any) -> None:
    head = {"kind": "reply", "ticket": 1, "seconds": 0.1, key: value}
    with contextlib.suppress(BadMessage, PolicyDied):
        reply = read_reply(pack_message(head, {"actions": np.zeros((1, 4), np.float32)}))
        assert reply.ticket >= 0 and 0 <= reply.seconds < np.inf and reply.actions.dtype == np.float64
