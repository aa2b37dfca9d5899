"""Every rule against a plain loop, a brute-force search or a closed form."""

import itertools
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robo_reward.errors import UnknownName, UsageError, WrongShape
from robo_reward.rewards.matching import (
    DTW,
    ORCA,
    OT,
    FinalFrame,
    GoalDistance,
    MinDistance,
    Rule,
    SegmentMatch,
    SoftDTW,
    TemporalOT,
    UnbalancedOT,
    build_rule,
    compute_causal_reward,
    orca_reward,
    rules,
    sinkhorn_plan,
)
from robo_reward.rewards.matching.transport import build_diagonal_band

ALL = [
    OT(0.1),
    OT(0.1, through_plan=False),
    UnbalancedOT(0.1, 0.3),
    TemporalOT(0.05, context=2, mask=2),
    ORCA(0.7),
    DTW(),
    SoftDTW(0.2),
    MinDistance(),
    SegmentMatch(3),
    FinalFrame(2),
    GoalDistance(),
]
NAMES = [f"{rule.name}{i}" for i, rule in enumerate(ALL)]


@pytest.fixture
def cost(rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(rng.random((3, 2, 7, 6)))


def orca_loop(cost: np.ndarray, tau: float) -> np.ndarray:
    p = np.exp(-cost / tau)
    steps, width = p.shape
    covered = np.zeros((steps, width))
    for t in range(steps):
        for j in range(width):
            arrived = (covered[t, j - 1] if j else 1.0) * p[t, j]
            stayed = covered[t - 1, j] if t and j < width - 1 else 0.0
            covered[t, j] = max(stayed, arrived)
    return covered[:, -1]


def paths(steps: int, width: int):
    """Every monotone path from corner to corner."""

    def onward(path):
        t, s = path[-1]
        if (t, s) == (steps - 1, width - 1):
            yield path
            return
        for dt, ds in ((1, 1), (1, 0), (0, 1)):
            if t + dt < steps and s + ds < width:
                yield from onward([*path, (t + dt, s + ds)])

    yield from onward([(0, 0)])


@settings(max_examples=50)
@given(
    seed=st.integers(0, 10**6),
    steps=st.integers(1, 9),
    width=st.integers(1, 9),
    tau=st.sampled_from([0.01, 0.3, 1.0, 10.0]),
)
def test_orca_is_the_double_loop(seed: int, steps: int, width: int, tau: float):
    cost = np.random.default_rng(seed).random((3, steps, width))
    got = orca_reward(torch.from_numpy(cost), tau)
    np.testing.assert_allclose(got, [orca_loop(c, tau) for c in cost], rtol=1e-10, atol=1e-300)


def test_orca_by_hand():
    """Shown in order all is covered; the last frame alone covers nothing of the first; slowness costs nothing."""
    far = 50.0
    demonstration = torch.full((3, 3), far)
    demonstration.fill_diagonal_(0.0)
    np.testing.assert_allclose(orca_reward(demonstration, 1.0), [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(orca_reward(demonstration.flip(0), 1.0), [0, 0, 0], atol=1e-12)
    slow = demonstration.repeat_interleave(2, 0)
    np.testing.assert_allclose(orca_reward(slow, 1.0), [0, 0, 0, 0, 1, 1], atol=1e-12)
    assert orca_reward(torch.tensor([[0.5], [0.1]]), 0.5).tolist() == pytest.approx([math.exp(-1), math.exp(-0.2)])


def test_orca_in_single_precision_and_for_long_demonstrations(rng: np.random.Generator):
    cost = rng.random((40, 200))
    got = orca_reward(torch.from_numpy(cost).float(), 0.5)
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got, orca_loop(cost, 0.5), rtol=1e-5, atol=1e-37)


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), steps=st.integers(1, 5), width=st.integers(1, 5))
def test_dtw_takes_the_best_of_all_paths(seed: int, steps: int, width: int):
    cost = np.random.default_rng(seed).random((2, steps, width))
    for got, c in zip(DTW()(torch.from_numpy(cost)).numpy(), cost, strict=True):
        best = min(paths(steps, width), key=lambda path: sum(c[cell] for cell in path))
        wanted = [-np.mean([c[cell] for cell in best if cell[0] == t]) for t in range(steps)]
        np.testing.assert_allclose(got, wanted, rtol=1e-12)


@settings(max_examples=20)
@given(
    seed=st.integers(0, 10**6),
    steps=st.integers(1, 4),
    width=st.integers(1, 5),
    gamma=st.sampled_from([0.01, 0.2, 3.0]),
)
def test_soft_dtw_averages_over_all_paths(seed: int, steps: int, width: int, gamma: float):
    cost = np.random.default_rng(seed).random((steps, width))
    every = list(paths(steps, width))
    totals = np.array([sum(cost[cell] for cell in path) for path in every])
    weights = np.exp(-(totals - totals.min()) / gamma)
    visits = np.zeros_like(cost)
    for path, weight in zip(every, weights / weights.sum(), strict=True):
        for cell in path:
            visits[cell] += weight
    wanted = -(visits * cost).sum(1) / visits.sum(1)
    np.testing.assert_allclose(SoftDTW(gamma)(torch.from_numpy(cost)), wanted, rtol=1e-9)


def test_soft_dtw_becomes_dtw(cost: torch.Tensor):
    np.testing.assert_allclose(SoftDTW(1e-4)(cost), DTW()(cost), atol=1e-6)


def test_ot_is_the_score_of_rapl(cost: torch.Tensor):
    """S = -<P, C>: the mean over the steps."""
    plan = sinkhorn_plan(cost, 1.0)
    np.testing.assert_allclose(OT(1.0)(cost).mean(-1), -(plan * cost).sum((-1, -2)), rtol=1e-12)


def test_ot_with_a_small_epsilon_pays_the_best_assignment(rng: np.random.Generator):
    cost = rng.random((5, 4, 4))
    for got, c in zip(OT(1e-3, max_iterations=20000)(torch.from_numpy(cost)).numpy(), cost, strict=True):
        best = min(c[range(4), p].sum() for p in itertools.permutations(range(4)))
        assert -got.sum() == pytest.approx(best, abs=4e-3)


def test_ot_cannot_tell_a_reversed_clip_and_the_ordered_rules_can(rng: np.random.Generator):
    """Trap 3 of the RAPL notes, on a smooth walk against itself."""
    walk = torch.from_numpy(np.cumsum(rng.normal(size=(30, 8)), 0))
    cost = torch.cdist(walk, walk) / 10
    ordered = [rule for rule in ALL if rule.name in ("temporal_ot", "orca", "dtw", "soft_dtw", "segment_match")]
    for rule in ordered:
        forward, backward = rule(cost).sum(), rule(cost.flip(0)).sum()
        assert forward > backward + 0.1 * abs(forward - 1e-3), rule
    for rule in (OT(0.05), MinDistance(), FinalFrame(3)):
        assert float(rule(cost).sum()) == pytest.approx(float(rule(cost.flip(0)).sum()), rel=1e-6, abs=1e-9), rule


def test_unbalanced_ot_becomes_ot_and_forgives_what_matches_nothing(cost: torch.Tensor):
    np.testing.assert_allclose(UnbalancedOT(0.1, 1e5)(cost), OT(0.1)(cost), atol=1e-4)
    strange = cost[0, 0].clone()
    strange[2] += 100.0
    assert -0.31 < float(UnbalancedOT(0.05, 0.3)(strange)[2]) < -0.25 < float(UnbalancedOT(0.05, 0.3)(cost[0, 0])[2])


def test_temporal_ot_is_the_published_algorithm(rng: np.random.Generator):
    """The mean of k_c shifted costs, then Sinkhorn under the mask |t - s| <= k_m, written out with loops."""
    n, context, mask, epsilon = 8, 3, 2, 0.05
    cost = rng.random((n, n))
    mean = np.array(
        [
            [np.mean([cost[min(t + i, n - 1), min(s + i, n - 1)] for i in range(context)]) for s in range(n)]
            for t in range(n)
        ]
    )
    allowed = np.abs(np.subtract.outer(range(n), range(n))) <= mask
    kernel = np.where(allowed, np.exp(-mean / epsilon), 0.0)
    u = np.ones(n)
    for _ in range(20000):
        v = (1 / n) / (kernel.T @ u)
        u = (1 / n) / (kernel @ v)
    plan = u[:, None] * kernel * v
    rule = TemporalOT(epsilon, context, mask, tolerance=1e-12, max_iterations=20000)
    np.testing.assert_allclose(rule(torch.from_numpy(cost)), -n * (plan * mean).sum(1), atol=1e-8)


@settings(max_examples=60)
@given(steps=st.integers(1, 60), width=st.integers(1, 60), mask=st.integers(0, 12))
def test_uniform_marginals_fit_into_every_band(steps: int, width: int, mask: int):
    """The coupling in order of time, which has uniform marginals, lies inside."""
    band = build_diagonal_band(steps, width, mask).numpy()
    t = np.arange(steps * width) // width
    s = np.arange(steps * width) // steps
    assert band[t, s].all()
    if steps == width:
        np.testing.assert_array_equal(band, np.abs(np.subtract.outer(range(steps), range(width))) <= mask)


def test_the_nearest_rules_are_what_they_say(cost: torch.Tensor):
    c = cost.numpy()
    np.testing.assert_allclose(MinDistance()(cost), -c.min(-1))
    np.testing.assert_allclose(FinalFrame(2)(cost), -c[..., -2:].mean(-1))
    np.testing.assert_allclose(FinalFrame(99)(cost), -c.mean(-1))
    np.testing.assert_allclose(GoalDistance()(cost), -c[..., -1])
    segments = [(0, 2), (0, 2), (0, 2), (2, 4), (2, 4), (4, 6), (4, 6)]  # of 7 steps and 6 frames in three parts
    wanted = np.stack([-c[..., t, a:b].min(-1) for t, (a, b) in enumerate(segments)], -1)
    np.testing.assert_allclose(SegmentMatch(3)(cost), wanted)
    square = cost[..., :6, :]
    np.testing.assert_allclose(SegmentMatch(6)(square), -square.diagonal(dim1=-2, dim2=-1))


def test_the_goal_is_the_mean_of_the_last_features(rng: np.random.Generator):
    clips = [torch.from_numpy(rng.normal(size=(n, 3))) for n in (4, 6)]
    (goal,) = GoalDistance().select_targets(clips)
    np.testing.assert_allclose(goal, (clips[0][-1:] + clips[1][-1:]) / 2)


@pytest.mark.parametrize("rule", ALL, ids=NAMES)
class TestEveryRule:
    def test_one_number_per_step_alone_or_in_company(self, rule: Rule, cost: torch.Tensor):
        together = rule(cost)
        assert together.shape == cost.shape[:-1] and together.dtype == torch.float64
        assert torch.isfinite(together).all()
        np.testing.assert_allclose(rule(cost[1, 1]), together[1, 1], atol=1e-12)
        np.testing.assert_allclose(rule(cost.flip(0, 1)), together.flip(0, 1), atol=1e-12)
        assert rule(cost.float()).dtype == torch.float32

    def test_one_step_and_one_frame(self, rule: Rule):
        for shape in ((1, 1), (1, 4), (4, 1)):
            assert torch.isfinite(rule(torch.rand(shape, dtype=torch.float64))).all()

    def test_a_demonstration_itself_beats_one_that_is_far_from_it(self, rule: Rule, rng: np.random.Generator):
        walk = torch.from_numpy(np.cumsum(rng.normal(size=(12, 3)), 0))
        assert rule(torch.cdist(walk, walk)).sum() > rule(torch.cdist(walk + 20.0, walk)).sum()

    def test_gradient_by_finite_differences(self, rule: Rule, rng: np.random.Generator):
        if rule == OT(0.1, through_plan=False):
            pytest.skip("its gradient is not that of its value, on purpose")
        exact = {"tolerance": 1e-13, "max_iterations": 20000} if hasattr(rule, "tolerance") else {}
        rule = build_rule({**rule.spec(), **exact})
        cost = torch.from_numpy(rng.random((5, 4))).requires_grad_()
        assert torch.autograd.gradcheck(rule, (cost,), eps=1e-6, atol=2e-5)

    def test_comes_back_from_json(self, rule: Rule):
        assert build_rule(json.loads(json.dumps(rule.spec()))) == rule

    def test_only_what_was_seen(self, rule: Rule, cost: torch.Tensor):
        """Later steps change nothing, and the last step has seen all."""
        changed = cost.clone()
        changed[..., 5:, :] += 1.0
        seen = compute_causal_reward(rule, cost)
        np.testing.assert_allclose(compute_causal_reward(rule, changed)[..., :5], seen[..., :5], atol=1e-12)
        np.testing.assert_allclose(seen[..., -1], rule(cost)[..., -1], atol=1e-12)


def test_the_gradient_stops_at_the_plan_if_told(cost: torch.Tensor):
    cost.requires_grad_()
    rule = OT(0.1, through_plan=False)
    (gradient,) = torch.autograd.grad(rule(cost).sum(), cost)
    np.testing.assert_allclose(gradient, -7 * rule.compute_plan(cost).detach(), rtol=1e-12)


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), factor=st.floats(0.01, 100.0))
def test_units_of_cost_and_parameters_together(seed: int, factor: float):
    """In another unit of the cost the reward is the same in that unit; a probability has none."""
    cost = torch.from_numpy(np.random.default_rng(seed).random((6, 5)))
    for a, b in (
        (OT(0.1), OT(0.1 * factor)),
        (UnbalancedOT(0.1, 0.4), UnbalancedOT(0.1 * factor, 0.4 * factor)),
        (TemporalOT(0.1), TemporalOT(0.1 * factor)),
        (SoftDTW(0.3), SoftDTW(0.3 * factor)),
        (DTW(), DTW()),
        (SegmentMatch(2), SegmentMatch(2)),
    ):
        np.testing.assert_allclose(b(cost * factor), a(cost) * factor, rtol=1e-4, atol=1e-7 * factor)
    np.testing.assert_allclose(ORCA(0.5 * factor)(cost * factor), ORCA(0.5)(cost), rtol=1e-9)


def test_unknown_names_get_the_closest():
    with pytest.raises(UnknownName, match="'temporal_ot'"):
        build_rule("temporalot")
    with pytest.raises(UnknownName, match="'epsilon'"):
        build_rule({"name": "ot", "epsilom": 1.0})
    with pytest.raises(UsageError, match="'name'"):
        build_rule({"epsilon": 1.0})
    assert {rule.name for rule in ALL} == set(rules.list_names())


@pytest.mark.parametrize(
    "make",
    [
        lambda: OT(0.0),
        lambda: OT(math.nan),
        lambda: UnbalancedOT(rho=math.inf),
        lambda: TemporalOT(mask=-1),
        lambda: TemporalOT(context=0),
        lambda: ORCA(-1.0),
        lambda: SoftDTW(0.0),
        lambda: SegmentMatch(0),
        lambda: FinalFrame(0),
        lambda: orca_reward(torch.ones(2, 2), 0.0),
    ],
)
def test_bad_parameters(make):
    with pytest.raises(UsageError):
        make()


def test_orca_needs_a_matrix():
    for bad in (torch.ones(3), torch.ones(3, 0)):
        with pytest.raises(WrongShape):
            orca_reward(bad, 1.0)
