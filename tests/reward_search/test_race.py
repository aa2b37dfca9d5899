"""The race between candidates whose results are given: who is stopped, who is retrained, and who wins."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from robo_reward.checks.proportion import wilson_interval
from robo_reward.errors import UsageError
from robo_reward.reward_search import successive_halving
from robo_reward.reward_search.candidate import Candidate
from robo_reward.reward_search.eureka import Eureka, SearchOutcome
from robo_reward.reward_search.settings import SearchSettings
from robo_reward.reward_search.successive_halving import CandidateTrainer, run_successive_halving
from robo_reward.seeds import FRESH_TRAINING_SEEDS


class GivenResults(CandidateTrainer):
    """Answers each training job with a success rate that is given by candidate and seed."""

    def submit_training(
        self, name: str, reward: dict[str, Any], seed: int, until: int, steps: int, start: Path | None = None
    ) -> tuple[Path, Future[dict[str, Any]]]:
        jobs.append((name, start.name if start else None))
        rate = rates["now"](reward["source"], seed)
        low, high = wilson_interval(100 * rate, 100)
        evaluation = {"episodes": 100, "successes": round(100 * rate), "success": rate, "low": low, "high": high}
        future: Future[dict[str, Any]] = Future()
        result = {"steps": until, "seconds": 1.0, "points": [], "evaluation": {**evaluation, "held": rate}}
        future.set_result(result)
        return Path(name), future


jobs: list[tuple[str, str | None]] = []
rates: dict[str, Callable[[str, int], float]] = {}


def give(function: Callable[[str, int], float]) -> None:
    """Sets the success rate of each training, by candidate and seed."""
    rates["now"] = function


@pytest.fixture(autouse=True)
def results_are_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs.clear()
    monkeypatch.setattr(successive_halving, "check_outcome", lambda folder, result: result)


def make_trainer(settings: SearchSettings) -> GivenResults:
    return GivenResults(None, Path(), "", {}, settings, lambda *_: None)  # type: ignore[arg-type]


def race(settings: SearchSettings, names: str) -> tuple[list[Candidate], dict[str, Path]]:
    candidates = [Candidate(name, 0, i, status="accepted") for i, name in enumerate(names)]
    return candidates, run_successive_halving(
        make_trainer(settings), candidates, {name: {"source": name} for name in names}
    )


def test_one_seed_is_successive_halving() -> None:
    give(lambda name, seed: {"a": 0.9, "b": 0.2, "c": 0.8, "d": 0.1}[name])
    candidates, folders = race(SearchSettings(rungs=(0.5, 1.0), steps=100), "abcd")
    assert [c.status for c in candidates] == ["finished", "stopped", "finished", "stopped"]
    assert ("a-rung2", "a-rung1") in jobs
    assert folders["b"] == Path("b-rung1")


def test_a_clearly_worse_candidate_is_stopped_and_an_unlucky_one_is_not() -> None:
    by_seed = {"a": [0.95, 0.90, 0.97], "b": [0.05, 0.00, 0.10], "c": [0.60, 0.98, 0.99]}
    give(lambda name, seed: by_seed[name][seed - 7])
    settings = SearchSettings(rungs=(0.5, 1.0), steps=100, seeds=3, seed=7)
    (a, b, c), folders = race(settings, "abc")
    assert (a.status, b.status, c.status) == ("finished", "stopped", "finished")
    assert "b-seed2-rung1" in dict(jobs)
    assert not any(name.startswith("b") and name.endswith("rung2") for name, _ in jobs)
    assert dict(jobs)["c-seed2-rung2"] == "c-seed2-rung1"
    assert a.success == pytest.approx(0.94)
    assert "worse than a with 95% confidence: 0.03 instead of 0.93, 2 seeds each" in b.note
    assert c.rungs[-1]["seeds"] == by_seed["c"]
    assert folders["c"] == Path("c-seed3-rung2")
    assert a.rungs[-1]["steps"] == 300
    low, high = (a.rungs[-1]["evaluation"][key] for key in ("low", "high"))
    assert 0 <= low < 0.94 < high <= 1


def test_a_race_with_one_candidate_left_asks_no_more_seeds() -> None:
    give(lambda name, seed: {"a": 0.95, "b": 0.05}[name])
    race(SearchSettings(rungs=(1.0,), steps=100, seeds=5), "ab")
    assert [name for name, _ in jobs] == ["a-rung1", "b-rung1", "a-seed2-rung1", "b-seed2-rung1"]


def confirm(settings: SearchSettings) -> SearchOutcome:
    candidates, folders = race(settings, "abc")
    search = Eureka.__new__(Eureka)
    search.trainer, search.outcome, search._folders = make_trainer(settings), SearchOutcome(candidates), folders
    search._rewards = {c.id: {"source": c.id} for c in candidates}
    search._train_winner([c for c in candidates if c.status == "finished"])
    return search.outcome


def test_a_winner_that_fails_with_new_seeds_makes_room_for_the_next() -> None:
    found, fresh = {"a": 0.95, "b": 0.90, "c": 0.30}, {"a": 0.4, "b": 0.88, "c": 1.0}
    give(lambda name, seed: (fresh if seed >= FRESH_TRAINING_SEEDS else found)[name])
    outcome = confirm(SearchSettings(rungs=(1.0,), steps=100))
    assert outcome.winner is not None
    assert outcome.winner.id == "b"
    assert outcome.policy == Path("b-final-1/policy")
    assert [r["evaluation"]["success"] for r in outcome.replaced] == [0.4, 0.4]
    assert outcome.candidates[0].note == "trained with new seeds: 0.40, 0.40; b does better"
    assert not any(name.startswith("c-final") for name, _ in jobs)


def test_a_confirmed_winner_stays() -> None:
    give(lambda name, seed: {"a": 0.95, "b": 0.96, "c": 0.30}[name])
    outcome = confirm(SearchSettings(rungs=(1.0,), steps=100))
    assert outcome.winner is not None
    assert (outcome.winner.id, outcome.replaced) == ("b", [])
    assert [name for name, _ in jobs if "final" in name] == ["final-1", "final-2"]


def test_without_new_seeds_the_policy_of_the_search_is_kept() -> None:
    give(lambda name, seed: {"a": 0.95, "b": 0.96, "c": 0.30}[name])
    assert confirm(SearchSettings(rungs=(1.0,), steps=100, final_seeds=0)).policy == Path("b-rung1/policy")


@pytest.mark.parametrize("wrong", [{"seeds": 0}, {"confidence": 1.0}, {"confidence": 0.3}])
def test_settings_of_the_race_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        SearchSettings(**wrong)
