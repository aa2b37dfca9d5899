"""DDPM and DDIM against the schedulers of the package diffusers, which takes seconds to import."""

import pytest
import torch

from robo_reward.policies.diffusion.objectives import DDPM

pytestmark = pytest.mark.slow
LEVELS = 100


def make_scheduler(name: str, prediction_type: str = "epsilon", **more: object):
    schedulers = pytest.importorskip("diffusers.schedulers", reason="the extra dev brings diffusers")
    common = {"num_train_timesteps": LEVELS, "beta_schedule": "squaredcos_cap_v2", "clip_sample": True}
    return getattr(schedulers, name)(**common, prediction_type=prediction_type, **more)


def draw(seed: int) -> torch.Tensor:
    return torch.randn(5, 8, 3, generator=torch.Generator().manual_seed(seed))


def predict(sample: torch.Tensor, time: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
    """Some smooth function of sample and time."""
    return torch.tanh(1.3 * sample + 0.01 * time[:, None, None]) + 0.1 * sample


def test_noise_is_added_as_diffusers_does() -> None:
    theirs, ours = make_scheduler("DDPMScheduler"), DDPM(LEVELS)
    time = torch.tensor([0, 1, 50, 98, 99])
    torch.testing.assert_close(ours.alphas, theirs.alphas_cumprod, atol=1e-6, rtol=1e-5)
    expected = theirs.add_noise(draw(0), draw(1), time)
    torch.testing.assert_close(ours.add_noise(draw(0), draw(1), time), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("prediction_type", ["epsilon", "sample"])
@pytest.mark.parametrize("steps", [1, 2, 4, 7, 8, 10, 16, 20, 25, 30, 100])
def test_ddim_equals_diffusers(steps: int, prediction_type: str) -> None:
    theirs = make_scheduler("DDIMScheduler", prediction_type, timestep_spacing="trailing", set_alpha_to_one=True)
    ours = DDPM(LEVELS, prediction_type == "sample")
    theirs.set_timesteps(steps)
    assert DDPM(LEVELS).list_sampling_times(steps) == theirs.timesteps.tolist()
    if LEVELS % steps:
        return  # diffusers then steps to level t - LEVELS // steps, which is not the one that it visits next
    expected = draw(2)
    for time in theirs.timesteps:
        expected = theirs.step(predict(expected, time.expand(5)), time, expected, eta=0.0).prev_sample
    found = ours.sample(predict, torch.zeros(5, 1), draw(2), steps)
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=2e-4)
