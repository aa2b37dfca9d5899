"""Reward folders: the same reward comes back, changes are noticed, and nothing else is ever run."""

import json
from pathlib import Path

import numpy as np
import pytest

from robo_reward.artifact import build_reward, load_reward, rewards, save_reward
from robo_reward.code.language import ProgramRefused, compile_program
from robo_reward.compose import WeightedReward
from robo_reward.envs.state import Field, StateSpec, Transitions
from robo_reward.errors import BadArtifact, UnknownName, UsageError
from robo_reward.reward import FunctionReward, fingerprint
from tests.contracts.reward import StepRewardContract

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
    assert document["fingerprint"] == fingerprint(program.spec()) and "source" not in document["spec"]
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
    with pytest.raises(ProgramRefused):
        load_reward(tmp_path, edited=True)


def test_a_reward_for_another_task_is_refused(tmp_path: Path):
    save_reward(compile_program(REACH, SPEC, 4), tmp_path)
    other = StateSpec([Field("hand_position", (3,), "m"), Field("ball_position", (3,), "m")])
    with pytest.raises(BadArtifact, match="the task has no cube_position; the reward does not know ball_position"):
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
        ("{", "cannot be read"),
        ("[]", "not of the format"),
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
    assert {"program", "weighted"} <= set(rewards.names())
    with pytest.raises(UnknownName, match="'program'"):
        build_reward({"kind": "programme"})
    with pytest.raises(UsageError, match="kind"):
        build_reward({})
    with pytest.raises(UnknownName, match="reward program"):
        save_reward(FunctionReward(lambda s, a, p: (np.zeros(len(a)), {}), "mine"), tmp_path / "x")
    assert not (tmp_path / "x").exists()
