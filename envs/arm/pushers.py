"""Scripted pushing behaviours of varying quality for `panda/group`, `panda/clutter` and similar tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robo_reward.envs.arm.tasks.clutter import Clutter
from robo_reward.envs.arm.tasks.group import HALF, LOW, Group, compute_push_target
from robo_reward.envs.arm.tools import BOARD
from robo_reward.envs.state import State
from robo_reward.errors import UnknownName

Actor = Callable[[State], np.ndarray]

HIGH = 0.11
"""Height of the board's centre at which it clears the cubes [m]."""


@dataclass(frozen=True)
class BehaviourDraws:
    """Random parameters of the worlds that show the same behaviour; each (N,), drawn once.

    Attributes:
        amount: in [0, 1], how much of the behaviour: how far, how slow, how late.
        side: -1 or 1.
        first: whether the behaviour uses the first of the wanted cubes, else the second.
        gain: factor of all actions, 0.7 to 1.
        shake: standard deviation of the noise on all actions.
        heading: direction of the random motion, (N, 3) in [-1, 1].
    """

    amount: np.ndarray
    side: np.ndarray
    first: np.ndarray
    gain: np.ndarray
    shake: np.ndarray
    heading: np.ndarray

    @classmethod
    def sample_worlds(cls, rng: np.random.Generator, n: int) -> BehaviourDraws:
        """Draws the parameters of n worlds."""
        return cls(
            amount=rng.random(n),
            side=rng.choice((-1.0, 1.0), n),
            first=rng.random(n) < 0.5,
            gain=rng.uniform(0.7, 1.0, n),
            shake=rng.uniform(0.0, 0.25, n),
            heading=rng.uniform(-1.0, 1.0, (n, 3)),
        )


Behaviour = Callable[[Group, State, int, BehaviourDraws], np.ndarray]
"""Maps task, states, step and random draws to the target positions of the board, (N, 3) [m]."""


def together(task: Group, state: State, step: int, draws: BehaviourDraws) -> np.ndarray:
    """Pushes both cubes to the middle of the strip."""
    return task.plan_push(state, _get_strip_line(state))


def short(task: Group, state: State, step: int, draws: BehaviourDraws) -> np.ndarray:
    """Pushes both cubes, but 3 to 15 cm short of the middle."""
    return task.plan_push(state, _get_strip_line(state) - 0.03 - 0.12 * draws.amount)


def overshoot(task: Group, state: State, step: int, draws: BehaviourDraws) -> np.ndarray:
    """Pushes both cubes, 4 to 15 cm too far."""
    return task.plan_push(state, _get_strip_line(state) + 0.04 + 0.11 * draws.amount)


def one(task: Group, state: State, step: int, draws: BehaviourDraws) -> np.ndarray:
    """Pushes one cube to the middle of the strip, with an end of the board; the other stays."""
    return _plan_single_push(task, state, draws, _get_strip_line(state))


def apart(task: Group, state: State, step: int, draws: BehaviourDraws) -> np.ndarray:
    """Pushes one cube through the strip and beyond; the other stays."""
    return _plan_single_push(task, state, draws, _get_strip_line(state) + 0.06 + 0.1 * draws.amount)


def one_after_the_other(task: Group, state: State, step: int, draws: BehaviourDraws) -> np.ndarray:
    """Pushes one cube in the first half of the episode, then both."""
    line = _get_strip_line(state)
    if step >= task.horizon // 2:
        return task.plan_push(state, line)
    return _plan_single_push(task, state, draws, line - 0.05 * draws.amount)


def back_and_forth(task: Group, state: State, step: int, draws: BehaviourDraws) -> np.ndarray:
    """Pushes for a while, goes back, pushes again."""
    go = task.plan_push(state, _get_strip_line(state) - 0.04 + 0.04 * draws.amount)
    back = state.hand_position - np.array([0.1, 0.0, 0.0])
    phase = np.mod(step / (8.0 + 8.0 * draws.amount), 2.0)  # a cycle is 2 long: push for 1.3, retreat for 0.7
    return np.where((phase > 1.3)[:, None], back, go)


def backwards(task: Group, state: State, step: int, draws: BehaviourDraws) -> np.ndarray:
    """Goes over the cubes, down on their far side, and drags them back towards the robot: away from the strip."""
    return _plan_drag(task, state, _get_strip_line(state) - 0.2 - 0.1 * draws.amount)


def there_and_back(task: Group, state: State, step: int, draws: BehaviourDraws) -> np.ndarray:
    """Pushes both cubes towards the strip for 8 to 24 steps, then backwards."""
    go = task.plan_push(state, _get_strip_line(state))
    return np.where((step < 8 + 16 * draws.amount)[:, None], go, backwards(task, state, step, draws))


def late(task: Group, state: State, step: int, draws: BehaviourDraws) -> np.ndarray:
    """Waits for 8 to 36 steps, then pushes both cubes."""
    waiting = step < 8 + 28 * draws.amount
    return np.where(waiting[:, None], state.hand_position, task.plan_push(state, _get_strip_line(state)))


def slow(task: Group, state: State, step: int, draws: BehaviourDraws) -> np.ndarray:
    """Pushes both cubes at 10 to 50 % of the speed."""
    target = task.plan_push(state, _get_strip_line(state))
    pace = task.action_scale * (0.1 + 0.4 * draws.amount)[:, None]
    return state.hand_position + np.clip(target - state.hand_position, -pace, pace)


def miss(task: Group, state: State, step: int, draws: BehaviourDraws) -> np.ndarray:
    """Misses the cubes: pushes beside them."""
    target = state.hand_position.copy()
    cubes = np.stack([state[f"{name}_position"][:, 1] for name in task.wanted])
    beside = np.where(draws.side > 0, cubes.max(axis=0), cubes.min(axis=0)) + draws.side * (0.15 + 0.04 * draws.amount)
    target[:, 1], target[:, 2] = beside, LOW
    there = np.abs(beside - state.hand_position[:, 1]) < 0.03
    target[:, 0] = np.where(there, _get_strip_line(state), target[:, 0])
    return target


def hover(task: Group, state: State, step: int, draws: BehaviourDraws) -> np.ndarray:
    """Goes to the strip above the cubes, without touching them."""
    target = task.plan_push(state, _get_strip_line(state))
    target[:, 2] = HIGH + 0.02 * draws.amount
    high = state.hand_position[:, 2] > HIGH - 0.015
    target[:, 0] = np.where(high, _get_strip_line(state), np.minimum(target[:, 0], state.hand_position[:, 0]))
    return target


def sweep_sideways(task: Group, state: State, step: int, draws: BehaviourDraws) -> np.ndarray:
    """Pushes the cubes along y with an end of the board."""
    cubes = np.stack([state[f"{name}_position"] for name in task.wanted], axis=1)  # (N, 2, 3)
    row = np.where(draws.first, cubes[:, 0, 0], cubes[:, 1, 0])
    edge = np.where(draws.side > 0, cubes[..., 1].max(axis=1), cubes[..., 1].min(axis=1))
    hand = state.hand_position
    # Phases: move beside the row of cubes at height HIGH, align with it, go down, then sweep along y.
    beside = draws.side * (hand[:, 1] - edge) > 0.10  # [m]
    in_row = np.abs(hand[:, 0] - row) < 0.015
    low = hand[:, 2] < LOW + 0.015
    sweeping = in_row & low
    y = np.where(sweeping, hand[:, 1] - 0.05 * draws.side, edge + 0.14 * draws.side)
    x = np.where(beside | sweeping, row, hand[:, 0])
    z = np.where((beside & in_row) | sweeping, LOW, HIGH)
    return np.stack([x, y, z], axis=1)


def noise(task: Group, state: State, step: int, draws: BehaviourDraws) -> np.ndarray:
    """Moves at random, with a bias that differs between worlds."""
    # Permutes the components of the heading every 9 steps and flips its sign every 15.
    turned = np.roll(draws.heading, step // 9 % 3, axis=1) * (-1.0) ** (step // 15)
    return state.hand_position + task.action_scale * (turned + draws.heading * (1.0, 1.0, 0.3))


def still(task: Group, state: State, step: int, draws: BehaviourDraws) -> np.ndarray:
    """Keeps the hand still."""
    return state.hand_position


def careless(task: Group, state: State, step: int, draws: BehaviourDraws) -> np.ndarray:
    """Pushes the wanted cubes to the middle with the board centred on them: the near red one often comes along."""
    return compute_push_target(state, task.wanted, _get_strip_line(state))


def with_red(task: Group, state: State, step: int, draws: BehaviourDraws) -> np.ndarray:
    """Pushes the wanted cubes and the near red one to the middle of the strip."""
    return compute_push_target(state, (*task.wanted, "red1"), _get_strip_line(state))


def only_red(task: Group, state: State, step: int, draws: BehaviourDraws) -> np.ndarray:
    """Pushes two neighbouring red cubes to the strip, up to 6 cm short of its middle; the wanted ones stay."""
    # Aim 5 cm away from the wanted cubes, so that the board does not touch them.
    away = np.where(state.red1_position[:, 1] > state.blue_position[:, 1], 0.05, -0.05)
    return compute_push_target(state, ("red1", "red2"), _get_strip_line(state) - 0.06 * draws.amount, away)


def rid_of_red(task: Group, state: State, step: int, draws: BehaviourDraws) -> np.ndarray:
    """Pushes first the wanted cubes to the middle carelessly, then everything out of the strip on the far side."""
    line = _get_strip_line(state) + np.where(step < 20 + 10 * draws.amount, 0.0, 0.12)
    return compute_push_target(state, (*task.wanted, "red1"), line)


BEHAVIOURS: dict[str, Behaviour] = {
    behaviour.__name__: behaviour
    for behaviour in (
        together,
        short,
        overshoot,
        one,
        apart,
        one_after_the_other,
        back_and_forth,
        backwards,
        there_and_back,
        late,
        slow,
        miss,
        hover,
        sweep_sideways,
        noise,
        still,
    )
}
"""Behaviours for every pushing task, roughly from best to worst."""

WITH_RED: dict[str, Behaviour] = {b.__name__: b for b in (careless, with_red, only_red, rid_of_red)}
"""Behaviours for tasks with red cubes."""


def behaviours(task: Group) -> dict[str, Behaviour]:
    """Returns the behaviours that suit a task, by name."""
    return {**BEHAVIOURS, **WITH_RED} if isinstance(task, Clutter) else BEHAVIOURS


def pusher(task: Group, behaviour: str, seed: int = 0) -> Actor:
    """Creates an actor for `robo_reward.data.collect.collect_episodes`.

    Each batch of episodes needs a new actor, since it counts steps.

    Args:
        task: a task of the pusher.
        behaviour: one of `behaviours(task)`.
        seed: of what differs between the worlds.

    Raises:
        UnknownName: no such behaviour.
    """
    known = behaviours(task)
    if behaviour not in known:
        raise UnknownName("behaviour", behaviour, known)
    return _ScriptedPusher(task, known[behaviour], seed)


class _ScriptedPusher:
    """Counts steps, draws the random parameters once, and adds noise to the actions of a behaviour."""

    def __init__(self, task: Group, behaviour: Behaviour, seed: int) -> None:
        self.task, self.behaviour = task, behaviour
        self.rng = np.random.default_rng(seed)
        self.draws: BehaviourDraws | None = None
        self.step = 0

    def __call__(self, state: State) -> np.ndarray:
        """Actions (N, 3) for states (N, D)."""
        if self.draws is None:
            self.draws = BehaviourDraws.sample_worlds(self.rng, len(state))
        draws, target = self.draws, self.behaviour(self.task, state, self.step, self.draws)
        self.step += 1
        shaken = draws.shake[:, None] * self.rng.standard_normal(target.shape)
        return np.clip(draws.gain[:, None] * self.task.compute_action_toward(state, target) + shaken, -1.0, 1.0)


def _get_strip_line(state: State) -> np.ndarray:
    """Returns x of the strip's middle line, (N,) [m]."""
    return state.strip_position[:, 0]


def _plan_drag(task: Group, state: State, line: np.ndarray) -> np.ndarray:
    """Plans the board's position to get beyond the wanted cubes and drag them back to x = `line` (N,) [m]."""
    cubes = np.stack([state[f"{name}_position"] for name in task.wanted], axis=-2)
    hand, middle = state.hand_position, cubes[..., 1].mean(axis=-1)
    far = cubes[..., 0].max(axis=-1) + HALF + BOARD[0] + 0.02
    beyond, high, low = hand[:, 0] > far - 0.01, hand[:, 2] > HIGH - 0.015, hand[:, 2] < LOW + 0.015
    drawing = low & (hand[:, 0] > cubes[..., 0].mean(axis=-1))
    x = np.where(drawing, line + HALF + BOARD[0], np.where(high | beyond, far, np.minimum(far, hand[:, 0])))
    z = np.where(drawing | beyond, LOW, HIGH)
    return np.stack([x, middle, z], axis=1)


def _plan_single_push(task: Group, state: State, draws: BehaviourDraws, line: np.ndarray) -> np.ndarray:
    """Plans the board's position to push one cube with an end and to leave the other."""
    first, second = task.wanted
    mine = np.where(draws.first[:, None], state[f"{first}_position"], state[f"{second}_position"])
    other = np.where(draws.first[:, None], state[f"{second}_position"], state[f"{first}_position"])
    away = np.where(mine[:, 1] > other[:, 1], 1.0, -1.0) * 0.09
    plans = [compute_push_target(state, (name,), line, away) for name in task.wanted]
    return np.where(draws.first[:, None], *plans)
