"""A policy in a process of its own.

The control loop goes on however long the policy takes, and even if it dies.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from math import prod
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Protocol, TypeVar

import msgspec
import numpy as np

from robo_reward.envs.task import ActionSpec, ObservationSpec
from robo_reward.errors import BadArtifact, RoboRewardError, UsageError
from robo_reward.files import Count, Finite, convert_json
from robo_reward.hardware.wire import BadMessage, pack_message, unpack_message

T = TypeVar("T")
MAX_CAUSE_LENGTH = 2000  # longest cause of a policy's failure [characters]
MAX_NUMBERS = 3000
"""Largest number of values in a state or an observation."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class PolicyReply(NamedTuple):
    """Actions that a policy decided on.

    Attributes:
        ticket: number of the query.
        actions: (K, A): for the step of the observation and K - 1 more.
        seconds: inference time [s].
    """

    ticket: int
    actions: np.ndarray
    seconds: float


class ReplyHeader(msgspec.Struct):
    """Header of a message with actions."""

    kind: Literal["reply"]
    ticket: Count
    seconds: Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class StateFieldMessage(msgspec.Struct):
    """A field of the state that a policy was trained on."""

    name: str
    shape: Annotated[list[Annotated[int, msgspec.Meta(ge=1, le=1000)]], msgspec.Meta(max_length=4)]


class ObservationPartMessage(msgspec.Struct):
    """A block of a policy's observation."""

    field: str
    scale: Annotated[float, msgspec.Meta(gt=0, le=1e9)]
    centre: list[Finite]


class ObservationMessage(msgspec.Struct):
    """A policy's observation convention."""

    state: Annotated[list[StateFieldMessage], msgspec.Meta(max_length=500)]
    parts: Annotated[list[ObservationPartMessage], msgspec.Meta(max_length=500)]


class ActionMessage(msgspec.Struct):
    """A policy's action convention."""

    kind: str
    names: Annotated[list[str], msgspec.Meta(max_length=500)]
    scale: list[Finite]
    units: list[str]
    rate_hz: Annotated[float, msgspec.Meta(gt=0, le=1e4)]


class ReadyMessage(msgspec.Struct):
    """First message of a policy on a new connection: its conventions and metadata."""

    kind: Literal["ready"]
    action: ActionMessage
    observation: ObservationMessage
    meta: dict[str, Any]


class PolicySpecification(NamedTuple):
    """A policy's conventions and metadata, parsed from a `ReadyMessage`."""

    action: ActionSpec
    observation: ObservationSpec
    meta: dict[str, Any]


class PolicyDied(RoboRewardError):
    """The policy's process or server ended or cannot be reached."""

    def __init__(self, cause: str) -> None:
        self.cause = cause
        super().__init__(f"the policy is not available: {cause}. The arm was stopped; start the deployment again")


class PolicySource(Protocol):
    """A policy that is queried without waiting.

    Attributes:
        action: the convention of its actions.
        observation: the convention of its observations.
        meta: where it comes from.
    """

    action: ActionSpec
    observation: ObservationSpec
    meta: dict[str, Any]

    def send_observation(self, ticket: int, observation: np.ndarray) -> None:
        """Sends an observation (O,) with the number of the query."""
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


def specification(policy: Any) -> dict[str, Any]:
    """Returns a policy's conventions and metadata as JSON, for its first message on a connection."""
    meta = json.loads(json.dumps(policy.meta, default=str))
    return {"action": policy.action.to_json(), "observation": policy.observation.to_json(), "meta": meta}


def answer(policy: Any, data: bytes) -> bytes | None:
    """Returns the message that answers a query, or None for one that needs no answer.

    A policy gives (N, A), one action, or (N, K, A), a chunk of them.

    Raises:
        BadMessage: not a query.
    """
    head, arrays = unpack_message(data)
    if head.get("kind") == "reset":
        if hasattr(policy, "reset"):
            policy.reset()
        return None
    if head.get("kind") != "ask" or "observation" not in arrays:
        raise BadMessage(f"a message of kind {head.get('kind')!r}: expected 'ask' with an observation, or 'reset'")
    begun = time.perf_counter()
    actions = _to_action_rows(policy.act(arrays["observation"][None]))
    reply = {"kind": "reply", "ticket": int(head["ticket"]), "seconds": time.perf_counter() - begun}
    return pack_message(reply, {"actions": actions})


def _to_action_rows(said: Any) -> np.ndarray:
    """Returns a policy's output for one observation as rows (K, A).

    The result is one empty row (1, 0) where the output is no array of numbers.
    """
    try:
        values = np.asarray(said)
    except (TypeError, ValueError):  # rows of different lengths
        values = np.zeros(0)
    if values.dtype.kind not in "fiub" or not values.ndim or not len(values):
        return np.zeros((1, 0))  # the safety filter holds the arm, and stops it at the third in a row
    rows = np.atleast_2d(values[0].astype(np.float64))
    return rows if len(rows) else np.zeros((1, 0))


def read_reply(data: bytes) -> PolicyReply:
    """Parses a message of `answer`.

    Raises:
        PolicyDied: the message reports a failure.
        BadMessage: not a reply.
    """
    head, arrays = unpack_message(data)
    if head.get("kind") == "failed":
        raise PolicyDied(str(head.get("cause"))[:MAX_CAUSE_LENGTH])
    said = _validate_header(head, ReplyHeader)
    if "actions" not in arrays:
        raise BadMessage("a reply without actions")
    return PolicyReply(said.ticket, arrays["actions"].astype(np.float64), said.seconds)


def read_ready(head: dict[str, Any]) -> PolicySpecification:
    """Parses the result of `specification`, which may come from an untrusted server.

    Raises:
        BadMessage: not a policy's specification, or too large to be one.
    """
    said = _validate_header(head, ReadyMessage)
    sizes = {field.name: prod(field.shape) for field in said.observation.state}
    seen = sum(sizes.get(part.field, 0) for part in said.observation.parts)
    if max(sum(sizes.values()), seen) > MAX_NUMBERS:
        raise BadMessage(f"a policy that sees {seen} of {sum(sizes.values())} numbers, at most {MAX_NUMBERS} are taken")
    try:
        action = ActionSpec.from_json(head["action"])
        return PolicySpecification(action, ObservationSpec.from_json(head["observation"]), said.meta)
    except (AttributeError, ArithmeticError, LookupError, TypeError, ValueError, RoboRewardError) as error:
        raise BadMessage(f"a policy whose conventions cannot be read ({type(error).__name__}: {error})") from error


def _validate_header(head: dict[str, Any], schema: type[T]) -> T:
    try:
        return convert_json(head, schema, "a message")
    except BadArtifact as error:
        raise BadMessage(f"a message of kind {str(head.get('kind'))[:40]!r}: {error.problem}") from error


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
        self.process.start()
        theirs.close()
        said = self._receive_specification(patience)
        self.action, self.observation = said.action, said.observation
        self.meta: dict[str, Any] = said.meta

    def send_observation(self, ticket: int, observation: np.ndarray) -> None:
        self._send_message(pack_message({"kind": "ask", "ticket": ticket}, {"observation": np.asarray(observation)}))

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
        self._send_message(pack_message({"kind": "reset"}))

    def close(self) -> None:
        self._pipe.close()
        self.process.join(2)
        if self.process.is_alive():
            self.process.kill()
            self.process.join(2)

    def _send_message(self, data: bytes) -> None:
        try:
            self._pipe.send_bytes(data)
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
