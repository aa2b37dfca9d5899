"""Cloning: what it learns from, what it keeps, and that a stopped or killed run goes on bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from robo_reward.data.cloning.demonstrations import DemonstrationSet
from robo_reward.envs.task import make_task
from robo_reward.errors import BadArtifact, UsageError
from robo_reward.policies.diffusion.ema import WeightAverage
from robo_reward.policies.diffusion.networks.build import SIZES
from robo_reward.policies.diffusion.policy import DiffusionPolicy
from robo_reward.policies.diffusion.settings import DiffusionSettings
from robo_reward.policies.diffusion.train import CloneResult, clone_policy
from robo_reward.policies.diffusion.trainer import CloningFailed, Trainer, compute_rate_factor
from robo_reward.policies.diffusion.windows import Windows, cut_windows
from robo_reward.policies.evaluate import evaluate_policy
from robo_reward.policies.policy import load_policy
from robo_reward.seeds import VALIDATION_SEEDS
from tests.house.source import ROOT
from tests.policies.diffusion.tiny import SMALL, few, make_set, reach

SETTINGS = DiffusionSettings(sampling_steps=2, warmup=2)


@pytest.fixture(autouse=True)
def _small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, sizes in SMALL.items():
        monkeypatch.setitem(SIZES, name, sizes)


def clone(
    folder: Path, stop_after: int = 10**9, demonstrations: DemonstrationSet | None = None, **more: Any
) -> CloneResult:
    left = iter(range(stop_after))
    options: Any = {"steps": 12, "batch": 8, "seed": 3, "episodes": 2, "evaluate_every": 5, "evaluate_episodes": 2}
    settings = more.pop("settings", SETTINGS)

    def stop() -> bool:
        return next(left, None) is None

    return clone_policy(reach(), demonstrations or few(), folder, settings, stop=stop, **{**options, **more})


def get_weights(policy: DiffusionPolicy) -> dict[str, torch.Tensor]:
    return dict(policy.model.state_dict())


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    torch.manual_seed(11)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    whole = clone(tmp_path / "whole", torch_threads=threads)
    assert torch.equal(torch.get_rng_state(), state)  # the caller's
    for stop_after in (3, 4):
        part = clone(tmp_path / "parts", stop_after, torch_threads=threads)
        assert part.stopped and part.evaluation is None
        assert load_policy(tmp_path / "parts").meta["steps"] == part.steps
    rest = clone(tmp_path / "parts", torch_threads=threads)
    assert (part.steps, rest.steps, rest.stopped) == (7, 12, False)
    assert_same(get_weights(whole.policy), get_weights(rest.policy))
    assert whole.evaluation == rest.evaluation
    assert [(p.steps, p.success, p.loss) for p in whole.points] == [(p.steps, p.success, p.loss) for p in rest.points]
    assert [point.steps for point in rest.points] == [5, 10, 12]
    done = clone(tmp_path / "parts", torch_threads=threads + 1)
    assert torch.get_num_threads() == threads
    assert_same(get_weights(whole.policy), get_weights(done.policy))  # nothing is left to do


def test_the_same_seed_gives_the_same_weights_and_another_does_not(tmp_path: Path) -> None:
    one, other = (clone(tmp_path / str(seed), seed=seed, steps=2) for seed in (1, 2))
    again = clone(tmp_path / "again", seed=1, steps=2)
    assert_same(get_weights(one.policy), get_weights(again.policy))
    with pytest.raises(AssertionError, match="network"):
        assert_same(get_weights(one.policy), get_weights(other.policy))


def test_a_checkpoint_of_other_settings_or_data_is_refused(tmp_path: Path) -> None:
    clone(tmp_path, 2)
    changes: list[dict[str, Any]] = [
        {"settings": replace(SETTINGS, learning_rate=1e-4)},
        {"batch": 9},
        {"steps": 13},
        {"demonstrations": make_set(few().episodes[:-1])},
    ]
    for change in changes:
        with pytest.raises(BadArtifact, match="other settings or other demonstrations"):
            clone(tmp_path, **change)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(BadArtifact, match="Delete it to start the training from its beginning"):
        clone(tmp_path)


def make_trainer(settings: DiffusionSettings = SETTINGS, windows: Windows | None = None) -> Trainer:
    windows = windows or cut_windows(few().episodes, reach().observation, settings.history, settings.horizon, 4)
    return Trainer(windows, settings, 100, 16, 0, "")


def test_the_averaged_weights_are_what_is_saved_and_evaluated(tmp_path: Path) -> None:
    result = clone(tmp_path)
    tensors = load_file(tmp_path / "checkpoint.safetensors")
    weights = get_weights(result.policy)
    assert_same(weights, {name: tensors[f"average.{name}"] for name in weights})
    assert any(not torch.equal(weights[name], tensors[f"model.{name}"]) for name in weights)
    assert_same(weights, get_weights(load_policy(tmp_path)))


def test_the_average_follows_the_published_decay() -> None:
    model, average = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
    ema, expected = WeightAverage(model, average, 0.75, 0.9), float(average.weight.detach())
    for update in range(1, 30):
        model.weight.data.fill_(float(update))
        ema.add(update)
        decay = min(0.9, 1 - (1 + update) ** -0.75)
        expected = decay * expected + (1 - decay) * update
    assert float(average.weight.detach()) == pytest.approx(expected, rel=1e-5)


def test_padded_actions_do_not_count_in_the_loss() -> None:
    whole = cut_windows(few().episodes, reach().observation, 1, 8, 4)
    last = whole.mask.sum(1) == 5  # the last window of each episode
    cut = {name: getattr(whole, name)[last] for name in ("observation", "action", "mask", "episode", "step")}
    trainer = make_trainer(windows=Windows(**cut))
    trainer.compute_loss().backward()
    gradient = trainer.model.network.get_submodule("last").get_parameter("bias").grad
    assert gradient is not None
    rows = gradient.view(8, -1)  # of the actions of the chunk
    assert rows[:5].any() and not rows[5:].any()


def test_normalisers_are_the_range_of_the_recorded_data_and_saved_with_the_policy(tmp_path: Path) -> None:
    policy = load_policy(clone(tmp_path, steps=1).policy.save(tmp_path / "p"))
    actions = np.concatenate([episode.action[:-1] for episode in few().episodes])
    np.testing.assert_allclose(policy.model.action.low, actions.min(0), atol=1e-6)
    np.testing.assert_allclose(policy.model.action.high, actions.max(0), atol=1e-6)


def test_the_learning_rate_rises_and_falls_along_a_cosine() -> None:
    rates = [compute_rate_factor(update, 100, 10) for update in range(100)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[10] == 1.0 and rates[55] == pytest.approx(0.5) and 0 < rates[99] < 0.001


def test_the_loss_falls_on_demonstrations() -> None:
    trainer = make_trainer(DiffusionSettings(objective="regression", warmup=5))
    losses = []
    for _ in range(60):
        trainer.update()
        losses.append(trainer.progress.losses)
    assert losses[9] / 10 > 2 * (losses[-1] - losses[-11]) / 10


def test_a_training_that_diverges_says_so() -> None:
    trainer = make_trainer(DiffusionSettings(learning_rate=10.0, warmup=0))
    for parameter in trainer.model.parameters():
        parameter.data.fill_(1e30)
    with pytest.raises(CloningFailed, match="a smaller learning_rate than 10"):
        trainer.update()


def test_bad_numbers_and_short_demonstrations_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="steps=0"):
        clone(tmp_path, steps=0)
    with pytest.raises(UsageError, match="too short for horizon=400"):
        clone(tmp_path, settings=DiffusionSettings(horizon=400))
    assert not list(tmp_path.iterdir())


def test_success_is_that_of_the_last_weights_not_of_the_best_checkpoint(tmp_path: Path) -> None:
    """The paper takes the largest success over its last checkpoints."""
    result = clone(tmp_path)
    assert result.evaluation is not None
    again = evaluate_policy(reach(), load_policy(tmp_path), 2, VALIDATION_SEEDS + 3, threads=1)
    assert again == result.evaluation and result.points[-1].success == again.success


def test_no_action_is_a_quaternion() -> None:
    """Rotations are commanded as small turns, whose components may be scaled and averaged one by one."""
    for name in ("panda/lift", "panda/push", "fr3/lift"):
        assert not [part for part in make_task(name).action.names if part.startswith("q")]
        assert make_task(name).action.kind in ("ee_delta", "joint_delta")


def test_evaluations_use_other_seeds_than_training(tmp_path: Path) -> None:
    found = clone(tmp_path, steps=1).evaluation
    assert found is not None and found.seed == VALIDATION_SEEDS + 3


SCRIPT = """
import sys, time
from pathlib import Path
from robo_reward.policies.diffusion.train import clone_policy
from tests.policies.diffusion.test_train import SETTINGS
from robo_reward.policies.diffusion.networks.build import SIZES
from tests.policies.diffusion.tiny import SMALL, few, reach
SIZES.update(SMALL)
clone_policy(reach(), few(), Path(sys.argv[1]), SETTINGS, steps=40, batch=8, seed=3, episodes=2, evaluate_every=10**6,
             checkpoint_seconds=0, tick=lambda update, loss: (print(update, flush=True), time.sleep(0.02)))
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """Killed with SIGKILL at any moment: the same weights as one that was left alone."""
    options: Any = {"steps": 40, "evaluate_every": 10**6}
    whole = clone(tmp_path / "whole", **options)
    for lines in (7, 11):
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / "killed")]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env=dict(os.environ)) as process:
            assert process.stdout is not None
            for _ in range(lines):
                process.stdout.readline()
            time.sleep(0.013)
            process.send_signal(signal.SIGKILL)
    rest = clone(tmp_path / "killed", **options)
    assert_same(get_weights(whole.policy), get_weights(rest.policy))
    assert whole.evaluation == rest.evaluation
