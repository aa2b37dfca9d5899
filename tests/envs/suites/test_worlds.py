"""Environments stepped by their own code: they equal a plain gymnasium loop, continue exactly, and end cleanly."""

import logging
import os
import signal
import subprocess
import sys
import time
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from robo_reward.envs.rendering.gl import NoRenderer
from robo_reward.envs.rendering.render import Renderer
from robo_reward.envs.start_ranges import measure_start_ranges, sample_start_states
from robo_reward.envs.suites.reader import EnvironmentFailed
from robo_reward.envs.task import make_task
from robo_reward.envs.vec import SB3VecEnv
from robo_reward.errors import UsageError
from robo_reward.language.language import compile_program
from robo_reward.testing.worlds import WorldsContract
from tests.house.source import ROOT

CART = "gymnasium/tests.envs.suites.own_environment:Cart{}-v0"
HOPPER = make_task("gymnasium/Hopper-v5")


def step_often(worlds, steps, push=0.0):
    for _ in range(steps):
        worlds.step(np.full((worlds.n, worlds.task.action.dim), push))


class TestHopperWorlds(WorldsContract):
    """Episodes end by falling."""

    def make_worlds(self, n, seed, threads):
        return HOPPER.make_worlds(n, seed, threads=threads)


class TestCartWorlds(WorldsContract):
    """The environment's code moves bodies of its model, and its observation is a Dict."""

    threads = (1,)  # that of several processes is tested above
    task = make_task(CART.format(""), goal="Reach the target.")

    def make_worlds(self, n, seed, threads):
        return self.task.make_worlds(n, seed, threads=threads)


class TestBatchWorlds(WorldsContract):
    """The batch simulator obeys the same contract."""

    task = make_task("gymnasium/Hopper-v5", fast=True)

    def make_worlds(self, n, seed, threads):
        return self.task.make_worlds(n, seed, threads=threads)


@pytest.mark.parametrize(("id", "options"), [("Hopper-v5", {}), ("InvertedPendulum-v5", {}), ("Reacher-v5", {})])
def test_worlds_equal_a_plain_loop(id, options):
    task, n = make_task(f"gymnasium/{id}", **options), 2
    reward = compile_program(task.expert_reward, task.spec, task.action.dim)
    worlds: Any = task.make_worlds(n, 3, reward, threads=1)
    plain: list[Any] = [gym.make(id) for _ in range(n)]
    seeds = np.random.default_rng(3)
    observed = [env.reset(seed=int(s))[0] for env, s in zip(plain, seeds.integers(2**31, size=n), strict=True)]
    rng, ended = np.random.default_rng(1), 0
    space = plain[0].action_space
    for _ in range(120):
        np.testing.assert_array_equal(worlds.state.environment_observation, observed)
        action = rng.uniform(-1, 1, (n, task.action.dim))
        result = worlds.step(action)
        own = (space.low + space.high) / 2 + (space.high - space.low) / 2 * action
        for i, env in enumerate(plain):
            observed[i], own_reward, terminated, truncated, _ = env.step(own[i].astype(np.float32))
            after = result.transitions.state.rows(i)
            np.testing.assert_array_equal(after.environment_observation, observed[i])
            assert result.reward.total[i] == own_reward == after.environment_reward
            assert (result.terminated[i], result.truncated[i]) == (terminated, truncated and not terminated)
            np.testing.assert_array_equal(result.qpos[i], env.unwrapped.data.qpos)
        over = np.flatnonzero(result.has_ended)
        ended += len(over)
        for i, seed in zip(over, seeds.integers(2**31, size=len(over)), strict=True):
            observed[i] = plain[i].reset(seed=int(seed))[0]
    assert ended > 0
    worlds.close()


def test_the_state_shows_the_live_model_and_the_goal_of_a_dict():
    task = make_task(CART.format(""), goal="Reach the target.")
    assert task.success_rule == "the environment reports success"
    shown = task.spec.outline()
    assert "desired_goal" in shown and "environment_" not in shown
    worlds = task.make_worlds(2, 0, threads=1)
    target = worlds.state.target_position[:, 0]
    np.testing.assert_array_equal(target, worlds.state.desired_goal[:, 0])
    assert target[0] != target[1] != 0.5
    for _ in range(40):
        result = worlds.step(2 * (worlds.state.desired_goal - worlds.state.rail_displacement[:, None]))
    np.testing.assert_array_equal(result.success, [True, True])
    gap = np.abs(result.transitions.state.rail_displacement - target)
    assert (gap < 0.05).all() and result.truncated.all()
    worlds.close()


def test_pictures_show_what_the_environment_moved_in_its_model():
    task = make_task(CART.format(""), goal="Reach the target.")
    worlds = task.make_worlds(2, 0, threads=1)
    qpos = np.zeros((2, 1))
    try:
        with Renderer(task.model, 64, 64, task.cameras[0]) as renderer:
            drawn = renderer.render_many(qpos, worlds.mocap)
            at_rest = renderer.render_many(qpos[:1], worlds.mocap[:1])
    except NoRenderer as missing:
        pytest.skip(str(missing))
    assert not np.array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(drawn[0], at_rest[0])
    worlds.close()


def test_writers_are_not_told_the_start_values_of_hidden_fields():
    shown = measure_start_ranges(sample_start_states(HOPPER, 2))
    assert "rootz_displacement" in shown and not any(name.startswith("environment_") for name in shown)


def test_sb3_bootstraps_where_time_ran_out_and_not_where_the_pole_fell():
    seen = set()
    for horizon, push in ((5, 0.0), (400, 1.0)):
        task: Any = make_task("gymnasium/InvertedPendulum-v5", horizon=horizon)
        env = SB3VecEnv(task.make_worlds(2, 0, threads=1))
        env.reset()
        for _ in range(400):
            _, _, done, infos = env.step(np.full((2, 1), push))
            for info in np.array(infos)[done]:
                seen.add((horizon, info["TimeLimit.truncated"]))
                angle = info["terminal_observation"] * task.observation.parts[0].scale[1]
                assert info["TimeLimit.truncated"] == (abs(angle[1] + task.observation.parts[0].centre[1]) <= 0.2)
            if done.any():
                break
        env.close()
    assert seen == {(5, True), (400, False)}


def test_a_rule_of_failure_ends_an_episode_besides_the_environment():
    task = make_task("gymnasium/Hopper-v5", failure="rootz_displacement < 1.2")
    worlds = task.make_worlds(2, 0, threads=1)
    for _ in range(200):
        result = worlds.step(np.zeros((2, 3)))
        if result.has_ended.any():
            break
    low = result.transitions.state.rootz_displacement
    np.testing.assert_array_equal(result.terminated, low < 1.2)
    assert 0.7 < low.min() < 1.2
    assert "own end" in task.failure_rule and "1.2" in task.failure_rule
    worlds.close()


def test_a_robot_that_falls_has_no_success_in_its_last_step():
    """It moves faster than the rule asks when the environment ends its episode."""
    worlds: Any = HOPPER.make_worlds(1, 0, threads=1)
    env = worlds._workers._readers[0].env.unwrapped
    qpos, qvel = env.data.qpos.copy(), env.data.qvel.copy()
    qpos[2], qvel[0] = 0.3, 3.0
    env.set_state(qpos, qvel)
    result = worlds.step(np.zeros((1, 3)))
    assert result.terminated[0] and result.transitions.state.torso_velocity[0, 0] > 1.0
    assert not result.success[0]
    worlds.close()


def test_an_environment_that_ignores_its_seed_is_said_not_to_continue_exactly(caplog):
    worlds = make_task(CART.format("Forgets"), goal="Reach the target.").make_worlds(2, 0, threads=1)
    worlds.step(np.zeros((2, 1)))
    with caplog.at_level(logging.WARNING):
        worlds.restore(worlds.snapshot())
    assert "does not continue exactly" in caplog.text
    worlds.close()


def test_a_world_that_is_cut_off_early_is_an_error_where_all_must_be_equally_long():
    task: Any = make_task(CART.format(""), goal="Reach the target.", kwargs={"cut": 7})
    assert task.ends_early
    object.__setattr__(task.source, "terminates", False)
    worlds = task.make_worlds(1, 0, threads=1)
    with pytest.raises(UsageError, match=r"after 7 steps, expected 40 .*horizon=7"):
        step_often(worlds, 8)


@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_error_in_the_code_of_an_environment_is_told(threads):
    worlds = make_task(CART.format("Step"), goal="Reach the target.").make_worlds(2, 0, threads=threads)
    with pytest.raises(EnvironmentFailed, match="`step`: ValueError: the gripper is gone"):
        step_often(worlds, 40, push=1.0)
    worlds.close()


@pytest.mark.parametrize(
    ("fault", "message"),
    [("Diverges", "environment_observation: not finite"), ("Shrinks", "numbers, expected")],
)
def test_numbers_that_cannot_be_used_are_told(fault, message):
    worlds = make_task(CART.format(fault), goal="Reach the target.").make_worlds(2, 0, threads=1)
    with pytest.raises(EnvironmentFailed, match=message):
        step_often(worlds, 40, push=1.0)
    worlds.close()


def test_a_reward_that_is_no_number_is_told_when_the_task_is_made():
    with pytest.raises(EnvironmentFailed, match=r"`step`: TypeError: float.* 'NoneType'"):
        make_task(CART.format("Reward"), goal="Reach the target.")


@pytest.mark.slow
def test_a_simulator_that_ends_its_process_is_told():
    worlds = make_task(CART.format("Dies"), goal="Reach the target.").make_worlds(2, 0, threads=2)
    with pytest.raises(EnvironmentFailed, match="exit code 3: its own code, or that of its simulator, ended it"):
        step_often(worlds, 40, push=1.0)


def test_a_killed_process_is_told_and_none_is_left():
    worlds: Any = HOPPER.make_worlds(4, 0, threads=2)
    processes = list(worlds._workers._processes)
    os.kill(processes[1].pid, signal.SIGKILL)
    with pytest.raises(EnvironmentFailed, match=r"worlds 2 to 3 ended with exit code -9: it was killed"):
        step_often(worlds, 3)
    assert not any(process.is_alive() for process in processes)
    worlds.close()


SCRIPT = """
import os, signal, sys, numpy as np
from robo_reward.envs.task import make_task
if __name__ == "__main__":
    worlds = make_task("gymnasium/Hopper-v5").make_worlds(4, 0, threads=2)
    print(*[process.pid for process in worlds._workers._processes], flush=True)
    while sys.argv[1] != "end":
        worlds.step(np.zeros((4, 3)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["end", "ctrl-c", "kill"])
def test_no_process_is_left_behind(tmp_path, how):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with subprocess.Popen(
        [sys.executable, script, how], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2
        if how == "ctrl-c":  # a terminal sends it to the whole group
            os.killpg(parent.pid, signal.SIGINT)
        if how == "kill":
            parent.kill()
        code = parent.wait(30)
        assert (code == 0) == (how == "end")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(is_running(pid) for pid in pids):
        time.sleep(0.05)
    assert not any(is_running(pid) for pid in pids)


def is_running(pid):
    """A process that nobody has waited for yet is a zombie: it has ended."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
