"""Objectives against closed forms: what a perfect network would predict for Gaussian data."""

import math

import pytest
import torch

from robo_reward.errors import UsageError
from robo_reward.policies.diffusion.objectives import DDPM, Flow, Network, Regression, make_objective
from robo_reward.policies.diffusion.settings import DiffusionSettings

MEAN, SPREAD = 0.2, 0.1  # of the Gaussian data


def draw(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 4, 2, generator=torch.Generator().manual_seed(seed))


CONDITION = torch.zeros(1, 1)


def test_the_cosine_schedule_is_the_published_formula() -> None:
    def level(t: float) -> float:
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    expected = [level((i + 1) / 100) / level(0) for i in range(99)]  # the last step is limited by the largest beta
    torch.testing.assert_close(DDPM(100).alphas[:99], torch.tensor(expected), rtol=1e-4, atol=1e-7)


def test_ddpm_mixes_in_noise_and_the_error_is_that_of_its_prediction() -> None:
    objective, actions, noise = DDPM(100), draw(64, 1), draw(64, 2)
    time = objective.sample_time(64, torch.Generator().manual_seed(0))
    assert time.dtype == torch.int64 and int(time.min()) >= 0 and int(time.max()) <= 99
    alpha = objective.alphas[time][:, None, None]
    expected = alpha.sqrt() * actions + (1 - alpha).sqrt() * noise
    torch.testing.assert_close(objective.add_noise(actions, noise, time), expected)
    perfect = objective.compute_errors(lambda s, t, c: noise, actions, CONDITION, noise, time)
    nothing = objective.compute_errors(lambda s, t, c: torch.zeros_like(s), actions, CONDITION, noise, time)
    assert perfect.shape == (64, 4) and perfect.abs().max() == 0
    torch.testing.assert_close(nothing, noise.square().mean(-1))


def make_predictor(objective: DDPM) -> Network:
    """Returns the best prediction of the noise for data N(MEAN, SPREAD²): E[ε | a_t]."""

    def predict(sample: torch.Tensor, time: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        alpha = objective.alphas[time][:, None, None]
        return (1 - alpha).sqrt() * (sample - alpha.sqrt() * MEAN) / (alpha * SPREAD**2 + 1 - alpha)

    return predict


def test_ddim_draws_the_data_s_distribution_in_the_limit_of_many_steps() -> None:
    noise = draw(200)
    exact = MEAN + SPREAD * noise  # the map of the continuous process, which keeps the order of samples
    errors = []
    for levels in (50, 200, 800):
        objective = DDPM(levels)
        found = objective.sample(make_predictor(objective), CONDITION, noise, levels)
        errors.append(float((found - exact).square().mean().sqrt()) / SPREAD)
    assert errors[2] < 0.02
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_ddim_with_a_network_that_knows_the_chunk_returns_it_after_one_step() -> None:
    chunk, objective = draw(3).clamp(-1, 1), DDPM(50)

    def know(sample: torch.Tensor, time: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        alpha = objective.alphas[time][:, None, None]
        return (sample - alpha.sqrt() * chunk) / (1 - alpha).sqrt()

    for steps in (1, 4, 7, 50):
        torch.testing.assert_close(objective.sample(know, CONDITION, draw(3, 5), steps), chunk, atol=2e-3, rtol=0)


def test_more_sampling_steps_than_levels_are_refused() -> None:
    """Elsewhere this became a silent identity."""
    with pytest.raises(UsageError, match="from 1 to the 20 training steps"):
        DDPM(20).sample(make_predictor(DDPM(20)), CONDITION, draw(1), 21)
    with pytest.raises(UsageError, match="sampling_steps=30 is more than train_steps=20"):
        DiffusionSettings(train_steps=20, sampling_steps=30)
    assert DiffusionSettings(objective="flow", train_steps=1, sampling_steps=30).sampling_steps == 30


def velocity(sample: torch.Tensor, time: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
    """The velocity E[a - ε | a_t] of flow matching for data N(MEAN, SPREAD²)."""
    t = time[:, None, None]
    variance = (1 - t) ** 2 + (t * SPREAD) ** 2
    return MEAN + (t * SPREAD**2 - (1 - t)) / variance * (sample - t * MEAN)


def test_flow_follows_the_exact_path_with_an_error_of_first_order() -> None:
    noise = draw(200)
    exact = MEAN + SPREAD * noise  # a_t = t m + sqrt((1-t)² + t² s²) ε at t = 1
    errors = [float((Flow().sample(velocity, CONDITION, noise, n) - exact).abs().max()) for n in (200, 400, 800)]
    assert errors[2] < 0.01
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.2) and errors[1] / errors[2] == pytest.approx(2, rel=0.2)


def test_predictions_of_the_chunk_draw_the_same_chunks() -> None:
    """The best prediction of the chunk, E[a | a_t], follows from that of the velocity or the noise."""

    def from_velocity(sample: torch.Tensor, time: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        return sample + (1 - time[:, None, None]) * velocity(sample, time, condition)

    def from_noise(sample: torch.Tensor, time: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        alpha = objective.alphas[time][:, None, None]
        return (sample - (1 - alpha).sqrt() * make_predictor(objective)(sample, time, condition)) / alpha.sqrt()

    noise, objective = draw(50), DDPM(50)
    expected = Flow().sample(velocity, CONDITION, noise, 10)
    torch.testing.assert_close(Flow(True).sample(from_velocity, CONDITION, noise, 10), expected, atol=1e-5, rtol=1e-5)
    expected = objective.sample(make_predictor(objective), CONDITION, noise, 50)
    found = DDPM(50, True).sample(from_noise, CONDITION, noise, 50)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", ["ddpm", "flow"])
def test_a_prediction_of_the_chunk_is_compared_with_the_chunk(name: str) -> None:
    objective = make_objective(DiffusionSettings(objective=name, prediction_type="sample"))  # type: ignore[arg-type]
    actions, noise = draw(8, 1), draw(8, 2)
    time = objective.sample_time(8, torch.Generator().manual_seed(0))
    errors = objective.compute_errors(lambda s, t, c: actions + 2, actions, CONDITION, noise, time)
    torch.testing.assert_close(errors, torch.full((8, 4), 4.0))
    far = objective.sample(lambda s, t, c: torch.full_like(s, 3.0), CONDITION, noise, 8)
    torch.testing.assert_close(far, torch.ones_like(far))  # clipped, like every estimate of the chunk


def test_flow_error_and_path() -> None:
    objective, actions, noise = Flow(), draw(8, 1), draw(8, 2)
    torch.testing.assert_close(objective.add_noise(actions, noise, torch.zeros(8)), noise)
    torch.testing.assert_close(objective.add_noise(actions, noise, torch.ones(8)), actions)
    right = objective.compute_errors(lambda s, t, c: actions - noise, actions, CONDITION, noise, torch.rand(8))
    assert right.shape == (8, 4) and right.max() == 0


def test_regression_ignores_noise_and_time() -> None:
    objective, actions = Regression(), draw(8, 1)
    seen: list[torch.Tensor] = []

    def network(sample: torch.Tensor, time: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        seen.append(sample)
        return actions + 1

    errors = objective.compute_errors(network, actions, CONDITION, draw(8, 2), torch.ones(8))
    torch.testing.assert_close(errors, torch.ones(8, 4))
    torch.testing.assert_close(objective.sample(network, CONDITION, draw(8, 3), 5), actions + 1)
    assert len(seen) == 2 and not seen[0].any() and not seen[1].any()


@pytest.mark.parametrize("name", ["ddpm", "flow"])
def test_a_warm_start_skips_steps_and_stays_near_the_earlier_chunk(name: str) -> None:
    objective = make_objective(DiffusionSettings(objective=name))  # type: ignore[arg-type]
    calls: list[float] = []
    start = torch.full((1, 4, 2), MEAN)

    def count(sample: torch.Tensor, time: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        calls.append(float(time[0]))
        return (make_predictor(DDPM(100)) if name == "ddpm" else velocity)(sample, time, condition)

    objective.sample(count, CONDITION, draw(1), 10, start, 0.7)
    assert len(calls) == 3
    calls.clear()
    objective.sample(count, CONDITION, draw(1), 10, None, 0.7)
    assert len(calls) == 10
