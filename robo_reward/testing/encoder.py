"""The contract of an encoder as tests.

Inherit the mixin and say how to make yours; pytest runs the rest:

    class TestMine(EncoderContract):
        def make_encoder(self): return MyEncoder(...)
"""

from __future__ import annotations

import json

import numpy as np

from robo_reward.errors import WrongShape
from robo_reward.rewards.contract import digest_tensors
from robo_reward.vision.encoder import Encoder, build_encoder


class EncoderContract:
    """The contract of `robo_reward.vision.encoder.Encoder` as tests.

    Attributes:
        tolerance: relative to the largest feature; sums may round differently in batches of another length.
        rebuilt: whether the spec and the weights are enough to build it again.
    """

    tolerance = 1e-5
    rebuilt = True

    def make_encoder(self) -> Encoder:
        """A fresh encoder, always the same."""
        raise NotImplementedError

    def make_frames(self, n: int, seed: int) -> np.ndarray:
        """n frames (n, H, W, 3) that show something to it."""
        return np.random.default_rng(seed).integers(0, 256, (n, 48, 64, 3), np.uint8)

    def assert_same(self, got: np.ndarray, expected: np.ndarray) -> None:
        scale = 1e-6 + np.abs(expected).max(initial=0)
        np.testing.assert_allclose(got, expected, rtol=0, atol=self.tolerance * scale)

    def test_features_are_finite_float32_one_row_for_each_frame(self) -> None:
        encoder = self.make_encoder()
        for n in (1, 2, 35):
            features = encoder.encode(self.make_frames(n, seed=n))
            assert features.shape == (n, encoder.dim)
            assert features.dtype == np.float32
            assert np.isfinite(features).all()

    def test_different_frames_have_different_features(self) -> None:
        features = self.make_encoder().encode(self.make_frames(6, seed=0))
        assert len(np.unique(features, axis=0)) == 6

    def test_no_frames(self) -> None:
        encoder = self.make_encoder()
        assert encoder.encode(self.make_frames(2, seed=0)[:0]).shape == (0, encoder.dim)

    def test_same_frames_same_numbers(self) -> None:
        encoder, frames = self.make_encoder(), self.make_frames(5, seed=1)
        first = encoder.encode(frames)
        np.testing.assert_array_equal(first, encoder.encode(frames))
        np.testing.assert_array_equal(first, self.make_encoder().encode(frames))

    def test_company_and_order_do_not_matter(self) -> None:
        encoder, frames = self.make_encoder(), self.make_frames(37, seed=2)
        features = encoder.encode(frames)
        order = np.random.default_rng(0).permutation(37)
        self.assert_same(encoder.encode(frames[order]), features[order])
        alone = np.concatenate([encoder.encode(frame[None]) for frame in frames[:5]])
        self.assert_same(alone, features[:5])
        self.assert_same(encoder.encode(frames[::2]), features[::2])

    def test_inputs_are_unchanged_not_shared_and_may_be_views(self) -> None:
        encoder, frames = self.make_encoder(), self.make_frames(5, seed=3)
        frames = np.ascontiguousarray(frames[:, : min(frames.shape[1:3]), : min(frames.shape[1:3])])
        before = frames.copy()
        frames.flags.writeable = False
        features = encoder.encode(frames)
        assert not np.shares_memory(features, frames)
        np.testing.assert_array_equal(frames, before)
        doubled = np.repeat(frames, 2, axis=0)
        np.testing.assert_allclose(encoder.encode(doubled[::2]), features, atol=self.tolerance * np.abs(features).max())

    def test_wrong_frames_are_refused_by_name(self) -> None:
        encoder, frames = self.make_encoder(), self.make_frames(2, seed=4)
        for wrong in (frames.astype(np.float32), frames[0], frames[..., :2], np.moveaxis(frames, 3, 1), frames[:, :0]):
            message = ""
            try:
                encoder.encode(wrong)
            except WrongShape as error:
                message = str(error)
            assert "uint8" in message, f"frames {wrong.dtype} {wrong.shape} were not refused"

    def test_rebuilt_from_spec_and_weights(self) -> None:
        encoder, frames = self.make_encoder(), self.make_frames(5, seed=5)
        spec = json.loads(json.dumps(encoder.spec()))
        assert isinstance(spec["kind"], str)
        for name, tensors in encoder.weights().items():
            assert digest_tensors(tensors) == name
        if not self.rebuilt:
            return
        again = build_encoder(spec, encoder.weights())
        assert again.dim == encoder.dim
        assert again.spec() == encoder.spec()
        self.assert_same(again.encode(frames), encoder.encode(frames))
