"""Data sets with damaged bytes are read or refused with an error of ours, never with one of a library."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from robo_reward.data.formats import FORMATS, export_episodes, open_episodes
from robo_reward.errors import RoboRewardError
from tests.data import test_robomimic
from tests.data.test_lerobot import filmed, foreign, source

for module in ("pyarrow", "h5py", "minari"):
    pytest.importorskip(module)

TRIALS = 60


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of each format, ours and of others."""
    folder = tmp_path_factory.mktemp("originals")
    for to in FORMATS:
        export_episodes(source([filmed(6, 0), filmed(6, 1)]), to, folder / to)
    for version in ("v2.1", "v3.0"):
        foreign(folder / version, version)
    (folder / "others").mkdir()
    test_robomimic.foreign(folder / "others" / "lift.hdf5", [[0, 1], [0, 0, 1]])
    return folder


def damage(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    kind = rng.choice(("cut", "change", "change", "insert"))
    place = rng.randrange(len(data))
    if kind == "cut":
        del data[place:]
    elif kind == "change":
        for _ in range(rng.choice((1, 3, 20))):
            data[rng.randrange(len(data))] = rng.randrange(256)
    else:
        data[place : place + rng.randrange(40)] = rng.randbytes(rng.randrange(40))
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("name", [*FORMATS, "v2.1", "v3.0", "others"])
def test_damaged_bytes(originals: Path, tmp_path: Path, name: str):
    rng, refused = random.Random(name), 0
    for trial in range(TRIALS):
        copy = tmp_path / str(trial)
        shutil.copytree(originals / name, copy)
        damage(rng.choice(sorted(p for p in copy.rglob("*") if p.is_file())), rng)
        try:
            for _ in open_episodes(copy).iterate(True):
                pass
        except RoboRewardError:
            refused += 1
        shutil.rmtree(copy)
    assert refused > TRIALS // 4
