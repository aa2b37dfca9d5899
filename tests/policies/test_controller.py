"""Policies of chunks in simulated worlds: what they are shown, when they are asked, and what is executed."""

from typing import Any

import numpy as np
import pytest

from robo_reward.data.collect import collect_episodes
from robo_reward.envs.batch import BatchSim
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.rendering.render import Renderer
from robo_reward.envs.task import Observable, ObservationSpec, Task, make_task
from robo_reward.errors import UnknownName, UsageError, WrongShape
from robo_reward.policies.controller import PolicyController, observe_state
from robo_reward.policies.evaluate import run_episodes
from robo_reward.policies.rollout.chunk import ChunkSpec
from tests.policies.chunks import LinearChunks, linear_chunks


@pytest.fixture(scope="module")
def task() -> Task:
    task = make_task("panda/reach")
    task.horizon = 11
    return task


def by_hand(task: Task, policy: LinearChunks, seed: int, worlds: int, steps: int) -> np.ndarray:
    """Returns the states (steps + 1, N, D) that a plain loop over single worlds leads to, without early endings."""
    sim = BatchSim(task, worlds, seed, threads=1)
    noise = [np.random.default_rng([seed, world]) for world in range(worlds)]
    shown = [[row] * policy.history for row in sim.observation()]
    queues: list[list[np.ndarray]] = [[] for _ in range(worlds)]
    states = [sim.state.array.copy()]
    for step in range(steps):
        for world, queue in enumerate(queues):
            if step:
                shown[world] = [*shown[world][1:], sim.observation()[world]]
            if not queue:
                drawn = noise[world].standard_normal(policy.noise_shape, np.float32)
                rows = policy.act(np.stack(shown[world])[None], drawn[None])[0]
                queue.extend(rows[: policy.execute])
        sim.step(np.stack([queue.pop(0) for queue in queues]))
        states.append(sim.state.array.copy())
    return np.stack(states)


def test_it_does_what_a_loop_by_hand_does(task: Task) -> None:
    policy = linear_chunks(task)
    expected = by_hand(task, policy, 5, 3, task.horizon - 1)
    sim = BatchSim(task, 3, 5, threads=1)
    with PolicyController(policy, task, 3, 5) as controller:
        for state in expected[1:]:
            sim.step(controller.act(sim))
            np.testing.assert_allclose(sim.state.array, state, atol=1e-5)
    found = run_episodes(task, policy, 3, 5, threads=1)
    np.testing.assert_array_equal(found.starts, expected[0])
    last = np.stack(
        [e.state[-2] for e in collect_episodes(task, PolicyController(policy, task, 3, 5), 3, 5, threads=1)]
    )
    np.testing.assert_allclose(last, expected[-1], atol=1e-5)


def test_the_seed_decides_and_batches_do_not_repeat_the_noise(task: Task) -> None:
    policy = linear_chunks(task)
    outcomes = [run_episodes(task, policy, 4, seed, threads=1, worlds=2).held for seed in (5, 5)]
    np.testing.assert_array_equal(outcomes[0], outcomes[1])
    assert policy.seeds == [5, 5]
    # Two batches of two worlds: the observations of the first queries differ, as the starts and the noise do.
    assert len(policy.asked) == 2 * 2 * 4 and not np.allclose(policy.asked[0], policy.asked[4])


def test_worlds_that_end_early_begin_with_a_new_history_and_an_empty_queue() -> None:
    task = make_task("panda/reach", failure="hand_y < -0.15")
    task.horizon = 25
    policy = linear_chunks(task)
    sim = BatchSim(task, 4, 3, threads=1)
    controller = PolicyController(policy, task, 4, 3)
    restarted = 0
    for _ in range(40):
        first = np.flatnonzero(sim.elapsed == 0)
        before, now = len(policy.asked), sim.observation()
        actions = controller.act(sim)
        if len(first):
            (asked,) = policy.asked[before:]
            rows = [row for row in asked if (row[0] == row[1]).all()]
            assert {row[0].tobytes() for row in rows} >= {now[world].tobytes() for world in first}
            restarted += len(first) if sim.elapsed.any() else 0
        sim.step(actions)
    assert restarted > 0 and task.ends_early
    assert (np.diff([len(asked) for asked in policy.asked]) != 0).any()  # worlds are asked at different steps


def test_pictures_are_those_of_the_last_steps_and_only_these_are_rendered(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = linear_chunks(task, frames=FrameSpec(("front",), 16), execute=4)
    sim, places = BatchSim(task, 2, 0, threads=1), []
    rendered: list[int] = []
    original = Renderer.render_many

    def count(renderer: Renderer, qpos: np.ndarray, mocap: np.ndarray) -> np.ndarray:
        rendered.append(len(qpos))
        return original(renderer, qpos, mocap)

    monkeypatch.setattr(Renderer, "render_many", count)
    with PolicyController(policy, task, 2) as controller:
        for _ in range(9):
            places.append((sim.qpos.copy(), sim.mocap.copy()))
            sim.step(controller.act(sim))
    assert rendered == [2] * 5  # at steps 0, 3, 4, 7 and 8
    with Renderer(task.model, 16, 16, "front") as renderer:
        for asked, steps in zip(policy.asked, [(0, 0), (3, 4), (7, 8)], strict=True):
            for i, step in enumerate(steps):
                np.testing.assert_array_equal(asked["front"][:, i], original(renderer, *places[step]))


def test_a_policy_of_single_steps_is_called_as_ever(task: Task) -> None:
    class Plain:
        def act(self, observation: np.ndarray) -> np.ndarray:
            assert observation.shape == (2, task.observation.dim)
            return np.zeros((2, task.action.dim))

    sim, controller = BatchSim(task, 2, 0, threads=1), PolicyController(Plain(), task, 2)
    assert controller.chunk.is_single_step and controller.act(sim).shape == (2, task.action.dim)
    controller.reset()
    controller.close()


def test_what_does_not_fit_is_refused_before_any_step(task: Task) -> None:
    with pytest.raises(UnknownName, match="camera"):
        PolicyController(linear_chunks(task, frames=FrameSpec(("nowhere",), 16)), task, 1)
    wrongs: list[dict[str, Any]] = [{"execute": 7}, {"history": 0}, {"chunk": 10**9}]
    for wrong in wrongs:
        with pytest.raises(UsageError, match="expected 1 to"):
            ChunkSpec(**{"chunk": 6, **wrong})
    with pytest.raises(UsageError, match="32 MiB"):
        ChunkSpec(FrameSpec(("front",), 2048), history=4)
    policy = linear_chunks(task)
    policy.act = lambda observations, noise=None: np.zeros((len(observations), 2, 4))
    with pytest.raises(WrongShape, match="actions of the policy"):
        PolicyController(policy, task, 1).act(BatchSim(task, 1, 0, threads=1))


def test_a_policy_sees_its_own_fields_whatever_else_the_state_has(task: Task) -> None:
    sim = BatchSim(task, 2, 0, threads=1)
    names = ("hand_velocity", "hand_position")
    own = type(task.spec)([task.spec[name] for name in names])
    spec = ObservationSpec(own, [Observable("hand_position", 0.5), Observable("hand_velocity")])
    expected = np.concatenate([sim.state.hand_position / 0.5, sim.state.hand_velocity], axis=1)
    np.testing.assert_allclose(observe_state(spec, sim.state), expected.astype(np.float32))
    policy = linear_chunks(task)
    policy.observation = ObservationSpec(task.spec, [])
    policy.__post_init__()
    PolicyController(policy, task, 2).act(sim)
    assert policy.asked[0].shape == (2, 2, 0)
    lacking = type(task.spec)([type(task.spec.fields[0])("rope_length")])
    with pytest.raises(UnknownName, match="state field"):
        observe_state(ObservationSpec(lacking, [Observable("rope_length")]), sim.state)
