"""The networks: shapes, sizes, and what they depend on."""

from typing import Any, get_args

import pytest
import torch
from torch import nn

from robo_reward.policies.diffusion.networks.build import build_network
from robo_reward.policies.diffusion.settings import DiffusionSettings, NetworkName

NETWORKS = get_args(NetworkName)


def build(network: Any, **more: Any) -> nn.Module:
    torch.manual_seed(0)
    return build_network(DiffusionSettings(network=network, history=2, **more), actions=3, condition=10).eval()


@pytest.mark.parametrize("network", NETWORKS)
def test_the_prediction_has_the_chunk_s_shape_and_depends_on_all_inputs(network: str) -> None:
    made = build(network)
    sample, time, condition = torch.randn(4, 8, 3), torch.arange(4) * 10, torch.randn(4, 10)
    found = made(sample, time, condition)
    assert found.shape == sample.shape and found.dtype == torch.float32
    assert (made(sample, time + 1, condition) - found).abs().max() > 1e-6
    assert (made(sample, time, condition + 1) - found).abs().max() > 1e-6
    assert (made(sample + 1, time, condition) - found).abs().max() > 1e-6
    torch.testing.assert_close(made(sample[1:2], time[1:2], condition[1:2])[0], found[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("network", NETWORKS)
def test_every_weight_learns(network: str) -> None:
    made = build(network)
    made(torch.randn(4, 8, 3), torch.arange(4), torch.randn(4, 10)).square().sum().backward()
    idle = [name for name, weight in made.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not idle


@pytest.mark.parametrize("network", NETWORKS)
def test_networks_suit_an_average_of_weights_and_openvino(network: str) -> None:
    """BatchNorm's statistics do not average, and OpenVINO refuses Mish on processors without AVX-512."""
    kinds = {type(module) for module in build(network).modules()}
    assert not kinds & {nn.BatchNorm1d, nn.BatchNorm2d, nn.Mish}


def count_weights(network: Any, size: Any, horizon: int) -> float:
    """Returns the number of weights in millions."""
    made = build_network(DiffusionSettings(network=network, size=size, horizon=horizon), actions=7, condition=48)
    return sum(weight.numel() for weight in made.parameters()) / 1e6


def test_the_small_sizes_are_those_of_the_page() -> None:
    assert count_weights("mlp", "cpu", 8) == pytest.approx(1.2, rel=0.1)
    assert count_weights("unet", "cpu", 16) == pytest.approx(0.35, rel=0.2)
    assert count_weights("transformer", "cpu", 16) == pytest.approx(1.1, rel=0.1)


@pytest.mark.slow
def test_the_large_u_net_is_as_large_as_the_published_one() -> None:
    assert count_weights("unet", "paper", 16) == pytest.approx(65.9, rel=0.05)


def test_a_step_of_the_transformer_does_not_see_later_ones() -> None:
    made = build("transformer")
    sample, time, condition = torch.randn(1, 8, 3), torch.zeros(1), torch.randn(1, 10)
    changed = sample.clone()
    changed[:, 5] += 1
    torch.testing.assert_close(made(changed, time, condition)[:, :5], made(sample, time, condition)[:, :5])
