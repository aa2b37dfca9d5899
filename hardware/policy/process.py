"""A policy in a process of its own.

The control loop goes on however long the policy takes, and even if it dies.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from robo_reward.envs.task import ActionSpec, ObservationSpec
from robo_reward.errors import UsageError
from robo_reward.hardware.policy.messages import (
    PolicyDied,
    PolicyReply,
    PolicySpecification,
    answer,
    pack_query,
    read_ready,
    read_reply,
    specification,
    warm_up,
)
from robo_reward.hardware.policy.sender import BackgroundSender
from robo_reward.hardware.wire import pack_message, unpack_message
from robo_reward.policies.rollout.chunk import ChunkSpec

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class PolicySource(Protocol):
    """A policy that is queried without waiting.

    Attributes:
        action: the convention of its actions.
        observation: the convention of its observations.
        meta: where it comes from.
        horizons: its history, its chunks and the pictures that it looks at.
    """

    action: ActionSpec
    observation: ObservationSpec
    meta: dict[str, Any]
    horizons: ChunkSpec

    def send_observation(self, ticket: int, observation: Any) -> None:
        """Sends an observation with the number of the query: (O,), or as `pack_query` takes it."""
        ...

    def receive_reply(self, timeout: float) -> PolicyReply | None:
        """Returns the next reply, or None when there is none within the time [s].

        Raises:
            PolicyDied: there will be none.
        """
        ...

    def reset(self) -> None:
        """Prepares the policy for a new episode."""
        ...

    def close(self) -> None:
        """Ends the policy's process or connection."""
        ...


class PolicyProcess:
    """A policy folder behind a pipe.

    The child ignores Ctrl-C and the end of the terminal, which reach every process of the terminal: it ends when
    the pipe closes, so it never outlives its parent.

    Args:
        folder: with `policy.json`, or another argument of `load`.
        load: makes the policy in the child; by default `load_policy`. A function of a module, not a closure.
        threads: of the child's numerical libraries.
        patience: how long the start may take [s].

    Raises:
        PolicyDied: it did not start; with the child's own error message.
    """

    def __init__(
        self,
        folder: Path | str,
        load: Callable[[str], Any] | None = None,
        threads: int = 1,
        patience: float = 120.0,
    ) -> None:
        if threads < 1:
            raise UsageError(f"threads={threads}: expected at least 1")
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=_serve_policy, args=(theirs, str(folder), load, threads), name="policy", daemon=True
        )
        self._sender: BackgroundSender | None = None
        self.process.start()
        theirs.close()
        said = self._receive_specification(patience)
        self.action, self.observation = said.action, said.observation
        self.meta: dict[str, Any] = said.meta
        self.horizons, self._resets = said.horizons, 0
        if self.horizons.frames is not None:
            self._sender = BackgroundSender(self._pipe.send_bytes)

    def send_observation(self, ticket: int, observation: Any) -> None:
        self._send_message(pack_query(ticket, observation))

    def receive_reply(self, timeout: float) -> PolicyReply | None:
        try:
            if not self._pipe.poll(max(timeout, 0.0)):
                return None
            return read_reply(self._pipe.recv_bytes())
        except (EOFError, OSError) as error:
            raise PolicyDied(self._describe_exit()) from error

    def reset(self) -> None:
        while self.receive_reply(0.0) is not None:  # drop replies to the last episode
            pass
        self._send_message(pack_message({"kind": "reset", "seed": self._resets}))
        self._resets += 1

    def close(self) -> None:
        if self._sender is not None:
            self._sender.close()
        self._pipe.close()
        self.process.join(2)
        if self.process.is_alive():
            self.process.kill()
            self.process.join(2)

    def _send_message(self, data: bytes) -> None:
        try:
            self._sender.put(data) if self._sender else self._pipe.send_bytes(data)
        except OSError as error:
            raise PolicyDied(self._describe_exit()) from error

    def _receive_specification(self, patience: float) -> PolicySpecification:
        try:
            if not self._pipe.poll(patience):
                self.close()
                raise PolicyDied(f"it did not load within {patience:g} s")
            head, _ = unpack_message(self._pipe.recv_bytes())
        except (EOFError, OSError) as error:
            raise PolicyDied(self._describe_exit()) from error
        if head.get("kind") == "failed":
            self.close()
            raise PolicyDied(f"it cannot be loaded: {head.get('cause')}")
        return read_ready(head)

    def _describe_exit(self) -> str:
        self.process.join(1)
        code = self.process.exitcode
        if code is not None and code < 0:
            return f"its process was ended by {signal.Signals(-code).name}"
        return "its process ended" if code is None else f"its process ended with code {code}"


def _serve_policy(pipe: Connection, folder: str, load: Callable[[str], Any] | None, threads: int) -> None:
    """Answers queries in the child process until the pipe closes."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for name in THREADS:
        os.environ[name] = str(threads)
    try:
        if load is None:
            from robo_reward.policies.policy import load_policy as load
        policy = load(folder)
        warm_up(policy)
        pipe.send_bytes(pack_message({"kind": "ready", **specification(policy)}))
    except Exception as error:  # noqa: BLE001  any error must be reported to the parent
        pipe.send_bytes(pack_message({"kind": "failed", "cause": f"{type(error).__name__}: {error}"}))
        return
    try:
        while True:
            data = pipe.recv_bytes()
            try:
                reply = answer(policy, data)
            except Exception as error:  # noqa: BLE001  as above
                reply = pack_message({"kind": "failed", "cause": f"{type(error).__name__}: {error}"})
            if reply is not None:
                pipe.send_bytes(reply)
    except (EOFError, OSError):
        return
