"""Answers, and the pairs and triplets in them, against brute force."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robo_reward.errors import RoboRewardError
from robo_reward.labelling.answers import Answer, Pair, Triplet, extract_pairs, extract_triplets


@st.composite
def rankings(draw: st.DrawFn) -> Answer:
    """An answer whose clip c stands in the group of level[c]."""
    count = draw(st.integers(2, 6))
    clips = draw(st.permutations([f"c{i}" for i in range(count)]))
    levels = draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    groups = [[c for c, level in zip(clips, levels, strict=True) if level == at] for at in range(4)]
    return Answer(tuple(clips), "ann", tuple(tuple(g) for g in groups if g))


def place(answer: Answer, clip: str) -> int:
    return next(i for i, group in enumerate(answer.ranking) if clip in group)


@given(rankings())
def test_pairs_are_all_pairs_and_no_others(answer: Answer) -> None:
    found = extract_pairs([answer])
    assert len(found) == math.comb(len(answer.clips), 2)
    assert len({frozenset(p[:2]) for p in found}) == len(found)
    for winner, loser, tie, who in found:
        assert who == "ann"
        difference = place(answer, loser) - place(answer, winner)
        assert difference == 0 if tie else difference > 0
    assert extract_pairs([answer], ties=False) == [p for p in found if not p.tie]


@given(rankings())
def test_triplets_are_the_strict_and_the_equal_ones(answer: Answer) -> None:
    strict = {
        three
        for three in itertools.permutations(answer.clips, 3)
        if place(answer, three[0]) < place(answer, three[1]) < place(answer, three[2])
    }
    equal = sum(len({place(answer, clip) for clip in three}) == 1 for three in itertools.combinations(answer.clips, 3))
    found = extract_triplets([answer])
    assert {t[:3] for t in found if not t.equal} == strict
    assert sum(t.equal for t in found) == equal
    assert len(found) == len(strict) + equal
    assert all(not t.equal for t in extract_triplets([answer], equal=False))


@given(rankings())
def test_json_and_back(answer: Answer) -> None:
    assert Answer.from_json(json.loads(json.dumps(answer.to_json()))) == answer


def test_kinds_of_answers() -> None:
    assert Answer(("a", "b"), "ann", (("b",), ("a",))).kind == "pair"
    assert extract_pairs([Answer(("a", "b"), "ann", (("b",), ("a",)))]) == [Pair("b", "a", False, "ann")]
    tie = Answer(("b", "a"), "ann", (("a", "b"),))
    assert tie.is_all_tied
    assert extract_pairs([tie]) == [Pair("b", "a", True, "ann")]
    assert [pair.target for pair in extract_pairs([tie])] == [0.5]
    unsure = Answer(("a", "b", "c"), "ann")
    assert (unsure.kind, unsure.is_skipped, extract_pairs([unsure]), extract_triplets([unsure])) == (
        "triplet",
        True,
        [],
        [],
    )
    rated = Answer(("a", "b", "c"), "ann", kind="rating", ratings={"a": 1, "b": 5, "c": 5})
    assert extract_pairs([rated]) == [
        Pair("b", "a", False, "ann"),
        Pair("c", "a", False, "ann"),
        Pair("b", "c", True, "ann"),
    ]
    assert extract_triplets([Answer(("a", "b", "c"), "x", (("c",), ("a",), ("b",)))]) == [
        Triplet("c", "a", "b", False, "x")
    ]
    assert extract_pairs([Answer(("a",), "ann", kind="text", text="it fell")]) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"ranking": (("a",),)},
        {"ranking": (("a",), ("b",), ("a",))},
        {"ranking": (("a", "b"), ())},
        {"ranking": (("a",), ("c",))},
        {"clips": ("a", "a")},
        {"clips": ("a",)},
        {"clips": ("a", 3)},
        {"kind": "pear"},
        {"kind": "triplet"},
        {"kind": "rating", "ratings": {"a": 1.0}},
        {"kind": "rating", "ratings": {"a": 1.0, "b": math.nan}},
        {"kind": "text"},
        {"kind": "text", "text": "hm", "ranking": (("a",), ("b",))},
        {"ratings": {"a": 1.0, "b": 2.0}},
        {"annotator": " "},
        {"annotator": "x" * 65},
        {"annotator": 5},
        {"seconds": -1},
        {"seconds": math.inf},
        {"seconds": "3"},
        {"created": "yesterday"},
        {"uuid": ""},
        {"text": "a\0b"},
        {"annotator": "half \ud83d"},
    ],
)
def test_what_is_no_answer(wrong: dict[str, Any]) -> None:
    with pytest.raises(RoboRewardError):
        Answer(**{"clips": ("a", "b"), "annotator": "ann", **wrong})


def test_a_misspelt_key_is_told() -> None:
    with pytest.raises(RoboRewardError, match="clip"):
        Answer.from_json({"clip": ["a", "b"], "annotator": "ann"})
