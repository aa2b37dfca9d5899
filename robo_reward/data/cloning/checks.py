"""Checks of demonstrations against a task: rate, action convention, fields, cameras and columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robo_reward.data.episode import Episode
from robo_reward.data.summary import RATE_TOLERANCE, get_cameras, get_rate, split_cameras
from robo_reward.envs.state import StateSpec
from robo_reward.envs.task import Task
from robo_reward.errors import UsageError

ROUNDING = 1e-6
"""Largest excess over 1 of an action's component that counts as rounding."""
MOST_AHEAD = 4.0
"""Largest ratio of the hand's real path to the path that the actions ask for: an arm lags, and does not lead."""
SHORTEST_PATH = 0.02
"""Shortest path of the hand [m] whose ratio says something."""


class BadDemonstration(UsageError):
    """An episode that a policy cannot be cloned from.

    Args:
        name: the episode and its file.
        problem: what is wrong, and what was expected.
        remedy: what the user can do.
    """

    def __init__(self, name: str, problem: str, remedy: str = "Record it again, or leave this episode out") -> None:
        self.name, self.problem = name, problem
        super().__init__(f"{name}: {problem.rstrip('.')}. {remedy}")


def check_episode(
    episode: Episode, task: Task, name: str, horizon: int = 1, cameras: Sequence[str] = (), state: bool = True
) -> list[str]:
    """Checks one episode against a task; returns what is unusual about it.

    Args:
        episode: with frames where there are cameras.
        task: that it must be an episode of.
        name: the episode and its file, for messages.
        horizon: steps that it must have at least.
        cameras: that its frames must show.
        state: whether its state must have the fields of the task.

    Raises:
        BadDemonstration: it does not fit.
    """
    warnings = _check_task(episode, task, name)
    if state:
        _check_fields(episode, task, name)
    warnings += _check_rate(episode, task, name)
    _check_actions(episode, task, name)
    check_action_sizes(episode, task, name)
    if len(episode) < horizon:
        raise BadDemonstration(name, f"it has {len(episode)} steps, expected at least the horizon of {horizon}")
    _check_cameras(episode, cameras, name)
    return warnings


def has_task_fields(episode: Episode, task: Task) -> bool:
    """Returns whether an episode's state has the fields of a task, in its order."""
    return _list_fields(episode.spec) == _list_fields(task.spec)


def check_action_sizes(episode: Episode, task: Task, name: str) -> None:
    """Checks that the hand does not move much farther than the executed actions ask for, which tells another scale.

    Args:
        episode: whose `action` is the executed one, with its noise.
        task: whose scale the actions should have.
        name: the episode and its file, for the message.

    Raises:
        BadDemonstration: it does.
    """
    spec = task.action
    if not spec.kind.startswith("ee_delta") or "hand_position" not in task.spec or not has_task_fields(episode, task):
        return
    hand = episode.states.hand_position  # (T + 1, 3) [m]
    real = float(np.abs(np.diff(hand, axis=0)).sum())
    asked = float(np.abs(episode.action[:, :3] * np.array(spec.scale[:3])).sum())
    ratio = real / max(asked, 1e-9)
    if ratio > MOST_AHEAD and real > SHORTEST_PATH:
        raise BadDemonstration(
            name,
            f"its hand moves {real:.3g} m, {ratio:.3g} times as far as its actions ask for, expected about as far. The "
            f"actions have another scale: in task {task.id} 1.0 means {spec.scale[0]:g} {spec.units[0]}",
            "Divide the actions by that scale and import them again",
        )


def find_constant_columns(episodes: Sequence[Episode], task: Task) -> list[str]:
    """Returns a sentence that names the numbers of state and action that never change, if there are any."""
    spec = episodes[0].spec
    if any(episode.spec != spec for episode in episodes):
        return []
    columns = [f"{f.name}[{i}]" if f.shape else f.name for f in spec for i in range(f.size)]
    found = []
    for kind, names, arrays in (
        ("state", columns, [episode.state for episode in episodes]),
        ("action", list(task.action.names), [episode.action for episode in episodes]),
    ):
        low = np.min([array.min(axis=0) for array in arrays], axis=0)
        high = np.max([array.max(axis=0) for array in arrays], axis=0)
        constant = [name for name, is_same in zip(names, low == high, strict=True) if is_same]
        if constant:
            found.append(f"the {kind} is constant in {', '.join(constant)}; the normaliser of a policy maps it to 0")
    return found


def _list_fields(spec: StateSpec) -> list[tuple[str, tuple[int, ...]]]:
    return [(f.name, tuple(f.shape)) for f in spec]


def _check_task(episode: Episode, task: Task, name: str) -> list[str]:
    """Returns a warning for another robot; raises for another task."""
    if not episode.task_id or episode.task_id == task.id:
        return []
    theirs, own = (text.rpartition("/") for text in (episode.task_id, task.id))
    if theirs[2] != own[2]:
        raise BadDemonstration(
            name,
            f"it is an episode of task {episode.task_id}, expected {task.id}",
            f"Give task={episode.task_id}, or other demonstrations",
        )
    return [f"the task is {episode.task_id} instead of {task.id}"]


def _check_fields(episode: Episode, task: Task, name: str) -> None:
    theirs, own = dict(_list_fields(episode.spec)), dict(_list_fields(task.spec))
    if list(theirs.items()) == list(own.items()):
        return
    missing = [field for field in own if field not in theirs]
    strange = [field for field in theirs if field not in own]
    shapes = [f"{f} {theirs[f]} instead of {own[f]}" for f in own if f in theirs and theirs[f] != own[f]]
    parts = [
        f"{what} {', '.join(some[:8])}{' ...' if len(some) > 8 else ''}"
        for what, some in (("without", missing), ("with", strange), ("of another shape:", shapes))
        if some
    ]
    problem = f"its state is {' and '.join(parts)}" if parts else "its state has the fields in another order"
    raise BadDemonstration(
        name,
        f"{problem}, expected the {len(own)} fields of task {task.id}",
        "Give demonstrations of this task, or let the policy look at cameras alone (observation=[CAMERA])",
    )


def _check_rate(episode: Episode, task: Task, name: str) -> list[str]:
    if "fps" not in episode.meta:
        return [f"the rate is not given, so that of the task, {1 / task.control_dt:g} Hz, is assumed"]
    try:
        rate = get_rate(episode)
    except UsageError as error:
        raise BadDemonstration(name, str(error)) from error
    if abs(rate * task.control_dt - 1) > RATE_TOLERANCE:
        raise BadDemonstration(
            name,
            f"it has {rate:g} steps per second, expected the control rate of task {task.id}, {1 / task.control_dt:g}",
            "Record at that rate, or leave this episode out",
        )
    return []


def _check_actions(episode: Episode, task: Task, name: str) -> None:
    spec = task.action
    theirs = episode.meta.get("action")
    own = {"kind": spec.kind, "scale": list(spec.scale)}
    if isinstance(theirs, dict) and {key: theirs.get(key) for key in own} != own:
        raise BadDemonstration(
            name,
            f"its actions are {theirs.get('kind')} of scale {theirs.get('scale')}, expected {spec.kind} of scale "
            f"{list(spec.scale)} as in task {task.id}",
            "Give the options of the task that they were recorded with, such as task.control=",
        )
    for what, action in (("action", episode.action), ("clean action", episode.clean_action)):
        if action is None:
            continue
        if action.shape[1] != spec.dim:
            raise BadDemonstration(
                name,
                f"its {what} has {action.shape[1]} components, expected {spec.dim} ({', '.join(spec.names)}) as in "
                f"task {task.id}",
            )
        size = np.abs(action)
        if size.max() > 1 + ROUNDING:
            step, column = np.unravel_index(int(size.argmax()), size.shape)
            raise BadDemonstration(
                name,
                f"its {what} has {spec.names[column]} = {action[step, column]:g} at step {step}, expected components "
                "in [-1, 1]",
                f"Divide the actions by the scale that 1.0 stands for, {spec.scale[column]:g} {spec.units[column]}",
            )


def _check_cameras(episode: Episode, cameras: Sequence[str], name: str) -> None:
    if not cameras:
        return
    if episode.frames is None:
        raise BadDemonstration(
            name,
            f"it has no pictures, expected those of {', '.join(cameras)}",
            f"Record with cameras=[{','.join(cameras)}]",
        )
    known = get_cameras(episode)
    if episode.frames.shape[2] % len(known):
        raise BadDemonstration(
            name,
            f"its frames are {episode.frames.shape[2]} pixels wide, which {len(known)} cameras side by side "
            f"({', '.join(known)}) cannot share evenly",
        )
    parts = split_cameras(episode)
    for camera in cameras:
        if camera not in parts:
            raise BadDemonstration(
                name,
                f"it has no pictures of camera {camera}, only of {', '.join(parts)}",
                f"Record with cameras=[{','.join(cameras)}], or leave this episode out",
            )
