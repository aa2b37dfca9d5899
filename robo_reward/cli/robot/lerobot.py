"""`robo-reward import-policy`: a LeRobot checkpoint as a policy folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from robo_reward.cli.terminal import Terminal
from robo_reward.data.output import require_absent
from robo_reward.envs.task import Task, make_task
from robo_reward.errors import UsageError
from robo_reward.policies.lerobot.checkpoint import is_hub_id
from robo_reward.policies.lerobot.policy import LeRobotPolicy, LeRobotSettings, open_lerobot_policy
from robo_reward.policies.lerobot.process import download_checkpoint, find_python


def run_import(config: DictConfig, arguments: list[str]) -> int:
    """Loads a checkpoint once, shows what its inputs are in the task, and writes the policy folder.

    Raises:
        UsageError: `out` exists, or the checkpoint does not fit the task.
    """
    out = Path(config.out)
    require_absent(out)
    policy = open_configured_policy(config, config.checkpoint)
    try:
        policy.save(out)
    finally:
        policy.close()
    Terminal().print(f"imported to {out}\nnext: robo-reward evaluate {out}", soft_wrap=True, highlight=False)
    return 0


def open_configured_policy(config: DictConfig, checkpoint: str) -> LeRobotPolicy:
    """Returns the LeRobot policy of a configuration with the keys of `LeRobotKeys`, in a process that is running.

    Args:
        config: the configuration.
        checkpoint: a folder, or the name of a policy on the Hugging Face hub.

    Raises:
        UsageError: a key is missing, or the checkpoint does not fit the task.
    """
    if not config.python:
        raise UsageError("a LeRobot policy needs python=VENV: the virtual environment that has lerobot")
    if not config.get("task"):
        raise UsageError(
            "a LeRobot policy needs task=NAME: the task whose state, cameras and actions it was trained on"
        )
    chosen: Any = OmegaConf.to_container(config.task, resolve=True)
    task = make_task(chosen["id"], **chosen.get("options", {}))
    python = find_python(config.python)
    if is_hub_id(checkpoint):
        folder = download_checkpoint(python, checkpoint)
    else:
        folder = Path(checkpoint).expanduser().absolute()
    settings = LeRobotSettings(str(folder), str(python), config.device, config.sampling_steps)
    cameras: Any = OmegaConf.to_container(config.cameras)
    policy = open_lerobot_policy(
        settings, task, tuple(config.state), tuple(config.environment), cameras or None, config.rate
    )
    _print_inputs(Terminal(), policy, task, bool(config.rate))
    return policy


def _print_inputs(console: Terminal, policy: LeRobotPolicy, task: Task, rate_given: bool) -> None:
    """Prints what each input and the actions of a policy are in the task."""
    checkpoint, mapping = policy.checkpoint, policy.mapping
    console.print(
        f"{policy.meta['algorithm']} policy of lerobot {policy.meta['lerobot']}: {policy.history} observations, "
        f"{policy.chunk} actions, {policy.execute} executed",
        highlight=False,
    )
    lines = [("observation.state", mapping.state), ("observation.environment_state", mapping.environment)]
    lines += [(f"observation.images.{name}", (f"camera {camera}",)) for name, camera in mapping.cameras.items()]
    for name, parts in [line for line in lines if line[1]]:
        console.print(f"  {name} <- {', '.join(parts)}", highlight=False, soft_wrap=True)
    console.print(f"  action -> {', '.join(task.action.names)} in [-1, 1]", highlight=False, soft_wrap=True)
    if not rate_given and checkpoint.find_training_data() is None:
        console.print(
            f"its data set is not here, so nothing says at which rate it acts: taken as {task.action.rate_hz:g} Hz, "
            f"that of {task.id}. Give rate= to have it checked",
            style="yellow",
        )
