"""Episodes of an arm, with measured rates and everything that was recorded, go out in every format and come back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from robo_reward.data.formats import FORMATS, export_episodes, open_episodes
from tests.hardware.rigs import closed, simulated


def test_a_deployment_goes_out_and_comes_back(tmp_path: Path) -> None:
    for module in ("pyarrow", "h5py", "minari"):
        pytest.importorskip(module)
    deployment = simulated(tmp_path / "run", episodes=2, frames=True)
    try:
        deployment.run()
        episodes = list(deployment.store)
        for to in FORMATS:
            export_episodes(open_episodes(deployment.store.folder), to, tmp_path / to)
            for before, after in zip(episodes, open_episodes(tmp_path / to).iterate(True), strict=True):
                for name in ("state", "action", "success"):
                    np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
                assert (before.spec, before.task_id, dict(before.meta)) == (after.spec, after.task_id, dict(after.meta))
                assert before.frames is not None and after.frames is not None
                assert before.frames.shape == after.frames.shape
    finally:
        closed(deployment)
