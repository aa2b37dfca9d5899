"""`robo-reward compare` on policies whose success is known: they miss exactly the goals beyond a bound."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from robo_reward.cli.app import main
from robo_reward.envs.task import make_task
from robo_reward.policies.evaluate import evaluate_policy, run_episodes
from robo_reward.policies.policy import load_policy
from robo_reward.policies.rollout.compare import compare_policies
from robo_reward.seeds import EVALUATION_SEEDS
from tests.policies.reachers import make_reacher

TASK = make_task("panda/reach")
X, Y = (0.35, 0.65), (-0.25, 0.25)  # ranges of the goal, uniform [m]


def bound(limits: tuple[float, float], share: float) -> float:
    """The bound beyond which a share of the goals lies."""
    return limits[1] - share * (limits[1] - limits[0])


def missing(axis: int, share: float, limits: tuple[float, float] = X):
    """A policy that misses a share of the goals, the far ones on an axis."""
    return TASK, make_reacher(TASK, [(axis, bound(limits, share))]), None


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, share in (("good", 0.05), ("bad", 0.6)):
        missing(0, share)[1].save(tmp_path / name / "policy")
    return tmp_path


def test_the_outcomes_are_those_of_the_goals() -> None:
    side = missing(0, 0.3)
    found = run_episodes(TASK, side[1], 60, 5, threads=1, worlds=25)
    goals = found.starts[:, TASK.spec.slice("goal_position")]
    np.testing.assert_array_equal(found.success, goals[:, 0] <= bound(X, 0.3))
    whole = evaluate_policy(TASK, side[1], 60, 5, threads=1, worlds=25)
    assert whole.successes == found.success.sum() and whole.held == pytest.approx(found.held.mean())
    other = run_episodes(TASK, missing(1, 0.5, Y)[1], 60, 5, threads=1, worlds=25)
    np.testing.assert_array_equal(found.starts, other.starts)  # whatever the policy does


def test_a_comparison_counts_the_pairs_that_the_goals_make() -> None:
    found = compare_policies([missing(0, 0.2)], [missing(1, 0.4, Y)], 50, [7, 8], threads=1)
    goals = np.concatenate([run_episodes(TASK, missing(0, 0.2)[1], 50, seed, threads=1).starts for seed in (7, 8)])[
        :, TASK.spec.slice("goal_position")
    ]
    a, b = goals[:, 0] <= bound(X, 0.2), goals[:, 1] <= bound(Y, 0.4)
    assert found.counts == ((a & b).sum(), (a & ~b).sum(), (~a & b).sum(), (~a & ~b).sum())
    assert found.iqm_a is None  # no reward was given


def test_the_command_and_its_gate(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["compare", "good", "bad", "episodes=40"]
    assert main([*command, "--json", "it's numbers.json", "require=better"]) == 0
    said = capsys.readouterr().out
    assert "A is better" in said and "A  seed 0  40 / 40 episodes" in said
    found = json.loads(Path("it's numbers.json").read_text())
    assert found["metric"] == "success" and found["task"] == "panda/reach" and found["shown"] is True
    assert found["episodes"] == sum(found["pairs"].values()) == 40
    assert found["difference"] == pytest.approx(found["a"]["success"] - found["b"]["success"])
    assert 0 < found["low"] < found["difference"] < found["high"] and found["p_value"] < 0.01
    assert found["iqm_difference"]["low"] > 0  # returns of the task's expert reward
    turned = ["compare", "bad", "good", "episodes=40"]
    assert main(turned) == 0  # it ran
    assert main([*turned, "require=not_worse", "margin=0.1"]) == 1
    assert "is not above -0.1" in capsys.readouterr().out
    assert main(["compare", "good", "good", "episodes=40", "require=better"]) == 1
    assert "no difference is shown" in capsys.readouterr().out
    assert main(["compare", "good", "good", "episodes=40", "require=not_worse", "margin=0.2", "--json=x.json"]) == 0
    same = json.loads(Path("x.json").read_text())
    assert same["difference"] == 0 and same["p_value"] == 1 and same["pairs"]["only_a"] == same["pairs"]["only_b"] == 0
    assert (same["iqm_difference"]["low"], same["iqm_difference"]["high"]) == (0, 0)


def test_several_runs_a_side(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for side, shares in (("new", (0.0, 0.1)), ("old", (0.5, 0.6))):
        for seed, share in enumerate(shares):
            missing(0, share)[1].save(folders / side / f"seed{seed}" / "policy")
    (folders / "new" / "notes").mkdir()
    assert main(["compare", "new", "old/seed0,old/seed1", "episodes=20", "seeds=[0,1]", "json=runs.json"]) == 0
    assert "over 2 runs" in capsys.readouterr().out
    found = json.loads(Path("runs.json").read_text())
    assert found["episodes"] == 80 and found["low"] > 0
    assert found["a"]["runs"] == ["new/seed0", "new/seed1"] and found["b"]["runs"] == ["old/seed0", "old/seed1"]
    assert main(["compare", "new", "old/seed0", "episodes=20"]) == 2
    assert "A has 2 policies and B has 1" in capsys.readouterr().err


def test_the_task_must_be_the_same_unless_it_is_given(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = load_policy("good")
    options = {"ranges": {"damping": [0.5, 2.0]}}
    policy.with_meta(options=options).save(folders / "ranges" / "policy")
    assert main(["compare", "good", "ranges", "episodes=4"]) == 2
    assert "Give task=NAME" in capsys.readouterr().err
    assert main(["compare", "good", "ranges", "episodes=4", "task=panda/reach"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["good"], "b=... is missing"),
        (["good", "bad", "third"], "one path too many"),
        (["good", "nowhere"], "no policy at nowhere"),
        (["good", "bad", "require=best"], "better"),
        (["good", "bad", "margin=2"], "margin=2"),
        (["good", "bad", "--json"], "--json FILE"),
        (["good", "bad", "metric=reward"], "data=... is missing"),
    ],
)
def test_wrong_usage(folders: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "episodes=2", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said and len(said.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_true_difference_of_a_tenth_is_found_and_none_where_there_is_none() -> None:
    """Twenty repetitions of 200 episodes a side, each with initial states of its own."""
    seeds = [EVALUATION_SEEDS + 1000 + k for k in range(20)]
    a, b, equal = missing(0, 0.05), missing(0, 0.15), missing(1, 0.05, Y)
    found = dict.fromkeys(("better", "itself", "equal"), 0)
    for number, seed in enumerate(seeds):
        better = compare_policies([a], [b], 200, [seed], threads=1)  # true success 0.95 and 0.85
        found["better"] += better.low > 0 and better.p_value < 0.05
        if number < 3:  # the same episodes twice: no chance is involved
            itself = compare_policies([a], [a], 200, [seed], threads=1)
            found["itself"] += itself.low > 0 or itself.high < 0 or itself.p_value < 1
        same = compare_policies([a], [equal], 200, [seed], threads=1)  # both 0.95, on other goals
        found["equal"] += same.low > 0 or same.high < 0
    assert found["better"] == 20
    assert found["itself"] == 0
    assert found["equal"] <= 3  # 5 % are expected; more than 3 of 20 have a probability of 1.6 %
