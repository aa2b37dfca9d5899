"""The methods of `robo-reward finetune`, by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from robo_reward.errors import UnknownName, UsageError
from robo_reward.policies.alignment.job import FinetuneJob, FinetuneOutcome

_TRAIN = "robo_reward.policies.alignment.finetune"


@dataclass(frozen=True)
class FinetuneMethod:
    """A method of fine-tuning.

    Args:
        summary: one line.
        entry: `module:function`, called with a `FinetuneJob`; imported only when it is used.
        sources: what it learns from, each of which suffices: `preferences`, `reward`.
    """

    summary: str
    entry: str
    sources: tuple[str, ...]

    def load(self) -> Callable[[FinetuneJob], FinetuneOutcome]:
        """Returns the function of the method."""
        module, _, name = self.entry.partition(":")
        return getattr(importlib.import_module(module), name)


METHODS = {
    "dpo": FinetuneMethod("Diffusion-DPO or flow-DPO on pairs", f"{_TRAIN}:finetune_dpo", ("preferences", "reward")),
    "kto": FinetuneMethod("KTO on single episodes", f"{_TRAIN}:finetune_kto", ("preferences", "reward")),
    "dro": FinetuneMethod(
        "Diffusion-DRO: liked episodes against own samples", f"{_TRAIN}:finetune_dro", ("preferences", "reward")
    ),
    "clone": FinetuneMethod("cloning of the preferred half", f"{_TRAIN}:finetune_clone", ("preferences", "reward")),
    "rwr": FinetuneMethod("reward-weighted cloning", f"{_TRAIN}:finetune_rwr", ("reward", "preferences")),
    "best_of_n": FinetuneMethod(
        "acts with the best of N chunks by a reward", f"{_TRAIN}:finetune_best_of_n", ("preferences", "reward")
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
