import numpy as np
import pytest

from robo_reward.errors import UnknownName, UsageError
from robo_reward.vision.adapt import train_adapter
from robo_reward.vision.encoder import build_encoder
from robo_reward.vision.pixels import PixelsEncoder
from robo_reward.vision.probe import probe_state_fields
from tests.vision.scenes import episodes, pictures

CLIPS, OTHERS = episodes(16), episodes(6, seed=5)


@pytest.mark.parametrize("loss", ["time_contrastive", "inverse_dynamics"])
def test_the_loss_falls_and_the_encoder_is_rebuilt(loss: str):
    losses: list[float] = []
    encoder = train_adapter(
        PixelsEncoder(12), CLIPS, [loss], head="mlp", dim=8, components=40, steps=80,
        progress=lambda step, total, value: losses.append(value),
    )  # fmt: skip
    assert len(losses) == 80
    assert np.mean(losses[-20:]) < 0.9 * np.mean(losses[:10])
    frames = pictures(OTHERS)[0]
    again = build_encoder(encoder.spec(), encoder.weights())
    np.testing.assert_array_equal(again.encode(frames), encoder.encode(frames))


def test_inverse_dynamics_holds_more_of_the_positions_than_chance():
    """Six numbers a frame, trained against untrained ones: the actions are the squares' steps."""
    fields = ["red_position", "blue_position"]
    first, trained = (
        train_adapter(PixelsEncoder(12), CLIPS, ["inverse_dynamics"], head="mlp", dim=6, components=40, steps=steps)
        for steps in (1, 200)
    )
    before, after = (
        np.mean([v.r2 for v in probe_state_fields(e, CLIPS, OTHERS, fields).values()]) for e in (first, trained)
    )
    assert after > before + 0.1


def test_the_seed_decides():
    first, same, other = (train_adapter(PixelsEncoder(6), CLIPS, dim=8, steps=3, seed=seed) for seed in (1, 1, 2))
    assert first.spec() == same.spec()
    assert first.spec() != other.spec()


def test_what_cannot_be_done_is_said():
    with pytest.raises(UnknownName, match="time_contrastive"):
        train_adapter(PixelsEncoder(6), CLIPS, ["time_contrast"])
    with pytest.raises(UsageError, match="at least one loss"):
        train_adapter(PixelsEncoder(6), CLIPS, [])
    with pytest.raises(UsageError, match="four steps"):
        train_adapter(PixelsEncoder(6), episodes(3, steps=2))
    with pytest.raises(UnknownName, match="linear"):
        train_adapter(PixelsEncoder(6), CLIPS, head="linea")
