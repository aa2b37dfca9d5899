"""Policy folders and checkpoints that are damaged, tampered with or cut short."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, load_file, save, save_file
from stable_baselines3 import PPO
from stable_baselines3.common.logger import configure
from tensorboard.compat.tensorflow_stub.io import gfile

from robo_reward.envs.batch import BatchSim
from robo_reward.envs.task import make_task
from robo_reward.envs.vec import SB3VecEnv
from robo_reward.errors import BadArtifact, RoboRewardError, UsageError
from robo_reward.policies.checkpoint import load_checkpoint, save_checkpoint
from robo_reward.policies.policy import MLPPolicy, load_policy
from robo_reward.policies.process_state import quiet_tensorboard
from tests.policies.folders import small_policy
from tests.tampering import JSON, places, put

EXTRA = {"points": [], "episodes": [{"success": True, "return": 1.0, "terms": {}}], "seconds": 1.0}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_policy().save(tmp_path_factory.mktemp("policy"))


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "policy"))


def change_document(**new: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "policy.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **new}))

    return change


def change_tensors(change: Callable[[dict[str, np.ndarray]], Any]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        tensors = {name: array.copy() for name, array in load_file(folder / "policy.safetensors").items()}
        change(tensors)
        save_file(tensors, folder / "policy.safetensors")

    return apply


def write(name: str, content: bytes) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return spoil


def cut(folder: Path) -> None:
    content = (folder / "policy.safetensors").read_bytes()
    (folder / "policy.safetensors").write_bytes(content[:-5])


def make_pipe(folder: Path) -> None:
    (folder / "policy.safetensors").unlink()
    os.mkfifo(folder / "policy.safetensors")


ODD = {
    "garbage": (write("policy.json", b"garbage"), "not JSON"),
    "a list": (write("policy.json", b"[]"), "object"),
    "deep": (write("policy.json", b"[" * 100_000), "deeply"),
    "another format": (change_document(format=2), "format 2, expected kind mlp"),
    "another kind": (change_document(kind="pickle"), "kind 'pickle' and format 1, expected kind mlp"),
    "an unknown activation": (change_document(activation="os.system"), "activation"),
    "no observation": (change_document(observation=None), "observation"),
    "a field that is not there": (change_document(observation={"state": [], "parts": [{"field": "x"}]}), "'x'"),
    "a large state": (change_document(observation={"state": [{"name": "x", "shape": [10**9]}], "parts": []}), "1024"),
    "another state": (change_document(observation={"state": [{"name": "x"}], "parts": [{"field": "x"}]}), r"\(1, 5\)"),
    "a scale of 0": (
        change_document(observation={"state": [{"name": "x"}], "parts": [{"field": "x", "scale": 0}]}),
        "scale",
    ),
    "no action": (
        change_document(action={"kind": "k", "names": [], "scale": [], "units": [], "rate_hz": 20}),
        "positive numbers",
    ),
    "cut weights": (cut, "safetensors"),
    "no weights": (write("policy.safetensors", b""), "safetensors"),
    "a pipe": (make_pipe, "no such file"),
    "weights that are not numbers": (change_tensors(lambda t: t["weight1"].fill(np.nan)), "weight1 .*not finite"),
    "infinite biases": (change_tensors(lambda t: t["bias0"].fill(np.inf)), "bias0 .*not finite"),
    "double precision": (change_tensors(lambda t: t.update(bias0=t["bias0"].astype(float))), "float64"),
    "a matrix transposed": (change_tensors(lambda t: t.update(weight1=t["weight1"].T.copy())), r"\(4, 5\)"),
    "a layer less": (change_tensors(lambda t: [t.pop("weight2"), t.pop("bias2")]), "last layer gives 4"),
    "a tensor more": (change_tensors(lambda t: t.update(more=t["bias0"])), "more"),
    "a tensor less": (change_tensors(lambda t: t.pop("bias2")), "bias"),
}


@pytest.mark.parametrize(("spoil", "message"), ODD.values(), ids=ODD)
def test_a_policy_folder_is_checked_before_it_acts(folder: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(folder)
    with pytest.raises(BadArtifact, match=message) as caught:
        load_policy(folder)
    assert "Train" in str(caught.value) or "train" in str(caught.value)


def test_a_policy_folder_round_trips(folder: Path) -> None:
    loaded, made = load_policy(folder), small_policy()
    seen = np.random.default_rng(0).normal(size=(7, 3))
    np.testing.assert_array_equal(loaded.act(seen), made.act(seen))
    assert sorted(os.listdir(folder)) == ["policy.json", "policy.safetensors"]


@pytest.mark.parametrize("squash", [True, False])
@pytest.mark.parametrize("activation", ["tanh", "relu", "elu"])
def test_actions_are_finite_and_bounded_for_any_finite_observation(squash: bool, activation: str) -> None:
    made = small_policy()
    huge = tuple(w * np.float32(1e30) for w in made.weights)
    seen = np.array([[0, 0, 0], [1e308, -1e308, 1e308], [3e38, 3e38, -3e38], [1e-320, 1, -1]])
    for weights in (made.weights, huge):
        policy = MLPPolicy(weights, made.biases, activation, squash, made.observation, made.action, {})
        acted = policy.act(seen)
        assert np.isfinite(acted).all() and np.abs(acted).max() <= 1.0
    for wrong in (np.nan, np.inf):
        with pytest.raises(UsageError, match="column 1"):
            made.act(np.array([[0.0, wrong, 0.0]]))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_policy_folder_is_used_or_refused(saved: Path, tmp_path: Path, data: st.DataObject) -> None:
    folder = tmp_path / "policy"
    shutil.copytree(saved, folder, dirs_exist_ok=True)
    if data.draw(st.booleans()):
        whole = json.loads((saved / "policy.json").read_text())
        place = data.draw(st.sampled_from(places(whole)))
        (folder / "policy.json").write_text(json.dumps(put(whole, place, data.draw(JSON))))
    else:
        content = bytearray((saved / "policy.safetensors").read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        (folder / "policy.safetensors").write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        policy = load_policy(folder)
    except (BadArtifact, UsageError):
        return
    acted = policy.act(np.ones((2, policy.observation.dim)))
    assert acted.shape == (2, policy.action.dim) and np.abs(acted).max() <= 1.0


@pytest.fixture(scope="module")
def learner() -> tuple[PPO, SB3VecEnv]:
    env = SB3VecEnv(BatchSim(make_task("panda/reach"), 2))
    model = PPO("MlpPolicy", env, n_steps=4, batch_size=8, policy_kwargs={"net_arch": [4]}, device="cpu")
    model._last_obs, model._last_episode_starts = env.reset(), np.ones(2, bool)
    return model, env


@pytest.fixture(scope="module")
def kept(learner: tuple[PPO, SB3VecEnv], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "checkpoint"
    save_checkpoint(folder, *learner, EXTRA)
    return folder


FILES = ("checkpoint.json", "model.safetensors", "arrays.npz")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["empty", "cut", "garbage", "missing", "pipe"])
def test_a_damaged_checkpoint_names_itself_and_the_remedy(
    learner: tuple[PPO, SB3VecEnv], kept: Path, tmp_path: Path, name: str, damage: str
) -> None:
    folder = Path(shutil.copytree(kept, tmp_path / "checkpoint"))
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    if damage == "pipe":
        os.mkfifo(folder / name)
    elif damage != "missing":
        changed = {"empty": b"", "cut": content[: len(content) // 2], "garbage": b"\x80garbage" * 50}
        (folder / name).write_bytes(changed[damage])
    with pytest.raises(BadArtifact, match=r"checkpoint.*Delete this folder to start the training from its beginning"):
        load_checkpoint(folder, *learner)


def test_a_checkpoint_of_other_worlds_or_another_network_is_refused(kept: Path, tmp_path: Path) -> None:
    for worlds, width in ((3, 4), (2, 5)):
        env = SB3VecEnv(BatchSim(make_task("panda/reach"), worlds))
        model = PPO("MlpPolicy", env, n_steps=4, batch_size=4, policy_kwargs={"net_arch": [width]}, device="cpu")
        with pytest.raises(BadArtifact, match="Delete this folder"):
            load_checkpoint(kept, model, env)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_checkpoint_is_used_or_refused(
    learner: tuple[PPO, SB3VecEnv], kept: Path, tmp_path: Path, data: st.DataObject
) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(kept, folder, dirs_exist_ok=True)
    whole = json.loads((kept / "checkpoint.json").read_text())
    name = data.draw(st.sampled_from([*FILES, "checkpoint.json"]))
    if name == "checkpoint.json":
        listed = [place for place in places(whole) if len(place) < 2 or place[0] != "random"]
        (folder / name).write_text(json.dumps(put(whole, data.draw(st.sampled_from(listed)), data.draw(JSON))))
    else:
        content = bytearray((kept / name).read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        (folder / name).write_bytes(content)
    try:
        extra = load_checkpoint(folder, *learner)
    except BadArtifact:
        return
    finally:
        learner[0]._last_obs = np.zeros((2, learner[0].observation_space.shape[0]), np.float32)  # type: ignore[index]
    assert extra is not None and isinstance(extra["seconds"], int | float)


def test_everything_is_on_the_disk_before_the_old_checkpoint_goes(
    learner: tuple[PPO, SB3VecEnv], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut needs: each file and the folder are synchronised before the first rename."""
    events: list[str] = []
    sync, rename = os.fsync, Path.rename

    def record_sync(handle: int) -> None:
        events.append("sync " + Path(os.readlink(f"/proc/self/fd/{handle}")).name)
        sync(handle)

    def record_rename(path: Path, target: Path) -> Path:
        events.append(f"{path.name} -> {target.name}")
        return rename(path, target)

    save_checkpoint(tmp_path / "checkpoint", *learner, EXTRA)
    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(Path, "rename", record_rename)
    save_checkpoint(tmp_path / "checkpoint", *learner, EXTRA)
    first = events.index("checkpoint -> checkpoint.old")
    assert {f"sync {name}" for name in (*FILES, "checkpoint.part")} <= {*events[:first]}
    assert events[first + 1] == "checkpoint.part -> checkpoint"
    assert f"sync {tmp_path.name}" in events[first + 2 :]
    assert sorted(os.listdir(tmp_path)) == ["checkpoint"]


def test_a_full_disk_is_an_error_of_the_system_and_keeps_the_old_checkpoint(
    learner: tuple[PPO, SB3VecEnv], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path / "checkpoint", *learner, EXTRA)

    def fail(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(tmp_path / "checkpoint", *learner, {**EXTRA, "seconds": 2.0})
    with pytest.raises((OSError, RoboRewardError)):
        small_policy().save(tmp_path / "policy")
    assert load_checkpoint(tmp_path / "checkpoint", *learner) == EXTRA


def test_a_safetensors_file_of_a_type_that_numpy_lacks_is_refused(folder: Path) -> None:
    content = (folder / "policy.safetensors").read_bytes()
    assert load(content).keys() == load(save(load(content))).keys()
    (folder / "policy.safetensors").write_bytes(content.replace(b'"F32"', b'"BF16"', 1))
    with pytest.raises(BadArtifact):
        load_policy(folder)


def test_a_full_disk_under_tensorboard_is_one_error_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = configure(str(tmp_path), ["tensorboard"])

    def fail(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gfile.LocalFileSystem, "append", fail)
    printed: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", printed.append)

    @quiet_tensorboard()
    def write_until_it_fails() -> None:
        for step in range(1000):
            log.record("loss", 1.0)
            log.dump(step)
        log.close()

    with pytest.raises(OSError, match="No space"):
        write_until_it_fails()
    assert not printed and "Traceback" not in capsys.readouterr().err
    with quiet_tensorboard():
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    assert len(printed) == 1  # of other threads everything is printed


def test_a_failed_write_names_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space") as caught:
        small_policy().save(tmp_path)
    assert caught.value.filename == str(tmp_path / "policy.safetensors") and not os.listdir(tmp_path)
