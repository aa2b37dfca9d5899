"""The verbs of the command line as functions: the same settings, defaults and run folders.

    import robo_reward as rr

    run = rr.search("panda/push", goal="Push the cube to the left.", seed=1)
    policy = run.load_policy()

A setting is a key of the command line: `robo-reward VERB --help` lists them, and the classes and files in `configs/`
hold their defaults. Keys inside a group are nested dictionaries, or names with dots:
`settings={"policy.params.gamma": 0.95}`.
"""

from __future__ import annotations

import importlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robo_reward.configs.training import EvaluateConfig
from robo_reward.errors import RoboRewardError, UsageError

if TYPE_CHECKING:
    from robo_reward.data.episode import EpisodeStore
    from robo_reward.envs.task import Task
    from robo_reward.policies.evaluate import Evaluation
    from robo_reward.policies.policy import Policy

Settings = Mapping[str, Any] | None
CHOICES = (
    "task",
    "reward",
    "policy",
    "writer",
    "search",
    "encoder",
    "executor",
    "robot",
    "preferences",
    "demos",
    "run",
    "data",
    "a",
    "b",
)
"""Keys whose values are written without quotes, as on the command line: names of options and paths."""


class RunStopped(RoboRewardError):
    """A run ended before it was done; the same call goes on from there."""


@dataclass(frozen=True)
class Run:
    """A finished run.

    Args:
        folder: the run folder.
    """

    folder: Path

    @property
    def result(self) -> dict[str, Any]:
        """The content of `result.json`: what the run measured."""
        return json.loads((self.folder / "result.json").read_text(encoding="utf-8"))

    @property
    def report(self) -> Path:
        """The path of the report, one self-contained page, where the verb writes one."""
        return self.folder / "report.html"

    def load_policy(self) -> Any:
        """Returns the trained policy, of any kind that `load_policy` knows."""
        from robo_reward.policies.policy import load_policy

        return load_policy(self.folder)

    def load_reward(self, trusted: bool = False) -> Any:
        """Returns the reward that the run found, learnt or trained on.

        Args:
            trusted: load also a Python function, which runs with your rights, or a reward that asks a server.
        """
        from robo_reward.rewards.artifact import load_reward

        return load_reward(self.folder / "reward", trusted=trusted)


def search(task: str = "panda/lift", settings: Settings = None, **more: Any) -> Run:
    """Searches for a reward program for a goal sentence and trains a policy on it (`robo-reward search`).

    Args:
        task: a registered task.
        settings: keys of the verb, such as `{"writer.model": "MODEL"}`.
        more: further keys, such as `goal`, `writer`, `seed` and `run`.

    Raises:
        UsageError: a key or a value that does not fit.
        RunStopped: it was stopped.
    """
    return run_verb("search", {"task": task, **(settings or {}), **more})


def train(task: str = "panda/lift", reward: Any = "expert", settings: Settings = None, **more: Any) -> Run:
    """Trains a policy (`robo-reward train`).

    Args:
        task: a registered task.
        reward: `expert`, `sparse`, the path of a reward folder or program, the name of a Python function such as
            `my.py:reward`, a function, or a reward, such as a compiled program.
        settings: keys of the verb, such as `{"policy.params.learning_rate": 1e-3}`.
        more: further keys, such as `policy`, `steps`, `seed` and `run`.

    Raises:
        UsageError: a key or a value that does not fit.
        RunStopped: it was stopped.
    """
    return run_verb("train", _name_reward({"task": task, "reward": reward, **(settings or {}), **more}))


def score(data: Path | str, reward: Any = "expert", settings: Settings = None, **more: Any) -> dict[str, Any]:
    """Scores every episode of a data set with a reward (`robo-reward score`).

    Args:
        data: an episode store, a run, videos, or a LeRobot, robomimic or Minari data set.
        reward: as of `train`.
        settings: keys of the verb.
        more: further keys, such as `by`, `camera`, `bad_below` and `run`.

    Returns:
        The content of the run's `scores.json`: the episodes from worst to best, and how well success is ranked.

    Raises:
        UsageError: a key or a value that does not fit, or data without what the reward reads.
        RunStopped: it was stopped.
    """
    run = run_verb("score", _name_reward({"data": data, "reward": reward, **(settings or {}), **more}))
    return json.loads((run.folder / "scores.json").read_text(encoding="utf-8"))


def compare(a: Any, b: Any, settings: Settings = None, **more: Any) -> dict[str, Any]:
    """Compares two policies on the same initial states, or two rewards on the same episodes (`robo-reward compare`).

    Args:
        a: a run or policy, or several in a list; or a reward: a run, its folder, a program or a function.
        b: the same.
        settings: keys of the verb.
        more: further keys, such as `episodes`, `require` and, for rewards, `data`.

    Returns:
        What `--json` writes: for policies the difference with its interval, and with `require` whether it is `shown`.

    Raises:
        UsageError: a key or a value that does not fit.
    """
    given = {"a": _name_side(a), "b": _name_side(b), **(settings or {}), **more}
    return _read_figures("compare", given)


def _read_figures(verb: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Runs a verb and returns what it writes as JSON, whatever its verdict is."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(str(given.get("json") or Path(folder) / "result.json"))
        code, _ = _call_verb(verb, {**given, "json": path})
        if code and not path.is_file():
            raise RunStopped(f"{verb} ended with exit code {code}")
        return json.loads(path.read_text(encoding="utf-8"))


def _name_side(side: Any) -> str:
    """Returns a side of a comparison as the command line takes it."""
    if isinstance(side, (list, tuple)):
        return ",".join(_name_side(part) for part in side)
    if isinstance(side, Run):
        return str(side.folder)
    return str(_name_reward({"reward": side}).get("reward.function") or _name_reward({"reward": side})["reward"])


def _name_reward(given: dict[str, Any]) -> dict[str, Any]:
    """Returns settings in which a reward or a function of this process is a path or a name."""
    from robo_reward.rewards.contract import EpisodeReward, FunctionReward, StepReward
    from robo_reward.rewards.function.reference import PythonReward, hold_function

    reward = given["reward"]
    if isinstance(reward, (str, Path)):
        return given
    if isinstance(reward, Run):
        return {**given, "reward": reward.folder}
    if isinstance(reward, PythonReward):
        return {**given, "reward": "python", "reward.function": reward.name, "reward.framework": reward.framework}
    if isinstance(reward, FunctionReward):
        return {**_name_reward({**given, "reward": reward.function}), "reward.framework": reward.framework}
    if callable(reward) and not isinstance(reward, (StepReward, EpisodeReward)):
        return {**given, "reward": "python", "reward.function": hold_function(reward)}
    return {**given, "reward": _keep_reward(reward, Path(str(given.get("runs", "runs"))))}


def _keep_reward(reward: Any, runs: Path) -> Path:
    """Saves a reward beside the run folders, under its fingerprint: the same reward has the same path."""
    from robo_reward.rewards.artifact import save_reward
    from robo_reward.rewards.contract import EpisodeReward, StepReward, fingerprint_spec

    if not isinstance(reward, (StepReward, EpisodeReward)):
        remedy = "Give a compiled program, a loaded reward, the path of one, `expert` or `sparse`"
        raise UsageError(f"reward={reward!r:.80} cannot be saved as a reward. {remedy}")
    folder = runs / "rewards" / fingerprint_spec(reward.spec())
    if not (folder / "reward.json").is_file():
        save_reward(reward, folder)  # each file is replaced as a whole, so two processes may do this at once
    return folder


def evaluate(
    policy: Policy | Run | Path | str,
    task: Task | str | None = None,
    episodes: int = EvaluateConfig.episodes,
    seed: int = 0,
) -> Evaluation:
    """Measures the success of a policy on initial conditions apart from those of training (`robo-reward evaluate`).

    Args:
        policy: a policy, a run, or the folder of one.
        task: a task, or its name; the task and options of its training if not given.
        episodes: how many.
        seed: of the initial conditions.

    Raises:
        PolicyMismatch: the policy was trained for other observations or actions.
        UsageError: no task is given, and the policy does not name one.
    """
    from robo_reward.cli.training.evaluate import choose_task
    from robo_reward.envs.task import make_task
    from robo_reward.policies.evaluate import evaluate_policy
    from robo_reward.policies.policy import load_policy
    from robo_reward.seeds import EVALUATION_SEEDS

    folder = policy.folder if isinstance(policy, Run) else Path(policy) if isinstance(policy, (str, Path)) else None
    actor: Any = policy if folder is None else load_policy(folder)
    if hasattr(actor, "require_compatible"):
        if task is None or isinstance(task, str):  # with the task options of its training
            task = choose_task(actor, folder, {"id": task} if task else {})
        actor.require_compatible(task)
    elif isinstance(task, str):
        task = make_task(task)
    if task is None:
        raise UsageError("this policy does not record the task it was trained on; give task=NAME")
    return evaluate_policy(task, actor, episodes, EVALUATION_SEEDS + seed)


def record(task: str = "panda/lift", settings: Settings = None, **more: Any) -> EpisodeStore:
    """Records demonstrations by the scripted expert, a policy or a person; returns the store (`robo-reward record`).

    Args:
        task: a registered task.
        settings: keys of the verb.
        more: further keys, such as `source`, `n`, `seed` and `to`, the folder of the store.
    """
    from robo_reward.data.episode import EpisodeStore

    given = {"task": task, **(settings or {}), **more}
    given["to"] = given.get("to") or f"demos/{str(given['task']).replace('/', '-')}"
    run_verb("record", given)
    frames: Any = given.get("frames", "exact")
    return EpisodeStore(Path(given["to"]), frames=frames)


def align(preferences: Path | str, settings: Settings = None, **more: Any) -> Run:
    """Learns a reward that agrees with people's answers about clips (`robo-reward align`).

    Args:
        preferences: a folder with a store of answers, its URL, or a JSONL file.
        settings: keys of the verb.
        more: further keys, such as `method`, `seed` and `run`.
    """
    return run_verb("align", {"preferences": preferences, **(settings or {}), **more})


def discover(demos: Path | str, settings: Settings = None, **more: Any) -> Run:
    """Finds the steps of a task in demonstrations and learns a reward that knows them (`robo-reward discover`).

    Args:
        demos: a store of episodes, or a folder of videos.
        settings: keys of the verb.
        more: further keys, such as `steps`, `camera` and `run`.
    """
    return run_verb("discover", {"demos": demos, **(settings or {}), **more})


def match(demos: Path | str, settings: Settings = None, **more: Any) -> Run:
    """Makes a reward that compares episodes with demonstrations (`robo-reward match`).

    Args:
        demos: a store of episodes, a data set, or a folder of videos.
        settings: keys of the verb, and of the rule as `{"settings": {"epsilon": 0.05}}`.
        more: further keys, such as `rule`, `fields`, `camera` and `run`.
    """
    return run_verb("match", {"demos": demos, **(settings or {}), **more})


def check(run: Any, settings: Settings = None, **more: Any) -> dict[str, Any]:
    """Checks a reward: against people's answers, the truth where it is known, and mistakes (`robo-reward check`).

    Args:
        run: a run or reward folder; or a reward program or a function, with `task`.
        settings: keys of the verb.
        more: further keys, such as `task` and `preferences`.

    Returns:
        The figures; `failures`, where a program has any, are reasons that it cannot be trained on.
    """
    return _read_figures("check", {"run": _name_side(run), **(settings or {}), **more})


def run_verb(verb: str, settings: Mapping[str, Any]) -> Run:
    """Runs a verb of the command line in this process.

    Args:
        verb: its name.
        settings: its keys; a dictionary holds keys inside a group.

    Raises:
        UsageError: a key or a value that does not fit, before any work.
        RunStopped: it ended with another exit code than 0; what was done is kept.
    """
    code, config = _call_verb(verb, settings)
    if code:
        raise RunStopped(f"{verb} ended with exit code {code}. Its progress is saved; the same call resumes it")
    return Run(Path(config.get("runs", ".")) / str(config.get("run", "")))


def _call_verb(verb: str, settings: Mapping[str, Any]) -> tuple[int, Any]:
    """Runs a verb in this process and returns its exit code and its configuration."""
    from robo_reward.cli.app import compose_checked_config
    from robo_reward.cli.verbs import VERBS

    arguments = list(format_settings(settings))
    config = compose_checked_config(verb, arguments)
    module, _, function = VERBS[verb].entry.partition(":")
    return getattr(importlib.import_module(module), function)(config, [verb, *arguments]), config


def format_settings(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yields settings as arguments of the command line, `key=value`.

    Raises:
        UsageError: a value that the command line cannot take.
    """
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from format_settings(value, f"{name}.")
        elif isinstance(value, (str, Path)) and (key in CHOICES or not str(value)):
            yield f"{name}={value}"
        else:
            yield f"{name}={_format_value(name, value)}"


def _format_value(name: str, value: Any) -> str:
    """Returns a value in Hydra's grammar of overrides."""
    from robo_reward.cli.arguments.quoting import quote_text

    if isinstance(value, (str, Path)):
        return quote_text(str(value))
    if isinstance(value, (list, tuple)):
        return f"[{','.join(_format_value(name, item) for item in value)}]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}: {_format_value(name, item)}" for key, item in value.items()) + "}"
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:  # a number of numpy
        value = value.item()
    if value is None:
        return "null"
    if isinstance(value, (bool, int, float)):
        return str(value).lower() if isinstance(value, bool) else str(value)
    raise UsageError(f"{name}={value!r:.80}: expected a text, a number, true or false, or a list or dictionary of them")
