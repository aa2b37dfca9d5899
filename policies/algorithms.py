"""The algorithms that can train, and settings that work for them on a CPU."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from robo_reward.errors import MissingExtra, UnknownName, UsageError
from robo_reward.policies.own_algorithm import is_own_algorithm, load_own_class
from robo_reward.policies.setting_values import check_values

SB3 = ("A2C", "DDPG", "PPO", "SAC", "TD3")
CONTRIB = ("ARS", "CrossQ", "TQC", "TRPO")
ALGORITHMS = {name.lower(): name for name in (*SB3, *CONTRIB)}

RECURRENT = "recurrentppo"

_ON_POLICY = {"gamma": 0.95, "gae_lambda": 0.9, "policy_kwargs": {"net_arch": [64, 64], "log_std_init": -0.7}}
_OFF_POLICY = {
    "gamma": 0.97,
    "batch_size": 512,
    "learning_rate": 1e-3,
    "buffer_size": 300_000,
    "learning_starts": 2_000,
    "train_freq": 1,
    "gradient_steps": 8,
    "policy_kwargs": {"net_arch": [128, 128]},
}

DEFAULTS: dict[str, dict[str, Any]] = {
    "ppo": {
        **_ON_POLICY,
        "worlds": 64,
        "n_steps": 32,
        "batch_size": 512,
        "n_epochs": 10,
        "learning_rate": 1e-3,
        "final_learning_rate": 0.0,
    },
    "a2c": {**_ON_POLICY, "worlds": 64, "n_steps": 8, "learning_rate": 7e-4},
    "trpo": {**_ON_POLICY, "worlds": 64, "n_steps": 32, "batch_size": 512},
    "sac": {**_OFF_POLICY, "worlds": 32},
    "td3": {**_OFF_POLICY, "worlds": 32},
    "ddpg": {**_OFF_POLICY, "worlds": 32},
    "tqc": {**_OFF_POLICY, "worlds": 32},
    "crossq": {**_OFF_POLICY, "worlds": 32},
    "ars": {"worlds": 8},
}
"""Per algorithm: number of worlds, then arguments of its SB3 class. Few gradient steps on large batches from many
parallel worlds are fastest on two cores. `final_learning_rate` makes the rate fall linearly over the run.
`action_noise` of an off-policy algorithm is the standard deviation of Gaussian noise on its actions."""


def require_no_memory(name: str) -> None:
    """Raises UsageError for the algorithm whose policies cannot be saved."""
    if name.lower() == RECURRENT:
        raise UsageError(
            "RecurrentPPO trains a recurrent policy, which policy.json cannot store. Use ppo: the tasks report "
            "velocities, so a policy needs no memory"
        )


def load_algorithm_class(name: str) -> type:
    """Returns the SB3 or sb3-contrib class of an algorithm, or the user's own class of `module:Class`.

    Raises:
        UnknownName: no such algorithm.
        UsageError: its policies cannot be saved, or a module that cannot be imported.
        MissingExtra: it lives in sb3-contrib, which is not installed.
    """
    if is_own_algorithm(name):
        cls = load_own_class(name)
        for base in cls.__mro__:
            require_no_memory(base.__name__)
        return cls
    key = name.lower()
    require_no_memory(key)
    if key not in ALGORITHMS:
        raise UnknownName("algorithm", name, ALGORITHMS)
    contrib = "robo_reward.policies.ars" if key == "ars" else "sb3_contrib"
    module = "stable_baselines3" if ALGORITHMS[key] in SB3 else contrib
    try:
        return getattr(importlib.import_module(module), ALGORITHMS[key])
    except ModuleNotFoundError:
        raise MissingExtra("sb3_contrib", "", f"algorithm {name!r}") from None


def find_base_algorithm(name: str) -> str:
    """Returns the name of the built-in algorithm that an algorithm is, or that an own class is derived from.

    Empty for an own class that is derived from none of them.

    Raises:
        UnknownName: no such algorithm.
        UsageError: a module that cannot be imported.
    """
    if not is_own_algorithm(name):
        return name.lower()
    packages = ("stable_baselines3", "sb3_contrib", "robo_reward")
    for base in load_algorithm_class(name).__mro__:
        if base.__name__.lower() in ALGORITHMS and base.__module__.partition(".")[0] in packages:
            return base.__name__.lower()
    return ""


def _find_defaults(name: str, valid: set[str]) -> dict[str, Any]:
    """Returns the default settings of an algorithm; of an own class those of its base that it takes."""
    base = find_base_algorithm(name)
    defaults = DEFAULTS[base] if base else {"worlds": 32}
    return {key: value for key, value in defaults.items() if key in valid or not is_own_algorithm(name)}


def _find_parameters(cls: type) -> set[str]:
    """Returns the arguments of a class, including those that its constructor passes on to its bases as `**kwargs`."""
    found: set[str] = set()
    for base in cls.__mro__:
        parameters = inspect.signature(base.__init__).parameters
        found |= {p.name for p in parameters.values() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        if "__init__" in vars(base) and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            break
    return found


def merge_settings(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the defaults of an algorithm overridden by the user's settings; `policy_kwargs` are merged.

    Raises:
        UnknownName: no such algorithm, or a setting that its class does not take.
        UsageError: a value of the wrong type, or out of range.
    """
    cls = load_algorithm_class(name)
    reserved = {"self", "policy", "env", "seed", "device", "tensorboard_log", "verbose", "_init_setup_model"}
    valid = {*_find_parameters(cls), "worlds", "final_learning_rate"} - reserved
    defaults = _find_defaults(name, valid)
    merged = deepcopy({**defaults, **given})  # a copy: SB3 modifies policy_kwargs
    if given.get("policy_kwargs"):
        merged["policy_kwargs"] = {**defaults.get("policy_kwargs", {}), **given["policy_kwargs"]}
    for key in merged:
        if key not in valid:
            raise UnknownName(f"setting of {name}", key, valid)
    check_values(name, cls, {key: value for key, value in given.items() if key != "action_noise"})
    if find_base_algorithm(name) == "ars":
        merged.setdefault("n_eval_episodes", merged["worlds"])  # one episode per world for each candidate
    if merged.get("final_learning_rate") is not None and "learning_rate" not in merged:
        raise UsageError(f"final_learning_rate={merged['final_learning_rate']} of {name} needs a learning_rate too")
    return merged
