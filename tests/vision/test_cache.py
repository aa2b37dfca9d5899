import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robo_reward.testing.encoder import EncoderContract
from robo_reward.vision.cache import CachedEncoder, hash_frame
from robo_reward.vision.pixels import PixelsEncoder

FRAMES = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)


class Counting(PixelsEncoder):
    encoded = 0

    def encode(self, frames: np.ndarray) -> np.ndarray:
        self.encoded += len(frames)
        return super().encode(frames)


class TestContract(EncoderContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path):
        self.folder = tmp_path

    def make_encoder(self):
        return CachedEncoder(PixelsEncoder(4), self.folder)


def test_a_frame_is_encoded_once(tmp_path: Path):
    inner = Counting(4)
    encoder = CachedEncoder(inner, tmp_path)
    wanted = PixelsEncoder(4).encode(FRAMES)
    np.testing.assert_array_equal(encoder.encode(FRAMES[[3, 3, 5]]), wanted[[3, 3, 5]])
    np.testing.assert_array_equal(encoder.encode(FRAMES), wanted)
    assert inner.encoded == 20
    again = CachedEncoder(Counting(4), tmp_path)
    np.testing.assert_array_equal(again.encode(FRAMES[::-1]), wanted[::-1])
    assert again.encoder.encoded == 0  # type: ignore[attr-defined]
    assert (again.hits, again.misses) == (20, 0)


def test_encoders_do_not_share(tmp_path: Path):
    CachedEncoder(PixelsEncoder(4), tmp_path).encode(FRAMES)
    other = Counting(4, grey=True)
    CachedEncoder(other, tmp_path).encode(FRAMES)
    assert other.encoded == 20
    assert len(list(tmp_path.iterdir())) == 2


def test_what_another_wrote_meanwhile_is_found(tmp_path: Path):
    first, second = (CachedEncoder(Counting(4), tmp_path) for _ in range(2))
    first.encode(FRAMES[:10])
    second.encode(FRAMES[:10])
    assert (second.hits, second.misses) == (10, 0)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_damaged_entries_are_encoded_again(tmp_path: Path, damage: str):
    wanted = CachedEncoder(PixelsEncoder(4), tmp_path).encode(FRAMES)
    (path,) = tmp_path.glob("*/*.npy")
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    broken = {"cut": content[: len(content) // 2], "flip": content, "empty": b"", "text": b"not an array"}
    path.write_bytes(broken[damage])
    inner = Counting(4)
    np.testing.assert_array_equal(CachedEncoder(inner, tmp_path).encode(FRAMES), wanted)
    assert inner.encoded == 20
    np.testing.assert_array_equal(CachedEncoder(inner, tmp_path).encode(FRAMES), wanted)  # it was written anew
    assert inner.encoded == 20


def test_a_half_written_file_is_never_read(tmp_path: Path):
    encoder = CachedEncoder(PixelsEncoder(4), tmp_path)
    (encoder.folder / ".new-abc").write_bytes(b"half")
    encoder.encode(FRAMES)
    assert (encoder.folder / ".new-abc").exists()


def test_the_key_is_of_size_and_bytes():
    assert hash_frame(FRAMES[0]) == hash_frame(FRAMES[0].copy())
    assert len({hash_frame(frame) for frame in FRAMES}) == 20
    assert hash_frame(FRAMES[0]) != hash_frame(FRAMES[0].reshape(4, 16, 3))


WRITER = """
import sys, numpy as np
from robo_reward.vision.cache import CachedEncoder
from robo_reward.vision.pixels import PixelsEncoder
frames = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)
encoder = CachedEncoder(PixelsEncoder(4), sys.argv[1])
for start in np.random.default_rng(int(sys.argv[2])).integers(0, 18, 40):
    assert (encoder.encode(frames[start : start + 3]) == PixelsEncoder(4).encode(frames[start : start + 3])).all()
"""


def test_several_processes_at_once(tmp_path: Path):
    running = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(seed)]) for seed in range(3)]
    assert [process.wait(timeout=60) for process in running] == [0, 0, 0]
    inner = Counting(4)
    np.testing.assert_array_equal(CachedEncoder(inner, tmp_path).encode(FRAMES), PixelsEncoder(4).encode(FRAMES))
    assert inner.encoded <= 2  # the last frames were asked for rarely
