"""Simulated people against B-Pref's rules and closed forms, and the order of queries."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robo_reward.errors import RoboRewardError, UnknownName, UsageError
from robo_reward.labelling.people import TEACHERS, SimulatedPerson, make_teacher, typical_return
from robo_reward.labelling.queries import DisagreementQueries, Query, RandomQueries, collect_answers, make_queries
from robo_reward.labelling.store import PreferenceStore

REWARDS = {f"c{i}": np.full(4, i / 4) for i in range(8)}  # return i
NAMES = tuple(REWARDS)


def ask_often(person: SimulatedPerson, clips: tuple[str, ...], times: int) -> Counter:
    return Counter(person(Query(clips)).ranking for _ in range(times))


def test_the_oracle_ranks_by_return() -> None:
    answer = make_teacher("oracle", REWARDS)(Query(("c2", "c7", "c1", "c5"), "random"))
    assert answer.ranking == (("c7",), ("c5",), ("c2",), ("c1",))
    assert answer.provenance == {"simulated": True, "query": "random"}
    assert make_teacher("oracle", {"a": np.zeros(3), "b": np.zeros(5)})(Query(("a", "b"))).is_all_tied


def test_noise_is_bradley_terry() -> None:
    person = SimulatedPerson(REWARDS, beta=0.7, seed=1)
    won = ask_often(person, ("c1", "c3"), 4000)[("c3",), ("c1",)] / 4000
    expected = 1 / (1 + math.exp(-0.7 * 2))
    assert won == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 4000))


def test_noise_over_three_clips_is_plackett_luce() -> None:
    times, found = 6000, ask_often(SimulatedPerson(REWARDS, beta=0.5, seed=2), ("c0", "c1", "c3"), 6000)
    weight = {c: math.exp(0.5 * REWARDS[c].sum()) for c in ("c0", "c1", "c3")}
    for order in itertools.permutations(weight):
        first, second, third = (weight[c] for c in order)
        p = first / (first + second + third) * second / (second + third)
        assert found[tuple((c,) for c in order)] / times == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / times))


def test_mistakes_flip() -> None:
    wrong = ask_often(make_teacher("mistake", REWARDS, seed=3), ("c1", "c6"), 3000)[("c1",), ("c6",)] / 3000
    assert wrong == pytest.approx(0.1, abs=4 * math.sqrt(0.09 / 3000))
    assert ask_often(SimulatedPerson(REWARDS, mistake=1.0), ("c1", "c6"), 20) == {(("c1",), ("c6",)): 20}


def test_thresholds() -> None:
    person = SimulatedPerson(REWARDS, equal=1.5, skip=2.0)
    assert person(Query(("c3", "c4"))).is_all_tied
    assert person(Query(("c3", "c5"))).ranking == (("c5",), ("c3",))
    assert person(Query(("c0", "c3", "c4"))).ranking == (("c4", "c3"), ("c0",))
    assert person(Query(("c0", "c1"))).is_skipped
    assert not person(Query(("c0", "c2"))).is_skipped
    assert typical_return(REWARDS) == 3.5
    assert make_teacher("equal", REWARDS).equal == pytest.approx(0.35)
    lowered = {clip: reward - 10 for clip, reward in REWARDS.items()}  # return i - 40
    assert make_teacher("skip", lowered).skip == pytest.approx(-40 + 0.35)


def test_the_myopic_remember_the_end() -> None:
    clips = {"early": np.array([3.0, 0, 0, 0]), "late": np.array([0, 0, 0, 2.5])}
    assert SimulatedPerson(clips)(Query(("early", "late"))).ranking[0] == ("early",)
    assert make_teacher("myopic", clips)(Query(("early", "late"))).ranking[0] == ("late",)  # 3 * 0.9**3 = 2.19 < 2.5


@pytest.mark.parametrize("kind", TEACHERS)
def test_same_seed_same_answers(kind: str) -> None:
    queries = RandomQueries(NAMES, 3, seed=5).next_queries("x", (), 20)
    said = [[make_teacher(kind, REWARDS, seed)(q).ranking for q in queries] for seed in (4, 4)]
    assert said[0] == said[1]


@pytest.mark.parametrize("wrong", [{"beta": 0}, {"gamma": 0}, {"gamma": 1.1}, {"mistake": 2}, {"equal": -1}])
def test_no_such_person(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        SimulatedPerson(REWARDS, **wrong)
    with pytest.raises(UnknownName, match="oracle"):
        make_teacher("oracel", REWARDS)
    with pytest.raises(UnknownName):
        make_teacher("oracle", REWARDS)(Query(("c1", "nobody")))
    with pytest.raises(RoboRewardError):
        SimulatedPerson({"a": np.array([np.nan])})


@pytest.mark.parametrize("k", [2, 3])
def test_every_query_once_and_none_more(k: int) -> None:
    source = RandomQueries(NAMES, k, seed=1)
    everything = source.next_queries("ann", (), 10_000)
    assert len({q.key for q in everything}) == len(everything) == math.comb(8, k) == source.total
    assert source.next_queries("ann", {q.key for q in everything}) == []


def test_one_by_one_or_many_at_once_is_the_same() -> None:
    many = RandomQueries(NAMES, 2, seed=3).next_queries("ann", (), 12)
    seen: set[str] = set()
    for query in many:
        assert RandomQueries(NAMES, 2, seed=3).next_queries("ann", seen) == [query]
        seen.add(query.key)
    assert RandomQueries(NAMES, 2, seed=4).next_queries("ann", (), 12) != many


def test_a_share_is_common_to_all() -> None:
    names = [f"clip{i}" for i in range(200)]
    for shared, low, high in ((0.0, 0, 3), (0.25, 22, 32), (1.0, 100, 100)):
        source = RandomQueries(names, 2, seed=0, shared=shared)
        one, other = ({q.key for q in source.next_queries(who, (), 100)} for who in ("ann", "bob"))
        assert low <= len(one & other) <= high
    sides = Counter(q.clips[0] < q.clips[1] for q in RandomQueries(names, 2).next_queries("ann", (), 400))
    assert 140 < sides[True] < 260, "neither side is favoured"


def test_clips_come_up_equally_often() -> None:
    source = RandomQueries([f"clip{i}" for i in range(300)], 2, shared=1.0)
    shown = Counter(clip for q in source.next_queries("ann", (), 450) for clip in q.clips)
    assert max(shown.values()) - min(shown.values()) <= 2  # a hand that came up before is left out
    assert len(shown) == 300


def test_disagreement_comes_first() -> None:
    scores = {clip: np.array([0.0, 0.0]) for clip in NAMES} | {"c3": np.array([4.0, -4.0])}
    source = DisagreementQueries(RandomQueries(NAMES, 2), scores, pool=100)
    first = source.next_queries("ann", (), 7)
    assert all("c3" in q.clips and q.source == "disagreement" for q in first)
    sigma = 1 / (1 + math.exp(-4))
    assert source.compute_disagreement(("c0", "c3")) == pytest.approx(np.std([sigma, 1 - sigma]))
    assert source.compute_disagreement(("c0", "new")) == math.inf
    assert "c3" not in source.next_queries("ann", {q.key for q in first})[0].clips


def test_sources_by_name(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_text(json.dumps({clip: [0, 1] for clip in NAMES}))
    assert make_queries("disagreement", NAMES, 2, scores=path).total == 28
    for name, k, scores, message in (
        ("rnadom", 2, "", "random"),
        ("disagreement", 2, "", "scores=FILE"),
        ("disagreement", 2, str(tmp_path / "none.json"), "clip id -> list"),
        ("random", 9, "", "8 clips are too few"),
        ("random", 1, "", "at least two"),
    ):
        with pytest.raises(UsageError, match=message):
            make_queries(name, NAMES, k, scores=scores)
    path.write_text('{"c1": [1, 2], "c2": [1]}')
    with pytest.raises(RoboRewardError, match="scores of clip 'c2'"):
        make_queries("disagreement", NAMES, 2, scores=path)


def test_simulated_people_fill_a_store(tmp_path: Path) -> None:
    store = PreferenceStore(tmp_path / "s.db")
    queries = RandomQueries(NAMES, 2)
    first = collect_answers(make_teacher("oracle", REWARDS), queries, store, 10)
    second = collect_answers(make_teacher("oracle", REWARDS), queries, store, 100)
    assert (len(first), len(second)) == (10, 18)
    assert store.load_answers() == [*first, *second]
