"""`robo-reward record`: the expert's episodes, and a person's through a real terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from robo_reward.cli.app import main
from robo_reward.cli.rewards.record_person import PersonSession, record_spacemouse
from robo_reward.cli.terminal import Terminal as Console
from robo_reward.data.cloning import recording
from robo_reward.data.cloning.demonstrations import load_demonstration_set
from robo_reward.data.episode import EpisodeStore
from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.task import make_task
from robo_reward.hardware.policy.teleop import SpaceMouseTeleop
from robo_reward.policies.policy import MLPPolicy
from tests.house.source import ROOT


class Terminal:
    """A pseudo terminal with `robo-reward record` in it."""

    def __init__(self, *arguments: str) -> None:
        self.ours, theirs = pty.openpty()
        self.before = termios.tcgetattr(theirs)
        self.theirs = theirs
        command = [sys.executable, "-m", "robo_reward.cli", "record", "by=keyboard", *arguments]
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=environment, start_new_session=True
        )
        self.said = ""

    def until(self, text: str, seconds: float = 60.0) -> None:
        """Reads until the text appears after what was read before."""
        end, seen = time.monotonic() + seconds, ""
        while text not in seen:
            ready = select.select([self.ours], [], [], max(0.0, end - time.monotonic()))[0]
            if not ready:
                raise AssertionError(f"{text!r} did not appear; the terminal shows {seen[-800:]!r}")
            seen += os.read(self.ours, 65536).decode(errors="replace")
        self.said += seen

    def press(self, keys: str) -> None:
        os.write(self.ours, keys.encode())

    def wait(self) -> int:
        return self.process.wait(timeout=30)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def terminal(store: Path) -> Iterator[Terminal]:
    found = Terminal("task=panda/pick", "episodes=3", f"to={store}", "size=32", "seed=7")
    yield found
    found.close()


def test_a_person_drives_keeps_throws_away_and_stops(terminal: Terminal, store: Path) -> None:
    terminal.until("step 0")
    assert "▀" in terminal.said and "Ctrl-C" in terminal.said
    raw = termios.tcgetattr(terminal.theirs)[3]
    assert not raw & termios.ECHO and not raw & termios.ICANON
    terminal.press("\x1b[A" * 4)
    terminal.until("step 4")
    terminal.press("qq")
    terminal.until("step 6")
    terminal.press(" ")
    terminal.until("gripper closed")
    terminal.press("\r")
    terminal.until("episode 2/3  step 0")
    terminal.press("wwr")
    terminal.until("step 2")
    terminal.until("episode 2/3  step 0")
    terminal.press("aa")
    terminal.until("step 2")
    os.kill(terminal.process.pid, signal.SIGINT)
    terminal.until("1 episodes added")
    assert terminal.wait() == 130
    assert termios.tcgetattr(terminal.theirs) == terminal.before
    (episode,) = EpisodeStore(store)
    assert episode.meta["by"] == "keyboard" and episode.meta["seed"] == 7 and not episode.is_successful
    np.testing.assert_array_equal(episode.action[:4, :3], np.tile((1.0, 0.0, 0.0), (4, 1)))
    np.testing.assert_array_equal(episode.action[4:6, 2], 1.0)
    np.testing.assert_array_equal(episode.action[:, 3], [1] * 6 + [-1])
    hand = make_task("panda/pick").spec.view(episode.state).hand_position
    assert hand[4, 0] - hand[0, 0] > 0.02 and hand[7, 2] - hand[4, 2] > 0.01
    assert episode.frames is not None and episode.frames.shape == (8, 32, 32, 3)


def test_keys_need_a_terminal(store: Path) -> None:
    command = [sys.executable, "-m", "robo_reward.cli", "record", "by=keyboard", f"to={store}", "size=32"]
    done = subprocess.run(command, cwd=ROOT, input="w", capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "needs a terminal" in done.stderr and "Traceback" not in done.stderr


def test_experts_add_to_what_is_there(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["record", "task=panda/reach", "episodes=2", f"to={store}", "size=32", "cameras=[front,side]"]
    assert main(command) == 0
    assert "2 episodes added" in capsys.readouterr().out
    assert main(command) == 0
    episodes = list(EpisodeStore(store))
    assert [e.meta["seed"] for e in episodes] == [0, 1, 2, 3]
    assert len({e.state[0].tobytes() for e in episodes}) == 4
    for episode in episodes:
        assert episode.is_successful and episode.meta["by"] == "expert"
        assert episode.frames is not None and episode.frames.shape[1:] == (32, 64, 3)
        assert int(np.argmax(episode.success)) + 13 >= len(episode)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("by=expart", "'expert'"),
        ("cameras=[frnt]", "'front'"),
        ("episodes=0", "episodes=0"),
        ("speed=2", "speed=2"),
        ("task=panda/raech", "'panda/reach'"),
        ("source=expart", "'expert'"),
        ("source=policy", "source=policy needs policy=RUN"),
        ("source=expert noise=2", "noise=2"),
        ("source=expert cameras=[frnt]", "'front'"),
        ("source=expert modes=rim", "has one way to succeed"),
        ("source=expert task=panda/cup modes=rin", "'rim'"),
        ("source=expert failures=away", "failures"),
        ("n=-1", "n=-1"),
    ],
)
def test_wrong_usage(argument: str, message: str, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record", f"to={store}", *argument.split()]) == 2
    assert not store.exists()
    assert message in capsys.readouterr().err


def test_demonstrations_for_cloning(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["record", "task=panda/reach", "source=expert", "n=7", "worlds=4", f"to={store}"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "episodes a minute" in out and "7 demonstrations" in out and "robo-reward clone data=" in out
    found = load_demonstration_set(store, make_task("panda/reach"))
    assert len(found) == 7 and found.pictures is None and not found.skipped
    before = sorted(path.stat().st_mtime_ns for path in store.rglob("*.npz"))
    assert main(command) == 0  # enough: nothing is added
    assert sorted(path.stat().st_mtime_ns for path in store.rglob("*.npz")) == before
    assert main([*command, "noise=0"]) == 2
    assert "noise was 0.12, now 0.0. Give another to=" in capsys.readouterr().err


def test_a_space_mouse_records_in_real_time(store: Path) -> None:
    """A device that moves away for 6 reads, rests for 4, and then presses its right button."""
    task = make_task("panda/reach")
    moves = iter([{"y": 1.0}] * 6 + [{}] * 4 + [{"buttons": [0, 1]}])

    def read() -> SimpleNamespace:
        return SimpleNamespace(**{"x": 0.0, "y": 0.0, "z": 0.0, "yaw": 0.0, "buttons": [0, 0], **next(moves)})

    device = SimpleNamespace(read=read, close=lambda: None)
    failures = EpisodeStore(store.with_name("failures"))
    session = PersonSession(
        task, EpisodeStore(store), 1, 3, FrameSpec(("front",), 16), False, False, failures, source="spacemouse"
    )
    begun = time.monotonic()
    with pytest.raises(StopIteration):  # the episode failed, so it does not count and another one begins
        record_spacemouse(session, Console(), SpaceMouseTeleop(task.action, device=device))
    assert time.monotonic() - begun > 9 * task.control_dt
    (episode,) = failures
    assert len(episode) == 10 and episode.frames is None and episode.meta["by"] == "spacemouse"
    np.testing.assert_array_equal(episode.action[:6, 0], 1.0)
    np.testing.assert_array_equal(episode.action[6:, :3], 0.0)
    assert len(EpisodeStore(store)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_a_recording_that_ends_in_the_middle_continues(store: Path, tmp_path: Path, sign: signal.Signals) -> None:
    def start(to: Path) -> subprocess.Popen:
        arguments = ["record", "task=panda/push", "source=expert", "n=30", "worlds=5", f"to={to}"]
        return subprocess.Popen([sys.executable, "-m", "robo_reward.cli", *arguments], cwd=ROOT)

    first = start(store)
    end = time.monotonic() + 60
    while len(list(store.glob("episodes/[0-9]*.npz"))) < 7 and time.monotonic() < end:
        time.sleep(0.01)
    first.send_signal(sign)
    assert first.wait(timeout=30) == (130 if sign == signal.SIGINT else -9)
    kept = {path.name: path.read_bytes() for path in store.glob("episodes/*.npz")}
    assert 7 <= len(kept) < 30
    assert start(store).wait(timeout=60) == 0
    assert start(tmp_path / "other").wait(timeout=60) == 0
    assert {name: (store / "episodes" / name).read_bytes() for name in kept} == kept
    one, two = EpisodeStore(store), EpisodeStore(tmp_path / "other")
    assert one.keys() == two.keys() and len(one) == 30
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.state, b.state)
        np.testing.assert_array_equal(a.action, b.action)


def test_a_policy_records_and_another_one_does_not_continue(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "HOPELESS", 2)
    task = make_task("panda/reach")
    command = ["record", "task=panda/reach", "source=policy", f"policy={tmp_path / 'run'}", "n=2", f"to={store}"]
    for bias in (0.5, 0.25):
        policy = MLPPolicy(
            (np.zeros((task.observation.dim, task.action.dim), np.float32),),
            (np.full(task.action.dim, bias, np.float32),),
            "tanh",
            False,
            task.observation,
            task.action,
            {"task": task.id},
        )
        policy.save(tmp_path / "run" / "policy")
        code = main([*command, "worlds=2"])
        if bias == 0.5:
            assert code == 1 and "none of 2 episodes of panda/reach succeeded" in capsys.readouterr().err
    assert code == 2 and "holds a recording with other settings: source was" in capsys.readouterr().err
    for episode in EpisodeStore(store.with_name("store-failures")):
        np.testing.assert_array_equal(episode.action, 0.5)
        assert episode.meta["by"] == "policy" and episode.clean_action is None
    assert main(["record", "task=panda/lift", *command[2:-1], f"to={tmp_path / 'new'}"]) == 2
    assert "but panda/lift expects" in capsys.readouterr().err and not (tmp_path / "new").exists()
