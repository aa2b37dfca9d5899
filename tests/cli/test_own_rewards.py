"""Rewards that users bring: Python functions, published programs and reward servers, in every verb that takes one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import robo_reward as rr
from robo_reward.cli.app import compose_config, main
from robo_reward.cli.arguments.help import format_verb_help
from robo_reward.cli.reward import load_initial_programs
from robo_reward.cli.terminal import Terminal
from robo_reward.cli.training.train import name_run_subject
from robo_reward.cli.verbs import VERBS, is_function_reference
from robo_reward.data.episode import EpisodeStore
from robo_reward.rewards.http.reward import HttpReward
from robo_reward.scoring.fit import FittedReward
from tests.cli.test_score import BAD, failure
from tests.rewards.perceptual.scenes import LENGTHS, episode
from tests.rewards.reward_server import RewardServerScript, brightness, serve_rewards

TINY = ["steps=512", "episodes=4", "videos=0", "policy.params.worlds=16", "threads=1"]
FUNCTIONS = """
import numpy as np

def far(hand_position):  # for one world, by the fields of the state
    return float(hand_position[0] / 19.0 + hand_position[1] / 20.0)

def near_goal(state, action):
    d = np.linalg.norm(state.hand_position - state.goal_position, axis=-1)
    return np.exp(-5.0 * d), {"near": np.exp(-5.0 * d)}

def not_a_number(state, action):
    return np.log(-np.abs(state.hand_position[:, 0]))

def noise(state, action):
    return np.random.default_rng().random(len(action))
"""
PUBLISHED = """
import torch
from torch import Tensor

@torch.jit.script
def compute_reward(hand_position: Tensor, goal_position: Tensor, action: Tensor):
    d = torch.norm(hand_position - goal_position, dim=-1)
    reach = torch.exp(-5.0 * d)
    return reach, {"reach": reach}
"""
SCORED = """
import math

def compute_reward(state, action):
    x, y = state.hand_position[0], state.hand_position[1]
    if x < 0:
        return 0.0
    return x / 19.0 + y / 20.0
"""
BAD_PROGRAM = """def compute_reward(state, action, previous):
    a = state.gaol_position
    b = np.foo(a)
    while b:
        pass
    c = state.hand_position + state.joint_position
    d = np.linalg.norm(action - state.hand_velocity[:, :2], axis=-1)
    return d, {"d": d}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with functions, published programs, and a store of good and bad episodes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name, text in {"mine.py": FUNCTIONS, "published.py": PUBLISHED, "scored.py": SCORED}.items():
        Path(name).write_text(text)
    mixed = EpisodeStore("mixed", frames="exact")
    for seed, lengths in enumerate(LENGTHS):
        mixed.append(episode(lengths, 10 + seed), key=f"a{seed}")
    for seed, lengths in enumerate(BAD):
        mixed.append(failure(lengths, 20 + seed), key=f"b{seed}")
    return tmp_path


def load(path: str) -> dict[str, Any]:
    return json.loads(Path(path).read_text())


def test_a_function_trains_and_a_changed_one_does_not_go_on_in_its_run(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "task=panda/reach", "reward=mine.py:near_goal", "run=one", *TINY]) == 0
    said = capsys.readouterr().out
    assert "runs with your rights and is not confined" in said and "all worlds in one call" in said
    assert "warning" not in said
    assert load("runs/one/reward/reward.json")["spec"]["function"] == "mine.py:near_goal"
    assert 0.0 < load("runs/one/result.json")["evaluation"]["mean_return"] < 30.0  # exp(-5 d) over 30 steps
    assert main(["train", "task=panda/reach", "reward=runs/one", *TINY]) == 2
    assert "give the function itself: reward=mine.py:near_goal" in capsys.readouterr().err
    assert rr.Run(Path("runs/one")).load_reward(trusted=True).name == "mine.py:near_goal"

    own = ["reward=python", "file=mine.py", "function=near_goal"]
    before = name_run_subject(rr.make_task("panda/reach"), compose_config("train", own), "1234567")
    Path("mine.py").write_text(FUNCTIONS.replace("-5.0", "-6.0"))
    assert main(["train", "task=panda/reach", "reward=mine.py:near_goal", "run=one", *TINY]) == 1
    assert "was begun with another reward" in capsys.readouterr().err
    assert before == "panda-reach-123456"  # without a name, a changed source gives a run of its own


@pytest.mark.parametrize(
    ("reward", "code", "said"),
    [
        ("mine.py:not_a_number", 1, "total is nan at transition 0"),
        ("mine.py:near_gaol", 2, "Did you mean 'near_goal'"),
        ("mine.py:far", 1, "index 1 is out of bounds"),
        ("mine.py", 1, "To run the file as it is, as your own trusted Python: reward=mine.py:FUNCTION"),
        ("other.py:f", 2, "there is no file other.py"),
        ("nosuch.module:f", 2, "No module named 'nosuch'"),
    ],
)
def test_what_cannot_work_is_said_before_any_training(
    here: Path, capsys: pytest.CaptureFixture[str], reward: str, code: int, said: str
) -> None:
    if reward == "mine.py:far":
        Path("mine.py").write_text("def far(hand_position):\n    return [0.0][int(hand_position[0] ** 2 > -1)]\n")
        said = "list index out of range"
    assert main(["train", "task=panda/reach", f"reward={reward}", *TINY]) == code
    assert said in capsys.readouterr().err
    assert not Path("runs").exists()


def test_score_by_a_function_and_by_a_published_program(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "mixed", "reward=mine.py:far", "run=function", "pictures=1"]) == 0
    assert main(["score", "mixed", "reward=scored.py", "run=program", "pictures=1"]) == 0
    said = capsys.readouterr().out
    assert "the program was rewritten for the reward language" in said and "if" in said
    function, program = load("runs/function/scores.json"), load("runs/program/scores.json")
    assert function["auc"] == program["auc"] == 1.0
    one = episode(LENGTHS[1], 11)
    x, y = (one.state[1:, one.spec.slice("hand_position")][:, axis] for axis in (0, 1))
    for found in (function, program):
        row = next(row for row in found["scores"] if row["name"] == "a1")
        assert row["total"] == pytest.approx((x / 19 + y / 20).sum())
    assert main(["compare", "mine.py:far", "scored.py", "data=mixed", "--json", "c.json"]) == 0
    assert load("c.json")["spearman_of_episodes"] == pytest.approx(1.0)


def test_the_python_interface_scores_and_compares(here: Path) -> None:
    found = rr.score("mixed", "scored.py", run="one", pictures=1)
    assert found["auc"] == 1.0 and found == load("runs/one/scores.json")
    assert rr.score("mixed", right, run="two", pictures=1)["reward"].endswith("test_own_rewards:right")
    found = rr.compare("scored.py", right, data="mixed")
    assert found["metric"] == "reward" and -1 <= found["kendall_tau_of_episodes"] <= 1
    assert rr.compare(right, right, data="mixed")["spearman_of_steps_in_episodes"] == pytest.approx(1.0)
    checked = rr.check(right, task="panda/reach")
    assert checked["terms"]["total"]["mean"] == pytest.approx(0.5, abs=0.2) and not checked["failures"]
    with pytest.raises(rr.UsageError, match="define it with a name"):
        rr.train("panda/reach", lambda state: 0.0)


def right(state: Any, action: Any) -> Any:
    return np.asarray(state.hand_position[:, 0])


@pytest.mark.parametrize("protocol", ["simple", "robometer"])
def test_a_server_scores_a_data_set_and_is_not_asked_twice(
    here: Path, protocol: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MY_KEY", "sesame-1234")
    words = ["score", "mixed", "reward=http", f"protocol={protocol}", "goal=Go down.", "max_frames=0", "pictures=1"]
    with serve_rewards(RewardServerScript()) as server:
        words += [f"url={server.url}", "key_env=MY_KEY", "headers.X-Other=literal-5678", "run=one", "backoff=0.01"]
        server.replies = [lambda answer: answer, 500, 400]  # stops at the third request
        assert main(words) == 0
        assert "1 episodes could not be scored" in capsys.readouterr().out
        server.replies, asked = [401], len(server.seen)
        assert main([*words, "key_env=", "answers=new.jsonl", "run=other"]) == 1  # ends at once: no episode will do
        assert "reward.key_env=NAME" in capsys.readouterr().err and len(server.seen) == asked + 1
        asked += 1
        assert main([*words, "timeout=60", "headers.X-Other=another"]) == 0
        assert len(server.seen) == asked + 1  # only what was missing
        assert {goal for seen in server.seen for goal in seen.goals} == {"Go down."}
        assert server.seen[-1].headers["authorization"] == "Bearer sesame-1234"
    found = load("runs/one/scores.json")
    assert found["episodes"] == 7 and not found["not_scored"]
    row = next(row for row in found["scores"] if row["name"] == "a2")
    frames = episode(LENGTHS[2], 12).frames
    assert frames is not None
    assert row["total"] == pytest.approx(sum(brightness(frames)[1:]))
    kept = "".join(
        path.read_text() for path in Path("runs/one").rglob("*") if path.suffix in (".json", ".yaml", ".jsonl")
    )
    assert "sesame" not in kept and "literal-5678" not in kept and "another" not in kept


def test_a_server_trains(here: Path) -> None:
    quick = ["steps=480", "episodes=2", "videos=0", "policy.params.worlds=4", "policy.params.batch_size=60", "size=32"]
    with serve_rewards(RewardServerScript()) as server:
        words = ["train", "task=panda/reach", "reward=http", f"url={server.url}", "protocol=robometer", *quick]
        assert main([*words, "reward.goal=Touch the sky.", "max_frames=4", "run=one"]) == 0
        assert {goal for seen in server.seen for goal in seen.goals} == {"Touch the sky."}
        assert max(len(seen.frames) for seen in server.seen) == 4 and server.seen[0].frames[0].shape == (4, 32, 32, 3)
    assert set(load("runs/one/result.json")["points"][-1]["terms"]) == {"progress", "success"}
    answers = len(Path("runs/one/answers.jsonl").read_text().split())
    assert answers == sum(len(seen.frames) for seen in server.seen)


@pytest.mark.parametrize("target", ["published.py", "mine.py:near_goal"])
def test_check_takes_programs_and_functions(here: Path, capsys: pytest.CaptureFixture[str], target: str) -> None:
    assert main(["check", target, "task=panda/reach", "--json", "out.json"]) == 0
    said, found = capsys.readouterr().out, load("out.json")
    assert ("torch.norm is written as np.linalg.norm" in said) == (target == "published.py")
    assert ("runs with your rights" in said) == (target != "published.py")
    assert found["auc_of_expert_episodes"] == 1.0 and found["spearman_with_expert_reward"] > 0.99
    total = found["terms"]["total"]
    assert 0 < total["min"] < total["mean"] < total["max"] < 1 and not found["failures"]


def test_check_says_that_a_constant_truth_has_no_order(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Success, the only reward of this task that is known, never happens by chance."""
    Path("far.xml").write_text("""<mujoco><worldbody><body name="puck"><joint name="rail" type="slide" damping="9"/>
      <geom size="0.1"/></body></worldbody><actuator><motor joint="rail" ctrlrange="-1 1"/></actuator></mujoco>""")
    Path("rail.py").write_text("def along(state, action):\n    return state.rail_displacement\n")
    Path("far.yaml").write_text("model: far.xml\ngoal: Go.\nsuccess: rail_displacement > 9\n")
    assert main(["check", "rail.py:along", "task=far.yaml", "--json", "out.json"]) == 0
    assert load("out.json")["spearman_with_expert_reward"] is None
    assert "no order: one of the two is constant" in capsys.readouterr().out


def test_check_takes_runs_and_names_every_problem(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "task=panda/reach", "reward=published.py", "run=one", *TINY]) == 0
    assert main(["check", "runs/one"]) == 0
    assert load("runs/one/check.json")["task"] == "panda/reach"
    assert main(["check", "mine.py:near_goal"]) == 2
    assert "Give task=NAME" in capsys.readouterr().err
    assert main(["check", "mine.py:noise", "task=panda/reach"]) == 0
    assert "warning: it is not deterministic" in capsys.readouterr().out
    Path("bad.py").write_text(BAD_PROGRAM)
    assert main(["check", "bad.py", "task=panda/reach"]) == 1
    said = capsys.readouterr().err
    for line in (2, 3, 4, 6, 7):  # of the linter and of the trial, in one go
        assert f"line {line}: " in said


@pytest.mark.parametrize(
    ("initial", "code", "said"),
    [
        ("mine.py", 1, "To run the file as it is"),
        ("nosuch.py", 2, "no reward program at nosuch.py"),
        ("mine.py:near_goal", 2, "robo-reward train reward=mine.py:near_goal"),
        ("flat.py", 2, "nothing can be learnt from it"),
    ],
)
def test_a_search_cannot_start_from_what_cannot_be_trained_on(
    here: Path, capsys: pytest.CaptureFixture[str], initial: str, code: int, said: str
) -> None:
    Path("flat.py").write_text('def compute_reward(state, action, previous):\n    return 1.0, {"a": 1.0}\n')
    assert main(["search", "task=panda/reach", f"search.initial={initial}"]) == code
    assert said in capsys.readouterr().err
    assert not Path("runs").exists()


def test_a_search_starts_from_several_programs_or_none(here: Path) -> None:
    task = rr.make_task("panda/reach")
    assert load_initial_programs(Terminal(), "", task) == []
    Path("plain.py").write_text(PUBLISHED.replace("-5.0", "-2.0"))
    found = load_initial_programs(Terminal(), "published.py, plain.py", task)
    assert ["5.0" in program.source for program in found] == [True, False]


@pytest.mark.slow
def test_a_search_starts_from_a_published_program(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["search.steps=4096", "search.candidates=2", "search.rounds=1", "search.final_seeds=0"]
    words = ["search", "task=panda/reach", "search.initial=published.py", "search.episodes=10", "videos=0", *settings]
    words += ["search.least_rounds=1", "search.enough=1.0", "run=one", "policy.params.worlds=16"]
    assert main(words) == 0
    assert "torch.norm is written as np.linalg.norm" in capsys.readouterr().out
    candidates = {c["id"]: c for c in load("runs/one/search.json")["candidates"]}
    assert set(candidates) == {"1.0", "1.1", "1.2"}
    assert candidates["1.0"]["status"] == "finished" and candidates["1.0"]["changes"]
    assert candidates["1.1"]["parent"] == "1.0"
    # Candidate 1.1 is a descendant of the program: its terms are the program's.
    assert '"reach"' in candidates["1.1"]["source"] and "np.exp(" in candidates["1.1"]["source"]
    task = rr.make_task("panda/reach")
    (again,) = load_initial_programs(Terminal(), "runs/one", task)  # an earlier run stands for its winner
    assert again.canonical == rr.load_reward("runs/one").canonical
    Path("published.py").write_text(PUBLISHED.replace("-5.0", "-9.0"))
    assert main(words) == 1
    assert "began from another program" in capsys.readouterr().err


def test_the_help_lists_every_form() -> None:
    for verb in ("train", "score"):
        text = format_verb_help(verb)
        for form in ("FILE.py", "FILE.py:NAME", "package.module:NAME", "http", "python", "not confined"):
            assert form in text
    assert "protocol" in format_verb_help("train", ["reward=http"])
    assert VERBS["train"].expand_arguments(["reward=a/b.py:f"], lambda key: False) == [
        "reward=python", "reward.function='a/b.py:f'",
    ]  # fmt: skip
    for text in ("expert", "a.py", "runs/x", "C:", "http://host:80/x"):
        assert not is_function_reference(text)


def test_frames_of_any_aspect_go_to_a_server_as_they_are() -> None:
    one = episode(LENGTHS[0], 1)
    assert one.frames is not None
    wide = np.concatenate([one.frames, one.frames], axis=2)
    object.__setattr__(one, "frames", wide)
    with serve_rewards(RewardServerScript()) as server:
        from robo_reward.rewards.http.connection import ServerSettings

        reward = FittedReward(HttpReward(ServerSettings(server.url), goal="x", max_frames=0), "http")
        assert reward.compute(one).tolist() == pytest.approx(brightness(wide)[1:])
        assert reward.is_ranked_by_end and not reward.is_bounded
