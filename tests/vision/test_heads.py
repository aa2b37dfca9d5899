import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robo_reward.errors import UnknownName, UsageError, WrongShape
from robo_reward.testing.encoder import EncoderContract
from robo_reward.vision.encoder import build_encoder
from robo_reward.vision.heads import (
    HEADS,
    PCA,
    HeadedEncoder,
    Keypoints,
    Standardise,
    cell_centres,
    make_head,
    soft_argmax,
)
from robo_reward.vision.pixels import PixelsEncoder

OPTIONS = {
    "standardise": {"in_dim": 12},
    "pca": {"in_dim": 12, "dim": 4},
    "linear": {"in_dim": 12, "dim": 4},
    "mlp": {"in_dim": 12, "dim": 4, "hidden": [8, 8], "dropout": 0.5},
    "temporal": {"in_dim": 12, "dim": 4, "hidden": 8},
    "keypoints": {"shape": [1, 3, 2, 2], "points": 5},
    "chain": {"heads": [{"kind": "standardise", "in_dim": 12}, {"kind": "linear", "in_dim": 12, "dim": 4}]},
}


class TestPixels(EncoderContract):
    def make_encoder(self):
        return PixelsEncoder(8, views=[(0, 0, 0.5, 1), (0.5, 0, 1, 1)])


class TestGreyPixels(EncoderContract):
    def make_encoder(self):
        return PixelsEncoder(7, grey=True)


@pytest.mark.parametrize("kind", sorted(set(HEADS) - {"temporal"}))
class TestHeaded(EncoderContract):
    @pytest.fixture(autouse=True)
    def _kind(self, kind: str):
        self.kind = kind

    def make_encoder(self):
        encoder = PixelsEncoder(2)
        rows = encoder.encode(self.make_frames(40, seed=9))
        if self.kind in ("standardise", "pca"):
            return HeadedEncoder(encoder, HEADS[self.kind].fit(rows))  # type: ignore[attr-defined]
        return HeadedEncoder(encoder, make_head(self.kind, seed=1, **OPTIONS[self.kind]))


class TestHeadOnAHead(EncoderContract):
    tolerance = 1e-4

    def make_encoder(self):
        pixels = PixelsEncoder(4)
        middle = HeadedEncoder(pixels, PCA.fit(pixels.encode(self.make_frames(40, seed=9)), 6))
        return HeadedEncoder(middle, make_head("mlp", in_dim=6, dim=3, seed=0))


def test_grey_is_brightness():
    frames = np.zeros((1, 4, 4, 3), np.uint8)
    frames[..., 1] = 255
    np.testing.assert_allclose(PixelsEncoder(2, grey=True).encode(frames), 0.587, rtol=1e-6)
    np.testing.assert_allclose(PixelsEncoder(2).encode(frames).reshape(3, 4), [[0] * 4, [1] * 4, [0] * 4])


def test_standardised_features_have_mean_0_and_deviation_1():
    rng = np.random.default_rng(0)
    rows = rng.normal(3, [1, 20, 0.01, 0], (200, 4)).astype(np.float32)
    with torch.inference_mode():
        found = Standardise.fit(rows)(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(found.std(axis=0), [1, 1, 1, 0], atol=1e-3)


@pytest.mark.parametrize("shape", [(200, 12), (30, 100)])
def test_pca_finds_the_directions_that_svd_finds(shape: tuple[int, int]):
    rng = np.random.default_rng(1)
    rows = (rng.normal(size=shape) @ rng.normal(size=(shape[1], shape[1]))).astype(np.float32)
    head = PCA.fit(rows, 5, scaled=False)
    with torch.inference_mode():
        found = head(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(found.T @ found / len(rows), np.eye(5), atol=2e-3)  # uncorrelated, of deviation 1
    wanted = np.linalg.svd(rows - rows.mean(axis=0))[0][:, :5] * np.sqrt(len(rows))
    np.testing.assert_allclose(np.abs(np.sum(found * wanted, axis=0) / len(rows)), 1, atol=1e-3)


def test_pca_keeps_no_more_directions_than_there_are():
    rows = np.random.default_rng(2).normal(size=(50, 2)) @ np.ones((2, 9))
    assert PCA.fit(rows, 5, scaled=False).dim == 1
    with pytest.raises(UsageError, match="constant"):
        PCA.fit(np.ones((5, 3)))


@given(st.integers(1, 6), st.integers(1, 6), st.data())
def test_a_sharp_peak_is_its_place(height: int, width: int, data: st.DataObject):
    row, column = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    heat = torch.zeros(1, 1, height, width)
    heat[0, 0, row, column] = 50
    x, y = soft_argmax(heat, cell_centres(height, width))[0, 0]
    assert float(x) == pytest.approx((column + 0.5) * 2 / width - 1, abs=1e-5)
    assert float(y) == pytest.approx((row + 0.5) * 2 / height - 1, abs=1e-5)


def test_keypoints_follow_a_shifted_map():
    head = make_head("keypoints", shape=(1, 4, 9, 9), points=3, seed=0)
    torch.nn.init.constant_(head.get_parameter("filters.weight"), 0.1)
    blob = np.zeros((2, 1, 4, 9, 9), np.float32)
    blob[0, 0, :, 3, 2] = blob[1, 0, :, 5, 6] = 100
    with torch.inference_mode():
        found = head(torch.from_numpy(blob.reshape(2, -1))).numpy().reshape(2, 3, 2)
    np.testing.assert_allclose(found[0], [[5 / 9 - 1, 7 / 9 - 1]] * 3, atol=1e-3)  # the centre of column 2, row 3
    np.testing.assert_allclose(found[1], [[13 / 9 - 1, 11 / 9 - 1]] * 3, atol=1e-3)


def test_keypoints_need_maps():
    with pytest.raises(UsageError, match="stageN"):
        Keypoints((1, 1280))


@pytest.mark.parametrize("causal", [False, True])
def test_temporal_sees_so_far_and_no_farther(causal: bool):
    head = make_head("temporal", in_dim=3, dim=2, reach=2, causal=causal, seed=0).eval()
    clip = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    changed = clip.clone()
    changed[10] += 1
    with torch.inference_mode():
        differs = (head(clip) != head(changed)).any(dim=1).nonzero().ravel().tolist()
    assert differs == list(range(10 if causal else 8, 13))


def test_temporal_keeps_length_and_batches():
    head = make_head("temporal", in_dim=3, dim=2, seed=0).eval()
    clips = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together = head(clips)
        assert together.shape == (4, 6, 2)
        torch.testing.assert_close(together[1], head(clips[1]))
        assert head(clips[0, :0]).shape == (0, 2)


@pytest.mark.parametrize("kind", sorted(HEADS))
def test_heads_are_the_seed_s_and_rebuilt(kind: str):
    first, same = (make_head(kind, seed=3, **OPTIONS[kind]) for _ in range(2))
    for a, b in zip(first.state_dict().values(), same.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    encoder = HeadedEncoder(PixelsEncoder(2), first)
    frames = np.random.default_rng(0).integers(0, 256, (5, 6, 6, 3), np.uint8)
    again = build_encoder(encoder.spec(), encoder.weights())
    np.testing.assert_array_equal(again.encode(frames), encoder.encode(frames))
    features = PixelsEncoder(2).encode(frames)
    np.testing.assert_array_equal(encoder.project(features), encoder.encode(frames))


def test_heads_that_do_not_fit():
    with pytest.raises(WrongShape, match="linear"):
        HeadedEncoder(PixelsEncoder(3), make_head("linear", in_dim=12))
    with pytest.raises(UnknownName, match="keypoints"):
        make_head("keypoint")
    with pytest.raises(WrongShape, match="12"):
        HeadedEncoder(PixelsEncoder(2), make_head("linear", in_dim=12)).project(np.zeros((3, 5), np.float32))


def test_a_chain_refuses_heads_that_do_not_fit() -> None:
    with pytest.raises(WrongShape, match="linear"):
        make_head("chain", heads=[{"kind": "linear", "in_dim": 4, "dim": 3}, {"kind": "linear", "in_dim": 4}])
    with pytest.raises(UsageError, match="at least one"):
        make_head("chain", heads=[])
