"""Binary messages of arrays: a JSON head that names them, then their bytes. Nothing in them is executed."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from math import prod
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from robo_reward.errors import BadArtifact, RoboRewardError
from robo_reward.files import parse_json

SCENE_PORT = 1341
"""Port on which an emulator serves the state of its scene."""

LENGTH = struct.Struct("<I")
MOST = 64 * 2**20
"""Largest message [bytes]."""
MOST_HEAD = 4 * 2**20
"""Largest header of a message [bytes]."""
Listed = tuple[
    str,
    Literal["float64", "float32", "uint8", "int64"],
    Annotated[list[Annotated[int, msgspec.Meta(ge=0, le=2**31)]], msgspec.Meta(max_length=8)],
]


class MessageHeader(msgspec.Struct):
    """The JSON part of a message: its head, and name, type and shape of each array."""

    head: dict[str, Any]
    arrays: Annotated[list[Listed], msgspec.Meta(max_length=100)]


class BadMessage(RoboRewardError):
    """Raised for bytes that are not a valid message."""


def pack_message(head: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> bytes:
    """Encodes a head and arrays as one message.

    Args:
        head: JSON values.
        arrays: float64, float32, uint8 or int64.
    """
    given = {name: np.asarray(array, order="C") for name, array in (arrays or {}).items()}
    listed = [[name, array.dtype.name, list(array.shape)] for name, array in given.items()]
    text = json.dumps({"head": head, "arrays": listed}).encode()
    return b"".join([LENGTH.pack(len(text)), text, *(array.tobytes() for array in given.values())])


def unpack_message(data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Decodes the head and arrays of a message.

    Raises:
        BadMessage: not a valid message; names what is wrong.
    """
    if not isinstance(data, bytes) or not LENGTH.size <= len(data) <= MOST:
        raise BadMessage(f"{len(data)} {'bytes' if isinstance(data, bytes) else 'letters'} that are not a message")
    (length,) = LENGTH.unpack_from(data)
    at = LENGTH.size + length
    if length > MOST_HEAD or at > len(data):
        raise BadMessage(f"{len(data)} bytes that are not a message: its head has {length}")
    try:
        envelope = parse_json(data[LENGTH.size : at], MessageHeader, "a message")
    except BadArtifact as error:
        raise BadMessage(f"{len(data)} bytes that are not a message ({error.problem})") from error
    arrays: dict[str, np.ndarray] = {}
    for name, dtype, shape in envelope.arrays:
        size = prod(shape) * np.dtype(dtype).itemsize
        if size > len(data) - at:
            raise BadMessage(f"array {name!r} of {shape} is cut short")
        arrays[name] = np.frombuffer(data, dtype, prod(shape), at).reshape(shape) if size else np.zeros(shape, dtype)
        at += size
    if at != len(data):
        raise BadMessage(f"{len(data)} bytes that are not a message (its parts end at {at})")
    return envelope.head, arrays
