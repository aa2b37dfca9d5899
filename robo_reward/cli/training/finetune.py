"""`robo-reward finetune`: aligns a policy that acts in chunks with what people prefer, or with a reward."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from robo_reward.cli.film import FILM_SIZE, film_episodes, film_run
from robo_reward.cli.folder import RunFolder, open_run
from robo_reward.cli.interrupt import stop_on_signals
from robo_reward.cli.reward import examine_reward, load_chosen_reward, require_same_reward
from robo_reward.cli.rewards.align import read_preferences
from robo_reward.cli.terminal import Terminal
from robo_reward.cli.training.evaluate import choose_task
from robo_reward.envs.rendering.gl import NoRenderer
from robo_reward.envs.task import Task
from robo_reward.errors import UnknownName, UsageError
from robo_reward.files import load_json, write_json
from robo_reward.policies.alignment.behaviour import Behaviour, measure_behaviour
from robo_reward.policies.alignment.job import FinetuneJob, FinetuneOutcome, Preferences
from robo_reward.policies.alignment.methods import find_method
from robo_reward.policies.policy import load_policy
from robo_reward.report.runs import report_run
from robo_reward.rewards.artifact import save_reward
from robo_reward.rewards.contract import EpisodeReward, StepReward, fingerprint_spec
from robo_reward.seeds import FILM_SEEDS, VALIDATION_SEEDS

Reward = StepReward | EpisodeReward | None


def run(config: DictConfig, arguments: list[str]) -> int:
    """Fine-tunes in a run folder, or goes on where it was stopped; returns 130 if it was stopped again."""
    console, begun = Terminal(), time.monotonic()
    has_reward = bool(config.get("reward"))
    method = find_method(config.method, bool(config.preferences), has_reward)
    source = Path(config.policy)
    policy = load_policy(source)
    _require_chunks(policy, config.method)
    task = choose_task(policy, source, {})
    policy.require_compatible(task)
    if config.camera and config.camera not in task.cameras:
        raise UnknownName("camera", config.camera, task.cameras)
    preferences = _load_preferences(config)
    reward = load_chosen_reward(task, config.reward) if has_reward else None
    examine_reward(console, task, reward, config.seed)
    job = _make_job(console, config, task, policy, preferences, reward)
    method.check_job(job)  # before there is a run folder that holds the wrong settings
    with open_run(config, arguments, "finetune", f"{task.id.replace('/', '-')}-{config.method}") as folder:
        if reward is not None:
            require_same_reward(folder.path, fingerprint_spec(reward.spec()))
            save_reward(reward, folder.path / "reward")
        console.print(f"{task.id}: {config.method}: {method.summary}; {folder.path}", soft_wrap=True, highlight=False)
        with stop_on_signals() as stop:
            before = _measure_once(console, folder.path / "before.json", task, policy, config, "before")
            outcome = method.load()(replace(job, folder=folder.path, stop=stop))
        if outcome.policy is None:
            console.print(f"stopped at step {outcome.steps:,}; run the same command again to resume")
            return 130
        _finish(console, folder, task, config, outcome, before, time.monotonic() - begun)
    return 0


def _require_chunks(policy: Any, method: str) -> None:
    """Raises UsageError for a policy that is not drawn from noise."""
    if not hasattr(policy, "noise_shape"):
        raise UsageError(
            f"method={method} needs a diffusion or flow policy, this one is {type(policy).__name__}. Make one with "
            "`robo-reward clone data=DIR policy=diffusion task=TASK`"
        )


def _load_preferences(config: DictConfig) -> Preferences | None:
    if not config.preferences:
        return None
    answers, clips = read_preferences(config.preferences, config.annotator, config.clips)
    return Preferences(tuple(answers), {clip.id: clip for clip in clips})


def _make_job(
    console: Terminal,
    config: DictConfig,
    task: Task,
    policy: Any,
    preferences: Preferences | None,
    reward: Reward,
) -> FinetuneJob:
    """Returns the job, whose run folder and stop request are still to be given."""
    settings: Any = OmegaConf.to_container(config.settings)

    def print_numbers(step: int, numbers: Mapping[str, float]) -> None:
        shown = "  ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in numbers.items())
        console.print(f"{step:>8,}  {shown}", highlight=False, soft_wrap=True)

    return FinetuneJob(
        task=task,
        policy=policy,
        folder=Path(config.runs),
        preferences=preferences,
        reward=reward,
        data=config.data,
        steps=config.steps,
        seed=config.seed,
        threads=config.threads or None,
        settings=settings,
        report=print_numbers,
    )


def _measure_once(
    console: Terminal, path: Path, task: Task, policy: Any, config: DictConfig, when: str
) -> dict[str, Any]:
    """Returns the behaviour of a policy as JSON; measured once per run folder, and printed."""
    found = load_json(path, dict[str, Any], remedy="Delete it to measure again")
    if found is None:
        seed = VALIDATION_SEEDS + config.seed
        found = measure_behaviour(task, policy, config.episodes, seed, config.threads or None).to_json()
        write_json(path, found)
    console.print(f"{when}: {Behaviour.from_json(found)}", highlight=False, soft_wrap=True)
    return found


def _finish(
    console: Terminal,
    folder: RunFolder,
    task: Task,
    config: DictConfig,
    outcome: FinetuneOutcome,
    before: Mapping[str, Any],
    seconds: float,
) -> None:
    about = {"finetuned_by": config.method, "finetuned_from": str(config.policy)}
    policy = outcome.policy.with_meta(**about)
    policy.save(folder.path / "policy")
    after = _measure_once(console, folder.path / "after.json", task, policy, config, "after")
    result = {
        "verb": "finetune",
        "task": task.id,
        "method": config.method,
        "steps": outcome.steps,
        "seconds": round(seconds, 2),
        "before": {**before, **outcome.before},
        "after": {**after, **outcome.after},
        **outcome.details,
    }
    folder.save("result.json", result)
    for name in outcome.before.keys() & outcome.after.keys():
        line = f"{name.replace('_', ' ')}: {outcome.before[name]:.4g} before, {outcome.after[name]:.4g} after"
        console.print(line, highlight=False)
    _film_both(console, folder, task, config, policy)
    page = report_run(folder.path)
    console.print(f"policy: {folder.path / 'policy'}", soft_wrap=True, highlight=False)
    console.print(f"report: {page.resolve()}", soft_wrap=True, highlight=False)


def _film_both(console: Terminal, folder: RunFolder, task: Task, config: DictConfig, policy: Any) -> None:
    """Films the policy as it came and the aligned one from the same initial states."""
    film_run(console, folder, task, policy, config, FILM_SEEDS)
    try:
        films = []
        if config.videos:
            place = folder.path / "videos" / "before"
            before = load_policy(Path(config.policy))
            films = film_episodes(task, before, place, config.videos, config.camera, FILM_SEEDS, FILM_SIZE)
    except NoRenderer:
        films = []  # said above
    folder.save(
        "videos_before.json", [{"path": str(f.path.relative_to(folder.path)), "success": f.success} for f in films]
    )
