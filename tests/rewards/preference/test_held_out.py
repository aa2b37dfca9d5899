"""What is called held out was never seen: no clip of it, by whomever it was compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.errors import UsageError
from robo_reward.labelling.answers import Answer
from robo_reward.rewards.preference.align import learn_reward
from robo_reward.rewards.preference.held_out import (
    FEWEST,
    SLACK,
    cross_validate,
    effective_sample_size,
    measure_agreement,
    split_into_folds,
)
from robo_reward.vision.pixels import PixelsEncoder

STEPS = 8


def asked(values: np.ndarray, count: int, size: int, seed: int, who: str = "me") -> list[Answer]:
    """Answers of somebody who knows the values, about `size` clips each."""
    rng, answers = np.random.default_rng(seed), []
    for _ in range(count):
        chosen = rng.choice(len(values), size, replace=False)
        order = sorted(chosen, key=lambda i: -values[i])
        answers.append(Answer(tuple(str(i) for i in chosen), who, tuple((str(i),) for i in order)))
    return answers


def uninformative(n: int, seed: int) -> dict[str, np.ndarray]:
    """Clips that walk at random: nothing in them says what they are worth."""
    rng = np.random.default_rng(seed)
    walks = 128 + 30 * rng.standard_normal((n, 1, 8, 8, 3)) + rng.normal(0, 8, (n, STEPS + 1, 8, 8, 3)).cumsum(axis=1)
    return {str(i): walk for i, walk in enumerate(walks.clip(0, 255).astype(np.uint8))}


@pytest.mark.parametrize(
    ("method", "clips", "answers", "size", "seed", "people"),
    [
        ("bt", 20, 60, 3, 0, 1),
        ("bt", 40, 100, 2, 1, 1),
        pytest.param("bt", 40, 50, 2, 4, 2, marks=pytest.mark.slow),
        ("rapl", 20, 60, 3, 2, 1),
        ("rapl", 40, 100, 2, 3, 1),
        pytest.param("rapl", 40, 50, 2, 5, 2, marks=pytest.mark.slow),
    ],
)
def test_where_nothing_can_be_learnt_the_accuracy_is_chance(
    method: str, clips: int, answers: int, size: int, seed: int, people: int
) -> None:
    values = np.random.default_rng(100 + seed).normal(size=clips)
    settings: dict[str, Any] = {"steps": 60, "frames": STEPS, **({"members": 1} if method == "bt" else {})}
    encoder, shown = PixelsEncoder(4), FrameSpec(("side",), 8)
    # A second person answers the very same questions, in the same way.
    both = [a for who in ("me", "you")[:people] for a in asked(values, answers, size, seed, who)]
    found = learn_reward(uninformative(clips, seed), both, encoder, shown, method, settings, 0.25, seed)
    assert found.train > 0.85  # it has learnt the answers by heart
    agreement = found.held_out.agreement
    assert agreement is not None and agreement.low < 0.5 < agreement.high


@pytest.mark.parametrize(("size", "count"), [(2, 40), (3, 30), (4, 20)])
def test_no_clip_of_a_held_out_comparison_was_seen(size: int, count: int) -> None:
    values = np.random.default_rng(0).normal(size=30)
    mine = asked(values, count, size, 0)
    yours = [Answer(a.clips, "you", a.ranking) for a in mine]  # a second person answers the very same
    numbers = {str(i): i for i in range(30)}
    seen: list[set[int]] = []

    def learn(answers: Any, rest: Any) -> np.ndarray:
        learnt = [set(a.clips) & rest.keys() for a in answers if len(set(a.clips) & rest.keys()) > 1]
        seen.append({numbers[clip] for clips in learnt for clip in clips})
        # Clips that were seen get a perfect score, all others one that is perfectly wrong.
        return np.array([values[i] if i in seen[-1] else -values[i] for i in range(30)])

    found = cross_validate([*mine, *yours], numbers, 0.2, 0, learn)
    assert found.folds == len(seen) == 5 and found.comparisons > 10
    assert found.agreement is not None and found.agreement.accuracy == 0.0
    halves = [{a.uuid for a in answers} & set(found.answers) for answers in (mine, yours)]
    assert len(halves[0]) == len(halves[1]) > 0


def test_pairs_of_clips_that_nobody_else_compared_are_all_held_out() -> None:
    values = np.random.default_rng(0).normal(size=40)
    answers = [Answer((str(2 * i), str(2 * i + 1)), "me", ((str(2 * i),), (str(2 * i + 1),))) for i in range(20)]
    found = cross_validate(answers, {str(i): i for i in range(40)}, 0.2, 0, lambda *given: values)
    assert found.comparisons == 20
    folds = split_into_folds(answers, [str(i) for i in range(40)], 5, 3)
    assert sorted(clip for fold in folds for clip in fold) == sorted(str(i) for i in range(40))
    assert [len(fold) for fold in folds] == [8] * 5
    assert folds == split_into_folds(answers, [str(i) for i in range(40)], 5, 3)
    assert folds != split_into_folds(answers, [str(i) for i in range(40)], 5, 4)


@given(data=st.data())
def test_answers_that_are_added_never_change_what_was_held_out(data: st.DataObject) -> None:
    """Neither for other answers, other people, nor other clips: only what is named first counts."""
    clips = [str(i) for i in range(data.draw(st.integers(5, 30)))]
    drawn = st.lists(st.lists(st.sampled_from(clips), min_size=2, max_size=4, unique=True), max_size=40)
    answers = [Answer(tuple(c), "me", tuple((clip,) for clip in c)) for c in data.draw(drawn)]
    count, seed = data.draw(st.integers(2, 5)), data.draw(st.integers(0, 9))
    some = answers[: data.draw(st.integers(0, len(answers)))]

    def held_out(given: list[Answer], known: list[str]) -> set[str]:
        folds = split_into_folds(given, known, count, seed)
        sizes = [len(fold) for fold in folds]
        assert max(sizes) - min(sizes) <= SLACK + 3 and sum(sizes) == len(known)
        return {a.uuid for a in some if any(set(a.clips) <= set(fold) for fold in folds)}

    before = held_out(some, clips)
    assert held_out(answers, clips) == before
    assert held_out(answers, [*clips, "new"]) == before


def test_too_few_give_no_number() -> None:
    values = np.arange(12.0)
    numbers = {str(i): i for i in range(12)}
    few = cross_validate(asked(values, 8, 2, 0), numbers, 0.1, 0, lambda *given: values)
    assert few.agreement is None and few.comparisons < FEWEST
    assert cross_validate(asked(values, 60, 2, 0), numbers, 0.0, 0, lambda *given: values).folds == 0
    with pytest.raises(UsageError, match="holdout"):
        cross_validate([], numbers, 1.0, 0, lambda *given: values)


@pytest.mark.parametrize("kind", ["pairs", "triplets", "everything", "twice"])
def test_the_effective_number_is_what_the_variance_says(kind: str) -> None:
    rng = np.random.default_rng(0)
    rows = {
        "pairs": [(2 * i, 2 * i + 1) for i in range(8)],
        "triplets": [(3 * i + a, 3 * i + b) for i in range(5) for a, b in ((0, 1), (1, 2), (0, 2))],
        "everything": [(i, j) for i in range(9) for j in range(i)],
        "twice": [(0, 1), (1, 0), (2, 3), (3, 2), (4, 5), (0, 5)],
    }[kind]
    first, second = np.array(rows).T
    truth, score = rng.normal(size=(2, 20_000, 20))
    right = (truth[:, first] > truth[:, second]) == (score[:, first] > score[:, second])
    expected = 0.25 / right.mean(axis=1).var()
    assert effective_sample_size(first, second) == pytest.approx(expected, rel=0.05)
    if kind == "pairs":
        assert effective_sample_size(first, second) == 8.0


def test_the_interval_is_wilsons_for_independent_comparisons() -> None:
    agreement = measure_agreement(np.arange(10) < 9, np.arange(10), np.arange(10, 20))
    assert agreement is not None and agreement.accuracy == 0.9 and agreement.comparisons == 10
    assert (round(agreement.low, 3), round(agreement.high, 3)) == (0.596, 0.982)  # Wilson, 9 of 10
