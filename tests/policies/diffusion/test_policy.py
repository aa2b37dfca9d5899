"""Chunk policies: their contract, their folders, and folders that do not fit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from robo_reward.envs.batch import BatchSim
from robo_reward.envs.task import make_task
from robo_reward.errors import BadArtifact, UsageError, WrongShape
from robo_reward.policies.controller import PolicyController
from robo_reward.policies.diffusion.policy import DiffusionPolicy
from robo_reward.policies.policy import PolicyMismatch, load_policy
from tests.policies.diffusion.tiny import make_policy, reach

SEEN = np.random.default_rng(0).uniform(-1, 1, (3, reach().observation.dim)).astype(np.float32)


def test_act_returns_chunks_that_begin_at_the_newest_observation() -> None:
    policy = make_policy(history=2, horizon=8, execute=4)
    assert (policy.history, policy.chunk, policy.execute, policy.noise_shape) == (2, 7, 4, (8, reach().action.dim))
    history = np.repeat(SEEN[:, None], 2, axis=1)
    noise = np.random.default_rng(1).normal(size=(3, 8, reach().action.dim)).astype(np.float32)
    found = policy.act(history, noise)
    assert found.shape == (3, 7, reach().action.dim) and found.dtype == np.float32
    assert np.abs(found).max() <= 1 and np.isfinite(found).all()
    with torch.no_grad():
        whole = policy.model.sample(policy.model.encode(torch.from_numpy(history)), torch.from_numpy(noise)).numpy()
    np.testing.assert_array_equal(found, whole[:, 1:])  # the action slice starts at index To - 1
    np.testing.assert_array_equal(policy.act(SEEN, noise), found)  # (B, O) is taken for the whole history
    np.testing.assert_array_equal(policy.act({"state": history}, noise), found)


def test_noise_comes_from_the_policy_s_own_generator() -> None:
    policy, state = make_policy(), torch.get_rng_state()
    first, second = policy.act(SEEN), policy.act(SEEN)
    policy.reset()
    np.testing.assert_array_equal(policy.act(SEEN), first)
    assert np.abs(first - second).max() > 0
    policy.reset(seed=1)
    assert np.abs(policy.act(SEEN) - first).max() > 0
    assert torch.equal(torch.get_rng_state(), state)


def test_a_warm_start_begins_with_the_earlier_chunk() -> None:
    policy = make_policy(warm_start=0.75, sampling_steps=8)
    noise = np.zeros((1, *policy.noise_shape), np.float32)
    cold = policy.act(SEEN[:1], noise)
    near = policy.act(SEEN[:1], noise, previous=np.full((1, *policy.noise_shape), 0.9, np.float32))
    assert np.abs(near - cold).max() > 1e-3
    np.testing.assert_array_equal(policy.act(SEEN[:1], noise), cold)  # with given noise it remembers nothing
    policy.reset()
    first, second = policy.act(SEEN[:1]), policy.act(SEEN[:1])
    policy.reset()
    policy.act(SEEN)  # several worlds are never remembered
    policy.generator.manual_seed(0)
    np.testing.assert_array_equal(policy.act(SEEN[:1]), first)
    np.testing.assert_array_equal(policy.act(SEEN[:1]), second)


def test_simulated_worlds_start_from_their_own_last_prediction_as_a_deployed_policy_does() -> None:
    policy = make_policy(warm_start=0.75, sampling_steps=8, history=2, execute=7)  # all of the chunk
    task, seed = reach(), 4
    sim = BatchSim(task, 3, seed, threads=1)
    noise = [np.random.default_rng([seed, world]) for world in range(3)]
    shown = np.repeat(sim.observation()[:, None], 2, axis=1)
    previous: np.ndarray | None = None
    with PolicyController(policy, task, 3, seed) as controller:
        for step in range(12):
            if step % 7 == 0:
                drawn = np.stack([rng.standard_normal(policy.noise_shape, np.float32) for rng in noise])
                with torch.no_grad():
                    start = None if previous is None else torch.from_numpy(previous)
                    condition = policy.model.encode(torch.from_numpy(shown))
                    chunk = policy.model.sample(condition, torch.from_numpy(drawn), previous=start).numpy()
                previous = chunk[:, [7] * 8]  # seven executed: only the last row is still to come, and is repeated
                cold = policy.act(shown, drawn)
            action = controller.act(sim)
            np.testing.assert_allclose(action, chunk[:, 1 + step % 7], atol=1e-6)
            sim.step(action)
            shown = np.stack([shown[:, 1], sim.observation()], axis=1)
    assert np.abs(cold - chunk[:, 1:]).max() > 1e-3


def test_wrong_observations_are_refused() -> None:
    policy = make_policy(history=2)
    with pytest.raises(WrongShape, match="observation"):
        policy.act(SEEN[:, :-1])
    with pytest.raises(WrongShape, match="observation"):
        policy.act(np.repeat(SEEN[:, None], 3, axis=1))
    with pytest.raises(WrongShape, match="noise"):
        policy.act(SEEN, np.zeros((3, 2, 2)))
    bad = SEEN.copy()
    bad[1, 4] = np.nan
    with pytest.raises(UsageError, match="column 4"):
        policy.act(bad)
    with pytest.raises(UsageError, match="also needs state"):
        policy.act({"front": SEEN})


@pytest.mark.parametrize("network", ["mlp", "unet", "transformer"])
@pytest.mark.parametrize("objective", ["ddpm", "flow", "regression"])
def test_a_folder_round_trips(tmp_path: Path, network: str, objective: str) -> None:
    made = make_policy(network=network, objective=objective, history=2)
    loaded = load_policy(made.save(tmp_path))
    assert isinstance(loaded, DiffusionPolicy) and loaded.settings == made.settings and loaded.meta == made.meta
    np.testing.assert_array_equal(loaded.act(SEEN), made.act(SEEN))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["policy.json", "policy.safetensors"]
    loaded.require_compatible(reach())
    with pytest.raises(PolicyMismatch, match="panda/push"):
        loaded.require_compatible(make_task("panda/push"))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_policy(network="unet").save(tmp_path_factory.mktemp("policy"))


def change_document(**new: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "policy.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **new}))

    return change


def change_settings(**new: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        value = json.loads((folder / "policy.json").read_text())
        change_document(settings={**value["settings"], **new})(folder)

    return change


def change_tensors(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        tensors = {name: tensor.clone() for name, tensor in load_file(folder / "policy.safetensors").items()}
        change(tensors)
        save_file(tensors, folder / "policy.safetensors")

    return apply


def drop_settings(*names: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        value = json.loads((folder / "policy.json").read_text())
        change_document(settings={k: v for k, v in value["settings"].items() if k not in names})(folder)

    return change


ODD = {
    "settings that decide how it acts are missing": (drop_settings("horizon", "objective"), "lack objective, horizon"),
    "another format": (change_document(format=2), "format 2"),
    "another kind": (change_document(kind="diffusion9"), "'diffusion9'"),
    "no settings": (change_document(settings=None), "settings"),
    "a setting of another version": (change_settings(beta_schedule="linear"), "beta_schedule"),
    "more steps than levels": (change_settings(sampling_steps=101), "sampling_steps=101 is more than"),
    "another horizon": (change_settings(horizon=9), "multiple of 2"),
    "another network": (change_settings(network="mlp"), "not of a model with these settings"),
    "a longer history": (change_settings(history=3), r"expected torch.float32 of \("),
    "another observation": (
        change_document(observation={"state": [{"name": "x"}], "parts": [{"field": "x"}]}),
        r"expected torch.float32 of \(",
    ),
    "a normaliser of other data": (
        change_tensors(lambda t: t.update({"observation.low": torch.zeros(3), "observation.high": torch.ones(3)})),
        r"observation\.\w+ is torch.float32 of shape \(3,\)",
    ),
    "a normaliser upside down": (
        change_tensors(lambda t: t.update({"action.low": t["action.high"] + 1})),
        "expected low <= high",
    ),
    "a normaliser that is not finite": (
        change_tensors(lambda t: t["action.high"].fill_(np.inf)),
        "high .*finite",
    ),
    "weights that are not finite": (change_tensors(lambda t: t["network.last.1.bias"].fill_(np.nan)), "not finite"),
    "double precision": (change_tensors(lambda t: t.update({"action.low": t["action.low"].double()})), "float64"),
    "a tensor more": (change_tensors(lambda t: t.update(more=torch.zeros(1))), "more: missing, or not"),
    "a tensor less": (change_tensors(lambda t: t.pop("action.low")), "action.low"),
    "cut weights": (
        lambda f: (f / "policy.safetensors").write_bytes((f / "policy.safetensors").read_bytes()[:-7]),
        "safetensors",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), ODD.values(), ids=ODD)
def test_a_folder_is_checked_before_it_acts(
    saved: Path, tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    folder = Path(shutil.copytree(saved, tmp_path / "policy"))
    spoil(folder)
    with pytest.raises(BadArtifact, match=message) as caught:
        load_policy(folder)
    assert "train" in str(caught.value).lower()
