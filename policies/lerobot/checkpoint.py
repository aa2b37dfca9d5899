"""The description of a LeRobot checkpoint and of the data set that it was trained on, read without LeRobot."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec

from robo_reward.errors import BadArtifact, UnknownName, UsageError
from robo_reward.files import load_json
from robo_reward.policies.lerobot.child import ENVIRONMENT, PICTURES, STATE

KINDS = ("act", "diffusion")
MAX_CONFIG = 4 << 20  # [bytes]
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
REMEDY = "Give the folder that `save_pretrained` wrote, such as outputs/train/NAME/checkpoints/last/pretrained_model"
Size = Annotated[int, msgspec.Meta(ge=1, le=100_000)]


class LeRobotFeatureForm(msgspec.Struct):
    """An input or output of a policy."""

    type: str
    shape: Annotated[list[Size], msgspec.Meta(min_length=1, max_length=4)]


class LeRobotConfigForm(msgspec.Struct):
    """The part of `config.json` that is read here; LeRobot reads the rest."""

    type: str
    input_features: dict[str, LeRobotFeatureForm]
    output_features: dict[str, LeRobotFeatureForm]
    n_obs_steps: Size = 1
    n_action_steps: Size = 1
    horizon: Size = 1
    chunk_size: Size = 1
    temporal_ensemble_coeff: float | None = None


class _DataSetForm(msgspec.Struct):
    repo_id: str = ""
    root: str | None = None


class LeRobotTrainingForm(msgspec.Struct):
    """The part of `train_config.json` that names the data set."""

    dataset: _DataSetForm = msgspec.field(default_factory=_DataSetForm)


class _ColumnForm(msgspec.Struct):
    names: Any = None


class DataSetInfoForm(msgspec.Struct):
    """The part of a data set's `meta/info.json` that says what its numbers are."""

    fps: Annotated[float, msgspec.Meta(gt=0, le=1e4)]
    features: dict[str, _ColumnForm] = {}


class TrainingData(NamedTuple):
    """The rate and the names of the numbers of the data set of a checkpoint.

    Attributes:
        folder: the data set.
        rate_hz: rows per second [Hz].
        state: names of the numbers of `observation.state`; empty where it does not name them.
    """

    folder: Path
    rate_hz: float
    state: tuple[str, ...]


@dataclass(frozen=True)
class Checkpoint:
    """A LeRobot policy on disk.

    Args:
        folder: as `save_pretrained` writes it.
        kind: `act` or `diffusion`.
        state: size of `observation.state`; 0: it is no input.
        environment: size of `observation.environment_state`; 0: it is no input.
        pictures: name of each picture, such as `front` for `observation.images.front` -> (height, width) [pixels].
        action: A, size of an action.
        history: To, number of observations.
        chunk: H, number of actions that a query returns.
        execute: number of these that LeRobot executes.
        horizon: Tp, length of a diffusion policy's noise.
    """

    folder: Path
    kind: str
    state: int
    environment: int
    pictures: dict[str, tuple[int, int]]
    action: int
    history: int
    chunk: int
    execute: int
    horizon: int

    @classmethod
    def read(cls, folder: Path) -> Checkpoint:
        """Reads a checkpoint's `config.json`.

        Raises:
            UsageError: no checkpoint there.
            BadArtifact: a damaged one, or one with inputs of another kind.
            UnknownName: a policy of another type.
        """
        path = folder / "config.json"
        form = load_json(path, LeRobotConfigForm, MAX_CONFIG, REMEDY, follow=True)
        if form is None:
            raise UsageError(f"no LeRobot policy at {folder} (expected config.json and model.safetensors). {REMEDY}")
        if not (folder / "model.safetensors").is_file():
            raise UsageError(f"the LeRobot policy at {folder} has no model.safetensors. {REMEDY}")
        if form.type not in KINDS:
            raise UnknownName("type of a LeRobot policy", form.type, KINDS)
        if form.temporal_ensemble_coeff is not None:
            raise BadArtifact(
                path,
                "it averages the actions of successive chunks (temporal_ensemble_coeff), which is not supported",
                "Set temporal_ensemble_coeff to null and n_action_steps to the number of actions between two queries",
            )
        sizes, pictures = _read_inputs(form, path)
        action = form.output_features.get("action")
        if action is None or len(form.output_features) > 1 or len(action.shape) != 1:
            raise BadArtifact(path, f"its outputs are {', '.join(form.output_features)}, expected one vector 'action'")
        is_diffusion = form.type == "diffusion"
        chunk = form.n_action_steps if is_diffusion else form.chunk_size
        horizon = form.horizon if is_diffusion else 0
        if form.n_action_steps > chunk or (is_diffusion and chunk + form.n_obs_steps - 1 > horizon):
            raise BadArtifact(path, f"n_action_steps={form.n_action_steps} is more than it predicts")
        if not is_diffusion and form.n_obs_steps != 1:
            raise BadArtifact(path, f"n_obs_steps={form.n_obs_steps}, expected 1 of an ACT policy")
        return cls(
            folder, form.type, sizes.get(STATE, 0), sizes.get(ENVIRONMENT, 0), pictures, action.shape[0],
            form.n_obs_steps, chunk, form.n_action_steps, horizon,
        )  # fmt: skip

    def find_training_data(self) -> TrainingData | None:
        """Returns rate and names of the data set that it was trained on; None where that is not on this machine."""
        found = load_json(self.folder / "train_config.json", LeRobotTrainingForm, MAX_CONFIG, follow=True)
        if found is None or not (found.dataset.root or found.dataset.repo_id):
            return None
        root = Path(found.dataset.root or _find_lerobot_home() / found.dataset.repo_id)
        info = load_json(root / "meta" / "info.json", DataSetInfoForm, follow=True)
        if info is None:
            return None
        names = info.features.get(STATE, _ColumnForm()).names
        is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
        return TrainingData(root, info.fps, tuple(names) if is_list else ())


def is_hub_id(value: str) -> bool:
    """Returns whether a value has the form of a repository of the Hugging Face hub, and no file has its name."""
    return HUB_ID.fullmatch(value) is not None and not Path(value).exists()


def _find_lerobot_home() -> Path:
    """Returns the folder in which LeRobot keeps data sets by their names."""
    cache = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    return Path(os.environ.get("HF_LEROBOT_HOME") or cache / "lerobot")


def _read_inputs(form: LeRobotConfigForm, path: Path) -> tuple[dict[str, int], dict[str, tuple[int, int]]]:
    """Returns the sizes of the vectors that a policy takes, and of the pictures."""
    sizes: dict[str, int] = {}
    pictures: dict[str, tuple[int, int]] = {}
    for name, feature in form.input_features.items():
        if name in (STATE, ENVIRONMENT) and len(feature.shape) == 1:
            sizes[name] = prod(feature.shape)
        elif name.startswith(PICTURES) and len(feature.shape) == 3 and feature.shape[0] == 3:
            pictures[name.removeprefix(PICTURES)] = (feature.shape[1], feature.shape[2])
        else:
            raise BadArtifact(
                path,
                f"its input {name} of shape {tuple(feature.shape)} is of a kind that robo-reward cannot give; it gives "
                f"{STATE}, {ENVIRONMENT} and pictures {PICTURES}NAME of shape (3, height, width)",
                "Train the policy on such inputs",
            )
    return sizes, pictures
