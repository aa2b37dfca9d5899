"""Step reward of this project: one classifier of all steps, filtered by their order, and progress within each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from robo_reward.rewards.perceptual.align import compute_principal_components
from robo_reward.rewards.perceptual.novelty import MahalanobisSimilarity

DIMS = 48  # number of principal components
SHRINK = 0.1  # shrinkage of the covariance towards a multiple of the identity
BACK = 0.1  # share of the transitions out of a step that go back by one: an object can be dropped
TEMPERATURES = 2.0 ** np.arange(-7, 1)  # candidates for kappa
RIDGE = 0.1  # of the phase regressions, on standardised features
HOLD = 1.0  # assumed duration of the last frame, since a finished task stays finished [s]


class OrderedSteps:
    """Recognises steps that come in order.

    1. Of the encoder's features x_t, d principal components y_t. A frame is described by
       f_t = [y_t, y_t - y_0, y_t - y_{t-w}], standardised: positions, changes since the beginning,
       motion. (3 d,)
    2. Linear discriminant: Gaussians with one shared covariance, s_t = kappa (W f_t + b). Frames of a video resemble
       their neighbours, so their evidence is overcounted; kappa corrects this, chosen by cross-validation.
    3. Forward filter over the order: p_t ~ (A' p_{t-1}) exp(s_t), p_0 ~ e_1 exp(s_0), where A stays, goes on by one
       or, rarely, back by one. p_t (n,) depends on the past alone.
    4. Phase phi_k(f) in [0, 1], by ridge regression within step k: how much of it is done.
    5. Similarity of y_t to the demonstrations, in (0, 1]: see `MahalanobisSimilarity`.

    The total is `sum_k p_k (2^(k + phi_k) - 1) / (2^n - 1)`, k from 0, times the similarity: it climbs from 0 to 1
    through the whole task, and through each step by twice as much as through the one before. A recording ends when the
    task is done, an episode may go on: the last frame of each demonstration is learnt as if it stayed for a second.

    Args:
        project: (F, d) basis of the principal components.
        mean: (F,).
        centre: (3 d,) of f_t.
        scale: (3 d,) of f_t.
        weight: (3 d, n) kappa W.
        bias: (n,) kappa b.
        phase: (3 d + 1, n), the last row is the constant.
        known: of y_t.
        leave: share of the frames at which a step ends.
        window: w [s].
    """

    form = "ordered"

    def __init__(
        self,
        project: np.ndarray,
        mean: np.ndarray,
        centre: np.ndarray,
        scale: np.ndarray,
        weight: np.ndarray,
        bias: np.ndarray,
        phase: np.ndarray,
        known: MahalanobisSimilarity,
        leave: float,
        window: float,
    ) -> None:
        self.project, self.mean, self.centre, self.scale = project, mean, centre, scale
        self.weight, self.bias, self.phase, self.known = weight, bias, phase, known
        self.leave, self.window = leave, window
        self.steps = len(bias)

    @classmethod
    def fit(
        cls,
        features: Sequence[np.ndarray],
        labels: Sequence[np.ndarray],
        fps: float,
        dims: int = DIMS,
        window: float = 0.12,
    ) -> OrderedSteps:
        """Fits the model to demonstrations cut into steps.

        Args:
            features: (T_i, F) of each.
            labels: the step (T_i,) of each frame, 0 to n - 1; every step occurs in every demonstration.
            fps: of the demonstrations [Hz].
            dims: d.
            window: w [s].
        """
        mean, project = compute_principal_components(features, dims)
        held = round(HOLD * fps)
        labels = [np.concatenate([label, np.repeat(label[-1:], held)]) for label in labels]
        shown = [np.concatenate([x, np.repeat(x[-1:], held, axis=0)]) for x in features]
        components = [(x - mean) @ project for x in shown]
        described = [_build_descriptors(y, _count_frames(window, fps)) for y in components]
        every = np.concatenate(described)
        centre, scale = every.mean(axis=0), every.std(axis=0)
        scale = np.where(scale > 1e-9 * scale.max(), scale, 1.0)
        standard = [(f - centre) / scale for f in described]
        steps = int(max(label.max() for label in labels)) + 1
        weight, bias = _fit_discriminant(np.concatenate(standard), np.concatenate(labels), steps)
        kappa = _choose_temperature(standard, labels, steps)
        # Each demonstration leaves each of its n steps once.
        leave = steps * len(features) / sum(map(len, features))
        phase = _fit_phases(standard, labels, steps, held)
        known = MahalanobisSimilarity.fit(components, labels)
        return cls(project, mean, centre, scale, kappa * weight, kappa * bias, phase, known, min(leave, 0.5), window)

    def describe_frames(self, features: np.ndarray, fps: float) -> np.ndarray:
        """Returns f_t (T, 3 d), standardised, of features (T, F) at a frame rate [Hz]."""
        y = (np.asarray(features, dtype=np.float64) - self.mean) @ self.project
        return (_build_descriptors(y, _count_frames(self.window, fps)) - self.centre) / self.scale

    def recognise_steps(self, described: np.ndarray) -> np.ndarray:
        """Returns p_t (T, n), which sums to 1, from the result of `describe_frames` for a whole episode."""
        score = described @ self.weight + self.bias
        score = np.exp(score - score.max(axis=1, keepdims=True))
        move = self._build_transition_matrix()
        now, found = np.eye(self.steps)[0], np.empty_like(score)
        for t, likelihood in enumerate(score):
            # Predict with the transition matrix, then weight with the likelihood.
            now = (now @ move if t else now) * likelihood
            # Likelihoods may underflow; with the floor, later frames can still revive a step.
            now = np.maximum(now / max(now.sum(), 1e-300), 1e-12)
            now /= now.sum()
            found[t] = now
        return found

    def compute_total(self, described: np.ndarray, recognised: np.ndarray) -> np.ndarray:
        """Returns the progress (T,) through the task, in [0, 1]."""
        phase = np.clip(described @ self.phase[:-1] + self.phase[-1], 0.0, 1.0)  # (T, n)
        worth = (2.0 ** (np.arange(self.steps) + phase) - 1) / (2.0**self.steps - 1)
        y = (described * self.scale + self.centre)[:, : self.project.shape[1]]  # components y_t, not standardised
        return (recognised * worth).sum(axis=1) * self.known(y)

    def spec(self) -> dict[str, Any]:
        """Returns the JSON from which, with `to_tensors`, `from_spec` makes the same model."""
        return {"form": self.form, "leave": self.leave, "window": self.window}

    def to_tensors(self) -> dict[str, np.ndarray]:
        """Returns the learnt arrays by name."""
        return {**{name: getattr(self, name) for name in _TENSORS}, **self.known.to_tensors()}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> OrderedSteps:
        """Creates the model from the results of `spec` and `to_tensors`."""
        own = {name: tensors[name] for name in _TENSORS}
        return cls(**own, known=MahalanobisSimilarity.from_tensors(tensors), leave=spec["leave"], window=spec["window"])

    def _build_transition_matrix(self) -> np.ndarray:
        """Returns the transition matrix (n, n) of the forward filter."""
        n = self.steps
        move = (1 - self.leave) * np.eye(n) + self.leave * ((1 - BACK) * np.eye(n, k=1) + BACK * np.eye(n, k=-1))
        return move / move.sum(axis=1, keepdims=True)


_TENSORS = ("project", "mean", "centre", "scale", "weight", "bias", "phase")


def _count_frames(window: float, fps: float) -> int:
    """Returns the number of frames in a window [s], at least 1."""
    return max(1, round(window * fps))


def _build_descriptors(y: np.ndarray, window: int) -> np.ndarray:
    """Returns components (T, d), their changes since frame 0 and those over `window` frames, (T, 3 d)."""
    before = y[np.maximum(np.arange(len(y)) - window, 0)]
    return np.concatenate([y, y - y[0], y - before], axis=1)


def _fit_discriminant(f: np.ndarray, label: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns W (D, n) and b (n,) of a linear discriminant.

    The Gaussians have one shared, shrunk covariance, and the shares of the steps as priors.
    """
    means = np.stack([f[label == step].mean(axis=0) for step in range(steps)])
    rest = f - means[label]
    covariance = rest.T @ rest / len(f)
    size = len(covariance)
    covariance = (1 - SHRINK) * covariance + SHRINK * (np.trace(covariance) / size + 1e-9) * np.eye(size)
    weight = np.linalg.solve(covariance, means.T)
    share = np.bincount(label, minlength=steps) / len(label)
    return weight, -0.5 * (means.T * weight).sum(axis=0) + np.log(share)


def _choose_temperature(standard: Sequence[np.ndarray], labels: Sequence[np.ndarray], steps: int) -> float:
    """Returns the kappa under which the steps of held-out demonstrations are most likely."""
    if len(standard) < 2:
        return float(TEMPERATURES[3])  # no demonstration to hold out: a middle value
    scores = []
    for i, left_out in enumerate(standard):
        rest = [j for j in range(len(standard)) if j != i]
        weight, bias = _fit_discriminant(
            np.concatenate([standard[j] for j in rest]), np.concatenate([labels[j] for j in rest]), steps
        )
        scores.append(left_out @ weight + bias)
    score, label = np.concatenate(scores), np.concatenate(labels)

    def mean_log_likelihood(kappa: float) -> float:
        s = kappa * (score - score.max(axis=1, keepdims=True))
        return float((s[np.arange(len(s)), label] - np.log(np.exp(s).sum(axis=1))).mean())

    return float(max(TEMPERATURES, key=mean_log_likelihood))


def _fit_phases(standard: Sequence[np.ndarray], labels: Sequence[np.ndarray], steps: int, held: int) -> np.ndarray:
    """Returns ridge regressions (D + 1, n) of the share of a step that is over.

    Each is fitted to the frames of its own step; the target is 1 for the frames held at the end.
    """
    found = []
    for step in range(steps):
        f = np.concatenate([x[label == step] for x, label in zip(standard, labels, strict=True)])
        share = np.concatenate(
            [_compute_phase(int((label == step).sum()), held * (step == steps - 1)) for label in labels]
        )
        middle = f.mean(axis=0)
        gram = (f - middle).T @ (f - middle) + RIDGE * len(f) * np.eye(f.shape[1])
        slope = np.linalg.solve(gram, (f - middle).T @ (share - share.mean()))
        found.append(np.r_[slope, share.mean() - middle @ slope])
    return np.stack(found, axis=1)


def _compute_phase(frames: int, held: int) -> np.ndarray:
    """Returns the share of a step that is over at each of its frames, (frames,), 1 for the `held` last ones."""
    return np.minimum((np.arange(frames) + 1) / (frames - held), 1.0)
