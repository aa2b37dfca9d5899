"""The reward of a verb's configuration: what `reward=...` names, and what there is to say about it before any work."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from robo_reward.cli.terminal import Terminal
from robo_reward.cli.verbs import is_function_reference
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.state import Transitions
from robo_reward.envs.task import Task
from robo_reward.errors import RoboRewardError, UsageError
from robo_reward.files import load_json, read_bytes, write_text
from robo_reward.language.language import ProgramError, RewardProgram, compile_program
from robo_reward.language.validation.probes import probe
from robo_reward.masking import mask_secrets
from robo_reward.reward_search.propose import sample_random_rollout
from robo_reward.rewards.artifact import load_reward
from robo_reward.rewards.contract import EpisodeReward, FunctionReward, InvalidReward, StepReward
from robo_reward.rewards.function.reference import PythonReward
from robo_reward.rewards.http.connection import ServerSettings
from robo_reward.rewards.http.reward import HttpReward
from robo_reward.scoring.fit import FittedReward, load_fitted_reward, read_program

SLOW = 20e-6  # [s] per transition: above this, a reward takes a good part of the training time
SINGLE, EXACT = 1e-5, 1e-9
"""Relative rounding of sums in single and in double precision."""
OWN_CODE = "runs with your rights and is not confined"


def load_chosen_reward(task: Task, config: DictConfig, goal: str = "") -> StepReward | EpisodeReward | None:
    """Returns the reward that `reward=...` names, or None for the sparse success.

    Args:
        task: whose state and action it reads.
        config: the part of the configuration about the reward.
        goal: the sentence for a reward model; empty: the task's own.

    Raises:
        UsageError: a path that holds no reward, or a function that cannot be loaded.
        ProgramError: a program that is not in the language, and cannot be rewritten into it.
    """
    own = _create_own_reward(config, task, goal=goal or task.goal)
    if own is not None:
        return own
    if config.kind == "sparse":
        return None
    if config.kind == "expert":
        return compile_program(task.expert_reward, task.spec, task.action.dim)
    path = Path(config.path)
    return compile_file(path, task) if path.suffix == ".py" else load_reward(path)


def load_reward_for_data(config: DictConfig, camera: str = "") -> FittedReward:
    """Returns the reward that `reward=...` names, to be fitted to episodes of any origin.

    Raises:
        UsageError: there is no reward.
        BadArtifact: a reward folder that cannot be read.
    """
    own = _create_own_reward(config, None, camera)
    if own is None:
        return load_fitted_reward(config.kind, config.get("path", ""), camera)
    return FittedReward(own, mask_secrets(config.url) if isinstance(own, HttpReward) else own.name, camera)


def load_named_reward(text: str, camera: str = "") -> FittedReward:
    """Returns the reward that a path or the name of a function means, to be fitted to episodes of any origin."""
    if is_function_reference(text):
        return FittedReward(PythonReward(text), text, camera)
    return load_fitted_reward("artifact", text, camera)


def compile_file(path: Path, task: Task) -> RewardProgram:
    """Returns the program in a file, rewritten into the reward language where it is in a published style.

    Raises:
        UsageError: there is no such file.
        ProgramError: every problem of the program, and how to run the file as it is.
    """
    source = read_program(path)
    try:
        return compile_program(source, task.spec, task.action.dim, normalise=True)
    except ProgramError as error:
        error.args = (f"{path}: {error}\n{describe_own_code(path)}",)
        raise


def load_initial_programs(console: Terminal, text: str, task: Task) -> list[RewardProgram]:
    """Returns the programs of `search.initial`, checked before any training.

    Args:
        console: shows what was rewritten in them.
        text: files, reward folders or runs, separated by commas.
        task: whose state and action they read.

    Raises:
        UsageError: a place without a program, or one that the probes refuse.
        ProgramError: a program that is not in the language, and cannot be rewritten into it.
    """
    found = []
    parts = [text] if text and Path(text).exists() else [part.strip() for part in text.split(",") if part.strip()]
    batch = sample_random_rollout(task) if parts else None
    for part in parts:
        path = Path(part)
        if is_function_reference(part):
            raise UsageError(
                f"search.initial={part}: candidates are trained in confined processes, which do not run your own code. "
                f"Give a file with a reward program; `robo-reward train reward={part}` trains on this function"
            )
        if path.suffix == ".py":
            program = compile_file(path, task)
        else:
            reward = load_reward(path)
            if not isinstance(reward, RewardProgram):
                kind = reward.spec()["kind"]
                raise UsageError(f"search.initial={part} holds a reward of the kind {kind!r}. Give a reward program")
            program = compile_program(reward.source, task.spec, task.action.dim)
        console.print(f"the search starts from {part}", highlight=False)
        print_changes(console, program.changes)
        assert batch is not None
        report = probe(program, batch)
        if not report.ok:
            raise UsageError(f"search.initial={part} cannot be trained on:\n" + "\n".join(report.failures))
        for warning in report.warnings:
            console.print(f"  warning: {warning}", style="yellow", soft_wrap=True, markup=False, highlight=False)
        found.append(program)
    return found


def keep_initial_programs(programs: list[RewardProgram], folder: Path) -> None:
    """Writes the programs that a search starts from into its folder, where it may have begun before.

    Raises:
        RoboRewardError: it began from other programs.
    """
    for number, program in enumerate(programs, start=1):
        path = folder / "initial" / f"{number}.py"
        stored = read_bytes(path)
        if stored is not None and stored.decode("utf-8", "replace") != program.source:
            raise RoboRewardError(
                f"{folder} began from another program, see {path}. Give another run=NAME, or restore the program"
            )
        path.parent.mkdir(exist_ok=True)
        write_text(path, program.source)


def describe_own_code(path: Path) -> str:
    """Returns the way to use a file as the Python that it is."""
    return f"To run the file as it is, as your own trusted Python: reward={path}:FUNCTION ({OWN_CODE})"


def _create_own_reward(
    config: DictConfig, task: Task | None, camera: str = "", goal: str = ""
) -> PythonReward | HttpReward | None:
    """Returns the reward of `reward=python` or `reward=http`; None for other kinds."""
    if config.kind == "python":
        reference = f"{config.file}:{config.function}" if config.file else config.function
        return PythonReward(reference, config.framework)
    if config.kind != "http":
        return None
    headers: Any = OmegaConf.to_container(config.headers)
    server = ServerSettings(config.url, config.timeout, config.retries, config.backoff, config.key_env, headers)
    server.build_headers()  # a variable that is not set is reported now
    cameras = tuple(config.cameras) or ((camera,) if camera else ("front",))
    if task is not None and not config.cameras and "front" not in task.cameras:
        cameras = tuple(task.cameras)[:1]
    return HttpReward(
        server,
        config.protocol,
        config.goal or goal,
        FrameSpec(cameras, config.size),
        config.max_frames,
        config.batch,
        config.output,
        config.frame_steps,
        Path(config.answers) if config.answers else None,
    )


def keep_answers(reward: Any, config: DictConfig, folder: Path) -> None:
    """Makes a reward behind a server keep its answers in the run folder, unless another file is chosen."""
    if isinstance(reward, HttpReward) and not config.answers:
        reward.keep_answers(folder / "answers.jsonl")


def examine_reward(
    console: Terminal, task: Task, reward: StepReward | EpisodeReward | None, seed: int = 0, where: str = ""
) -> None:
    """Prints what there is to know about a user's own reward, and raises before a training that cannot work.

    Args:
        console: shows it.
        task: on whose transitions the reward is tried.
        reward: any; only programs and functions are examined.
        seed: of the transitions.
        where: what to add about a program that was rewritten.

    Raises:
        RoboRewardError: the reward fails on transitions of a random policy, or returns values that are not finite.
    """
    if isinstance(reward, RewardProgram):
        print_changes(console, reward.changes, where)
    if not isinstance(reward, FunctionReward):
        return
    batch = sample_random_rollout(task, seed)
    form = reward.prepare_call(batch).form
    console.print(f"{reward.name} is your own code: it {OWN_CODE}", soft_wrap=True, highlight=False, markup=False)
    console.print(f"  called with {form}", soft_wrap=True, highlight=False)
    reward(batch)  # values that are not finite end the command here
    seconds = measure_seconds(reward, batch)
    if not form.is_batched or seconds > SLOW:
        console.print(
            f"  it takes {seconds * 1e6:.0f} µs per step, so {seconds * 1e5:.0f} s per 100,000 steps", highlight=False
        )
    for text in find_warnings(reward, batch):
        console.print(f"  warning: {text}", style="yellow", soft_wrap=True, markup=False, highlight=False)


def print_changes(console: Terminal, changes: Any, where: str = "") -> None:
    """Prints what was rewritten in a program of the user."""
    if changes:
        console.print(f"the program was rewritten for the reward language{where}:")
    for change in changes:
        console.print(f"  {change}", soft_wrap=True, highlight=False, markup=False)


def find_warnings(reward: StepReward, batch: Transitions) -> list[str]:
    """Returns what the probes object to; a person's own function is used all the same."""
    is_single = isinstance(reward, FunctionReward) and reward.prepare_call(batch).form.framework == "torch"
    try:
        report = probe(reward, batch, SINGLE if is_single else EXACT)
    except InvalidReward as error:
        return [f"on some of these transitions alone, or in another order, {error}"]
    random = [text for text in report.failures if "not deterministic" in text]  # what follows from it is not said
    return random or [*report.failures, *report.warnings]


def measure_seconds(reward: StepReward, batch: Transitions) -> float:
    """Returns the time that a reward takes for one transition [s], the best of three."""
    few = batch.rows(np.arange(min(len(batch.action), 128)))
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        reward(few)
        times.append(time.perf_counter() - begun)
    return min(times) / len(few.action)


def require_same_reward(folder: Path, fingerprint: str) -> None:
    """Raises if a run folder holds another reward than the one that it would go on with.

    Raises:
        RoboRewardError: the source or the settings of the reward have changed since the run began.
    """
    stored = load_json(folder / "reward" / "reward.json", dict[str, Any])
    was = str(stored.get("fingerprint"))[:16] if stored is not None else fingerprint
    if was != fingerprint:
        raise RoboRewardError(
            f"{folder} was begun with another reward: its fingerprint was {was}, now it is {fingerprint}. "
            "Give another run=NAME, or restore the reward"
        )
