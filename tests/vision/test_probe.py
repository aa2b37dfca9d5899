import numpy as np
import pytest

from robo_reward.errors import UsageError
from robo_reward.vision.pixels import PixelsEncoder
from robo_reward.vision.probe import probe_state_fields, ridge_predict
from tests.vision.scenes import episodes


@pytest.mark.parametrize("shape", [(40, 6), (12, 30)])
def test_ridge_has_no_better_neighbour(shape: tuple[int, int]):
    """The closed form minimises what its docstring says: every small change of the weights costs."""
    rng = np.random.default_rng(0)
    x, y, penalty = rng.normal(size=shape), rng.normal(size=(shape[0], 2)), 0.3
    unit = np.eye(shape[1])
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    back = x.mean(axis=0) + unit * x.std(axis=0)  # points whose z-scores are the unit vectors
    weights = ridge_predict(x, y, back, penalty) - y.mean(axis=0)

    def cost(w: np.ndarray) -> float:
        return np.square(z @ w + y.mean(axis=0) - y).sum() / len(x) + penalty * np.square(w).sum()

    for _ in range(50):
        assert cost(weights + rng.normal(0, 1e-3, weights.shape)) > cost(weights)


def test_positions_themselves_are_read_perfectly():
    train, test = episodes(8), episodes(3, seed=5)

    class Truth:
        dim = 4

        def __init__(self) -> None:
            self.known = {e.frames.tobytes(): e.state for e in [*train, *test] if e.frames is not None}

        def encode(self, frames: np.ndarray) -> np.ndarray:
            return self.known[frames.tobytes()].astype(np.float32) * 3 - 1

    found = probe_state_fields(Truth(), train, test, ["red_position"])  # type: ignore[arg-type]
    assert found["red_position"].r2 > 0.9999
    assert found["red_position"].error < 1e-3


def test_noise_reads_nothing():
    class Noise:
        dim = 5

        def encode(self, frames: np.ndarray) -> np.ndarray:
            return np.random.default_rng(int(frames.sum())).normal(size=(len(frames), 5)).astype(np.float32)

    found = probe_state_fields(Noise(), episodes(8), episodes(4, seed=5), ["red_position"])  # type: ignore[arg-type]
    assert found["red_position"].r2 < 0.2


def test_too_few_clips():
    with pytest.raises(UsageError, match="five"):
        probe_state_fields(PixelsEncoder(4), episodes(4), episodes(1, seed=5), ["red_position"])
