import os
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from robo_reward.envs.task import make_task
from robo_reward.hardware.policy.process import PolicyDied, PolicyProcess, answer, read_reply
from robo_reward.hardware.wire import pack_message
from robo_reward.policies.policy import MLPPolicy
from tests.hardware import policies
from tests.hardware.patience import eventually, repeated


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    task = make_task("fr3/lift")
    rng = np.random.default_rng(0)
    layers = [(task.observation.dim, 16), (16, task.action.dim)]
    weights = tuple(rng.normal(size=shape).astype(np.float32) for shape in layers)
    biases = tuple(np.zeros(shape[1], np.float32) for shape in layers)
    policy = MLPPolicy(weights, biases, "tanh", True, task.observation, task.action, {"task": "fr3/lift", "seed": 7})
    return policy.save(tmp_path_factory.mktemp("policy"))


def test_it_answers_as_the_policy_itself_does_and_says_what_it_is(folder: Path, rng: np.random.Generator) -> None:
    from robo_reward.policies.policy import load_policy

    own = load_policy(folder)
    process = PolicyProcess(folder)
    try:
        assert process.action == own.action
        assert process.observation.to_json() == own.observation.to_json()
        assert process.meta["seed"] == 7
        for ticket in (5, 6):
            observation = rng.normal(size=own.observation.dim).astype(np.float32)
            process.send_observation(ticket, observation)
            reply = process.receive_reply(10.0)
            assert reply is not None and reply.ticket == ticket and reply.seconds >= 0
            np.testing.assert_allclose(reply.actions, own.act(observation[None]))
        assert process.receive_reply(0.0) is None
    finally:
        process.close()
    assert not psutil.pid_exists(process.process.pid or -1) or not process.process.is_alive()


def test_a_chunk_comes_as_rows() -> None:
    process = PolicyProcess("fr3/lift chunk", policies.load)
    try:
        process.send_observation(1, np.zeros(process.observation.dim))
        reply = process.receive_reply(10.0)
        assert reply is not None and reply.actions.shape == (4, process.action.dim)
    finally:
        process.close()


def test_a_killed_process_is_told_with_its_signal() -> None:
    process = PolicyProcess("fr3/lift steady", policies.load)
    os.kill(process.process.pid or 0, signal.SIGKILL)
    with pytest.raises(PolicyDied, match="SIGKILL"):
        repeated(lambda: process.send_observation(1, np.zeros(3)), lambda: process.receive_reply(0.1))
    process.close()


def test_ctrl_c_reaches_everybody_but_the_policy() -> None:
    process = PolicyProcess("fr3/lift steady", policies.load)
    try:
        os.kill(process.process.pid or 0, signal.SIGINT)
        time.sleep(0.1)
        process.send_observation(1, np.zeros(process.observation.dim))
        assert process.receive_reply(10.0) is not None
    finally:
        process.close()


def test_a_bug_in_the_policy_comes_with_its_own_words() -> None:
    process = PolicyProcess("fr3/lift raises", policies.load)
    try:
        with pytest.raises(PolicyDied, match="ZeroDivisionError: a bug in the policy"):
            repeated(
                lambda: process.send_observation(1, np.zeros(process.observation.dim)),
                lambda: process.receive_reply(10.0),
            )
    finally:
        process.close()


def test_a_policy_that_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    with pytest.raises(PolicyDied, match="there is nothing here"):
        PolicyProcess("broken", policies.load)
    with pytest.raises(PolicyDied, match="no policy at"):
        PolicyProcess(tmp_path)


@pytest.mark.parametrize("kind", policies.ODD)
def test_whatever_a_policy_says_becomes_rows_of_numbers(kind: str) -> None:
    policy = policies.load(f"fr3/lift {kind}")
    policy.step = 5
    said = answer(policy, pack_message({"kind": "ask", "ticket": 7}, {"observation": np.zeros(3)}))
    assert said is not None
    reply = read_reply(said)
    assert reply.ticket == 7 and reply.actions.dtype == np.float64 and reply.actions.ndim >= 2
    assert kind == "inf" or reply.actions.shape[1:] != (4,)


def test_answers_of_the_last_episode_are_gone_after_a_reset() -> None:
    process = PolicyProcess("fr3/lift steady", policies.load)
    try:
        process.send_observation(1, np.zeros(process.observation.dim))
        assert eventually(lambda: process._pipe.poll(0.0))
        process.reset()
        assert process.receive_reply(0.1) is None
        process.send_observation(2, np.zeros(process.observation.dim))
        reply = process.receive_reply(10.0)
        assert reply is not None and reply.ticket == 2
    finally:
        process.close()
