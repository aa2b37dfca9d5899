"""Linear probes: how well a linear map from the features of an encoder predicts the true state on other clips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from robo_reward.data.episode import Episode
from robo_reward.envs.state import State
from robo_reward.errors import UsageError
from robo_reward.vision.encoder import Encoder

PENALTIES = tuple(10.0**power for power in range(-5, 3))


class ProbeResult(NamedTuple):
    """Accuracy of a linear map from features to one state field.

    Attributes:
        r2: 1 - Σ |error|² / Σ |value - average of the training clips|², over the test clips; 1 is perfect.
        error: median norm of the error, in the field's unit.
    """

    r2: float
    error: float


def probe_state_fields(
    encoder: Encoder, train: Sequence[Episode], test: Sequence[Episode], fields: Sequence[str]
) -> dict[str, ProbeResult]:
    """Predicts state fields from the features of an encoder by ridge regression and measures the error.

    The penalty is chosen on a fifth of the training clips.

    Args:
        encoder: the encoder to evaluate.
        train: episodes with frames.
        test: other episodes of the same task.
        fields: names of state fields, such as `cube_position`.
    """
    if len(train) < 5 or not test:
        raise UsageError("a probe needs five training episodes or more, and one to test on")
    features = [[_encode_frames(encoder, episode) for episode in episodes] for episodes in (train, test)]
    found = {}
    for field in fields:
        values = [[_field_values(episode.states, field) for episode in episodes] for episodes in (train, test)]
        penalty = _choose_penalty(features[0], values[0])
        predicted = ridge_predict(
            np.concatenate(features[0]), np.concatenate(values[0]), np.concatenate(features[1]), penalty
        )
        found[field] = _score_predictions(predicted, np.concatenate(values[1]), np.concatenate(values[0]).mean(axis=0))
    return found


def ridge_predict(features: np.ndarray, values: np.ndarray, asked: np.ndarray, penalty: float) -> np.ndarray:
    """Predicts values (M, D) for features `asked` (M, F) by ridge regression on examples.

    Minimises Σ |W x + b - y|² / N + penalty |W|² in the smaller of the two dual forms. x are the features divided
    by their deviations, or by a twentieth of the average deviation: features that hardly vary in the examples must
    not explode elsewhere.

    Args:
        features: (N, F).
        values: (N, D).
        asked: (M, F).
        penalty: > 0.
    """
    centre, average = features.mean(axis=0, dtype=np.float64), values.mean(axis=0)
    scale = features.std(axis=0, dtype=np.float64)
    scale = np.maximum(scale, 0.05 * scale.mean() + 1e-6)
    x, y = (features - centre) / scale, values - average
    shift = penalty * len(x)
    if x.shape[1] <= len(x):
        weights = np.linalg.solve(x.T @ x + shift * np.eye(x.shape[1]), x.T @ y)
    else:
        weights = x.T @ np.linalg.solve(x @ x.T + shift * np.eye(len(x)), y)
    return (asked - centre) / scale @ weights + average


def _choose_penalty(features: list[np.ndarray], values: list[np.ndarray]) -> float:
    rest = [i for i in range(len(features)) if i % 5]
    x, y = np.concatenate([features[i] for i in rest]), np.concatenate([values[i] for i in rest])
    asked, wanted = np.concatenate(features[::5]), np.concatenate(values[::5])
    errors = [np.square(ridge_predict(x, y, asked, penalty) - wanted).mean() for penalty in PENALTIES]
    return PENALTIES[int(np.argmin(errors))]


def _score_predictions(predicted: np.ndarray, wanted: np.ndarray, average: np.ndarray) -> ProbeResult:
    errors = np.linalg.norm(predicted - wanted, axis=1)
    spread = np.square(wanted - average).sum()
    return ProbeResult(float(1 - np.square(errors).sum() / max(spread, 1e-12)), float(np.median(errors)))


def _field_values(state: State, field: str) -> np.ndarray:
    return state[field].reshape(len(state), -1)


def _encode_frames(encoder: Encoder, episode: Episode) -> np.ndarray:
    if episode.frames is None:
        raise UsageError("a probe needs episodes with frames: collect them with frames=FrameSpec(...)")
    return encoder.encode(episode.frames)
