"""Methods that change the weights: what they learn, exact resume, and input that they refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robo_reward.errors import UnknownName, UsageError
from robo_reward.policies.alignment import finetune
from robo_reward.policies.alignment.best_of_n import BestOfNPolicy, create_value, load_best_of_n
from robo_reward.policies.alignment.finetune_best_of_n import finetune_best_of_n
from robo_reward.policies.alignment.job import FinetuneOutcome
from robo_reward.policies.alignment.methods import METHODS, find_method
from robo_reward.policies.diffusion.networks.build import SIZES
from tests.policies.alignment.shifters import make_job, make_policy, make_ranked, reach

SMALL = {"batch": 8, "learning_rate": 1e-2, "anchor": 1.0, "focus": 1.0}


@pytest.fixture(autouse=True)
def _small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that trains in milliseconds."""
    torch.set_num_threads(1)
    monkeypatch.setitem(SIZES, ("mlp", "cpu"), {"width": 32, "blocks": 1})


def run(method: str, folder: Path, steps: int = 40, **more: Any) -> FinetuneOutcome:
    folder.mkdir(exist_ok=True)
    settings = {**SMALL, **more.pop("settings", {})}
    return METHODS[method].load()(make_job(folder, steps=steps, settings=settings, **{"ranked": make_ranked(), **more}))


def first_component(policy: Any, seed: int = 0) -> float:
    """The mean first component of the chunks that a policy draws at fresh starts."""
    sim = reach().make_worlds(64, 99, threads=1)
    observation = sim.observation()
    sim.close()
    noise = np.random.default_rng(seed).standard_normal((64, *policy.noise_shape)).astype(np.float32)
    return float(policy.act(observation, noise)[:, :, 0].mean())


@pytest.mark.parametrize("method", ["dpo", *(pytest.param(m, marks=pytest.mark.slow) for m in ("kto", "dro", "clone"))])
def test_alignment_prefers_what_people_prefer(method: str, tmp_path: Path) -> None:
    outcome = run(method, tmp_path, steps=30)
    assert outcome.before["preference_accuracy"] == 0.5  # the policy is its own reference
    assert outcome.after["preference_accuracy"] == 1.0
    assert first_component(outcome.policy) > first_component(make_policy()) + 0.08


@pytest.mark.slow
def test_flow_policies_are_aligned_alike(tmp_path: Path) -> None:
    outcome = finetune.finetune_dpo(
        replace(
            make_job(tmp_path, steps=30, settings=SMALL, ranked=make_ranked()), policy=make_policy("flow", history=2)
        )
    )
    assert outcome.after["preference_accuracy"] == 1.0


def test_the_policy_itself_is_not_changed(tmp_path: Path) -> None:
    job = make_job(tmp_path, steps=3, settings=SMALL, ranked=make_ranked())
    before = {name: tensor.clone() for name, tensor in job.policy.model.state_dict().items()}
    outcome = finetune.finetune_dpo(job)
    assert all(torch.equal(before[name], tensor) for name, tensor in job.policy.model.state_dict().items())
    assert not torch.equal(next(iter(outcome.policy.model.parameters())), next(iter(job.policy.model.parameters())))


@pytest.mark.parametrize("method", ["dpo", *(pytest.param(m, marks=pytest.mark.slow) for m in ("dro", "best_of_n"))])
def test_a_stopped_run_resumes_exactly(method: str, tmp_path: Path) -> None:
    whole = run(method, tmp_path / "whole", steps=50)
    asked = iter([False, False, True])
    stopped = run(method, tmp_path / "parts", steps=50, stop=lambda: next(asked))
    assert stopped.policy is None and stopped.steps == 40
    resumed = run(method, tmp_path / "parts", steps=50)
    models = [getattr(o.policy, "value", None) or o.policy.model for o in (whole, resumed)]
    pairs = zip(models[0].state_dict().values(), models[1].state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_run_does_not_go_on_with_other_answers_or_settings(tmp_path: Path) -> None:
    run("dpo", tmp_path, steps=2)
    found = make_ranked()
    more = replace(found.pairs, target=np.where(np.arange(len(found.pairs)) == 0, 0.5, found.pairs.target))
    with pytest.raises(UsageError, match="has learnt from other episodes, answers or settings"):
        run("dpo", tmp_path, steps=2, ranked=replace(found, pairs=more))
    with pytest.raises(UsageError, match="has learnt from other episodes, answers or settings"):
        run("dpo", tmp_path, steps=2, settings={**SMALL, "beta": 21.0})


def test_comparisons_that_cancel_are_refused(tmp_path: Path) -> None:
    found = make_ranked()
    both = replace(
        found.pairs,
        winner=np.array([0, 1]),
        loser=np.array([1, 0]),
        target=np.ones(2),
        anchor=found.pairs.anchor[:2],
    )
    with pytest.raises(UsageError, match="cancel each other"):
        run("dpo", tmp_path, ranked=replace(found, pairs=both))


def test_settings_and_methods_are_checked_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="'anchor'"):
        run("dpo", tmp_path, settings={"ancor": 1.0})
    with pytest.raises(UsageError, match=r"settings\.beta=0"):
        run("dpo", tmp_path, settings={"beta": 0})
    with pytest.raises(UsageError, match=r"at most 0\.5"):
        run("dpo", tmp_path, settings={"share": 0.7})
    with pytest.raises(UnknownName, match="'dpo'"):
        find_method("dop", True, False)
    with pytest.raises(UsageError, match="nothing to learn from; give preferences=DIR or reward=RUN"):
        find_method("dpo", False, False)
    with pytest.raises(UsageError, match="plain regression"):
        finetune.finetune_dpo(replace(make_job(tmp_path), policy=make_policy("regression")))


def test_best_of_n_draws_better_chunks_than_its_base(tmp_path: Path) -> None:
    outcome = run("best_of_n", tmp_path, steps=60)
    assert outcome.after["preference_accuracy"] == 1.0
    aligned: BestOfNPolicy = outcome.policy
    assert first_component(aligned) > first_component(make_policy()) + 0.05
    loaded = load_best_of_n(aligned.save(tmp_path / "policy"))
    assert first_component(loaded) == first_component(aligned)
    one = BestOfNPolicy(aligned.base, aligned.value, 1, {})
    assert first_component(one) == first_component(aligned.base)


def test_best_of_n_of_a_world_does_not_depend_on_the_others() -> None:
    policy = make_policy(history=2)
    best = BestOfNPolicy(policy, create_value(policy.model.condition_dim, policy.noise_shape, 0), 8, {})
    rng = np.random.default_rng(0)
    observation = rng.normal(size=(3, 2, policy.observation.dim)).astype(np.float32)
    noise = rng.standard_normal((3, *policy.noise_shape)).astype(np.float32)
    together = best.act(observation, noise)
    assert together.shape == (3, policy.chunk, policy.action.dim)
    assert np.allclose(together[1:2], best.act(observation[1:2], noise[1:2]), atol=1e-6)


def test_best_of_n_is_limited(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at most 1024"):
        finetune_best_of_n(make_job(tmp_path, settings={"candidates": 5000}))
