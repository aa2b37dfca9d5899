"""Adversarial policies on the safety filter: does any command violate the limits?

`python -m benchmarks.safety --json FILE [--quick]`

10,000 sequences (500 with `--quick`) from Hypothesis, on panda and FR3, lift and push, and all three action
conventions: actions with NaN, infinities, jumps and nonsense, wrong shapes and types, stalls, too many and too few
commands per step, frozen, noisy, far-off and broken measurements, wrong periods, holds. Each stream of commands, to
standstill, is checked by MuJoCo's kinematics of the scene and plain differences (`tests/hardware/wild.py`): joint
position, speed (with the FR3's position-based limit), acceleration and jerk, speed and acceleration of the hand's
position and rotation, workspace, lean, height of the links. `worst` is the largest share of each limit that was used.
Shares of 0.2, 0.3 and 0.8 of the official limits.

`unfiltered` is the same check on the same task's controller without the filter, with valid actions: how often it
would have violated a limit at a share of 0.8.
"""

from __future__ import annotations

import time
from collections import Counter
from functools import cache
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from benchmarks.output import arguments, report
from tests.hardware.wild import SHARES, WORLDS, Event, World, events, violations

TICKS = 8
SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example)


@cache
def world(share: float, *which: str) -> World:
    return World(*which, share=share)


def filtered(count: int) -> dict[str, Any]:
    """Runs `count` action sequences through the safety filter."""
    worst: dict[str, float] = {}
    tally: Counter[str] = Counter()

    @seed(0)
    @settings(max_examples=count, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=SLOW)
    @given(st.sampled_from(SHARES), st.sampled_from(WORLDS), st.integers(0, 2**31), st.lists(events(), max_size=10))
    def run(share: float, which: tuple[str, str, str], start: int, sequence: list[Event]) -> None:
        if tally["sequences"] == count:
            return
        found, decisions = world(share, *which).run(start, sequence)
        tally["sequences"] += 1
        tally["violations"] += bool(violations(found))
        tally["decisions"] += len(decisions)
        for decision in decisions:
            tally[decision.verdict.value] += 1
            tally["clipped"] += bool(decision.clips)
        for rule, ratio in found.items():
            worst[rule] = max(worst.get(rule, 0.0), ratio)

    run()
    kept = ("sequences", "violations", "decisions", "follow", "hold", "stop", "clipped")
    worlds = [world(share, *which) for share in SHARES for which in WORLDS]
    rest = {"rest_after_silence_s": False, "rest_after_hold_s": True}
    slowest = {name: max(w.rest[held] for w in worlds) for name, held in rest.items()}
    return {**{key: tally[key] for key in kept}, **slowest, "worst": worst}


def unfiltered(count: int) -> dict[str, Any]:
    """The controllers' own targets for random valid actions, each held for a control step."""
    broken, rules = 0, Counter[str]()
    rng = np.random.default_rng(0)
    for k in range(count):
        here = world(0.8, *WORLDS[k % len(WORLDS)])
        task = here.task
        qpos = task.sample(rng, 1).qpos[:, : task.arm.joint_count + task.arm.finger_count]
        ctrl = task.controller.start(qpos)
        path = [ctrl[0, :7]]
        for _ in range(20):
            action = rng.uniform(-1, 1, (1, task.action.dim))
            ctrl = task.controller.advance(ctrl, ctrl, action)
            path += [ctrl[0, :7]] * TICKS
        found = violations(here.judge(np.array(path)))
        broken += bool(found)
        rules.update(found.keys())
    return {"sequences": count, "violations": broken, "by_rule": dict(rules)}


def main() -> None:
    args = arguments(__doc__)
    begun = time.perf_counter()
    values = filtered(500 if args.quick else 10_000)
    values["minutes"] = (time.perf_counter() - begun) / 60
    values["unfiltered"] = unfiltered(60)
    report(args, values, {"violations": "<= 0"})


if __name__ == "__main__":
    main()
