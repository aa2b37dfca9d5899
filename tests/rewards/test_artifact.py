"""Reward folders: the same reward comes back, changes are noticed, and nothing else is ever run."""

import json
import os
import resource
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robo_reward.envs.state import Field, StateSpec, Transitions
from robo_reward.errors import BadArtifact, UnknownName, UsageError
from robo_reward.language.language import ProgramError, compile_program
from robo_reward.rewards.artifact import build_reward, load_reward, rewards, save_reward
from robo_reward.rewards.contract import FunctionReward, fingerprint_spec
from robo_reward.rewards.matching.features import StateFeatures
from robo_reward.rewards.matching.reward import MatchingReward
from robo_reward.rewards.matching.rule import build_rule
from robo_reward.rewards.preference.bradley_terry import NetworkReward
from robo_reward.rewards.weighted import WeightedReward
from robo_reward.testing.reward import StepRewardContract
from robo_reward.vision.heads import make_head
from tests.tampering import JSON, places, put

SPEC = StateSpec([Field("hand_position", (3,), "m"), Field("cube_position", (3,), "m", role="object")])
REACH = '''def compute_reward(state, action, previous):
    """Goes to the cube — é."""
    distance = np.linalg.norm(state.hand_position - state.cube_position, axis=-1)
    reach = 1.0 - np.tanh(5.0 * distance)
    return reach, {"reach": reach}
'''
EFFORT = """def compute_reward(state, action, previous):
    effort = -np.sum(action**2, axis=-1)
    return effort, {"effort": effort}
"""


@pytest.fixture
def batch(rng: np.random.Generator) -> Transitions:
    before, after = rng.normal(size=(2, 16, 6))
    return Transitions(SPEC.view(before), rng.uniform(-1, 1, (16, 4)), SPEC.view(after))


def test_a_program_comes_back_and_is_readable(tmp_path: Path, batch: Transitions):
    program = compile_program(REACH, SPEC, 4)
    folder = save_reward(program, tmp_path / "r")
    assert (folder / "reward.py").read_text(encoding="utf-8") == REACH
    document = json.loads((folder / "reward.json").read_text())
    assert document["fingerprint"] == fingerprint_spec(program.spec()) and "source" not in document["spec"]
    assert sorted(p.name for p in folder.iterdir()) == ["reward.json", "reward.py"]
    back = load_reward(folder, state=SPEC, action_dim=4)
    np.testing.assert_array_equal(back(batch).total, program(batch).total)
    assert back.spec() == program.spec()


def test_a_weighted_sum_of_programs_comes_back(tmp_path: Path, batch: Transitions):
    reach, effort = compile_program(REACH, SPEC, 4), compile_program(EFFORT, SPEC, 4)
    both = WeightedReward({"task": (reach, 2.0), "cost": (effort, 0.1)})
    expected = 2.0 * reach(batch).total + 0.1 * effort(batch).total
    back = load_reward(save_reward(both, tmp_path))
    np.testing.assert_allclose(back(batch).total, expected, rtol=1e-12)
    assert set(back(batch).terms) == {"task_reach", "cost_effort"}
    np.testing.assert_allclose(sum(back(batch).terms.values()), expected, rtol=1e-12)
    assert (tmp_path / "reward_2.py").read_text() == EFFORT
    save_reward(reach, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["reward.json", "reward.py"]


def test_a_part_without_terms_is_its_own_term(batch: Transitions):
    plain = FunctionReward(lambda state, action, previous: (np.ones(len(action)), {}))
    output = WeightedReward({"alive": (plain, 0.5)})(batch)
    np.testing.assert_array_equal(output.terms["alive"], np.full(16, 0.5))
    for bad in ({}, {"not a name": (plain, 1.0)}, {"x": (plain, np.nan)}):
        with pytest.raises(UsageError):
            WeightedReward(bad)


class TestWeightedReward(StepRewardContract):
    def make_reward(self) -> WeightedReward:
        parts = {"task": (compile_program(REACH, SPEC, 4), 2.0), "cost": (compile_program(EFFORT, SPEC, 4), 0.1)}
        return WeightedReward(parts)

    def make_batch(self, n: int, seed: int) -> Transitions:
        rng = np.random.default_rng(seed)
        before, after = rng.normal(size=(2, n, 6))
        return Transitions(SPEC.view(before), rng.uniform(-1, 1, (n, 4)), SPEC.view(after))

    def rebuild(self, spec: dict) -> WeightedReward:
        return build_reward(spec)


def test_changes_by_hand_are_noticed_and_can_be_accepted(tmp_path: Path, batch: Transitions):
    save_reward(compile_program(REACH, SPEC, 4), tmp_path)
    (tmp_path / "reward.py").write_text(REACH.replace("5.0", "6.0"), encoding="utf-8")
    with pytest.raises(BadArtifact, match="edited=True"):
        load_reward(tmp_path)
    edited = load_reward(tmp_path, edited=True)
    np.testing.assert_array_equal(edited(batch).total, compile_program(edited.source, SPEC, 4)(batch).total)
    (tmp_path / "reward.py").write_text("import os\nos.system('touch gone')\n")
    with pytest.raises(ProgramError):
        load_reward(tmp_path, edited=True)


def test_a_reward_for_another_task_is_refused(tmp_path: Path):
    save_reward(compile_program(REACH, SPEC, 4), tmp_path)
    other = StateSpec([Field("hand_position", (3,), "m"), Field("ball_position", (3,), "m")])
    with pytest.raises(BadArtifact, match="the task has no cube_position; the reward has no ball_position"):
        load_reward(tmp_path, state=other)
    with pytest.raises(BadArtifact, match="another order"):
        load_reward(tmp_path, state=StateSpec(SPEC.fields[::-1]))
    with pytest.raises(BadArtifact, match="defined differently: hand_position"):
        load_reward(tmp_path, state=StateSpec([Field("hand_position", (3,), "rad"), SPEC.fields[1]]))
    with pytest.raises(BadArtifact, match="4 numbers, this task has 7"):
        load_reward(tmp_path, action_dim=7)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no reward.json"),
        ("{", "not JSON"),
        ("[]", "Expected `object`"),
        ('{"format": "robo-reward/reward", "version": 9, "spec": {}}', "version 9"),
    ],
)
def test_folders_that_are_no_rewards(tmp_path: Path, content: str | None, message: str):
    if content is not None:
        (tmp_path / "reward.json").write_text(content)
    with pytest.raises(BadArtifact, match=message):
        load_reward(tmp_path)


def test_source_files_stay_in_the_folder(tmp_path: Path):
    save_reward(compile_program(REACH, SPEC, 4), tmp_path / "r")
    path = tmp_path / "r" / "reward.json"
    (tmp_path / "outside.py").write_text(EFFORT)
    for name in ("../outside.py", "/etc/passwd", "missing.py", 3):
        document = json.loads(path.read_text())
        document["spec"]["source_file"] = name
        path.write_text(json.dumps(document))
        with pytest.raises(BadArtifact, match=r"not a file name|cannot be read"):
            load_reward(tmp_path / "r", edited=True)


def test_kinds_are_registered_and_unknown_ones_named(tmp_path: Path):
    assert {"program", "weighted"} <= set(rewards.list_names())
    with pytest.raises(UnknownName, match="'program'"):
        build_reward({"kind": "programme"})
    with pytest.raises(UsageError, match="kind"):
        build_reward({})
    with pytest.raises(UnknownName, match="reward program"):
        save_reward(FunctionReward(lambda s, a, p: (np.zeros(len(a)), {}), "mine"), tmp_path / "x")
    assert not (tmp_path / "x").exists()


FIELD = {"name": "x", "shape": [3]}
NETWORK = {"kind": "networks", "look": {"fields": ["x"]}, "heads": [{"kind": "linear", "in_dim": 1, "dim": 1}]}


def deep(levels: int) -> dict:
    return {"kind": "weighted", "parts": [{"name": "a", "weight": 1, "reward": deep(levels - 1)}]} if levels else {}


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"kind": None},
        {"kind": "programme"},
        {"kind": ["program"]},
        {"kind": "program"},
        {"kind": "program", "source": REACH},
        {"kind": "program", "source": 5, "state": [FIELD], "action_dim": 4},
        {"kind": "program", "source_file": "/etc/passwd", "state": [FIELD], "action_dim": 4},
        *({"kind": "program", "source_file": "reward.py", "state": SPEC.to_json(), "action_dim": n} for n in
          (0, -1, 10**9, 10**400, "4", None, 1.5, [])),
        *({"kind": "program", "source_file": "reward.py", "state": state, "action_dim": 4} for state in (
            None, "x", {}, [5], [{}], [FIELD, FIELD], [{**FIELD, "shape": [10_000]}],
            [{**FIELD, "shape": [30_000]}], [{**FIELD, "shape": [1000, 1000]}], [{**FIELD, "shape": [-3]}],
            [{**FIELD, "shape": ["3"]}], [{**FIELD, "shape": 3}], [{**FIELD, "shape": [1] * 9}],
            [{**FIELD, "name": "a b"}], [{**FIELD, "name": 3}], [{**FIELD, "role": "king"}],
            [{**FIELD, "typical": [0]}], [{**FIELD, "typical": [0, 1e999]}], [{**FIELD, "typical": None}],
            [{"name": f"x{i}", "shape": [1000]} for i in range(9)],
        )),
        {"kind": "weighted"},
        {"kind": "weighted", "parts": []},
        {"kind": "weighted", "parts": [5]},
        {"kind": "weighted", "parts": [{"name": "a", "weight": 1}]},
        {"kind": "weighted", "parts": [{"name": "a", "weight": float("nan"), "reward": {"kind": "program"}}]},
        {"kind": "weighted", "parts": [{"name": "a", "weight": "1", "reward": {}}]},
        {"kind": "weighted", "parts": [{"name": "a b", "weight": 1, "reward": {}}]},
        deep(20),
        deep(200),
        {"kind": "networks"},
        {**NETWORK, "scale": 1, "shift": 0, "weights": "../../../etc/x"},
        {**NETWORK, "scale": 1, "shift": 0, "weights": "0123456789abcdef"},
        {**NETWORK, "scale": 1, "shift": 0, "weights": ["0123456789abcdef"]},
        {**NETWORK, "scale": None, "shift": 0, "weights": "0123456789abcdef"},
        {"kind": "matching", "weights": "0123456789abcdef"},
        {"kind": "perceptual", "weights": 5},
        {"kind": "perceptual", "encoder": {"kind": "pixels", "size": 10**6}, "weights": "0123456789abcdef"},
    ],
)  # fmt: skip
def test_a_tampered_spec_is_one_error_and_takes_no_memory(tmp_path: Path, spec: dict):
    save_reward(compile_program(REACH, SPEC, 4), tmp_path)
    path = tmp_path / "reward.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "spec": spec}))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadArtifact, match=str(tmp_path)):
        load_reward(tmp_path, edited=True)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 200 << 10  # [KiB]


@pytest.mark.parametrize("change", [{"fingerprint": 5}, {"version": "1"}, {"version": 2}, {"format": 3}, {"spec": []}])
def test_a_tampered_document_is_named(tmp_path: Path, change: dict):
    save_reward(compile_program(REACH, SPEC, 4), tmp_path)
    path = tmp_path / "reward.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(BadArtifact, match=r"reward\.json"):
        load_reward(tmp_path)


@pytest.mark.parametrize("name", ["reward.json", "reward.py"])
def test_links_pipes_and_large_files_are_not_read(tmp_path: Path, name: str):
    folder = save_reward(compile_program(REACH, SPEC, 4), tmp_path / "r")
    (folder / name).rename(tmp_path / name)
    for make in (os.mkfifo, os.mkdir, lambda path: os.symlink(tmp_path / name, path)):
        make(folder / name)
        with pytest.raises(BadArtifact, match="reward"):
            load_reward(folder)
        (folder / name).rmdir() if (folder / name).is_dir() else (folder / name).unlink()
    (folder / name).touch()
    os.truncate(folder / name, 1 << 40)
    with pytest.raises(BadArtifact, match=name):
        load_reward(folder)


def networks() -> Any:
    head = make_head("mlp", seed=0, in_dim=6, dim=1, hidden=[4])
    return NetworkReward(StateFeatures(["hand_position", "cube_position"]), [head, head])


def matching() -> Any:
    return MatchingReward(StateFeatures(["hand_position"]), [np.eye(3)], build_rule("min_distance"))


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "linear", "in_dim": 10**5, "dim": 10**5},
        {"kind": "temporal", "in_dim": 6, "dim": 1, "reach": 10**9},
        {"kind": "mlp", "in_dim": 6, "dim": 1, "hidden": [10**9] * 3},
        {"kind": "linear", "in_dim": 6, "dim": 2},
        {"kind": "linear", "in_dim": "6", "dim": 1},
        {"kind": "linear", "in_dim": -6, "dim": 1},
        {"kind": "mlp", "in_dim": 6, "dim": 1, "bend": "os.system"},
        {"kind": "nothing"},
        {},
    ],
)
def test_heads_of_another_size_than_their_weights_take_no_memory(tmp_path: Path, change: dict):
    path = save_reward(networks(), tmp_path) / "reward.json"
    document = json.loads(path.read_text())
    document["spec"]["heads"][1] = change
    path.write_text(json.dumps(document))
    with pytest.raises(BadArtifact, match=r"reward\.json"):
        load_reward(tmp_path, edited=True)


EXAMPLES = {"program": lambda: compile_program(REACH, SPEC, 4), "networks": networks, "matching": matching}


@pytest.mark.parametrize("make", EXAMPLES.values(), ids=EXAMPLES)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_reward_folder_is_used_or_refused(tmp_path: Path, make: Callable[[], Any], data: st.DataObject):
    path = tmp_path / "reward.json"
    if not (tmp_path / "whole.json").exists():
        save_reward(make(), tmp_path)
        shutil.copy(path, tmp_path / "whole.json")
    whole = json.loads((tmp_path / "whole.json").read_text())
    tampered = put(whole, data.draw(st.sampled_from(places(whole))), data.draw(JSON))
    path.write_text(json.dumps(tampered))
    with suppress(BadArtifact, ProgramError):
        reward = load_reward(tmp_path, edited=True)
        assert reward.spec()["kind"] == whole["spec"]["kind"]
