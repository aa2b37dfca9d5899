"""Arrays on a wire: a JSON head that names them, then their bytes. Nothing in a message is ever executed."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from robo_reward.errors import RoboRewardError

LENGTH = struct.Struct("<I")
DTYPES = ("float64", "float32", "uint8", "int64")
MOST = 64 * 2**20
"""No message is larger [bytes]."""


class BadMessage(RoboRewardError):
    """Bytes that are no message of ours."""


def pack(head: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> bytes:
    """One message.

    Args:
        head: JSON.
        arrays: float64, float32, uint8 or int64.
    """
    given = {name: np.asarray(array, order="C") for name, array in (arrays or {}).items()}
    listed = [[name, array.dtype.name, list(array.shape)] for name, array in given.items()]
    text = json.dumps({"head": head, "arrays": listed}).encode()
    return b"".join([LENGTH.pack(len(text)), text, *(array.tobytes() for array in given.values())])


def unpack(data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Head and arrays of a message.

    Raises:
        BadMessage: not a message; naming what is wrong.
    """
    try:
        (length,) = LENGTH.unpack_from(data)
        document = json.loads(data[LENGTH.size : LENGTH.size + length])
        head, listed = document["head"], document["arrays"]
        arrays, at = {}, LENGTH.size + length
        for name, dtype, shape in listed:
            if dtype not in DTYPES or any(type(n) is not int or n < 0 for n in shape):
                raise BadMessage(f"array {name!r} of {dtype} {shape}: expected one of {', '.join(DTYPES)}")
            size = prod(shape) * np.dtype(dtype).itemsize
            if size > len(data) - at:
                raise BadMessage(f"array {name!r} of {shape} is cut short")
            arrays[str(name)] = np.frombuffer(data, dtype, prod(shape), at).reshape(shape)
            at += size
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise BadMessage(f"{len(data)} bytes that are no message ({error})") from error
    if not isinstance(head, dict) or at != len(data):
        raise BadMessage(f"{len(data)} bytes that are no message (its parts end at {at})")
    return head, arrays
