"""Whatever a policy says, no command leaves the limits: position, speed, acceleration, jerk, workspace."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hardware.wild import WORLDS, World, events, violations

pytest.importorskip("ruckig")


@cache
def world(*which: str) -> World:
    return World(*which)


def check(which: tuple[str, str, str], seed: int, sequence: list) -> None:
    worst, _ = world(*which).run(seed, sequence)
    assert not violations(worst), f"{which} seed {seed}: {violations(worst)}"


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(WORLDS), st.integers(0, 999), st.lists(events(), min_size=1, max_size=6))
def test_no_command_leaves_the_limits(which: tuple[str, str, str], seed: int, sequence: list) -> None:
    check(which, seed, sequence)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(WORLDS), st.integers(0, 2**31), st.lists(events(), min_size=1, max_size=12))
def test_no_command_leaves_the_limits_in_long_runs(which: tuple[str, str, str], seed: int, sequence: list) -> None:
    check(which, seed, sequence)
