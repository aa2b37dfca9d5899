"""robo-reward: from what a person wants to a reward, a trained policy, and a Franka arm.

    import robo_reward as rr

Names are imported when they are first used, so that the import itself takes a fraction of a second.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

_MODULES = {
    "BatchSim": "envs.batch",
    "Episode": "data.episode",
    "EpisodeStore": "data.episode",
    "ProgramError": "language.problems",
    "RoboRewardError": "errors",
    "Run": "api",
    "RunStopped": "api",
    "UsageError": "errors",
    "align": "api",
    "check": "api",
    "collect_episodes": "data.collect",
    "compare": "api",
    "compile_program": "language.language",
    "discover": "api",
    "evaluate": "api",
    "export_episodes": "data.formats",
    "import_episodes": "data.formats",
    "load_policy": "policies.policy",
    "load_reward": "rewards.artifact",
    "make_task": "envs.task",
    "match": "api",
    "open_episodes": "data.formats",
    "record": "api",
    "save_reward": "rewards.artifact",
    "score": "api",
    "search": "api",
    "task_names": "envs.task",
    "train": "api",
}
_FORMER = {"ProgramRefused": "ProgramError"}
"""Deprecated name -> current name."""

__all__ = [
    "BatchSim",
    "Episode",
    "EpisodeStore",
    "ProgramError",
    "RoboRewardError",
    "Run",
    "RunStopped",
    "UsageError",
    "align",
    "check",
    "collect_episodes",
    "compare",
    "compile_program",
    "discover",
    "evaluate",
    "export_episodes",
    "import_episodes",
    "load_policy",
    "load_reward",
    "make_task",
    "match",
    "open_episodes",
    "record",
    "save_reward",
    "score",
    "search",
    "task_names",
    "train",
]

if TYPE_CHECKING:
    from robo_reward.api import (
        Run,
        RunStopped,
        align,
        check,
        compare,
        discover,
        evaluate,
        match,
        record,
        score,
        search,
        train,
    )
    from robo_reward.data.collect import collect_episodes
    from robo_reward.data.episode import Episode, EpisodeStore
    from robo_reward.data.formats import export_episodes, import_episodes, open_episodes
    from robo_reward.envs.batch import BatchSim
    from robo_reward.envs.task import make_task, task_names
    from robo_reward.errors import RoboRewardError, UsageError
    from robo_reward.language.language import compile_program
    from robo_reward.language.problems import ProgramError
    from robo_reward.policies.policy import load_policy
    from robo_reward.rewards.artifact import load_reward, save_reward


def __getattr__(name: str) -> Any:
    public = _FORMER.get(name, name)
    if public not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[public]}"), public)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})


def _register_with_gymnasium() -> None:
    importlib.import_module("robo_reward.envs.gym_registration").register_tasks()


class _GymnasiumImport:
    """Registers the tasks as soon as gymnasium has been imported, however late that is."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname != "gymnasium":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: Any) -> None:
                execute(module)
                if "robo_reward.envs" not in sys.modules:  # which registers them itself
                    _register_with_gymnasium()

            setattr(spec.loader, "exec_module", execute_and_register)  # noqa: B010  a method of this loader alone
        return spec


# `gymnasium.make("robo_reward:RoboReward/PandaLift-v0")` imports this package, and finds it imported at times.
if "gymnasium" in sys.modules:
    _register_with_gymnasium()
else:
    sys.meta_path.insert(0, _GymnasiumImport())
