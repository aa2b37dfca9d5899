"""Exported policies act as the policy does, in TorchScript and in onnxruntime."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robo_reward.cli import main
from robo_reward.envs.state import State
from robo_reward.envs.task import make_task
from robo_reward.errors import MissingExtra, UsageError
from robo_reward.policies import sb3
from robo_reward.policies.export import export_policy
from robo_reward.policies.policy import MLPPolicy
from robo_reward.policies.portable import describe_interface, export_onnx, export_torchscript
from tests.extra_packages import install_packages, list_requirements
from tests.policies.chunks import linear_chunks
from tests.policies.test_algorithms import SMALL

TASK = make_task("panda/reach")
PARAMS: dict[str, dict[str, Any]] = {name: SMALL[name] for name in ("ppo", "sac", "td3", "tqc", "crossq")}
PARAMS |= {"ars": {**SMALL["ars"], "zero_policy": False}, "ppo-elu": {**SMALL["ppo"]}}


def make_policy(name: str) -> tuple[MLPPolicy, Any]:
    """A policy with the random weights that an algorithm begins with, and the model of Stable-Baselines3."""
    params = dict(PARAMS[name])
    if name.endswith("-elu"):
        params["policy_kwargs"] = {**params["policy_kwargs"], "activation_fn": torch.nn.ELU}
    env, model = sb3._create_learner(TASK, None, name.partition("-")[0], params, seed=3, threads=1)
    env.close()
    return export_policy(model, TASK, {"algorithm": name}), model


def random_states() -> np.ndarray:
    """States around those of the task, some of them so far away that observations are limited, (200, D)."""
    rng = np.random.default_rng(0)
    states = rng.normal(size=(200, TASK.spec.dim))
    states[150:] *= 30
    return states


@pytest.mark.parametrize("name", PARAMS)
def test_torchscript_acts_as_the_policy_and_as_the_model(name: str, tmp_path: Path) -> None:
    policy, model = make_policy(name)
    states = random_states()
    observation = policy.observation(State(TASK.spec, states))
    assert (abs(observation) == 50).any()
    expected, _ = model.predict(observation, deterministic=True)
    for inputs, given in (("state", states), ("observation", observation)):
        path = tmp_path / f"{inputs}.pt"
        export_torchscript(policy, path, inputs)  # type: ignore[arg-type]
        metadata = {"robo_reward.json": ""}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.jit is deprecated
            module = torch.jit.load(str(path), _extra_files=metadata)
        action = module(torch.from_numpy(given).float()).numpy()
        np.testing.assert_allclose(action, policy.act(observation), atol=2e-5)
        np.testing.assert_allclose(action, expected, atol=2e-5)
        assert abs(action).max() <= 1
        assert module(torch.from_numpy(given[:1]).float()).shape == (1, TASK.action.dim)
        about = describe_interface(policy, inputs)  # type: ignore[arg-type]
        assert json.loads(metadata["robo_reward.json"]) == json.loads(json.dumps(about))


def test_the_interface_says_what_each_number_is() -> None:
    policy, _ = make_policy("ppo")
    state, observation = describe_interface(policy, "state"), describe_interface(policy, "observation")
    assert state["input"]["shape"] == ["N", TASK.spec.dim] and observation["input"]["shape"] == [
        "N",
        TASK.observation.dim,
    ]
    assert {"name": "hand_position", "size": 3, "shape": [3], "unit": "m", "frame": "world"} in state["input"]["parts"]
    last = observation["input"]["parts"][-1]
    assert (last["name"], last["minus"], last["scale"], last["scale_unit"]) == (
        "goal_position",
        "hand_position",
        0.1,
        "m",
    )
    assert state["output"]["parts"][0] == {"name": "dx", "scale": 0.04, "unit": "m"}
    assert state["meta"] == {"algorithm": "ppo"} and state["output"]["rate_hz"] == TASK.action.rate_hz


def test_export_as_typed(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    make_policy("ppo")[0].save(tmp_path / "run" / "policy")
    words = ["export", str(tmp_path / "run"), "to=torchscript", f"out={tmp_path / 'new' / 'policy.pt'}"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert f"input: state float32 (N, {TASK.spec.dim})" in said and "3 x hand_position [m]" in said
    assert "dx: 1.0 is 0.04 m" in said
    before = (tmp_path / "new" / "policy.pt").read_bytes()
    assert main(words) == 2 and "nothing is overwritten" in capsys.readouterr().err
    assert (tmp_path / "new" / "policy.pt").read_bytes() == before
    assert main(["export", str(tmp_path), "to=onnx", f"out={tmp_path / 'p.onnx'}"]) == 2
    assert "no policy at" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtra, match=r"pip install 'robo-reward\[onnx\]'"):
        export_onnx(make_policy("ppo")[0], tmp_path / "p.onnx")
    assert not (tmp_path / "p.onnx").exists()


RUN = """
import json, sys
import numpy as np
import onnxruntime
from robo_reward.cli import main
folder = sys.argv[1]
given = dict(np.load(folder + "/given.npz"))
found = {}
for name in sys.argv[2:]:
    for inputs in ("state", "observation"):
        path = f"{folder}/{name}-{inputs}.onnx"
        assert main(["export", f"{folder}/{name}", "to=onnx", f"out={path}", f"input={inputs}"]) == 0
        session = onnxruntime.InferenceSession(path)
        (entry,), (end,) = session.get_inputs(), session.get_outputs()
        assert (entry.name, end.name, entry.type) == (inputs, "action", "tensor(float)"), entry
        about = json.loads(session.get_modelmeta().custom_metadata_map["robo_reward"])
        assert about["input"]["shape"] == entry.shape and about["output"]["shape"] == end.shape, about
        (found[f"{name}-{inputs}"],) = session.run(None, {inputs: given[inputs].astype(np.float32)})
np.savez(folder + "/found.npz", **found)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_onnxruntime_acts_as_the_policy(tmp_path: Path) -> None:
    environment = install_packages(tmp_path, [*list_requirements("onnx"), "onnxruntime"])
    policies = {name: make_policy(name)[0] for name in PARAMS}
    for name, policy in policies.items():
        policy.save(tmp_path / name)
    states = random_states()
    observation = TASK.observation(State(TASK.spec, states))
    np.savez(tmp_path / "given.npz", state=states, observation=observation)
    command = [sys.executable, "-c", RUN, str(tmp_path), *policies]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    found = np.load(tmp_path / "found.npz")
    for name, policy in policies.items():
        for inputs in ("state", "observation"):
            np.testing.assert_allclose(found[f"{name}-{inputs}"], policy.act(observation), atol=2e-5)


def test_a_policy_that_is_no_perceptron_is_refused_with_what_runs_it(tmp_path: Path) -> None:
    policy: Any = linear_chunks(TASK)
    for export in (export_onnx, export_torchscript):
        with pytest.raises((UsageError, MissingExtra), match=r"LinearChunks cannot be exported.*serve-policy|onnx"):
            export(policy, tmp_path / "policy")
    assert not (tmp_path / "policy").exists()
