"""The protocols of reward servers: how episodes are sent, and how rewards come back.

`simple` is ours. POST to the address itself, JSON:

    {"episodes": [{"goal": "Open the drawer.", "shape": [T, H, W, 3], "frames": BASE64 of T * H * W * 3 bytes}, ...]}
    -> {"rewards": [[T numbers], ...]}

`robometer` is that of Robometer's evaluation server (github.com/robometer/robometer, `evals/eval_server.py`): POST to
`/evaluate_batch_npy`, a multipart form with one JSON field and one .npy file per episode; progress and, if the model
has a head for it, the probability of success come back for each frame.
"""

from __future__ import annotations

import base64
import io
import json
import uuid
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np

from robo_reward.errors import BadArtifact, UnknownName
from robo_reward.files import parse_json
from robo_reward.rewards.http.connection import RewardServer, RewardServerError

T = TypeVar("T")
Values = dict[str, np.ndarray]
"""Name -> a number for each frame that was sent."""


class EpisodeQuery(NamedTuple):
    """An episode as it is sent.

    Attributes:
        goal: the sentence.
        frames: (T, H, W, 3) uint8.
    """

    goal: str
    frames: np.ndarray


class Protocol(NamedTuple):
    """A protocol.

    Attributes:
        ask: `(server, queries, frame_steps) -> the values of each query`.
        outputs: names of the values, the usual reward first.
        is_progress: whether the reward is progress in [0, 1].
    """

    ask: Callable[[RewardServer, Sequence[EpisodeQuery], bool], list[Values]]
    outputs: tuple[str, ...]
    is_progress: bool


class SimpleAnswer(msgspec.Struct):
    """The answer of `simple`."""

    rewards: list[list[float]]


class ProgressOutputs(msgspec.Struct):
    """Robometer's progress of each frame of each sample."""

    progress_pred: list[list[float]]


class SuccessOutputs(msgspec.Struct):
    """Robometer's probability of success at each frame of each sample."""

    success_probs: list[list[float]]


class RobometerAnswer(msgspec.Struct):
    """The answer of Robometer's server."""

    outputs_progress: ProgressOutputs | None = None
    outputs_success: SuccessOutputs | None = None


def find_protocol(name: str) -> Protocol:
    """Returns a protocol by its name.

    Raises:
        UnknownName: there is none of that name.
    """
    if name not in PROTOCOLS:
        raise UnknownName("protocol of a reward server", name, PROTOCOLS)
    return PROTOCOLS[name]


def _ask_simple(server: RewardServer, queries: Sequence[EpisodeQuery], frame_steps: bool) -> list[Values]:
    episodes = [
        {"goal": q.goal, "shape": list(q.frames.shape), "frames": base64.b64encode(q.frames.tobytes()).decode()}
        for q in queries
    ]
    data = server.post("", json.dumps({"episodes": episodes}).encode(), "application/json")
    answer = _parse_answer(data, SimpleAnswer, server, '{"rewards": [[a number for each frame], ...]}')
    return [{"reward": values} for values in _check_numbers(answer.rewards, queries, "rewards", server)]


def _ask_robometer(server: RewardServer, queries: Sequence[EpisodeQuery], frame_steps: bool) -> list[Values]:
    fields = {f"sample_{i}": json.dumps(_describe_sample(i, query)) for i, query in enumerate(queries)}
    if frame_steps:
        fields["use_frame_steps"] = "true"
    files = {f"sample_{i}_trajectory_frames": _pack_npy(query.frames) for i, query in enumerate(queries)}
    body, content_type = build_form(fields, files)
    data = server.post("/evaluate_batch_npy", body, content_type)
    answer = _parse_answer(data, RobometerAnswer, server, "the outputs of Robometer's /evaluate_batch_npy")
    if answer.outputs_progress is None:
        raise RewardServerError(f"{server.settings.url} gives no outputs_progress: its model has no head for progress")
    progress = _check_numbers(answer.outputs_progress.progress_pred, queries, "progress_pred", server)
    if answer.outputs_success is None:
        return [{"progress": values} for values in progress]
    success = _check_numbers(answer.outputs_success.success_probs, queries, "success_probs", server)
    return [{"progress": p, "success": s} for p, s in zip(progress, success, strict=True)]


def _describe_sample(index: int, query: EpisodeQuery) -> dict[str, object]:
    """Returns the JSON field of one episode, in which a reference stands for the frames."""
    return {
        "sample_type": "progress",
        "trajectory": {
            "frames": {"__numpy_file__": f"sample_{index}_trajectory_frames"},
            "frames_shape": list(query.frames.shape),
            "task": query.goal,
            "id": str(index),
            "metadata": {"subsequence_length": len(query.frames)},
            "video_embeddings": None,
        },
    }


def _pack_npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def build_form(fields: dict[str, str], files: dict[str, bytes]) -> tuple[bytes, str]:
    """Returns a multipart form (RFC 7578) and its content type; each file is called NAME.npy."""
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    for name, content in files.items():
        head = f'Content-Disposition: form-data; name="{name}"; filename="{name}.npy"\r\n'
        kind = "Content-Type: application/octet-stream\r\n\r\n"
        parts += [f"--{boundary}\r\n{head}{kind}".encode(), content, b"\r\n"]
    return b"".join([*parts, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"


def _parse_answer(data: bytes, schema: type[T], server: RewardServer, expected: str) -> T:
    try:
        return parse_json(data, schema, server.settings.url, f"Expected {expected}. Check protocol=...")
    except BadArtifact as error:
        raise RewardServerError(str(error)) from None


def _check_numbers(
    rows: Sequence[Sequence[float]], queries: Sequence[EpisodeQuery], what: str, server: RewardServer
) -> list[np.ndarray]:
    """Returns the numbers of each episode.

    Raises:
        RewardServerError: too many or too few, or one that is not finite.
    """
    url = server.settings.url
    if len(rows) != len(queries):
        raise RewardServerError(f"{url} answers {what} of {len(rows)} episodes, {len(queries)} were sent")
    found = []
    for number, (row, query) in enumerate(zip(rows, queries, strict=True)):
        values = np.asarray(row, dtype=float)
        if len(values) != len(query.frames):
            problem = f"{len(values)} {what} for episode {number} of the request, which has {len(query.frames)} frames"
            raise RewardServerError(f"{url} answers {problem}. It must answer one for each frame")
        if not np.isfinite(values).all():
            bad = int(np.argmin(np.isfinite(values)))
            raise RewardServerError(f"{url} answers {values[bad]} as {what} of frame {bad}; rewards must be finite")
        found.append(values)
    return found


PROTOCOLS = {
    "simple": Protocol(_ask_simple, ("reward",), False),
    "robometer": Protocol(_ask_robometer, ("progress", "success"), True),
}
