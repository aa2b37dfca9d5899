"""Whatever a policy says, no command leaves the limits: position, speed, acceleration, jerk, workspace."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.hardware.wild import SHARES, WORLDS, World, events, violations

pytest.importorskip("ruckig")


SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example)


@cache
def world(share: float, *which: str) -> World:
    return World(*which, share=share)


def check(share: float, which: tuple[str, str, str], seed: int, sequence: list) -> None:
    worst, _ = world(share, *which).run(seed, sequence)
    assert not violations(worst), f"{which} at {share}, seed {seed}: {violations(worst)}"


@settings(max_examples=300, deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=SLOW)
@given(st.sampled_from(SHARES), st.sampled_from(WORLDS), st.integers(0, 999), st.lists(events(), max_size=4))
def test_no_command_leaves_the_limits(share: float, which: tuple[str, str, str], seed: int, sequence: list) -> None:
    check(share, which, seed, sequence)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=1000, deadline=None, suppress_health_check=SLOW)
@given(st.sampled_from(SHARES), st.sampled_from(WORLDS), st.integers(0, 2**31), st.lists(events(), max_size=12))
def test_no_command_leaves_the_limits_in_long_runs(
    share: float, which: tuple[str, str, str], seed: int, sequence: list
) -> None:
    check(share, which, seed, sequence)
