"""`robo-reward emulate`: what it refuses, and an arm that a client drives."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from robo_reward.cli import main
from robo_reward.cli.robot.emulate import make_robot_task
from robo_reward.errors import UnknownName, UsageError
from robo_reward.hardware.emulator.tools.cycle_log import read_log
from robo_reward.hardware.emulator.tools.fault_server import FaultClient
from tests.hardware.emulator.serving import CLIENTS, free_host, needs, serving

ROOT = Path(__file__).parents[2]


def test_the_scene_of_a_task_on_another_arm():
    assert make_robot_task("panda/push", "fr3").id == "fr3/push"
    assert make_robot_task("panda/push", "").id == "panda/push"
    assert make_robot_task("fr3/lift", "panda").id == "panda/lift"


@pytest.mark.parametrize(
    ("task", "robot", "error", "words"),
    [
        ("panda/push", "fr4", UnknownName, "Did you mean 'fr3'"),
        ("panda/group", "fr3", UnknownName, "fr3/push"),
        ("ur5e/group", "", UsageError, "not one of a Franka arm"),
    ],
)
def test_what_cannot_be_is_explained(task, robot, error, words):
    with pytest.raises(error, match=words):
        make_robot_task(task, robot)


def test_wrong_usage_ends_with_2_and_a_busy_port_with_1(capsys):
    assert main(["emulate", "robot=fr4"]) == 2
    assert "unknown value of robot 'fr4'. Did you mean 'fr3'" in capsys.readouterr().err
    assert main(["emulate", "speed=1"]) == 2
    assert "with lockstep=true only" in capsys.readouterr().err
    assert main(["emulate", "robot=mujoco"]) == 2
    assert "unknown robot 'mujoco'" in capsys.readouterr().err
    assert main(["emulate", "robot=fr3", "task=panda/group"]) == 2
    assert "unknown task 'fr3/group'" in capsys.readouterr().err
    assert main(["emulate", "version=7"]) == 2
    assert "unknown protocol version" in capsys.readouterr().err
    with serving("fr3") as emulator:
        assert main(["emulate", "robot=fr3", f"host={emulator.host}", "view=false"]) == 1
    assert "another emulator uses this address" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_verb_serves_until_stopped(tmp_path, number):
    needs("pylibfranka")
    host, log = free_host(), tmp_path / "cycles"
    words = ["emulate", "task=panda/reach", "robot=fr3", f"host={host}", "lockstep=true", f"log={log}"]
    here = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "robo_reward.cli", *words]
    with subprocess.Popen(command, env=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline()]
        while "Ctrl-C" not in said[-1] and process.poll() is None:
            said.append(process.stdout.readline())
        try:
            client = [sys.executable, str(CLIENTS / "pylibfranka_examples.py"), host, "joint_velocity", "gripper"]
            ended = subprocess.run(client, capture_output=True, text=True, timeout=120, check=True)
            assert json.loads(ended.stdout)["joint_velocity"]["cycles"] >= 2000
            FaultClient(host).reflex("joint_reflex")
            time.sleep(0.2)
        finally:
            process.send_signal(number)
            rest, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert "fr3" in said[0] and any("http://127.0.0.1" in line for line in said)
    assert "joint_reflex" in rest
    assert (read_log(log)["robot_mode"] == 4).any()
