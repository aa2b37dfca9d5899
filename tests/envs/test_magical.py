"""X-MAGICAL re-made: rules at their boundaries, published layouts and rewards, the drive, scripted experts."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from robo_reward.data.collect import collect_episodes
from robo_reward.data.episode import Episode
from robo_reward.envs.batch import BatchSim
from robo_reward.envs.catalogue import MAGICAL_TASKS
from robo_reward.envs.magical.arena import ARENA, BLOCK, GOAL_Y
from robo_reward.envs.magical.avoid import Avoid
from robo_reward.envs.magical.base import MagicalTask
from robo_reward.envs.magical.sweep import LANES, Sweep
from robo_reward.envs.rendering.frames import FrameRenderer, FrameSpec
from robo_reward.envs.state import State, Transitions
from robo_reward.envs.task import make_task, task_names
from robo_reward.errors import UnknownName
from robo_reward.language.language import compile_program
from robo_reward.language.validation.probes import probe

NAMES = [f"magical/{name}" for names in MAGICAL_TASKS.values() for name in names]
EVERY = pytest.mark.parametrize("name", NAMES)
EXPECTED = {"magical/sweep-short": 0.75}
"""What the experts reach where it is not 95 %."""


@cache
def task_of(name: str) -> MagicalTask:
    task = make_task(name)
    assert isinstance(task, MagicalTask)
    return task


@cache
def episodes(name: str, policy: str) -> list[Episode]:
    task, rng = task_of(name), np.random.default_rng(0)
    actor = task.expert if policy == "expert" else lambda state: rng.uniform(-1, 1, (len(state), 2))
    return collect_episodes(task, actor, 40, seed=11)


def states(task: MagicalTask, values: dict[str, Any] | None = None, n: int = 1) -> State:
    """Start states (n, D) with some fields changed."""
    sim = BatchSim(task, n, seed=0)
    state = State(task.spec, sim.state.array.copy())
    sim.close()
    for name, value in (values or {}).items():
        state[name][:] = value
    return state


def test_the_ids_are_registered() -> None:
    assert set(NAMES) <= set(task_names())
    assert len(NAMES) == 8


@EVERY
def test_the_scripted_expert_succeeds(name: str) -> None:
    assert np.mean([e.is_successful for e in episodes(name, "expert")]) >= EXPECTED.get(name, 0.95)


@EVERY
def test_chance_fails(name: str) -> None:
    assert np.mean([e.is_successful for e in episodes(name, "random")]) < 0.05
    assert not any(task_of(name).success(e.states)[0] for e in episodes(name, "random"))


@EVERY
def test_the_rewards_are_sound_programs_that_pay_the_expert(name: str) -> None:
    task = task_of(name)
    for source in (task.expert_reward, task.truth_reward):
        program = compile_program(source, task.spec, task.action.dim)
        parts = [e.to_transitions().rows(slice(None, None, 5)) for p in ("expert", "random") for e in episodes(name, p)]
        arrays = (np.concatenate([getattr(part, key).array for part in parts]) for key in ("previous", "state"))
        previous, after = (State(task.spec, array) for array in arrays)
        action = np.concatenate([part.action for part in parts])
        assert not probe(program, Transitions(previous, action, after)).failures
        good, bad = (
            np.mean([program(e.to_transitions()).total.sum() for e in episodes(name, p)]) for p in ("expert", "random")
        )
        if name != "magical/group-short":  # there the script pushes one after the other, which nobody prefers
            assert good > bad + 5.0


@pytest.mark.parametrize(("y", "share"), [(GOAL_Y + BLOCK + 1e-6, 1.0), (GOAL_Y + BLOCK - 1e-6, 2 / 3)])
def test_debris_counts_once_it_is_wholly_inside(y: float, share: float) -> None:
    task = task_of("magical/sweep-long")
    assert isinstance(task, Sweep)
    inside = {f"debris{i}_position": (0.3 * i - 0.6, 0.95, 0) for i in (1, 2, 3)}
    state = states(task, {**inside, "debris2_position": (0, y, 0)})
    assert task.compute_score(state).item() == pytest.approx(share)
    assert task.success(state).item() is (share == 1.0)


def test_a_turned_square_reaches_farther() -> None:
    """By a factor of sqrt 2 at 45 degrees."""
    task = task_of("magical/sweep-long")
    inside = {f"debris{i}_position": (0.3 * i - 0.6, GOAL_Y + BLOCK * 1.41, 0) for i in (1, 2, 3)}
    assert task.success(states(task, inside)).item()
    assert not task.success(states(task, {**inside, "debris3_angle": np.pi / 4})).item()
    inside = {name: (x, GOAL_Y + BLOCK * 1.42, 0) for name, (x, _, _) in inside.items()}
    assert task.success(states(task, {**inside, "debris3_angle": np.pi / 4})).item()


@pytest.mark.parametrize(("apart", "succeeds"), [(0.22, True), (0.4999, True), (0.5001, False)])
def test_squares_are_together_within_half_a_metre(apart: float, succeeds: bool) -> None:
    task = task_of("magical/group-medium")
    state = states(task, {"pink_position": (-0.1, 0.95, 0), "yellow_position": (apart - 0.1, 0.95, 0)})
    assert task.success(state).item() is succeeds


@pytest.mark.parametrize(
    ("who", "y", "succeeds"), [("robot", 0.549, False), ("robot", 0.551, True), ("pink", 0.5, False)]
)
def test_neither_stick_nor_square_may_be_in_the_disc(who: str, y: float, succeeds: bool) -> None:
    task = task_of("magical/avoid-medium")
    at = {"pink_position": (0.0, 0.95, 0), "robot_position": (0, -0.6, 0), "disc_position": (0, 0.3, 0)}
    state = states(task, {**at, f"{who}_position": (0.0, y, 0)})
    assert task.success(state).item() is succeeds


def test_the_sweep_starts_in_the_published_layout() -> None:
    state = states(task_of("magical/sweep-short"), n=200)
    rows = np.stack([state[f"debris{i}_position"] for i in (1, 2, 3)], axis=1)
    assert (np.ptp(rows[..., 1], axis=1) == 0).all()
    assert -0.1 <= rows[..., 1].min() < -0.05
    assert 0.45 < rows[..., 1].max() <= 0.5
    assert set(np.unique(rows[..., 0].round(9))) == set(LANES.round(9))
    assert all(len(set(row)) == 3 for row in rows[..., 0])
    np.testing.assert_allclose(state.robot_position, np.tile((0, -0.6, 0), (200, 1)), atol=1e-9)


def test_the_truth_of_sweep_is_the_published_dense_reward() -> None:
    task = task_of("magical/sweep-medium")
    program = compile_program(task.truth_reward, task.spec, 2)
    episode = episodes("magical/sweep-medium", "expert")[0]
    y = task.get_block_positions(episode.states)[1:, :, 1]
    expected = [-np.mean([0.0 if v > 0.88 else abs(1.0 - v) for v in row]) for row in y]
    np.testing.assert_allclose(program(episode.to_transitions()).total, expected, atol=1e-12)


def test_the_drive_goes_along_the_heading_and_turns_counter_clockwise() -> None:
    task = task_of("magical/avoid-short")
    sim = BatchSim(task, 3, seed=0)
    action = np.array([[0.5, 0.0], [-0.5, 0.0], [0.0, 0.2]])
    for _ in range(3):
        sim.step(action)  # the stick weighs 1 kg: it takes a while to full speed
    before = sim.state
    after = sim.step(action).transitions.state
    moved = after.robot_position - before.robot_position
    np.testing.assert_allclose(moved[:2, 1], 0.125 * 0.8 * action[:2, 0], rtol=0.05)
    np.testing.assert_allclose(moved[:, 0], 0.0, atol=1e-6)
    x, y = np.stack([before.robot_heading[2], after.robot_heading[2]])[:, :2].T
    turned = np.diff(np.arctan2(y, x))
    np.testing.assert_allclose(turned, 0.125 * 2.5 * 0.2, rtol=0.05)


def test_everything_stays_in_the_arena_and_in_the_plane() -> None:
    for name in NAMES:
        for episode in episodes(name, "random"):
            for block in task_of(name).blocks:
                where = episode.states[f"{block}_position"]
                assert (np.abs(where[:, :2]) < ARENA).all()
                assert (where[:, 2] == 0).all()


def test_squares_stop_when_nobody_pushes() -> None:
    task = task_of("magical/sweep-long")
    sim = BatchSim(task, 4, seed=0)
    for _ in range(8):
        sim.step(np.tile((1.0, 0.0), (4, 1)))
    for _ in range(2):
        sim.step(np.tile((-1.0, 0.0), (4, 1)))
    before = task.get_block_positions(sim.state)
    sim.step(np.zeros((4, 2)))
    np.testing.assert_allclose(task.get_block_positions(sim.state), before, atol=1e-3)


@EVERY
def test_frames_show_arena_stick_and_squares(name: str) -> None:
    task = task_of(name)
    start = task.sample(np.random.default_rng(0), 2)
    with FrameRenderer(task, FrameSpec(("top",), 112)) as filmer:
        frame = filmer(start.qpos, start.mocap)[0].astype(int)
    zone = frame[4:10, 8:-8].reshape(-1, 3)
    assert (zone[:, 0] > zone[:, 1] + 30).all()  # pink all along the upper wall
    grey = (np.ptp(frame, axis=-1) < 25) & (frame.max(axis=-1) < 150)
    assert grey[60:].sum() == pytest.approx(2 * task.half_length * 0.1 * (112 / 2.24) ** 2, rel=0.35)


def test_an_unknown_stick_or_option_is_refused() -> None:
    with pytest.raises(UnknownName, match="medium"):
        Sweep("mdium")
    with pytest.raises(UnknownName, match="option of magical/sweep-long"):
        make_task("magical/sweep-long", control="joint_delta")


@pytest.mark.parametrize(("stick", "share"), [("short", 0.05), ("medium", 0.15)])
def test_the_expert_goes_round_the_disc(stick: str, share: float) -> None:
    task = task_of(f"magical/avoid-{stick}")
    assert isinstance(task, Avoid)
    went_in = [task.is_in_disc(e.states).any() for e in episodes(task.id, "expert")]
    assert np.mean(went_in) <= share
    assert np.mean([task.is_in_disc(e.states).any() for e in episodes(task.id, "random")]) > 0
