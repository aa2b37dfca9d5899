"""Networks for pictures: the soft-argmax, crops, normalisation, gradients and bad input."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import nn

from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.errors import UnknownName, UsageError, WrongShape
from robo_reward.policies.vision.crop import crop_centre, crop_random
from robo_reward.policies.vision.picture_encoder import PictureEncoder, build_network
from robo_reward.policies.vision.published_networks import IMAGENET_MEAN, IMAGENET_STD
from robo_reward.policies.vision.settings import VisionSettings
from robo_reward.policies.vision.soft_argmax import KeypointNetwork, SpatialSoftArgmax, measure_map

FRAMES = FrameSpec(("front", "wrist"), 48)
RANDOM_TIMM = VisionSettings(network="timm", model="test_resnet.r160_in1k", source="random", features=8)
SETTINGS = {
    "small": VisionSettings(features=8, keypoints=4),
    "nature": VisionSettings(network="nature", features=8),
    "resnet18": VisionSettings(network="resnet18", features=8, keypoints=4),
    "timm": RANDOM_TIMM,
}


def draw_pictures(count: int = 3, history: int = 2, size: int = 48, seed: int = 0) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(seed)
    shape = (count, history, size, size, 3)
    return {name: torch.from_numpy(rng.integers(0, 256, shape, dtype=np.uint8)) for name in ("front", "wrist")}


@cache
def make_encoder(network: str) -> PictureEncoder:
    """Returns an encoder of two cameras and two pictures each; a ResNet-18 takes long to make."""
    return PictureEncoder(FRAMES, 2, SETTINGS[network])


def test_soft_argmax_finds_the_centre_of_a_gaussian() -> None:
    """exp of a parabola around c is a Gaussian: its mean over the pixel grid is c, with no term of the code."""
    size, centre, width = 41, (0.25, -0.4), 0.1
    axis = np.linspace(-1, 1, size)
    parabola = -((axis[None, :] - centre[0]) ** 2 + (axis[:, None] - centre[1]) ** 2) / (2 * width**2)
    found = SpatialSoftArgmax(size, size)(torch.tensor(parabola, dtype=torch.float32)[None, None])
    np.testing.assert_allclose(found.detach().numpy()[0], centre, atol=1e-5)


def test_soft_argmax_of_two_pixels_is_a_logistic_function() -> None:
    maps = torch.tensor([[[[0.3, -0.9]]]])  # one row of two pixels at x = -1 and x = 1
    x, y = SpatialSoftArgmax(1, 2)(maps)[0].tolist()
    assert x == pytest.approx(np.tanh((-0.9 - 0.3) / 2))  # 2 sigma(d) - 1
    assert y == 0


def test_soft_argmax_gradient_agrees_with_finite_differences() -> None:
    layer = SpatialSoftArgmax(3, 4).double()
    maps = torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (maps,))


def test_training_crops_at_random_places_and_evaluation_at_the_centre() -> None:
    """Each pixel holds its own row and column, so that a crop says where it was cut."""
    rows, columns = np.meshgrid(np.arange(48), np.arange(48), indexing="ij")
    picture = np.stack([rows, columns, 0 * rows], axis=-1).astype(np.uint8)
    pictures = torch.from_numpy(np.broadcast_to(picture, (200, 2, 48, 48, 3)).copy())
    found, shift = crop_random(pictures, 42, torch.Generator().manual_seed(0))
    corners = found[:, :, 0, 0, :2]
    assert torch.equal(corners[:, 0], corners[:, 1])  # one place for the whole history
    assert set(corners[:, 0].flatten().tolist()) == set(range(7))  # 0 to 48 - 42, both ends included
    inside = found[:, :, -1, -1, :2] - corners
    assert (inside == 41).all()
    assert torch.equal(shift.flip(1) + 3, corners[:, 0])  # to the right and down, from the centre's corner (3, 3)
    again, _ = crop_random(pictures, 42, torch.Generator().manual_seed(0))
    assert torch.equal(found, again)
    assert crop_centre(pictures, 42)[0, 0, 0, 0].tolist() == [3, 3, 0]

    encoder = PictureEncoder(FrameSpec(("front",), 48), 2, SETTINGS["small"])
    one = {"front": draw_pictures()["front"][:1]}
    encoder.train()
    assert len({tuple(encoder(one)[0].tolist()) for _ in range(8)}) > 1
    encoder.eval()
    middle = one["front"][:, :, 3:45, 3:45].clone()
    cut = copy.deepcopy(one)
    cut["front"][:] = 0
    cut["front"][:, :, 3:45, 3:45] = middle
    assert torch.equal(encoder(one), encoder(cut))  # what is outside the centre is not seen


def test_a_keypoint_keeps_its_numbers_wherever_the_picture_is_cut() -> None:
    """A Gaussian at pixel (row 27, column 20) of 48: seen by means of 2 x 2 pixels, its place is known in advance."""
    body = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(3, 1, 1, bias=False))
    network = KeypointNetwork(body, 42, 2, 1, 2)
    nn.init.constant_(body[1].weight, 1 / 3)  # type: ignore[arg-type]
    nn.init.eye_(network[2].weight)  # type: ignore[arg-type]
    nn.init.zeros_(network[2].bias)  # type: ignore[arg-type]
    axis = torch.arange(48.0)
    parabola = -((axis[:, None] - 27) ** 2 + (axis[None, :] - 20) ** 2) / (2 * 3**2)
    pictures = parabola[None, None, :, :, None].expand(50, 1, 48, 48, 3)
    cut, shift = crop_random(pictures, 42, torch.Generator().manual_seed(0))
    found = network(cut[:, 0].permute(0, 3, 1, 2), shift)
    # In the centre's crop of 42 pixels the maps have 21, whose centres are at the pixels 0.5, 2.5, ... 40.5.
    expected = [(20 - 3 - 0.5) / 20 - 1, (27 - 3 - 0.5) / 20 - 1]
    assert len({tuple(row) for row in shift.tolist()}) > 20
    np.testing.assert_allclose(found.detach(), np.tile(expected, (50, 1)), atol=2e-3)


@pytest.mark.parametrize("network", ["small", pytest.param("resnet18", marks=pytest.mark.slow)])
def test_the_pixels_of_the_maps_are_as_far_apart_as_the_keypoints_assume(network: str) -> None:
    """Pictures that are 64 pixels wider have as many more pixels in their maps as strides fit into 64 pixels."""
    found: Any = build_network(96, SETTINGS[network])
    narrow, wide = measure_map(found[0], 96)[1], measure_map(found[0], 160)[1]
    stride = 2 / (found.pixel * (narrow - 1))
    assert (wide - narrow) * stride == pytest.approx(64)


NETWORKS = [pytest.param(name, marks=pytest.mark.slow if name == "resnet18" else ()) for name in SETTINGS]


@pytest.mark.parametrize("network", NETWORKS)
def test_pictures_are_normalised_as_the_network_expects(network: str) -> None:
    encoder = make_encoder(network)
    if network == "timm":
        config: Any = timm.create_model(RANDOM_TIMM.model).pretrained_cfg
        mean, std = config["mean"], config["std"]
    else:
        mean, std = {
            "small": ((0.5,) * 3, (0.5,) * 3),
            "nature": ((0.0,) * 3, (1.0,) * 3),
            "resnet18": (IMAGENET_MEAN, IMAGENET_STD),
        }[network]
    picture = draw_pictures(1, 1)["front"][0, 0].numpy()
    expected = (picture / 255 - np.array(mean)) / np.array(std)
    found = encoder.normalise(torch.from_numpy(picture).permute(2, 0, 1)[None])[0].permute(1, 2, 0)
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-6)


@pytest.mark.parametrize("network", NETWORKS)
def test_gradients_reach_every_trainable_weight_and_no_statistics_move(network: str) -> None:
    encoder = make_encoder(network).train()
    before = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    features = encoder(draw_pictures(2))
    assert features.shape == (2, encoder.dim) == (2, 2 * 2 * 8)
    features.square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert parameter.grad is None or parameter.grad.isfinite().all()
    assert sum(float(p.grad.abs().sum()) > 0 for p in encoder.parameters() if p.grad is not None) > 3
    after = dict(encoder.named_buffers())
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("network", NETWORKS[:3])
def test_networks_that_are_trained_have_no_batch_normalisation(network: str) -> None:
    """Its running statistics would not follow the moving average of the weights."""
    encoder = make_encoder(network)
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in encoder.modules())
    has_groups = any(isinstance(module, nn.GroupNorm) for module in encoder.modules())
    assert has_groups == (network != "nature")
    encoder.eval()
    pictures = draw_pictures(2)
    alone = encoder({name: part[:1] for name, part in pictures.items()})
    torch.testing.assert_close(encoder(pictures)[:1], alone, atol=1e-5, rtol=1e-5)


def test_features_are_ordered_by_age_then_camera() -> None:
    encoder = PictureEncoder(FRAMES, 2, SETTINGS["small"]).eval()
    pictures = draw_pictures()
    changed = {name: part.clone() for name, part in pictures.items()}
    changed["wrist"][:, 1] = 255 - changed["wrist"][:, 1]
    differs = (encoder(pictures) != encoder(changed)).any(0).unflatten(0, (2, 2, 8)).any(-1)
    assert differs.tolist() == [[False, False], [False, True]]


def test_published_weights_learn_at_their_own_rate() -> None:
    frozen = PictureEncoder(FRAMES, 1, RANDOM_TIMM)
    assert [group["lr"] for group in frozen.parameter_groups(1e-3)] == [1e-3]
    trained = VisionSettings(network="timm", model=RANDOM_TIMM.model, source="random", frozen=False, rate=0.1)
    groups = PictureEncoder(FRAMES, 1, trained).parameter_groups(1e-3)
    assert [group["lr"] for group in groups] == [1e-3, pytest.approx(1e-4)]
    assert len(groups[0]["params"]) == 4  # weight and bias of the linear layer of two cameras


def test_settings_come_back_from_json() -> None:
    assert VisionSettings.from_json(RANDOM_TIMM.to_json()) == RANDOM_TIMM


def test_bad_settings_and_pictures_are_refused() -> None:
    with pytest.raises(UnknownName, match="resnet18"):
        VisionSettings.from_json({"network": "resnet"})
    with pytest.raises(UsageError, match="share of the picture's side"):
        VisionSettings(crop=84)
    with pytest.raises(UsageError, match="at least 32"):
        PictureEncoder(FrameSpec(("front",), 24), 1, VisionSettings())
    encoder = PictureEncoder(FRAMES, 2, SETTINGS["small"])
    pictures = draw_pictures()
    with pytest.raises(UsageError, match="no pictures of 'wrist'"):
        encoder({"front": pictures["front"]})
    with pytest.raises(WrongShape, match="48"):
        encoder({**pictures, "wrist": draw_pictures(size=64)["wrist"]})
    with pytest.raises(WrongShape, match="uint8"):
        encoder({**pictures, "front": pictures["front"].float()})
