"""Identification finds what a recording was made with."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robo_reward.cli.app import main
from robo_reward.data.episode import Episode, EpisodeStore
from robo_reward.envs.task import make_task
from robo_reward.errors import UsageError
from robo_reward.hardware.deployment.identification import (
    Dynamics,
    JointRecording,
    compute_replay_error,
    extract_recordings,
    identify_dynamics,
    plot_replay,
    replay_commands,
)

TASK: Any = make_task("panda/reach")
TRUE = Dynamics(
    0.035,
    np.array((300.0, 500.0, 250.0, 600.0, 150.0, 220.0, 300.0)),
    np.array((3.0, 5.0, 2.0, 4.0, 1.0, 2.0, 1.0)),
)


def recording(seed: int, noise: float = 5e-5) -> JointRecording:
    """Smooth motions at 200 Hz for three seconds, measured every 0.02 s at odd times."""
    rng = np.random.default_rng(seed)
    times = np.arange(600) / 200.0 + 17.0
    waves = rng.uniform(0.5, 2.0, (3, 7)), rng.uniform(0, 6.28, (3, 7)), rng.uniform(0.02, 0.1, (3, 7))
    command = np.array(TASK.arm.home) + sum(
        size * (np.sin(6.28 * rate * (times[:, None] - 17.0) + phase) - np.sin(phase))
        for rate, phase, size in zip(*waves, strict=True)
    )
    seen = np.arange(17.0, 19.9, 0.0203)
    empty = JointRecording(times, command, seen, np.repeat(command[:1], len(seen), axis=0))
    q = replay_commands(TASK, empty, TRUE)
    return replace(empty, q=q + rng.normal(0, noise, q.shape) * (np.arange(len(q)) > 0)[:, None])


def test_it_finds_delay_damping_and_friction():
    recordings = [recording(0), recording(1)]
    found = identify_dynamics(TASK, recordings)
    assert found.delay == pytest.approx(TRUE.delay, abs=0.0051)
    assert found.damping == pytest.approx(TRUE.damping, rel=0.08)
    assert found.friction == pytest.approx(TRUE.friction, abs=1.0)
    before = compute_replay_error(TASK, recordings, Dynamics.from_task(TASK))
    after = compute_replay_error(TASK, recordings, found)
    assert (after < 0.05 * before).all()
    assert compute_replay_error(TASK, [recording(2)], found).max() < 5e-4, "on what it has not seen, too"


def test_the_plot_is_a_picture_of_seven_joints():
    root = ET.fromstring(plot_replay(TASK, recording(0), TRUE))
    lines = [line for line in root.iter() if line.tag.endswith("polyline")]
    assert len(lines) == 21
    texts = [text.text for text in root.iter() if text.tag.endswith("text")]
    assert texts[0] == "joint 1" and all(float(t.split()[0]) < 0.1 for t in texts[1::2] if t)


def test_dynamics_go_to_a_file_and_into_a_model(tmp_path: Path):
    TRUE.save(tmp_path / "dynamics.json")
    back = Dynamics.load(tmp_path / "dynamics.json")
    assert back.delay == TRUE.delay and np.array_equal(back.damping, TRUE.damping)
    model = back.apply_to(TASK.model)
    assert model.dof_frictionloss[1] == 5.0
    assert TASK.model.dof_frictionloss[1] == 0.0, "the task's own model stays"


def test_recordings_come_from_episodes():
    r = recording(0)
    wall = 1e6 + 0.3 * r.command_time  # a simulated robot, three times faster than the clock on the wall
    meta = {
        "commands": {"time": wall.tolist(), "joints": r.command.tolist()},
        "measured": {
            "stamp": (1e6 + 0.3 * r.time).tolist(),
            "robot_time": r.time.tolist(),
            "q": r.q.tolist(),
        },
    }
    zeros = np.zeros((2, TASK.spec.dim))
    episode = Episode(zeros, np.zeros((1, TASK.action.dim)), np.zeros(1, bool), TASK.spec, TASK.id, meta=meta)
    back = extract_recordings([episode])[0]
    assert np.array_equal(back.q, r.q)
    assert back.command_time == pytest.approx(r.command_time, abs=1e-6)
    with pytest.raises(UsageError, match="no episode holds"):
        extract_recordings([replace(episode, meta={})])
    with pytest.raises(UsageError, match="holds no commands"):
        JointRecording.from_episode(replace(episode, meta={}))
    with pytest.raises(UsageError, match="at least one"):
        identify_dynamics(TASK, [])


def test_the_verb_finds_the_episodes_of_a_run_or_takes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """`extract_recordings` says that these were not recorded on an arm, so they were found and read."""
    run, other = tmp_path / "run", tmp_path / "other"
    other.mkdir()
    zeros = np.zeros((2, TASK.spec.dim))
    episode = Episode(zeros, np.zeros((1, TASK.action.dim)), np.zeros(1, bool), TASK.spec, TASK.id)
    EpisodeStore(run / "episodes").append(episode)
    for folder, message in ((run, "no episode holds"), (run / "episodes", "no episode holds"), (other, "no episodes")):
        assert main(["identify", str(folder)]) == 2
        assert message in capsys.readouterr().err
    assert list(other.iterdir()) == [], "nothing is made in a folder without episodes"
