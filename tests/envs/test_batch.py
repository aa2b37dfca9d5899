"""BatchSim against single worlds stepped with `mj_step`, against itself, and through the public checkers."""

from __future__ import annotations

import gymnasium as gym
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from robo_reward.envs.batch import BatchSim
from robo_reward.envs.gym import TaskEnv, TaskVectorEnv
from robo_reward.envs.task import Task, make_task
from robo_reward.envs.vec import SB3VecEnv
from robo_reward.errors import UsageError, WrongShape
from robo_reward.rewards.contract import FunctionReward


@pytest.fixture(scope="module")
def lift() -> Task:
    return make_task("panda/lift")


def actions(task: Task, steps: int, n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (steps, n, task.action.dim))


def single_world(task: Task, sim: BatchSim, world: int, moves: np.ndarray) -> np.ndarray:
    """The states (T, D) of one world, from the simulator's start, by `mj_step` alone."""
    model, data = task.model, mujoco.MjData(task.model)
    data.qpos[:] = sim.qpos[world]
    ctrl = task.controller.start(sim.qpos[world : world + 1])
    nmocap = model.nmocap
    data.mocap_pos[:] = sim.mocap[world, : 3 * nmocap].reshape(-1, 3)
    data.mocap_quat[:] = sim.mocap[world, 3 * nmocap :].reshape(-1, 4)
    states = []
    for move in moves:
        ctrl = task.controller.advance(ctrl, data.qpos[None], move[None])
        data.ctrl[:] = ctrl[0]
        data.qacc_warmstart[:] = 0
        for _ in range(task.substeps):
            mujoco.mj_step(model, data)
        states.append(data.sensordata.copy())
    return np.stack(states)


BATCHED = (
    "panda/reach panda/lift panda/push panda/drawer panda/door fr3/stack panda/clutter ur5e/group magical/sweep-long"
)


@pytest.mark.parametrize("name", BATCHED.split())
def test_a_batch_equals_single_worlds(name: str) -> None:
    task = make_task(name)
    moves = actions(task, 15, 5)
    sim = BatchSim(task, 5, seed=7)
    expected = [single_world(task, sim, world, moves[:, world]) for world in range(5)]
    got = np.stack([sim.step(move).transitions.state.array for move in moves], axis=1)
    # BLAS orders the sums of a batched solve by batch size, so controllers may differ in the last bit.
    np.testing.assert_allclose(got, np.stack(expected), rtol=1e-7, atol=1e-9)


def test_a_simulator_of_one_is_bitwise_mj_step(lift: Task) -> None:
    moves = actions(lift, 30, 1)
    sim = BatchSim(lift, 1, seed=3)
    expected = single_world(lift, sim, 0, moves[:, 0])
    got = np.stack([sim.step(move).transitions.state.array[0] for move in moves])
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_same_seed_same_bits_whatever_the_threads(lift: Task, threads: int) -> None:
    moves = actions(lift, 70, 6)
    first, second = BatchSim(lift, 6, seed=5, threads=2), BatchSim(lift, 6, seed=5, threads=threads)
    for move in moves:
        a, b = first.step(move), second.step(move)
        np.testing.assert_array_equal(a.transitions.state.array, b.transitions.state.array)
    np.testing.assert_array_equal(first.state.array, second.state.array)
    assert not np.array_equal(first.state.array, BatchSim(lift, 6, seed=6).state.array)


def test_episodes_end_at_the_horizon_and_start_afresh(lift: Task) -> None:
    sim = BatchSim(lift, 3, seed=0)
    first = sim.state.array.copy()
    for step in range(lift.horizon):
        result = sim.step(np.zeros((3, 4)))
        assert result.truncated.all() == (step + 1 == lift.horizon)
    assert (sim.elapsed == 0).all()
    assert not np.array_equal(sim.state.array, first)
    np.testing.assert_array_equal(sim.state.hand_velocity, 0)
    assert not np.array_equal(result.transitions.state.array, sim.state.array)


def test_a_snapshot_goes_on_bit_for_bit(lift: Task) -> None:
    moves = actions(lift, 90, 4)
    sim = BatchSim(lift, 4, seed=1)
    for move in moves[:40]:
        sim.step(move)
    snapshot = sim.snapshot()
    expected = [sim.step(move).transitions.state.array for move in moves[40:]]
    other = BatchSim(lift, 4, seed=99)
    other.restore(snapshot)
    got = [other.step(move).transitions.state.array for move in moves[40:]]
    np.testing.assert_array_equal(got, expected)


def test_the_state_lags_one_physics_step(lift: Task) -> None:
    """What a world shows is what MuJoCo's sensors said when its last physics step began."""
    sim = BatchSim(lift, 1, seed=2)
    move = np.full((1, 4), 0.5)
    data = mujoco.MjData(lift.model)
    data.qpos[:] = sim.qpos[0]
    data.ctrl[:] = lift.controller.advance(lift.controller.start(sim.qpos), sim.qpos, move)[0]
    for _ in range(lift.substeps - 1):
        mujoco.mj_step(lift.model, data)
    mujoco.mj_forward(lift.model, data)
    np.testing.assert_allclose(sim.step(move).transitions.state.array[0], data.sensordata, atol=1e-6)


def test_the_hand_goes_where_it_is_sent(lift: Task) -> None:
    sim = BatchSim(lift, 1, seed=2)
    before = sim.state.hand_position[0].copy()
    for _ in range(5):
        sim.step(np.array([[0.5, -0.5, 0.25, 1.0]]))
    for _ in range(8):
        sim.step(np.array([[0.0, 0.0, 0.0, 1.0]]))
    moved = sim.state.hand_position[0] - before
    np.testing.assert_allclose(moved, 5 * 0.02 * np.array([0.5, -0.5, 0.25]), atol=4e-3)


def test_actions_are_clipped_and_checked(lift: Task) -> None:
    a, b = BatchSim(lift, 2, seed=0), BatchSim(lift, 2, seed=0)
    np.testing.assert_array_equal(
        a.step(np.full((2, 4), 7.0)).transitions.state.array, b.step(np.ones((2, 4))).transitions.state.array
    )
    with pytest.raises(WrongShape, match=r"\(2, 4\)"):
        a.step(np.zeros((2, 3)))
    with pytest.raises(UsageError, match="at least 1"):
        BatchSim(lift, 0)


def height(state, action, previous):
    return state.cube_position[:, 2], {"height": state.cube_position[:, 2]}


def test_reward_and_terms_reach_the_vec_env(lift: Task) -> None:
    env = SB3VecEnv(BatchSim(lift, 3, seed=0, reward=FunctionReward(height)))
    env.reset()
    observation, reward, done, infos = env.step(np.zeros((3, 4)))
    for _ in range(lift.horizon - 1):
        observation, reward, done, infos = env.step(np.zeros((3, 4)))
    assert done.all()
    assert isinstance(observation, np.ndarray)
    assert observation.shape == (3, lift.observation.dim)
    np.testing.assert_allclose(reward, 0.02, atol=2e-3)
    assert infos[0]["TimeLimit.truncated"]
    assert infos[0]["episode"]["r"] == pytest.approx(infos[0]["terms"]["height"])
    assert infos[0]["terminal_observation"].shape == (lift.observation.dim,)
    assert infos[0]["is_success"] is False


@pytest.mark.parametrize(
    "name", ["PandaLift", "Ur5eGroup", "MagicalSweepMedium", "MagicalGroupLong", "MagicalAvoidShort"]
)
def test_public_checkers_pass(name: str) -> None:
    env = gym.make(f"RoboReward/{name}-v0", reward="expert")
    check_env(env.unwrapped, skip_render_check=True)
    sb3_check_env(env.unwrapped)


def test_make_vec_uses_the_batch() -> None:
    env = gym.make_vec("RoboReward/PandaPush-v0", num_envs=4, vectorization_mode="vector_entry_point")
    assert isinstance(env.unwrapped, TaskVectorEnv)
    observation, _ = env.reset(seed=3)
    assert env.observation_space.contains(observation)
    ended = []
    for _ in range(env.unwrapped.task.horizon):
        _, reward, _, truncated, infos = env.step(env.action_space.sample())
        ended.append(truncated.all())
        assert reward.shape == (4,)
    assert ended[-1]
    assert not any(ended[:-1])
    assert infos["final_obs"][0].shape == env.single_observation_space.shape


def test_one_environment_equals_the_batch(lift: Task) -> None:
    env, sim = TaskEnv(lift, reward="sparse"), BatchSim(lift, 1, seed=11)
    env.reset(seed=11)
    for move in actions(lift, 20, 1):
        observation, _, _, _, info = env.step(move[0])
        sim.step(move)
        np.testing.assert_array_equal(observation, sim.observation()[0])
    np.testing.assert_array_equal(info["state"]["cube_position"], sim.state.cube_position[0])
