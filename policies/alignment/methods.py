"""The methods of `robo-reward finetune`, by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from robo_reward.errors import UnknownName, UsageError
from robo_reward.policies.alignment.job import FinetuneJob, FinetuneOutcome

_PLACE = "robo_reward.policies.alignment"


@dataclass(frozen=True)
class FinetuneMethod:
    """A method of fine-tuning.

    Args:
        summary: one line.
        entry: `module:function`, called with a `FinetuneJob`; imported only when it is used.
        sources: what it learns from, each of which suffices: `preferences`, `reward`.
        check: `module:function` that raises for a job that cannot work, before any long work; empty: none.
    """

    summary: str
    entry: str
    sources: tuple[str, ...]
    check: str = f"{_PLACE}.finetune:check_job"

    def check_job(self, job: FinetuneJob) -> None:
        """Raises what is wrong with a job: its settings, its policy, or its preferences."""
        if self.check:
            _import(self.check)(job)

    def load(self) -> Callable[[FinetuneJob], FinetuneOutcome]:
        """Returns the function of the method."""
        return _import(self.entry)


def _import(entry: str) -> Any:
    module, _, name = entry.partition(":")
    return getattr(importlib.import_module(module), name)


_BOTH = ("preferences", "reward")
METHODS = {
    "dpo": FinetuneMethod("Diffusion-DPO or flow-DPO on pairs", f"{_PLACE}.finetune:finetune_dpo", _BOTH),
    "kto": FinetuneMethod("KTO on single episodes", f"{_PLACE}.finetune:finetune_kto", _BOTH),
    "dro": FinetuneMethod("Diffusion-DRO, liked against own samples", f"{_PLACE}.finetune:finetune_dro", _BOTH),
    "clone": FinetuneMethod("cloning of the preferred half", f"{_PLACE}.finetune:finetune_clone", _BOTH),
    "rwr": FinetuneMethod("reward-weighted cloning", f"{_PLACE}.finetune:finetune_rwr", _BOTH),
    "best_of_n": FinetuneMethod(
        "acts with the best of N chunks", f"{_PLACE}.finetune_best_of_n:finetune_best_of_n", _BOTH
    ),
    "dsrl": FinetuneMethod(
        "SAC on the initial noise, the policy stays frozen",
        "robo_reward.policies.dsrl.train:finetune_dsrl",
        ("reward",),
        "robo_reward.policies.dsrl.train:check_dsrl_job",
    ),
}


def find_method(name: str, has_preferences: bool, has_reward: bool) -> FinetuneMethod:
    """Returns a method.

    Raises:
        UnknownName: no such method.
        UsageError: there is nothing that it can learn from.
    """
    if name not in METHODS:
        raise UnknownName("method", name, METHODS)
    found, given = METHODS[name], {"preferences": has_preferences, "reward": has_reward}
    if not any(given[source] for source in found.sources):
        keys = " or ".join({"preferences": "preferences=DIR", "reward": "reward=RUN"}[s] for s in found.sources)
        raise UsageError(f"method={name} has nothing to learn from; give {keys}")
    return found
