"""The emulator's own log: the command, the resulting motion and the lateness of every millisecond."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import TracebackType

import numpy as np

from robo_reward.errors import UsageError
from robo_reward.hardware.emulator.robot.reflex import ERRORS
from robo_reward.hardware.emulator.wire.codec import parse_layout

_FIELDS = (
    "message_id:u8 wall lateness received:? command_id:u8 lost:u4 robot_mode:u1 motion_generator_mode:u1 "
    "controller_mode:u1 q:7 dq:7 q_d:7 dq_d:7 q_c:7 dq_c:7 O_T_EE:16 O_T_EE_c:16 O_dP_EE_c:6 tau_c:7 tau:7 tau_ext:7 "
    "wrench:6 gripper_width finished:? contact:? errors:?41"
)
CYCLE = parse_layout(_FIELDS)
"""Record of one cycle: robot time [ms], wall clock and lateness [s], the newest command received in it, and the state
after it.

`lateness` is the delay of the cycle after its deadline (free-running) or its wait for the client (lock-step). `q_c`,
`dq_c`, `O_T_EE_c`, `O_dP_EE_c` and `tau_c` are the command received by UDP, in this cycle or, where `received` is
false, in an earlier one; `q_d` and `tau` are the resulting reference and torques.
"""


class CycleLog:
    """A ring buffer of the last cycles and, on request, a file of all of them.

    One thread appends; any thread may read.

    Args:
        capacity: cycles in memory, of `CYCLE.itemsize` bytes each.
        file: where every cycle is appended, to be read with `read_log`.

    Raises:
        UsageError: a capacity below one.
    """

    def __init__(self, capacity: int = 60_000, file: Path | None = None) -> None:
        if capacity < 1:
            raise UsageError(f"a log of {capacity} cycles: expected at least one")
        self._ring = np.zeros(capacity, CYCLE)
        self._count = 0
        self._lock = threading.Lock()
        self._file = open(file, "wb") if file else None  # noqa: SIM115  `close` closes it
        if self._file:
            self._file.write(json.dumps({"robo_reward_cycles": 1, "dtype": CYCLE.descr}).encode() + b"\n")

    def append(self, cycle: np.ndarray) -> None:
        """Appends one record of `CYCLE`."""
        with self._lock:
            self._ring[self._count % len(self._ring)] = cycle
            self._count += 1
        if self._file:
            self._file.write(cycle.tobytes())

    def __len__(self) -> int:
        return min(self._count, len(self._ring))

    @property
    def total(self) -> int:
        """The number of cycles so far, including those no longer in memory."""
        return self._count

    def cycles(self, since: int = 0) -> np.ndarray:
        """Returns the cycles in memory (n,) in order, from robot time `since` [ms] on."""
        with self._lock:
            start = self._count % len(self._ring) if self._count > len(self._ring) else 0
            rows = np.roll(self._ring, -start)[: len(self)] if start else self._ring[: len(self)].copy()
        return rows[rows["message_id"] >= since]

    def errors(self) -> list[str]:
        """Returns the reflexes in memory, in the order in which they began."""
        rows = self.cycles()["errors"]
        begun = rows & ~np.concatenate([np.zeros((1, len(ERRORS)), bool), rows[:-1]])
        return [ERRORS[i] for _, i in np.argwhere(begun)]

    def close(self) -> None:
        """Closes the file."""
        if self._file:
            self._file.close()
            self._file = None

    def __enter__(self) -> CycleLog:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def read_log(file: Path) -> np.ndarray:
    """Returns the cycles (n,) in a log file; an incomplete last one is left out.

    Raises:
        UsageError: the file is not a log of emulated cycles.
    """
    head, _, body = Path(file).read_bytes().partition(b"\n")
    try:
        fields = json.loads(head)["dtype"]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{file} is not a log of emulated cycles") from error
    dtype = np.dtype([(name, kind, *(tuple(s) for s in shape)) for name, kind, *shape in fields])
    return np.frombuffer(body[: len(body) // dtype.itemsize * dtype.itemsize], dtype)
