"""The Eureka search: real tasks, real jobs, short trainings; and what happens when it is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from robo_reward.envs.task import Task, make_task
from robo_reward.errors import UsageError
from robo_reward.jobs.local import LocalExecutor
from robo_reward.language import language
from robo_reward.language.problems import MAX_PROBLEMS_SHOWN
from robo_reward.language.validation import check
from robo_reward.reward_search import propose as propose_module
from robo_reward.reward_search.candidate import Candidate, rank_candidates
from robo_reward.reward_search.eureka import Eureka, SearchFailed
from robo_reward.reward_search.propose import ProgramValidator, propose_programs, sample_random_rollout
from robo_reward.reward_search.settings import SearchSettings
from robo_reward.writers.writer import Completion, WriteRequest

QUICK = SearchSettings(
    candidates=3, rounds=2, steps=4096, rungs=(0.5, 1.0), final_seeds=1, episodes=20, params={"worlds": 32}, enough=2.0
)
GOOD = """def compute_reward(state, action, previous):
    distance = np.linalg.norm(state.goal_position - state.hand_position, axis=-1)
    reach = 1.0 - np.tanh({gain} * distance)
    return reach, {{"reach": reach}}
"""


@pytest.fixture(scope="module")
def reach() -> Task:
    return make_task("panda/reach")


class Scripted:
    """Answers from a list per round, remembering what it was asked."""

    name = "scripted"

    def __init__(self, answers: Sequence[Sequence[str | None]], repairs: Sequence[str] = ()) -> None:
        self.answers, self.repairs = answers, list(repairs)
        self.requests: list[WriteRequest] = []

    def write(self, request: WriteRequest, k: int) -> list[Completion]:
        self.requests.append(request)
        if request.repair is not None:
            text = self.repairs.pop(0) if self.repairs else "still nothing"
            return [Completion(text, text if "def" in text else None)]
        return [Completion(t or "", t, index=i) for i, t in enumerate(self.answers[request.round][:k])]


def search(task: Task, writer: Any, folder: Path, settings: SearchSettings = QUICK) -> Any:
    with LocalExecutor(2) as executor:
        return Eureka(task, "", writer, executor, folder, settings).run()


def test_a_search_proposes_repairs_trains_and_reflects(reach: Task, tmp_path: Path) -> None:
    typo = GOOD.format(gain=5.0).replace("goal_position", "gaol_position")
    writer = Scripted(
        [
            [GOOD.format(gain=5.0), typo, GOOD.format(gain=5.0)],
            [GOOD.format(gain=3.0), None, GOOD.format(gain=2.0)],
        ],
        repairs=["no code at all", GOOD.format(gain=4.0)],
    )
    outcome = search(reach, writer, tmp_path)
    status = {c.id: c.status for c in outcome.candidates}
    assert status["1.3"] == "duplicate"
    assert status["2.2"] == "refused"
    repaired = outcome.candidates[1]
    assert [r.stage for r in repaired.refusals] == ["language", "answer"]
    assert "goal_position" in repaired.refusals[0].remedy
    assert repaired.rungs
    assert sorted(c.status for c in outcome.candidates if c.round == 0) == ["duplicate", "finished", "stopped"]
    second = next(r for r in writer.requests if r.round == 1 and r.repair is None)
    assert second.feedback is not None
    assert second.feedback.best.terms["reach"]
    assert outcome.winner.status == "finished"
    assert (outcome.policy / "policy.json").is_file()
    saved = json.loads((tmp_path / "search.json").read_text())
    assert saved["winner"] == outcome.winner.id


@pytest.mark.slow
def test_candidates_are_compared_over_several_seeds(reach: Task, tmp_path: Path) -> None:
    away = GOOD.format(gain=5.0).replace("1.0 - np.tanh", "np.tanh")
    settings = replace(QUICK, candidates=2, rounds=1, least_rounds=1, steps=16_384, seeds=2, params={"worlds": 64})
    outcome = search(reach, Scripted([[GOOD.format(gain=5.0), away]]), tmp_path, settings)
    good, bad = outcome.candidates
    assert outcome.winner is good
    assert good.rungs[-1]["steps"] == 2 * 16_384
    assert len(good.rungs[-1]["seeds"]) == 2
    assert good.success > bad.success
    assert sorted(f.name.rpartition("-")[0] for f in (tmp_path / "jobs").iterdir() if f.name.startswith("1.1")) == [
        "1.1-rung1",
        "1.1-rung2",
        "1.1-seed2-rung1",
        "1.1-seed2-rung2",
    ]


def test_a_second_start_repeats_nothing(reach: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even from elsewhere, after the run was moved."""
    monkeypatch.chdir(tmp_path)
    answers = [[GOOD.format(gain=g) for g in (5.0, 4.0, 3.0)], [GOOD.format(gain=g) for g in (2.0, 6.0, 7.0)]]
    first = search(reach, Scripted(answers), Path("run"))
    logs = {path.parent.name: path.stat().st_mtime_ns for path in Path("run").glob("jobs/*/log.txt")}
    before = Path("run/search.json").read_bytes()
    Path("run").rename("moved")
    again = search(reach, Scripted(answers), tmp_path / "moved")
    assert again.winner.id == first.winner.id
    assert Path("moved/search.json").read_bytes() == before
    assert {path.parent.name: path.stat().st_mtime_ns for path in Path("moved").glob("jobs/*/log.txt")} == logs


def test_nothing_trainable_is_said_plainly(reach: Task, tmp_path: Path) -> None:
    settings = SearchSettings(candidates=2, rounds=1, repairs=0, least_rounds=1)
    with pytest.raises(SearchFailed, match=r"(?s)none of 2 candidates.*search\.json"):
        search(reach, Scripted([[None, "def compute_reward(state): pass"]]), tmp_path, settings)
    assert len(json.loads((tmp_path / "search.json").read_text())["candidates"]) == 2


def test_candidates_rank_by_rung_then_success() -> None:
    def candidate(name: str, rungs: int, success: float, held: float = 0.0) -> Candidate:
        result = {"evaluation": {"success": success, "held": held}, "points": [{"success": 0.0}]}
        return Candidate(name, 0, 0, status="finished", rungs=[result] * rungs)

    order = rank_candidates(
        [candidate("a", 1, 1.0), candidate("b", 2, 0.2), candidate("c", 2, 0.2, 0.1), candidate("d", 2, 0.9)]
    )
    assert [c.id for c in order] == ["d", "c", "b", "a"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rungs": (0.5, 0.4, 1.0)}, "rising"),
        ({"rungs": (0.5,)}, "end with"),
        ({"keep": 0.0}, "keep"),
        ({"steps": 0}, "steps"),
    ],
)
def test_settings_are_checked_before_any_work(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SearchSettings(**wrong)


COMMAND = [
    "search",
    "task=panda/reach",
    "search.steps=4096",
    "search.candidates=2",
    "search.rungs=[0.5,1.0]",
    "search.final_seeds=1",
    "search.episodes=20",
    "policy.params.worlds=32",
    "videos=0",
]


def start(runs: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "robo_reward.cli", *COMMAND, f"runs={runs}", "run=it"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def without_times(text: str) -> Any:
    """The content of search.json less the seconds, which no two runs share."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: clean(v) for k, v in value.items() if k != "seconds"}
        return [clean(v) for v in value] if isinstance(value, list) else value

    return clean(json.loads(text))


def leftovers(runs: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(str(runs) in part for part in process.info["cmdline"] or []):
            found.append(process)
    return found


def kill_at_moments(tmp_path: Path, moments: Sequence[float]) -> None:
    """Kills a search at these moments [s], resumes it, and compares it with one that was left alone."""
    whole = tmp_path / "whole"
    assert start(whole).wait(300) in (0, 1)
    runs = tmp_path / "killed"
    for moment in moments:
        process = start(runs)
        time.sleep(moment)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + 10
        while leftovers(runs) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not leftovers(runs)
    assert start(runs).wait(300) in (0, 1)
    expected, got = ((folder / "it" / "search.json").read_text() for folder in (whole, runs))
    assert without_times(got) == without_times(expected)
    ledgers = [folder / "it" / "ledger.jsonl" for folder in (whole, runs)]
    assert ledgers[0].exists() == ledgers[1].exists()


def test_a_killed_search_ends_like_one_left_alone(tmp_path: Path) -> None:
    kill_at_moments(tmp_path, [6.0])


@pytest.mark.slow
def test_ten_kills_at_random_moments(tmp_path: Path) -> None:
    import random

    kill_at_moments(tmp_path, [random.uniform(1.0, 12.0) for _ in range(10)])


WIDE = "b = state.goal_position[:, :, None] * np.ones_like(state.hand_position[:, None, :])"
HOSTILE = {
    "giant stack": f"def compute_reward(state, action, previous):\n    {WIDE}\n"
    f"    x = np.stack([{', '.join(['b'] * 2700)}], axis=-1)\n"
    "    return 0.0, {'a': 0.0}\n",
    "hexadecimal axis": "def compute_reward(state, action, previous):\n"
    f"    x = np.sum(state.hand_position, axis=0x{'f' * 4000})\n    return x, {{'a': x}}\n",
    "nested loops": "def compute_reward(state, action, previous):\n"
    + "".join(f"{'    ' * i}for i{i} in range(1):\n" for i in range(1, 26))
    + f"{'    ' * 26}x = 1.0\n    return x, {{'a': x}}\n",
    "a thousand problems": "def compute_reward(state, action, previous):\n"
    + "".join(f"    v{i} = q{i}\n" for i in range(900))
    + "    return v1, {'a': v1}\n",
    "not Python": "def compute_reward(\x00\ud800",
}


def test_hostile_programs_cost_their_candidate_only(reach: Task) -> None:
    gate = ProgramValidator(reach, sample_random_rollout(reach, worlds=4, steps=5))
    sources = [*HOSTILE.values(), GOOD.format(gain=5.0)]
    request = WriteRequest(reach.goal, reach.spec, reach.action)
    proposed = propose_programs(
        Scripted([sources]), gate, request, len(sources), 0, lambda index: f"1.{index}", set(), lambda *_: None
    )
    assert [program is not None for _, program in proposed] == [False] * len(HOSTILE) + [True]
    assert all(1 <= len(candidate.refusals) <= MAX_PROBLEMS_SHOWN for candidate, program in proposed if program is None)


PUBLISHED = """import torch

def compute_dense_reward(state, action):
    distance = torch.norm(state.goal_position - state.hand_position)
    reward = 1.0 - torch.tanh(5.0 * distance)
    if distance < 0.02:
        reward += 1.0
    return reward
"""


def test_a_published_program_becomes_a_candidate_with_its_changes(reach: Task) -> None:
    gate = ProgramValidator(reach, sample_random_rollout(reach, worlds=4, steps=5))
    request = WriteRequest(reach.goal, reach.spec, reach.action)
    ((candidate, program),) = propose_programs(
        Scripted([[PUBLISHED]]), gate, request, 1, 0, lambda index: f"1.{index}", set(), lambda *_: None
    )
    assert program is not None
    assert candidate.source == program.source != PUBLISHED
    assert language.compile_program(candidate.source, reach.spec, reach.action.dim).changes == ()
    assert any("line 4: torch.norm is written as np.linalg.norm" in change for change in candidate.changes)
    assert candidate.to_json()["changes"] == candidate.changes


@pytest.mark.parametrize("error", [MemoryError(), OverflowError(), RecursionError(), ValueError("x")])
@pytest.mark.parametrize("stage", ["lint", "trial", "RewardProgram", "probe"])
def test_an_error_of_any_stage_refuses_the_program(
    reach: Task, monkeypatch: pytest.MonkeyPatch, stage: str, error: Exception
) -> None:
    def fails(*_: object) -> None:
        raise error

    places = {"probe": propose_module, "RewardProgram": language}
    monkeypatch.setattr(places.get(stage, check), stage, fails)
    gate = ProgramValidator(reach, sample_random_rollout(reach, worlds=2, steps=2))
    program, refusals, _ = gate.validate(Completion("", GOOD.format(gain=5.0)))
    assert program is None
    assert type(error).__name__ in refusals[0].reason


def test_faithful_means_no_repairs_no_confirmation_and_no_early_end() -> None:
    given = SearchSettings(faithful=True, repairs=5, final_seeds=3, enough=0.1, rungs=(0.5, 1.0))
    assert (given.repairs, given.final_seeds, given.rungs) == (0, 0, (1.0,))
    assert given.enough > 1.0  # no success rate reaches it
    assert SearchSettings(repairs=5, final_seeds=3, enough=0.1).repairs == 5
    assert SearchSettings(**given.to_json()) == given
