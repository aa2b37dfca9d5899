"""The algorithms that can train, and settings that work for them on a CPU."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from robo_reward.errors import MissingExtra, UnknownName, UsageError
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


def load_algorithm_class(name: str) -> type:
    """Returns the SB3 or sb3-contrib class of an algorithm.

    Raises:
        UnknownName: no such algorithm.
        UsageError: its policies cannot be saved.
        MissingExtra: it lives in sb3-contrib, which is not installed.
    """
    key = name.lower()
    if key == RECURRENT:
        raise UsageError(
            "RecurrentPPO trains a recurrent policy, which policy.json cannot store. Use ppo: the tasks report "
            "velocities, so a policy needs no memory"
        )
    if key not in ALGORITHMS:
        raise UnknownName("algorithm", name, ALGORITHMS)
    contrib = "robo_reward.policies.ars" if key == "ars" else "sb3_contrib"
    module = "stable_baselines3" if ALGORITHMS[key] in SB3 else contrib
    try:
        return getattr(importlib.import_module(module), ALGORITHMS[key])
    except ModuleNotFoundError:
        raise MissingExtra("sb3_contrib", "", f"algorithm {name!r}") from None


def merge_settings(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the defaults of an algorithm overridden by the user's settings; `policy_kwargs` are merged.

    Raises:
        UnknownName: no such algorithm, or a setting that its class does not take.
        UsageError: a value of the wrong type, or out of range.
    """
    cls = load_algorithm_class(name)
    merged = deepcopy({**DEFAULTS[name.lower()], **given})  # a copy: SB3 modifies policy_kwargs
    if given.get("policy_kwargs"):
        merged["policy_kwargs"] = {**DEFAULTS[name.lower()].get("policy_kwargs", {}), **given["policy_kwargs"]}
    reserved = {"self", "policy", "env", "seed", "device", "tensorboard_log", "verbose", "_init_setup_model"}
    valid = {*inspect.signature(cls.__init__).parameters, "worlds", "final_learning_rate"} - reserved
    for key in merged:
        if key not in valid:
            raise UnknownName(f"setting of {name}", key, valid)
    check_values(name, cls, {key: value for key, value in given.items() if key != "action_noise"})
    if name.lower() == "ars":
        merged.setdefault("n_eval_episodes", merged["worlds"])  # one episode per world for each candidate
    if merged.get("final_learning_rate") is not None and "learning_rate" not in merged:
        raise UsageError(f"final_learning_rate={merged['final_learning_rate']} of {name} needs a learning_rate too")
    return merged
