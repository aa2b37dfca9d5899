"""Folders that look like LeRobot checkpoints, without weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_checkpoint(folder: Path, pictures: dict[str, tuple[int, int]] | None = None, **changes: Any) -> Path:
    """Writes a checkpoint of a diffusion policy for panda/lift that sees 4 numbers, and pictures if given."""
    inputs: dict[str, Any] = {"observation.state": {"type": "STATE", "shape": [4]}}
    for name, shape in (pictures or {}).items():
        inputs[f"observation.images.{name}"] = {"type": "VISUAL", "shape": [3, *shape]}
    config = {
        "type": "diffusion", "input_features": inputs, "output_features": {"action": {"type": "ACTION", "shape": [4]}},
        "n_obs_steps": 2, "n_action_steps": 4, "horizon": 8, "limits": [[-0.5] * 4, [1.0] * 4],
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def write_training_data(checkpoint: Path, root: Path, fps: float, names: list[str]) -> None:
    """Writes the files that name the data set of a checkpoint, and its description."""
    (root / "meta").mkdir(parents=True)
    features = {"observation.state": {"dtype": "float32", "shape": [len(names)], "names": names}}
    (root / "meta" / "info.json").write_text(json.dumps({"fps": fps, "features": features}))
    (checkpoint / "train_config.json").write_text(json.dumps({"dataset": {"repo_id": "me/lift", "root": str(root)}}))
