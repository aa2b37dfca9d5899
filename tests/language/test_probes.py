"""Probes find what the language cannot: rewards that break the contract, and rewards that cannot teach."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from robo_reward.envs.state import Transitions
from robo_reward.language.language import compile_program
from robo_reward.language.validation.probes import ProbeReport, probe
from robo_reward.language.validation.samples import sample_typical_transitions
from robo_reward.rewards.contract import FunctionReward, RewardOutput
from tests.language.programs import ACTION_DIM, FIVE_TERMS, SPEC, entry, value

BATCH = sample_typical_transitions(SPEC, ACTION_DIM, 512, seed=7)


def probed(source: str) -> ProbeReport:
    return probe(compile_program(source, SPEC, ACTION_DIM), BATCH)


def test_a_good_program_passes_without_objection() -> None:
    report = probed(FIVE_TERMS)
    assert report.ok
    assert str(report) == "no objections"


@pytest.mark.parametrize(
    ("expression", "hint"),
    [
        ("1.0 / (state.opening - previous.opening)", "where nothing moved"),
        ("np.log(state.opening)", "10 times beyond"),
        ("1.0 / np.linalg.norm(state.hand_position, axis=-1)", "all zero"),
        ("np.log(state.opening - 100.0)", "ordinary transitions"),
        ("state.opening * 0.0", "nothing can be learnt"),
    ],
)
def test_failures(expression: str, hint: str) -> None:
    assert any(hint in text for text in probed(value(expression)).failures)


@pytest.mark.parametrize(
    ("lines", "returns", "hint"),
    [
        ([], 'state.opening, {"a": state.opening, "b": 3.0}', "'b' is always 3"),
        ([], 'state.opening, {"a": state.opening, "b": np.where(state.opening > 9.0, 1.0, 0.0)}', "'b' is always 0"),
        ([], 'state.opening, {"a": state.opening, "b": 1000.0 * state.cube_position[:, 0]}', "times larger than 'a'"),
        ([], 'state.opening, {"a": state.cube_position[:, 0]}', "not a weighted sum"),
        (
            ["b = np.where(state.opening > 0.0799, 1.0, 0.0)"],
            'state.opening + b, {"a": state.opening, "b": b}',
            "is off in",
        ),
    ],
)
def test_warnings(lines: list[str], returns: str, hint: str) -> None:
    report = probed(entry(*lines, returns=returns))
    assert report.ok
    assert any(hint in text for text in report.warnings), report.warnings


def test_hidden_state_is_found() -> None:
    calls = []

    def reward(state, action, previous):
        calls.append(1)
        return state.opening + len(calls), {"a": state.opening}

    assert any("deterministic" in text for text in probe(FunctionReward(reward), BATCH).failures)


def test_batch_statistics_are_found() -> None:
    def reward(state, action, previous):
        return state.opening - state.opening.mean(), {"a": state.opening}

    assert any("alone" in text for text in probe(FunctionReward(reward), BATCH).failures)


def test_order_is_found() -> None:
    def reward(state, action, previous):
        return np.cumsum(state.opening), {"a": state.opening}

    assert any("order" in text for text in probe(FunctionReward(reward), BATCH).failures)


def test_changed_inputs_are_found() -> None:
    class SignOfAction:
        def __call__(self, batch: Transitions) -> RewardOutput:
            batch.action[:] = np.sign(batch.action)
            return RewardOutput(batch.state.opening, {"a": batch.state.opening})

        def spec(self) -> dict[str, Any]:
            return {"kind": "mine"}

    batch = sample_typical_transitions(SPEC, ACTION_DIM, 16)
    assert any("inputs" in text for text in probe(SignOfAction(), batch).failures)


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1e9])
def test_the_scale_of_a_reward_changes_no_verdict(scale: float) -> None:
    total = "state.opening + state.hand_position[:, 0]"
    assert probed(value(f"{scale} * ({total})")).ok
    constant = probed(value(f"{scale} * (1.0 + state.opening * 0.0)"))
    assert "nothing can be learnt" in str(constant)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_signal_beside_a_large_constant_is_a_warning(scale: float) -> None:
    report = probed(value(f"{scale} * (1000.0 + np.tanh(state.opening))"))
    assert report.ok and "subtract the constant part" in str(report)
    assert "constant part" not in str(probed(value(f"{scale} * (10.0 + np.tanh(state.hand_position[:, 0]))")))
