"""A policy that runs on OpenVINO acts as it does on torch, and is saved as the same policy."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robo_reward.envs.task import make_task
from robo_reward.errors import MissingExtra, UnknownName, UsageError
from robo_reward.policies.diffusion import runtime
from robo_reward.policies.diffusion.model import create_model
from robo_reward.policies.diffusion.normaliser import MinMax
from robo_reward.policies.diffusion.policy import DiffusionPolicy
from robo_reward.policies.diffusion.settings import DiffusionSettings
from robo_reward.policies.policy import load_policy
from tests.policies.folders import small_policy

TASK = make_task("panda/reach")
needs_openvino = pytest.mark.skipif(not find_spec("openvino"), reason="openvino is not installed")


def make_policy(**settings: Any) -> DiffusionPolicy:
    bounds = [MinMax(-torch.ones(n), torch.ones(n)) for n in (TASK.observation.dim, TASK.action.dim)]
    model = create_model(DiffusionSettings(sampling_steps=2, **settings), *bounds, seed=0)
    return DiffusionPolicy(model, TASK.observation, TASK.action, {})


@needs_openvino
@pytest.mark.parametrize(
    "settings",
    [
        {"network": "mlp"},
        {"network": "transformer", "history": 2},
        pytest.param({"network": "unet"}, marks=pytest.mark.slow),
        pytest.param({"objective": "flow"}, marks=pytest.mark.slow),
    ],
)
def test_openvino_computes_what_torch_computes(settings: dict[str, Any], tmp_path: Path) -> None:
    policy = make_policy(**settings)
    fast = runtime.with_runtime(policy, "openvino")
    rng, model = np.random.default_rng(0), policy.model
    for batch in (1, 3):  # an attention layer that was traced with one size is wrong for another
        inputs = [
            torch.randn(batch, *policy.noise_shape),
            model.objective.sample_time(batch),
            torch.randn(batch, model.condition_dim),
        ]
        torch.testing.assert_close(fast.model.network(*inputs), model.network(*inputs), rtol=0, atol=1e-5)
        seen = rng.normal(size=(batch, TASK.observation.dim)).astype(np.float32)
        noise = rng.normal(size=(batch, *policy.noise_shape)).astype(np.float32)
        np.testing.assert_allclose(fast.act(seen, noise), policy.act(seen, noise), rtol=0, atol=1e-4)
    fast.save(tmp_path)
    again = load_policy(tmp_path)
    for name, tensor in policy.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], tensor)


@needs_openvino
def test_torch_computes_sizes_beyond_the_first_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "MOST_SIZES", 1)
    policy = make_policy()
    fast = runtime.with_runtime(policy, "openvino")
    for batch in (1, 2):
        noise = np.zeros((batch, *policy.noise_shape), np.float32)
        seen = np.zeros((batch, TASK.observation.dim), np.float32)
        np.testing.assert_allclose(fast.act(seen, noise), policy.act(seen, noise), rtol=0, atol=1e-4)
    assert list(fast.model.network._compiled) == [1]


def test_a_runtime_that_cannot_be_had_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = make_policy()
    with pytest.raises(UnknownName, match="openvino"):
        runtime.with_runtime(policy, "openvin")
    with pytest.raises(UsageError, match="MLPPolicy; take runtime=torch"):
        runtime.with_runtime(small_policy(), "openvino")
    monkeypatch.setattr(runtime, "find_spec", lambda name: None)
    assert runtime.with_runtime(policy, "auto") is policy and runtime.with_runtime(policy, "torch") is policy
    with pytest.raises(MissingExtra, match="fast"):
        runtime.with_runtime(policy, "openvino")
