"""Agreement against published worked examples, brute force and closed forms."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robo_reward.labelling.agreement import (
    Contradiction,
    cohen_kappa,
    compute_agreement,
    find_contradictions,
    find_preference_cycles,
    find_warnings,
    fleiss_kappa,
)
from robo_reward.labelling.answers import Answer

# Fleiss (1971) as worked out in textbooks: 14 raters, 10 items, 5 labels; kappa 0.210.
FLEISS = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip


def pair(winner: str, loser: str, who: str = "ann", tie: bool = False) -> Answer:
    return Answer((winner, loser), who, ((winner, loser),) if tie else ((winner,), (loser,)))


def test_cohen_on_the_textbook_s_grants() -> None:
    """50 proposals: both yes 20, both no 15, split 5 and 10: p_o 0.7, p_e 0.5, kappa 0.4."""
    first = ["y"] * 25 + ["n"] * 25
    second = ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
    assert cohen_kappa(first, second) == pytest.approx(0.4)
    assert cohen_kappa(first, first) == 1
    assert cohen_kappa("ynyn", "nyny") == -1
    assert math.isnan(cohen_kappa("yyy", "yyy"))
    assert math.isnan(cohen_kappa("", ""))


def test_fleiss_on_its_author_s_example() -> None:
    assert fleiss_kappa(np.array(FLEISS)) == pytest.approx(0.210, abs=5e-4)
    assert fleiss_kappa(np.array([[3, 0], [0, 3]])) == 1
    assert math.isnan(fleiss_kappa(np.array([[3, 0], [2, 0]])))
    assert math.isnan(fleiss_kappa(np.zeros((0, 3))))
    assert math.isnan(fleiss_kappa(np.array([[1, 0], [0, 1]])))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40))
def test_cohen_by_the_confusion_matrix(labels: list[tuple[int, int]]) -> None:
    matrix = np.zeros((3, 3))
    for a, b in labels:
        matrix[a, b] += 1
    p = matrix / matrix.sum()
    chance = p.sum(0) @ p.sum(1)
    kappa = cohen_kappa([a for a, _ in labels], [b for _, b in labels])
    if math.isclose(chance, 1):
        assert math.isnan(kappa)
    else:
        assert kappa == pytest.approx((np.trace(p) - chance) / (1 - chance), abs=1e-12)


@given(st.lists(st.lists(st.integers(0, 2), min_size=2, max_size=5), min_size=1, max_size=15))
def test_fleiss_by_counting_pairs_of_raters(votes: list[list[int]]) -> None:
    counts = np.array([[vote.count(label) for label in range(3)] for vote in votes])
    agreeing = [np.mean([a == b for a, b in itertools.combinations(vote, 2)]) for vote in votes]
    share = np.bincount(np.concatenate([np.array(vote) for vote in votes]), minlength=3)
    chance = ((share / share.sum()) ** 2).sum()
    kappa = fleiss_kappa(counts)
    if math.isclose(chance, 1):
        assert math.isnan(kappa)
    else:
        assert kappa == pytest.approx((np.mean(agreeing) - chance) / (1 - chance), abs=1e-9)


def test_two_people() -> None:
    answers = [
        pair("a", "b", "ann"), pair("b", "a", "bob"),
        pair("a", "c", "ann"), pair("a", "c", "bob"),
        pair("b", "c", "ann", tie=True), pair("c", "b", "bob", tie=True),
        pair("a", "d", "ann"),
    ]  # fmt: skip
    found = compute_agreement(answers)
    assert found.shared == 3
    assert found.share == pytest.approx(2 / 3)
    (between,) = found.between
    assert between[:4] == ("ann", "bob", 3, pytest.approx(2 / 3))
    assert between.kappa == pytest.approx((2 / 3 - 3 / 9) / (1 - 3 / 9))
    assert found.ties == pytest.approx(2 / 7)
    assert found.cycles == () == found.contradictions


def test_a_person_s_last_word_counts() -> None:
    answers = [pair("a", "b", "ann"), pair("b", "a", "ann"), pair("b", "a", "bob")]
    assert compute_agreement(answers).share == 1
    assert find_contradictions(answers) == (Contradiction("ann", ("a", "b")),)
    assert "ordered both ways by one person (ann)" in find_warnings(answers)[0]


@given(st.permutations("abcdef"))
def test_an_order_has_no_cycle_and_turning_its_ends_makes_one(order: list[str]) -> None:
    answers = [pair(x, y) for x, y in itertools.combinations(order, 2)]
    assert find_preference_cycles(answers) == ()
    chain = [pair(x, y) for x, y in itertools.pairwise(order)]
    (circle,) = find_preference_cycles([*chain, pair(order[-1], order[0])])
    assert len(circle) == 6
    for x, y in itertools.pairwise([*circle, circle[0]]):
        assert order[(order.index(x) + 1) % 6] == y


def test_cycles_are_the_majority_s_and_shortest() -> None:
    three = [pair("a", "b"), pair("b", "c"), pair("c", "a")]
    assert find_preference_cycles(three) == (("a", "b", "c"),)
    assert find_preference_cycles([*three, pair("a", "c"), pair("a", "c")]) == ()
    assert find_preference_cycles([pair("a", "b"), pair("b", "a")]) == (), "an even score prefers nobody"
    assert find_preference_cycles([*three, pair("c", "d"), pair("d", "a"), pair("x", "y")]) == (("a", "b", "c"),)
    assert "1 cycle." in find_warnings(three)[0]


def test_nothing_and_nothing_but_ties() -> None:
    nothing = compute_agreement([])
    assert (nothing.shared, nothing.between, nothing.cycles) == (0, (), ())
    assert math.isnan(nothing.share) and math.isnan(nothing.fleiss) and math.isnan(nothing.ties)
    assert find_warnings([]) == ["No clips have been compared yet."]
    ties = [pair("a", "b", who, tie=True) for who in ("ann", "bob")]
    assert compute_agreement(ties).ties == 1
    assert math.isnan(compute_agreement(ties).fleiss)
    assert "Every comparison is a tie" in find_warnings(ties)[0]
