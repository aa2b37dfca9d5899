"""A terminal that is closed while an episode runs: its whole process group gets SIGHUP."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from rich.console import Console

from robo_reward.cli.interrupt import stop_on_signals
from robo_reward.cli.robot.deploy import _make_line_printer
from robo_reward.hardware.deployment.operator import AtTerminal
from tests.hardware.patience import eventually

SCRIPT = """
import signal
import sys
from pathlib import Path
from robo_reward.cli.interrupt import stop_on_signals
from robo_reward.hardware.policy.process import PolicyProcess
from tests.hardware import policies
from tests.hardware.rigs import closed, simulated

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as in a terminal, however the tests were started
    with stop_on_signals() as stop:
        policy = PolicyProcess("fr3/lift long", policies.load)
        deployment = simulated(folder, wall=True, horizon=2000, stop=stop, policy=policy)
        summary = deployment.run()
        closed(deployment)
    (folder / "ended").write_text(f"{summary.stopped}, {summary.episodes[0].outcome}")
"""


def test_an_episode_ends_gently_and_is_kept(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    root, rows = str(Path(__file__).parents[3]), tmp_path / "live" / "episode-0000" / "rows"
    words = [sys.executable, str(tmp_path / "script.py"), str(tmp_path)]
    process = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": root}, start_new_session=True)
    try:
        assert eventually(lambda: rows.exists() and rows.stat().st_size > 2000, 60)
        for _ in range(2):  # the shell sends one, the system another
            os.killpg(process.pid, signal.SIGHUP)
        assert process.wait(30) == 0
    finally:
        process.kill()
    assert (tmp_path / "ended").read_text() == "it was asked to stop, stopped"
    assert (tmp_path / "episodes" / "episodes" / "episode-0000.npz").exists()


def test_a_question_in_another_thread_ends_with_a_stop_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signals are handled in the main thread only, so that the question has to look for the request itself."""
    parent, child = os.openpty()
    stopped, answers = threading.Event(), []
    with os.fdopen(child) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        operator = AtTerminal(lambda _: None)
        operator.stop = stopped.is_set
        thread = threading.Thread(target=lambda: answers.append(operator.confirm("Is the arm free")))
        thread.start()
        assert not eventually(lambda: not thread.is_alive(), 0.3)
        stopped.set()
        thread.join(2.0)
        assert answers == [False]
    os.close(parent)


def test_with_nohup_nothing_is_asked() -> None:
    old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop()
    finally:
        signal.signal(signal.SIGHUP, old)


class Gone:
    """The output of a terminal that was closed."""

    encoding = "utf-8"

    def __init__(self, error: OSError) -> None:
        self.error = error

    def write(self, text: str) -> int:
        raise self.error

    def flush(self) -> None:
        raise self.error


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), BrokenPipeError(32, "Broken pipe")])
def test_nobody_who_reads_is_no_reason_to_let_the_arm_down(error: OSError) -> None:
    print_line = _make_line_printer(Console(file=Gone(error), force_terminal=True))  # type: ignore[arg-type]
    for _ in range(3):
        print_line("the arm was stopped")


def test_a_question_to_a_closed_terminal_stops() -> None:
    def closed(question: str) -> str:
        raise OSError(5, "Input/output error")

    with pytest.raises(KeyboardInterrupt):
        AtTerminal(print, closed).confirm("go on")


QUESTION = """
from robo_reward.cli.interrupt import stop_on_signals
from robo_reward.hardware.deployment.operator import AtTerminal

with stop_on_signals() as stop:
    operator = AtTerminal(print)
    operator.stop = stop
    print("answer:", operator.confirm("go on"), stop())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_signal_ends_a_question_and_is_a_no(number: signal.Signals) -> None:
    ours, theirs = os.openpty()
    root = str(Path(__file__).parents[3])
    process = subprocess.Popen(
        [sys.executable, "-c", QUESTION],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "PYTHONPATH": root},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # whoever started the tests
    )
    os.close(theirs)
    said = b""
    try:
        while b"n: no]" not in said:
            said += os.read(ours, 1000)
        process.send_signal(number)
        assert process.wait(20) == 0
        said += os.read(ours, 1000)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert b"answer: False True" in said


EARLY = QUESTION.replace(
    "with stop_on_signals", "import sys, time; print('ready', flush=True); time.sleep(1)\nwith stop_on_signals"
)


def test_what_was_typed_before_the_question_does_not_answer_it() -> None:
    """Enter pressed during an episode must not confirm that the arm may move."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", EARLY],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    os.close(theirs)
    said = b""
    try:
        while b"ready" not in said:
            said += os.read(ours, 1000)
        os.write(ours, b"\n")
        while b"n: no]" not in said:
            said += os.read(ours, 1000)
        os.write(ours, b"n\n")
        assert process.wait(20) == 0
        said += os.read(ours, 1000)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert b"answer: False False" in said


def test_after_a_request_to_stop_enter_is_no_yes() -> None:
    def asked(question: str) -> str:
        pytest.fail("nobody is asked after a request to stop")

    operator = AtTerminal(print, asked)
    operator.stop = lambda: True
    assert not operator.confirm("go on") and operator.ask_success("done") is None
