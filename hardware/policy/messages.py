"""The messages between a deployment and a policy in another process or on another machine."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from math import prod
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import msgspec
import numpy as np

from robo_reward.envs.task import ActionSpec, ObservationSpec
from robo_reward.errors import BadArtifact, RoboRewardError
from robo_reward.files import Count, Finite, convert_json
from robo_reward.hardware.wire import BadMessage, pack_message, unpack_message
from robo_reward.policies.rollout.chunk import MOST_CHUNK, MOST_HISTORY, ChunkSpec
from robo_reward.policies.rollout.history import Observations

T = TypeVar("T")
MAX_CAUSE_LENGTH = 2000  # longest cause of a policy's failure [characters]
MAX_NUMBERS = 3000
"""Largest number of values in a state or an observation."""
PICTURE = "picture:"
"""Prefix of the names of pictures in a query."""


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


class FramesMessage(msgspec.Struct):
    """The pictures that a policy looks at."""

    cameras: Annotated[list[Annotated[str, msgspec.Meta(max_length=100)]], msgspec.Meta(min_length=1, max_length=8)]
    size: Annotated[int, msgspec.Meta(ge=8, le=2048)]


class HorizonsMessage(msgspec.Struct):
    """A policy's horizons; the defaults are those of a policy of single steps."""

    frames: FramesMessage | None = None
    history: Annotated[int, msgspec.Meta(ge=1, le=MOST_HISTORY)] = 1
    chunk: Annotated[int, msgspec.Meta(ge=1, le=MOST_CHUNK)] = 1
    execute: Annotated[int, msgspec.Meta(ge=1, le=MOST_CHUNK)] = 1


class ReadyMessage(msgspec.Struct):
    """First message of a policy on a new connection: its conventions and metadata."""

    kind: Literal["ready"]
    action: ActionMessage
    observation: ObservationMessage
    meta: dict[str, Any]
    horizons: HorizonsMessage | None = None


class PolicySpecification(NamedTuple):
    """A policy's conventions and metadata, parsed from a `ReadyMessage`."""

    action: ActionSpec
    observation: ObservationSpec
    meta: dict[str, Any]
    horizons: ChunkSpec


class PolicyDied(RoboRewardError):
    """The policy's process or server ended or cannot be reached."""

    def __init__(self, cause: str) -> None:
        self.cause = cause
        super().__init__(f"the policy is not available: {cause}. The arm was stopped; start the deployment again")


def specification(policy: Any) -> dict[str, Any]:
    """Returns a policy's conventions and metadata as JSON, for its first message on a connection."""
    meta = json.loads(json.dumps(policy.meta, default=str))
    said = {"action": policy.action.to_json(), "observation": policy.observation.to_json(), "meta": meta}
    horizons = ChunkSpec.from_policy(policy)
    return said if horizons.is_single_step else {**said, "horizons": horizons.to_json()}


def pack_query(ticket: int, observation: np.ndarray | Mapping[str, np.ndarray]) -> bytes:
    """Returns the message that asks a policy for actions.

    Args:
        ticket: number of the query.
        observation: (O,), or (To, O) for a policy with a history; or a mapping of `state` (To, O) and the pictures
            (To, h, w, 3) uint8 of each camera.
    """
    if not isinstance(observation, Mapping):
        return pack_message({"kind": "ask", "ticket": ticket}, {"observation": np.asarray(observation)})
    pictures = {f"{PICTURE}{name}": array for name, array in observation.items() if name != "state"}
    return pack_message({"kind": "ask", "ticket": ticket}, {"observation": observation["state"], **pictures})


def read_query(arrays: Mapping[str, np.ndarray], policy: Any) -> Observations:
    """Returns the observations of a query as the policy takes them, with a first axis of one.

    Raises:
        BadMessage: a policy with a history or pictures was given another number of them, or another size.
    """
    horizons = ChunkSpec.from_policy(policy)
    states = arrays["observation"]
    if horizons.is_single_step:
        return states[None]
    expected: dict[str, tuple[int, ...]] = {"observation": (horizons.history, policy.observation.dim)}
    if (frames := horizons.frames) is not None:
        shape = (horizons.history, frames.size, frames.size, 3)
        expected |= {f"{PICTURE}{camera}": shape for camera in frames.cameras}
    found = {name: array.shape for name, array in arrays.items()}
    if found != expected:
        raise BadMessage(f"a query with {_format_shapes(found)}, the policy expects {_format_shapes(expected)}")
    if states.dtype.kind != "f" or not np.isfinite(states).all():
        raise BadMessage("a query whose observation has values that are no finite numbers")
    for name, array in arrays.items():
        if name != "observation" and array.dtype != np.uint8:
            raise BadMessage(f"a query whose {name} has the type {array.dtype}, expected uint8")
    if frames is None:
        return states[None].astype(np.float32)
    # Copies: arrays of a message cannot be written to, and torch warns of that.
    pictures = {camera: arrays[f"{PICTURE}{camera}"][None].copy() for camera in frames.cameras}
    return {"state": states[None].astype(np.float32), **pictures}


def _format_shapes(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in list(shapes.items())[:10]) or "nothing"


def warm_up(policy: Any) -> None:
    """Asks a policy of chunks once, so that its first answer to the arm takes no longer than any other."""
    horizons = ChunkSpec.from_policy(policy)
    if horizons.is_single_step:
        return
    states = np.zeros((1, horizons.history, policy.observation.dim), np.float32)
    if (frames := horizons.frames) is None:
        policy.act(states)
    else:
        picture = np.zeros((1, horizons.history, frames.size, frames.size, 3), np.uint8)
        policy.act({"state": states, **dict.fromkeys(frames.cameras, picture)})
    reset_policy(policy, 0)


def reset_policy(policy: Any, seed: int) -> None:
    """Prepares a policy for a new episode; a policy that samples its actions gets the seed."""
    if not hasattr(policy, "reset"):
        return
    if getattr(policy, "noise_shape", None) is None:
        policy.reset()
    else:
        policy.reset(seed)


def answer(policy: Any, data: bytes) -> bytes | None:
    """Returns the message that answers a query, or None for one that needs no answer.

    A policy gives (N, A), one action, or (N, K, A), a chunk of them.

    Raises:
        BadMessage: not a query.
    """
    head, arrays = unpack_message(data)
    if head.get("kind") == "reset":
        seed = head.get("seed", 0)
        reset_policy(policy, seed if isinstance(seed, int) and 0 <= seed < 2**31 else 0)
        return None
    if head.get("kind") != "ask" or "observation" not in arrays:
        raise BadMessage(f"a message of kind {head.get('kind')!r}: expected 'ask' with an observation, or 'reset'")
    begun = time.perf_counter()
    actions = _to_action_rows(policy.act(read_query(arrays, policy)))
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
        action, observation = ActionSpec.from_json(head["action"]), ObservationSpec.from_json(head["observation"])
        horizons = ChunkSpec.from_json(msgspec.to_builtins(said.horizons or HorizonsMessage()))
        return PolicySpecification(action, observation, said.meta, horizons)
    except (AttributeError, ArithmeticError, LookupError, TypeError, ValueError, RoboRewardError) as error:
        raise BadMessage(f"a policy whose conventions cannot be read ({type(error).__name__}: {error})") from error


def _validate_header(head: dict[str, Any], schema: type[T]) -> T:
    try:
        return convert_json(head, schema, "a message")
    except BadArtifact as error:
        raise BadMessage(f"a message of kind {str(head.get('kind'))[:40]!r}: {error.problem}") from error
