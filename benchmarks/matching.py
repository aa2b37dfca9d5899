"""Sinkhorn against POT, and which rules notice that a clip runs backwards.

`python -m benchmarks.matching --json FILE [--quick]`

Speed: plans of 256 pairs of 45 x 45 with uniform marginals by `sinkhorn_plan` and by POT, `ot.sinkhorn` in a loop and
its own batched `ot.batch.solve_batch`; float64 in and out, the same tolerance (for the loop also POT's default, 1e-9),
one thread, alternating rounds. The figure is the best CPU time of each, which other processes disturb least. The
largest difference is to POT's plans at 1e-9.

Order: expert clips of `panda/push` from the front camera. The features are 24 x 24 grey pixels less their mean over the
demonstrations, the cost is the cosine's. Every clip is matched with the demonstration of another episode: as it is,
backwards, at half speed (each frame twice) and standing still (its first frame throughout). A score is the mean reward
per step. The gap is (forward - other) / (|forward| + |other|): 0 if the rule cannot distinguish them, 1 if the other
scored 0.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.output import arguments, report
from robo_reward.data.collect import collect_episodes
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.task import make_task
from robo_reward.rewards.matching import (
    DTW,
    ORCA,
    OT,
    MinDistance,
    Rule,
    SegmentMatch,
    SoftDTW,
    TemporalOT,
    cosine,
    sinkhorn_plan,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # POT 0.9.7 contains an invalid escape sequence
    import ot
    from ot.batch import solve_batch

PAIRS, STEPS = 256, 45
EPSILON = 0.1
EPSILONS = (1.0, 0.1, 0.05, 0.01)
TOLERANCE = 1e-6
RULES: dict[str, Rule] = {
    "ot": OT(),
    "temporal_ot": TemporalOT(),
    "orca": ORCA(tau=5.0),
    "dtw": DTW(),
    "soft_dtw": SoftDTW(),
    "segment_match": SegmentMatch(),
    "min_distance": MinDistance(),
}


def cosine_costs(seed: int = 0) -> np.ndarray:
    """Returns costs (PAIRS, STEPS, STEPS) of smooth walks in 32 dimensions, which resemble features of clips."""
    rng = np.random.default_rng(seed)
    x, y = np.cumsum(rng.normal(size=(2, PAIRS, STEPS, 32)), axis=2)
    return cosine(torch.from_numpy(x), torch.from_numpy(y)).numpy()


def pot_loop(costs: np.ndarray, epsilon: float, tolerance: float) -> np.ndarray:
    """Returns POT's plans, computed one at a time."""
    uniform = np.full(STEPS, 1.0 / STEPS)
    plans: Any = [ot.sinkhorn(uniform, uniform, c, epsilon, stopThr=tolerance, warn=False) for c in costs]
    return np.stack(plans)


def best_times(calls: Iterable[tuple[Callable[[], object], int]], rounds: int) -> list[float]:
    """Returns the best CPU time [s] of each call in alternating rounds; a quick call is repeated within a round."""
    calls = list(calls)
    best = [np.inf] * len(calls)
    for _ in range(rounds):
        for i, (call, repeats) in enumerate(calls):
            for _ in range(repeats):
                begun = time.process_time()
                call()
                best[i] = min(best[i], time.process_time() - begun)
    return best


def speed(quick: bool) -> dict[str, object]:
    """Times, speed-up and difference; the main figures at ε = EPSILON, the factor also at others."""
    costs = cosine_costs()
    tensor = torch.from_numpy(costs)
    rounds = 3 if quick else 10
    torch.set_num_threads(1)

    def ours(epsilon: float = EPSILON) -> np.ndarray:
        return sinkhorn_plan(tensor, epsilon, tolerance=TOLERANCE).numpy()

    def loop(epsilon: float = EPSILON, tolerance: float = TOLERANCE) -> np.ndarray:
        return pot_loop(costs, epsilon, tolerance)

    def batched() -> object:
        return solve_batch(tensor, EPSILON, method="sinkhorn", tol=TOLERANCE, grad="detach").plan

    mine, theirs, default, theirs_batched = best_times(
        [(ours, 20), (loop, 1), (partial(loop, tolerance=1e-9), 1), (batched, 3)], rounds
    )
    factors, differences = {}, {}
    for epsilon in EPSILONS:
        one, other = best_times([(partial(ours, epsilon), 5), (partial(loop, epsilon), 1)], min(rounds, 3))
        factors[f"{epsilon:g}"] = other / one
        differences[f"{epsilon:g}"] = float(np.abs(ours(epsilon) - loop(epsilon, 1e-9)).max())
    return {
        "speedup_vs_pot": theirs / mine,
        "speedup_vs_pot_default_tolerance": default / mine,
        "speedup_vs_pot_batched": theirs_batched / mine,
        "max_abs_difference": max(differences.values()),
        "ms_256_pairs": mine * 1e3,
        "pot_ms_256_pairs": theirs * 1e3,
        "pot_batched_ms_256_pairs": theirs_batched * 1e3,
        "speedup_vs_pot_by_epsilon": factors,
        "max_abs_difference_by_epsilon": differences,
    }


def clip_features(clips: int) -> list[torch.Tensor]:
    """Returns features (T, 576) of expert clips: 24 x 24 grey pixels minus their mean over the first half."""
    task = make_task("panda/push")
    episodes = collect_episodes(task, task.expert, clips, seed=0, frames=FrameSpec(("front",), 96))
    pixels = np.stack([e.frames for e in episodes if e.frames is not None]).astype(np.float32).mean(-1) / 255.0
    blocks = pixels.reshape(*pixels.shape[:2], 24, 4, 24, 4).mean((3, 5)).reshape(*pixels.shape[:2], -1)
    blocks -= blocks[: clips // 2].mean((0, 1))
    return list(torch.from_numpy(blocks).double())


def order_test(clips: int) -> dict[str, dict[str, float]]:
    """Returns the mean gap per rule, and the share of clips whose backward version scores lower by more than 1 %."""
    features = clip_features(2 * clips)
    pairs = list(zip(features[:clips], features[clips:], strict=True))  # demonstration, expert clip
    tables = {"order_test": {}, "half_speed": {}, "standing_still": {}, "reversed_noticed": {}}
    for name, rule in RULES.items():

        def score(clip: torch.Tensor, demonstration: torch.Tensor, rule: Rule = rule) -> float:
            return float(rule(cosine(clip, demonstration)).mean())

        forward = np.array([score(clip, d) for d, clip in pairs])
        backward = np.array([score(clip.flip(0), d) for d, clip in pairs])
        slow = np.array([score(clip.repeat_interleave(2, 0), d) for d, clip in pairs])
        still = np.array([score(clip[:1].expand_as(clip), d) for d, clip in pairs])
        tables["order_test"][name] = gap(forward, backward).mean()
        tables["half_speed"][name] = gap(forward, slow).mean()
        tables["standing_still"][name] = gap(forward, still).mean()
        tables["reversed_noticed"][name] = (gap(forward, backward) > 0.01).mean()
    return {title: {name: float(value) for name, value in rows.items()} for title, rows in tables.items()}


def gap(forward: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(forward - other) / (|forward| + |other|), in [-1, 1]; 0 where both are 0."""
    return (forward - other) / np.maximum(np.abs(forward) + np.abs(other), 1e-300)


if __name__ == "__main__":
    args = arguments(__doc__)
    report(
        args,
        {**speed(args.quick), **order_test(8 if args.quick else 32)},
        {
            "speedup_vs_pot": ">= 10",
            "max_abs_difference": "<= 1e-4",
            "order_test.ot": "<= 0.01",
            "order_test.temporal_ot": ">= 0.01",
            "order_test.orca": ">= 0.01",
        },
    )
