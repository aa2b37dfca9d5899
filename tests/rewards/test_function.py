"""Python functions as rewards: every form that people write gives the numbers of the formula."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robo_reward.envs.state import Field, StateSpec, Transitions
from robo_reward.errors import BadArtifact, RoboRewardError, UnknownName, UsageError
from robo_reward.rewards.artifact import load_reward, save_reward
from robo_reward.rewards.contract import FunctionReward, InvalidReward, fingerprint_spec
from robo_reward.rewards.function.reference import PythonReward, hold_function, is_reference
from robo_reward.testing.reward import StepRewardContract

SPEC = StateSpec([Field("hand", (3,)), Field("goal", (3,)), Field("height"), Field("grid", (2, 2))])
RNG = np.random.default_rng(5)
BATCH = Transitions(
    SPEC.view(RNG.normal(size=(23, 11))), RNG.uniform(-1, 1, (23, 2)), SPEC.view(RNG.normal(size=(23, 11)))
)
AFTER, BEFORE = BATCH.state.array, BATCH.previous.array
DISTANCE = np.sqrt(((AFTER[:, :3] - AFTER[:, 3:6]) ** 2).sum(1))
PROGRESS = np.sqrt(((BEFORE[:, :3] - BEFORE[:, 3:6]) ** 2).sum(1)) - DISTANCE
EFFORT = (BATCH.action**2).sum(1)

FORMS = '''
import math
import numpy as np
import torch

def terms(state, action, previous):
    reach, effort = -np.linalg.norm(state.hand - state.goal, axis=-1), np.sum(action**2, axis=-1)
    return reach - 0.1 * effort, {"reach/dense": reach, "effort": effort}

def one_world(state, action):
    d = math.dist(state.hand, state.goal)
    if d > 100.0:
        return 0.0
    return -d - 0.1 * float(action @ action)

def one_world_terms(obs, action):
    d = float(np.linalg.norm(obs[0:3] - obs[3:6]))
    return -d, {"d": d, "up": obs[6] > 0}

def observation(obs, action):
    return -np.linalg.norm(obs[:, :3] - obs[:, 3:6], axis=1)

def gain(obs, act, next_obs):
    far = lambda x: np.linalg.norm(x[..., :3] - x[..., 3:6], axis=-1)
    return far(obs) - far(next_obs)

def one_world_norm(state):  # a number for a whole batch as well: the wrong one
    return np.linalg.norm(state.hand - state.goal)

def fields(hand, goal, *, height):
    return np.abs(hand - goal).sum(-1) + height

def column(state, action):
    return state.height[:, None]

def flat_by_use(state, action):
    return state[:, 6]

def dictionary(obs, action):
    return obs["height"]

def listed(state, action):
    return [float(h) for h in state.height]

def constant(state, action):
    return 2

def tensors(obs: torch.Tensor, action: torch.Tensor, next_obs: torch.Tensor):
    far = lambda x: torch.norm(x[:, :3] - x[:, 3:6], dim=-1)
    return far(obs) - far(next_obs), {"after": far(next_obs)}

def tensors_by_use(state, action):
    d = torch.norm(state.hand - state.goal, dim=-1)
    return torch.where(d > 100.0, torch.zeros_like(d), -d)

class Scaled:
    scale = 3.0
    def __call__(self, state, action, previous):
        return self.scale * state.height
    def method(self, height):
        return self.scale * height

scaled = Scaled()
network = torch.nn.Linear(11, 1)

def learnt(obs):
    return network(obs)

def changes_its_input(obs, action):
    obs[:] = 0.0
    return action[:, 0]

def shape(state, action):
    return state.hand - state.goal

def halves(obs: torch.Tensor):
    return obs[:, 6].bfloat16()

def exits(state, action):
    raise SystemExit(3)

def fails(state, action):
    return {}["key"]

def nothing(state, action):
    pass

def text(state, action):
    return np.array(["a"] * len(action))

def infinite(state, action):
    return 1.0 / np.zeros(len(action))

def unknown(state, reward):
    return 0.0

number = 3
'''  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("mine.py").write_text(FORMS)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "expected", "worlds", "tolerance"),
    [
        ("terms", -DISTANCE - 0.1 * EFFORT, "all", 1e-12),
        ("one_world", -DISTANCE - 0.1 * EFFORT, "one", 1e-12),
        ("one_world_terms", -DISTANCE, "one", 1e-12),
        ("observation", -DISTANCE, "all", 1e-12),
        ("gain", PROGRESS, "all", 1e-12),
        ("one_world_norm", DISTANCE, "one", 1e-12),
        ("fields", np.abs(AFTER[:, :3] - AFTER[:, 3:6]).sum(1) + AFTER[:, 6], "all", 1e-12),
        ("column", AFTER[:, 6], "all", 0),
        ("flat_by_use", AFTER[:, 6], "all", 0),
        ("dictionary", AFTER[:, 6], "all", 0),
        ("listed", AFTER[:, 6], "all", 0),
        ("constant", np.full(23, 2.0), "all", 0),
        ("tensors", PROGRESS, "all", 1e-5),
        ("tensors_by_use", -DISTANCE, "all", 1e-5),
        ("halves", AFTER[:, 6], "all", 1e-2),
        ("Scaled", 3.0 * AFTER[:, 6], "all", 1e-12),
        ("scaled.method", 3.0 * AFTER[:, 6], "all", 1e-12),
    ],
)
def test_every_form_gives_the_numbers_of_its_formula(
    here: Path, name: str, expected: np.ndarray, worlds: str, tolerance: float
) -> None:
    reward = PythonReward(f"mine.py:{name}")
    output = reward(BATCH)
    np.testing.assert_allclose(output.total, expected, rtol=tolerance, atol=tolerance)
    assert output.total.dtype == np.float64
    assert str(reward.prepare_call(BATCH).form).startswith(worlds)
    one = BATCH.rows(np.array([7]))  # a batch of one, and a first batch of one
    np.testing.assert_allclose(
        PythonReward(f"mine.py:{name}")(one).total, expected[[7]], rtol=max(tolerance, 1e-5), atol=1e-5
    )
    assert len(reward(BATCH.rows(slice(0, 0))).total) == 0


def test_terms_get_names_that_logs_can_hold(here: Path) -> None:
    terms = PythonReward("mine.py:terms")(BATCH).terms
    np.testing.assert_allclose(terms["reach_dense"], -DISTANCE)
    np.testing.assert_allclose(terms["effort"], EFFORT)
    alone = PythonReward("mine.py:one_world_terms")(BATCH).terms
    np.testing.assert_array_equal(alone["up"], (AFTER[:, 6] > 0).astype(float))


def test_a_network_of_torch(here: Path) -> None:
    reward = PythonReward("mine.py:learnt")
    network = reward.function.__globals__["network"]
    weight, bias = network.weight.detach().numpy(), network.bias.detach().numpy()
    np.testing.assert_allclose(reward(BATCH).total, (AFTER @ weight.T + bias)[:, 0], rtol=1e-4, atol=1e-5)
    assert PythonReward("mine.py:terms", "torch").framework == "torch"


def test_the_simulation_is_not_changed(here: Path) -> None:
    before = AFTER.copy()
    PythonReward("mine.py:changes_its_input")(BATCH)
    np.testing.assert_array_equal(AFTER, before)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("shape", "returns total of shape (5, 3)"),
        ("fails", "KeyError: 'key'"),
        ("exits", "SystemExit: 3"),
        ("nothing", "returns NoneType"),
        ("text", "expected real numbers"),
        ("infinite", "total is inf at transition 0"),
        ("unknown", "unknown parameter 'reward'"),
    ],
)
def test_what_is_wrong_is_said(here: Path, name: str, said: str) -> None:
    with pytest.raises(RoboRewardError) as raised:
        PythonReward(f"mine.py:{name}")(BATCH)
    assert said in str(raised.value)
    if name == "fails":
        line = FORMS.splitlines().index('    return {}["key"]') + 1
        assert f"mine.py, line {line}" in str(raised.value)


def test_references(here: Path) -> None:
    for text in ("mine.py:terms", "a/b.py:f", "package.module:f", "module:Class.method"):
        assert is_reference(text)
    for text in ("mine.py", "runs/a", "http://host:80", "a b:f", "expert", "module:1f"):
        assert not is_reference(text)
    with pytest.raises(UsageError, match=r"there is no file other\.py"):
        PythonReward("other.py:f")
    with pytest.raises(UnknownName, match="Did you mean 'terms'"):
        PythonReward("mine.py:term")
    with pytest.raises(UsageError, match="cannot be called"):
        PythonReward("mine.py:number")
    with pytest.raises(UsageError, match="ModuleNotFoundError: No module named 'nosuch'"):
        PythonReward("nosuch:f")
    Path("broken.py").write_text("import sys\nsys.exit(3)\n")
    with pytest.raises(UsageError, match=r"cannot be imported: SystemExit: 3 \(.*broken\.py, line 2\)"):
        PythonReward("broken.py:f")


def test_a_module_in_the_current_folder_and_its_neighbour(here: Path) -> None:
    Path("neighbour_of_mine.py").write_text("SCALE = 7.0\n")
    Path("module_of_mine.py").write_text(
        "import neighbour_of_mine as n\n\ndef f(height):\n    return n.SCALE * height\n"
    )
    for reference in ("module_of_mine:f", "module_of_mine.py:f"):
        np.testing.assert_allclose(PythonReward(reference)(BATCH).total, 7.0 * AFTER[:, 6])


def test_a_saved_function_is_loaded_on_trust_and_says_if_its_source_changed(here: Path) -> None:
    reward = PythonReward("mine.py:terms")
    folder = save_reward(reward, here / "reward")
    with pytest.raises(UsageError, match=r"runs code of its author with your rights.*reward=mine\.py:terms"):
        load_reward(folder)
    loaded = load_reward(folder, trusted=True)
    np.testing.assert_array_equal(loaded(BATCH).total, reward(BATCH).total)
    assert fingerprint_spec(loaded.spec()) == fingerprint_spec(reward.spec())
    Path("mine.py").write_text(FORMS.replace("0.1", "0.2"))
    with pytest.raises(BadArtifact, match="source has changed"):
        load_reward(folder, trusted=True)
    changed = load_reward(folder, trusted=True, edited=True)
    np.testing.assert_allclose(changed(BATCH).total, -DISTANCE - 0.2 * EFFORT)
    assert fingerprint_spec(changed.spec()) != fingerprint_spec(reward.spec())


def test_a_function_of_this_process() -> None:
    reward = PythonReward(hold_function(closeness))
    np.testing.assert_allclose(reward(BATCH).total, -DISTANCE)
    assert reward.spec()["function"] == f"{__name__}:closeness" and len(reward.digest) == 16
    with pytest.raises(UsageError, match="define it with a name"):
        hold_function(lambda state: 0.0)
    with pytest.raises(UsageError, match="define it with a name"):
        hold_function(functools.partial(closeness, action=None))


def test_two_objects_of_one_class_are_two_rewards() -> None:
    one, same, other = (PythonReward(hold_function(Gain(value))) for value in (1.0, 1.0, 2.0))
    assert one.digest == same.digest != other.digest
    one, other = (PythonReward(hold_function(Gain(value).method)) for value in (1.0, 2.0))
    assert one.digest != other.digest


class Gain:
    def __init__(self, value: float) -> None:
        self.value = value

    def __call__(self, height: Any) -> Any:
        return self.value * height

    def method(self, height: Any) -> Any:
        return self.value * height


def closeness(state: Any, action: Any) -> Any:
    return -np.linalg.norm(state.hand - state.goal, axis=-1)


def test_a_function_without_parameters_is_refused() -> None:
    def no_parameter() -> float:
        return 0.0

    function: Callable[..., Any] = no_parameter
    with pytest.raises(UsageError, match="takes no parameter"):
        FunctionReward(function)(BATCH)
    with pytest.raises(InvalidReward, match="other terms at transition 1 than at the first: b"):
        FunctionReward(lambda height: (float(height), {"b": 1} if height != AFTER[0, 6] else {}))(BATCH.rows([0, 1]))


class TestContract(StepRewardContract):
    """The contract of a step reward, kept by a function for one world."""

    def make_reward(self) -> FunctionReward:
        def reward(state: Any, action: Any, previous: Any) -> Any:
            reach = -float(np.linalg.norm(state.hand - previous.goal))
            return reach + float(action[0]), {"reach": reach}

        return FunctionReward(reward)

    def make_batch(self, n: int, seed: int) -> Transitions:
        rng = np.random.default_rng(seed)
        before, after = (SPEC.view(rng.normal(size=(n, SPEC.dim))) for _ in range(2))
        return Transitions(before, rng.uniform(-1, 1, (n, 2)), after)
