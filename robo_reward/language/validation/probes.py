"""Probes of a reward program: checks on a batch, before hours of training are spent on it.

A failure means that the program breaks the contract of a reward or carries no signal at all: it goes back to its
writer. A warning is a likely mistake that may be meant; its text names the remedy.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from robo_reward.envs.state import StateSpec, Transitions
from robo_reward.errors import RoboRewardError
from robo_reward.language.validation.samples import sample_typical_transitions
from robo_reward.rewards.contract import RewardOutput, StepReward

DOMINANCE = 100.0
"""A term that is this many times larger than every other dominates the total."""
SMALL_SIGNAL = 1e-3
"""A total whose standard deviation is this share of its mean is mostly a constant."""
_ROUNDING = 1e-15
"""Differences of numbers of ordinary size that are zero but for rounding."""
_RELATIVE = 1e-9
"""Relative tolerance: sums and vectorised functions may round differently in batches of another length."""


@dataclass
class ProbeReport:
    """The findings of the probes.

    Attributes:
        failures: reasons to send the program back to its writer.
        warnings: advice.
    """

    failures: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True if the program may be trained on."""
        return not self.failures

    def __str__(self) -> str:
        lines = [f"failure: {text}" for text in self.failures] + [f"warning: {text}" for text in self.warnings]
        return "\n".join(lines) or "no objections"


def probe(program: StepReward, batch: Transitions, tolerance: float = _RELATIVE) -> ProbeReport:
    """Checks that a program depends on each transition alone, and examines the statistics of its terms.

    Args:
        program: any step reward.
        batch: realistic transitions, such as those of a random policy; preferably 256 or more.
        tolerance: relative difference between batches of another length that counts as rounding.
    """
    report = ProbeReport()
    before = [array.copy() for array in _get_arrays(batch)]
    try:
        output = program(batch)
    except RoboRewardError as error:
        report.failures.append(f"it fails on ordinary transitions: {error}")
        return report
    report.failures += _check_consistency(program, batch, output, tolerance)
    if any(not np.array_equal(old, new, equal_nan=True) for old, new in zip(before, _get_arrays(batch), strict=True)):
        report.failures.append("it changes its inputs: build new arrays")
    report.failures += _check_extremes(program, batch)
    _check_statistics(output, report)
    return report


def make_extreme_transitions(spec: StateSpec, action_dim: int) -> dict[str, Transitions]:
    """Returns transitions far from the ordinary, by their description.

    They are all zero, ten times beyond the typical ranges, or such that nothing moved.
    """
    zeros = spec.view(np.zeros((4, spec.dim)))
    still = sample_typical_transitions(spec, action_dim, 64)
    return {
        "all zero": Transitions(zeros, np.zeros((4, action_dim)), zeros),
        "10 times beyond the typical ranges": sample_typical_transitions(spec, action_dim, 256, scale=10.0),
        "where nothing moved": Transitions(still.state, np.zeros((64, action_dim)), still.state),
    }


def _check_consistency(program: StepReward, batch: Transitions, output: RewardOutput, tolerance: float) -> list[str]:
    """Returns a failure if repeated calls, the order or other transitions of a batch change a reward."""
    failures = []
    if not _is_equal(program(batch), output, 0.0):
        failures.append("it is not deterministic: the same batch gives different numbers the second time")
    order = np.random.default_rng(0).permutation(len(batch.action))
    if not _is_equal(program(batch.rows(order)), _select_rows(output, order), tolerance):
        failures.append("it depends on the order of the batch: use axis=-1 in every reduction")
    for row in order[:4]:
        one = np.array([row])
        if not _is_equal(program(batch.rows(one)), _select_rows(output, one), tolerance):
            failures.append(
                "a transition alone gets a different reward than in a batch: use axis=-1 in every reduction"
            )
            break
    return failures


def _check_extremes(program: StepReward, batch: Transitions) -> list[str]:
    failures = []
    for where, transitions in make_extreme_transitions(batch.state.spec, batch.action.shape[1]).items():
        try:
            program(transitions)
        except RoboRewardError as error:
            remedy = "bound divisors, roots and logarithms with np.maximum(x, 1e-6), and exp with np.clip"
            failures.append(f"on states {where}: {error}; {remedy}")
    return failures


def _check_statistics(output: RewardOutput, report: ProbeReport) -> None:
    """Adds failures and warnings about the spread and size of the terms to the report."""
    dead = [name for name, values in output.terms.items() if _is_constant(values)]
    if (output.terms and len(dead) == len(output.terms)) or _is_constant(output.total):
        report.failures.append("the total or every term is the same for all transitions: nothing can be learnt from it")
    for name in dead:
        report.warnings.append(
            f"the term {name!r} is always {output.terms[name][0]:.4g} here: a bonus that is never or always given, or a"
            " saturated function; widen its range or remove it"
        )
    report.warnings += _find_dominant_term(output) + _find_rare_bonuses(output, dead) + _find_small_signal(output)
    if (warning := _find_unexplained_total(output)) is not None:
        report.warnings.append(warning)


def _is_constant(values: np.ndarray) -> bool:
    """Returns whether values are equal but for rounding; a small scale alone makes no constant."""
    return bool(np.ptp(values) <= _RELATIVE * np.abs(values).max(initial=0.0) + _ROUNDING)


def _find_dominant_term(output: RewardOutput) -> list[str]:
    sizes = {name: float(np.mean(np.abs(values))) for name, values in output.terms.items()}
    if len(sizes) < 2:
        return []
    second, largest = sorted(sizes, key=sizes.__getitem__)[-2:]
    if sizes[largest] <= DOMINANCE * sizes[second] or sizes[second] == 0.0:
        return []
    ratio = sizes[largest] / sizes[second]
    return [
        f"the term {largest!r} is {ratio:.0f} times larger than {second!r}, the next: scale the "
        "terms to one order of magnitude"
    ]


def _find_small_signal(output: RewardOutput) -> list[str]:
    """Returns a warning for a total that varies little beside its mean; its scale as such does not matter."""
    mean, std = float(np.mean(output.total)), float(np.std(output.total))
    if std >= SMALL_SIGNAL * abs(mean) or _is_constant(output.total):
        return []
    return [
        f"the total is {mean:.4g} with a standard deviation of {std:.2g}, {std / abs(mean):.1g} of it: subtract the "
        "constant part, beside which the rest is hardly seen"
    ]


def _find_rare_bonuses(output: RewardOutput, dead: list[str]) -> list[str]:
    """Returns a warning for each two-valued term that nearly always, or nearly never, takes one of its values."""
    warnings = []
    for name, values in output.terms.items():
        levels, counts = np.unique(values, return_counts=True)
        share = counts.max() / len(values)
        if name not in dead and len(levels) == 2 and share > 0.99:
            usual = "on" if levels[counts.argmax()] == levels[np.abs(levels).argmax()] else "off"
            warnings.append(f"the bonus {name!r} is {usual} in {share:.1%} of transitions: move its threshold")
    return warnings


def _find_unexplained_total(output: RewardOutput) -> str | None:
    """Returns a warning when the total is no weighted sum of the terms, else `None`."""
    if not output.terms:
        return None
    columns = np.stack([*output.terms.values(), np.ones_like(output.total)], axis=-1)
    weights, *_ = np.linalg.lstsq(columns, output.total, rcond=None)
    residual = float(np.std(output.total - columns @ weights))
    if residual <= 1e-3 * float(np.std(output.total)):
        return None
    return "the total is not a weighted sum of the terms: return every part of it as a term, so that logs explain it"


def _get_arrays(batch: Transitions) -> tuple[np.ndarray, ...]:
    return batch.previous.array, batch.action, batch.state.array


def _select_rows(output: RewardOutput, index: np.ndarray) -> RewardOutput:
    return RewardOutput(output.total[index], {name: values[index] for name, values in output.terms.items()})


def _is_equal(a: RewardOutput, b: RewardOutput, tolerance: float) -> bool:
    if a.terms.keys() != b.terms.keys():
        return False
    pairs = [(a.total, b.total), *((a.terms[name], b.terms[name]) for name in a.terms)]
    if tolerance == 0.0:
        return all(np.array_equal(x, y) for x, y in pairs)
    return all(np.allclose(x, y, rtol=tolerance, atol=tolerance * (1.0 + np.abs(y).max(initial=0.0))) for x, y in pairs)
