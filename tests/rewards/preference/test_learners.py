"""RAPL, Bradley-Terry and the tools around them, on features whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from robo_reward.data.episode import Episode
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.state import StateSpec
from robo_reward.errors import UnknownName, UsageError
from robo_reward.labelling.answers import Answer
from robo_reward.labelling.comparisons import (
    NO_ANCHOR,
    Comparisons,
    build_comparisons,
    comparisons_from_triplets,
    find_preferred_clips,
    ranking_accuracy,
)
from robo_reward.rewards.artifact import load_reward, save_reward
from robo_reward.rewards.matching.features import FrameFeatures
from robo_reward.rewards.preference.align import crop_to_square, learn_reward
from robo_reward.rewards.preference.bradley_terry import (
    BradleyTerrySettings,
    build_bradley_terry_reward,
    train_ensemble,
)
from robo_reward.rewards.preference.noise import correct_labels, vote_shares
from robo_reward.rewards.preference.rapl import PRESETS, build_rapl_reward, make_rapl_settings, train_head
from robo_reward.vision.pixels import PixelsEncoder

STEPS, WIDTH = 12, 6
QUICK = replace(PRESETS["rapl"], steps=80, frames=STEPS, head={"kind": "mlp", "dim": 8, "hidden": [16]})


def walks(n: int, seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Clips of features and their values: feature 0 shall come to 1, all others are loud and mean nothing."""
    rng = np.random.default_rng(seed)
    ends = rng.uniform(-1, 1, n)
    features = 3.0 * rng.standard_normal((n, 1, WIDTH)) + 0.3 * rng.standard_normal((n, STEPS, WIDTH))
    features[..., 0] = np.linspace(0, 1, STEPS) * ends[:, None]
    return list(features.astype(np.float32)), -np.abs(1 - features[..., 0]).sum(axis=1)


def ranked(values: np.ndarray, count: int, seed: int) -> Comparisons:
    rng = np.random.default_rng(seed)
    rows = np.stack([rng.choice(len(values), 3, replace=False) for _ in range(count)])
    return comparisons_from_triplets(np.take_along_axis(rows, np.argsort(-values[rows], axis=1), axis=1))


def test_an_answer_becomes_comparisons_with_the_best_clip_as_anchor() -> None:
    numbers = {name: i for i, name in enumerate("abcd")}
    known = build_comparisons(
        [
            Answer(("a", "b", "c"), "me", (("c",), ("a",), ("b",))),
            Answer(("a", "d"), "me", (("a", "d"),)),
            Answer(("b", "d"), "me"),
        ],
        numbers,
    )
    found = list(zip(known.winner, known.loser, known.target, known.anchor, strict=True))
    assert sorted(found) == [(0, 1, 1.0, 2), (0, 3, 0.5, NO_ANCHOR), (2, 0, 1.0, NO_ANCHOR), (2, 1, 1.0, NO_ANCHOR)]


def test_each_answer_keeps_its_own_anchors() -> None:
    numbers = {name: i for i, name in enumerate("abcd")}
    rows = build_comparisons(
        [
            Answer(("a", "b", "c"), "me", (("a",), ("b",), ("c",))),
            Answer(("d", "b", "c"), "me", (("d",), ("b",), ("c",))),
            Answer(("b", "c"), "you", (("b",), ("c",))),
        ],
        numbers,
    )
    of_bc = [int(k) for won, lost, k in zip(rows.winner, rows.loser, rows.anchor, strict=True) if (won, lost) == (1, 2)]
    assert of_bc == [numbers["a"], numbers["d"], NO_ANCHOR]


def test_a_ranking_of_four_holds_four_triplets() -> None:
    numbers = {name: i for i, name in enumerate("abcd")}
    ranking = [Answer(("c", "a", "d", "b"), "me", (("a",), ("b",), ("c",), ("d",)))]
    once, every = build_comparisons(ranking, numbers), build_comparisons(ranking, numbers, every_anchor=True)
    assert len(once) == 6
    of_cd = {int(k) for won, lost, k in zip(once.winner, once.loser, once.anchor, strict=True) if (won, lost) == (2, 3)}
    assert of_cd == {0}  # the best of those above
    rows = zip(every.anchor, every.winner, every.loser, strict=True)
    assert sorted(tuple(map(int, row)) for row in rows if row[0] != NO_ANCHOR) == [
        (0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3)
    ]  # fmt: skip


def test_ties_alone_teach_nothing() -> None:
    with pytest.raises(UsageError, match="all 1 comparisons are ties"):
        build_comparisons([Answer(("a", "b"), "me", (("a", "b"),))], {"a": 0, "b": 1})
    with pytest.raises(UsageError, match="none of them compares two of the clips"):
        build_comparisons([Answer(("a", "b"), "me", (("a",), ("b",)))], {"c": 0})


def test_liked_clips_win_and_a_cycle_still_gives_one() -> None:
    known = comparisons_from_triplets(np.array([[3, 1, 0], [3, 2, 0], [2, 1, 0]]))
    assert find_preferred_clips(known, 5).tolist()[:2] == [3, 2]
    cycle = Comparisons(np.array([0, 1, 2]), np.array([1, 2, 0]), np.ones(3), np.full(3, NO_ANCHOR))
    assert len(find_preferred_clips(cycle, 5)) == 1


@pytest.mark.parametrize("method", ["rapl", "bt"])
def test_what_the_person_looks_at_is_learnt(method: str) -> None:
    features, values = walks(80, 0)
    others, truth = walks(120, 1)
    known, asked = ranked(values, 60, 0), ranked(truth, 200, 1)
    if method == "rapl":
        head = train_head(features, known, QUICK)
        z = [head(torch.from_numpy(f)).detach().numpy() for f in others]
        ends = np.stack(
            [head(torch.from_numpy(features[i])).detach().numpy()[-5:] for i in find_preferred_clips(known, 8)]
        )
        scores = [max(-np.linalg.norm(x[:, None] - e[None], axis=-1).mean() for e in ends) for x in z]
    else:
        members = train_ensemble(features, known, BradleyTerrySettings(steps=80, frames=STEPS))
        scores = [float(np.mean([m(torch.from_numpy(f)).detach().mean() for m in members])) for f in others]
    raw = [-np.linalg.norm(f - features[int(np.argmax(values))][-1], axis=-1).mean() for f in others]
    assert ranking_accuracy(np.array(scores), asked) > 0.8 > ranking_accuracy(np.array(raw), asked) + 0.1


def test_the_reference_settings_learn_from_triplets_alone() -> None:
    features, values = walks(40, 0)
    known = ranked(values, 30, 0)
    quick = replace(PRESETS["rapl-code"], steps=20, frames=STEPS)
    assert train_head(features, known, quick).dim == 32
    pairs = known.select_rows(np.flatnonzero(known.anchor == NO_ANCHOR))
    with pytest.raises(UsageError, match="triplets"):
        train_head(features, pairs, quick)


def test_the_reference_loss_is_one_minus_p_with_each_triplets_own_positive() -> None:
    features, values = walks(12, 3)
    known = ranked(values, 1, 0)
    reports: list[float] = []
    still = replace(PRESETS["rapl-code"], steps=1, frames=STEPS, learning_rate=0.0, rule={"name": "ot", "epsilon": 1.0})
    head = train_head(features, known, still, seed=5, report=lambda step, right: reports.append(right))
    positive, neutral, negative = (
        torch.nn.functional.normalize(head(torch.from_numpy(features[i])).detach().double(), dim=-1)
        for i in (known.anchor[1], known.winner[1], known.loser[1])
    )
    ot = pytest.importorskip("ot")
    uniform = np.full(STEPS, 1 / STEPS)

    def score(clip: torch.Tensor) -> float:
        cost = (1 - clip @ positive.T).numpy()
        return -float((ot.sinkhorn(uniform, uniform, cost, 1.0) * cost).sum())

    assert reports == [float(score(neutral) > score(negative))]


def test_same_seed_same_head() -> None:
    features, values = walks(30, 0)
    known = ranked(values, 20, 0)
    first, second, other = (train_head(features, known, replace(QUICK, steps=5), seed) for seed in (1, 1, 2))
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name])
    assert any(not torch.equal(t, other.state_dict()[n]) for n, t in first.state_dict().items())


def test_ties_draw_scores_together() -> None:
    features, values = walks(30, 0)
    known = ranked(values, 30, 0)
    tied = replace(known, target=np.full(len(known), 0.5))
    spread = []
    for answers in (known, tied):
        members = train_ensemble(features, answers, BradleyTerrySettings(steps=150, frames=STEPS, members=1))
        spread.append(np.std([float(members[0](torch.from_numpy(f)).detach().mean()) for f in features]))
    assert spread[1] < 0.2 * spread[0]


def test_votes_and_remedies() -> None:
    known = comparisons_from_triplets(np.array([[0, 1, 2]]))
    scores = np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 2.0], [1.0, 2.0, 0.0]])
    share = vote_shares(scores, known)  # 0>1: 2/3, 1>2: (1 + 1/2 + 1)/3, 0>2: 1
    np.testing.assert_allclose(share, [2 / 3, 5 / 6, 1.0])
    wrong = replace(known, winner=known.loser, loser=known.winner)
    flipped = correct_labels(wrong, vote_shares(scores, wrong), "flip", 1.0)
    assert flipped.winner.tolist() == [1, 2, 0] and flipped.loser.tolist() == [0, 1, 2]  # only the unanimous one
    np.testing.assert_allclose(correct_labels(known, share, "soften", 0.5).target, (1 + share) / 2)
    assert len(correct_labels(known, share, "margin", 0.5)) == 2
    with pytest.raises(UnknownName, match="soften"):
        correct_labels(known, share, "softn")


def test_flipping_repairs_answers_of_a_careless_person() -> None:
    features, values = walks(60, 0)
    known = ranked(values, 100, 0)
    rng = np.random.default_rng(0)
    slip = rng.random(len(known)) < 0.15
    noisy = replace(
        known, winner=np.where(slip, known.loser, known.winner), loser=np.where(slip, known.winner, known.loser)
    )
    scores = np.zeros((4, len(features)))
    halves = [np.arange(len(noisy)) % 2 == k for k in (0, 1)]
    share = np.zeros(len(noisy))
    for half in halves:  # judged by networks that have not learnt the answers by heart
        members = train_ensemble(
            features, noisy.select_rows(np.flatnonzero(~half)), BradleyTerrySettings(steps=60, frames=STEPS, members=4)
        )
        scores = np.stack([[float(m(torch.from_numpy(f)).detach().mean()) for f in features] for m in members])
        share[half] = vote_shares(scores, noisy)[half]
    repaired = correct_labels(noisy, share, "flip", 0.9)
    truth = [values[c.winner] > values[c.loser] for c in (noisy, repaired)]
    assert np.mean(truth[1]) > np.mean(truth[0]) + 0.02


def pictures(n: int, seed: int) -> tuple[list[Episode], np.ndarray]:
    """Clips of a red block that moves to the right, more or less."""
    rng = np.random.default_rng(seed)
    ends, episodes = rng.uniform(0, 20, n), []
    for i in range(n):
        frames = np.full((STEPS + 1, 24, 24, 3), 120, np.uint8)
        for t in range(STEPS + 1):
            x, y = int(ends[i] * t / STEPS), int(rng.integers(0, 20))
            frames[t, y : y + 4, x : x + 4] = (220, 20, 20)
        blank = np.zeros((STEPS + 1, 0)), np.zeros((STEPS, 0)), np.zeros(STEPS, bool)
        episodes.append(Episode(*blank, StateSpec([]), frames=frames))
    return episodes, ends


@pytest.mark.parametrize("method", ["rapl", "rapl-code", "bt"])
def test_align_gives_a_reward_that_loads_again(method: str, tmp_path: Path) -> None:
    episodes, ends = pictures(24, 0)
    rng, answers = np.random.default_rng(0), []
    for _ in range(40):
        three = rng.choice(len(ends), 3, replace=False)
        names = [str(i) for i in three]
        order = sorted(names, key=lambda name: -ends[int(name)])
        answers.append(Answer(tuple(names), "me", tuple((name,) for name in order)))
    frames = {str(i): episode.frames for i, episode in enumerate(episodes) if episode.frames is not None}
    settings = {"steps": 40, "frames": STEPS}
    found = learn_reward(frames, answers, PixelsEncoder(12), FrameSpec(("side",), 24), method, settings, holdout=0.25)
    agreement = found.held_out.agreement
    assert agreement is not None and found.held_out.folds == 4
    assert found.counts == {"answers": 40, "comparisons": 120, "held_out": agreement.comparisons}
    assert set(found.learnt) == {answer.uuid for answer in answers} and set(found.clips) == set(frames)
    if method != "rapl-code":
        assert found.train > 0.8 and agreement.accuracy > 0.7
    loaded = load_reward(save_reward(found.reward, tmp_path / "reward"))
    outputs = loaded.batch(episodes)
    for i, (ours, again) in enumerate(zip(found.reward.batch(episodes), outputs, strict=True)):
        np.testing.assert_array_equal(ours.total, again.total)
        np.testing.assert_allclose(loaded(episodes[i]).total, again.total, rtol=1e-5, atol=1e-6)
        assert again.total.mean() == pytest.approx(found.scores[str(i)], abs=1e-5)
    steps = np.concatenate([output.total for output in outputs])
    assert steps.std() == pytest.approx(1.0, rel=1e-3)


def test_bad_settings_name_the_nearest() -> None:
    with pytest.raises(UnknownName, match="temperature"):
        make_rapl_settings("rapl", {"temperatur": 1.0})
    with pytest.raises(UnknownName, match="rapl-code"):
        make_rapl_settings("rapl_code")
    with pytest.raises(UnknownName, match="one_minus_p"):
        make_rapl_settings("rapl", {"loss": "one-minus-p"})
    with pytest.raises(UsageError, match="at least one"):
        BradleyTerrySettings(members=0)


def test_a_wide_video_is_seen_as_a_square_camera_would() -> None:
    frames = np.zeros((2, 30, 40, 3), np.uint8)
    frames[:, :, 5:35] = 255
    assert (crop_to_square(frames, 30) == 255).all()
    tiles = np.zeros((2, 30, 60, 3), np.uint8)
    assert crop_to_square(tiles, 15).shape == (2, 15, 30, 3)


def test_a_network_reward_tells_where_its_networks_disagree() -> None:
    features, values = walks(30, 0)
    members = train_ensemble(features, ranked(values, 20, 0), BradleyTerrySettings(steps=20, frames=STEPS))
    look = FrameFeatures(PixelsEncoder(4), FrameSpec(("side",), 24))
    reward = build_bradley_terry_reward(look, members, features)
    assert reward.compute_disagreement(features[0]).shape == (STEPS,)
    assert (reward.compute_disagreement(features[0] + 100) > reward.compute_disagreement(features[0])).mean() > 0.5


def test_rapl_matches_with_the_clips_that_are_liked() -> None:
    features, values = walks(20, 0)
    known = ranked(values, 20, 0)
    head = train_head(features, known, replace(QUICK, steps=5))

    encoder = PixelsEncoder(4)
    encoder.dim = WIDTH  # its features are given
    look = FrameFeatures(encoder, FrameSpec(("side",), 24))
    reward = build_rapl_reward(look, head, features, known, QUICK)
    expected = head(torch.from_numpy(features[int(find_preferred_clips(known, 8)[0])])).detach().numpy()
    np.testing.assert_allclose(reward.demonstrations[0], expected, atol=1e-5)
    assert len(reward.demonstrations) == len(find_preferred_clips(known, 8))
