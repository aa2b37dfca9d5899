"""The process of another Python that runs a LeRobot policy, and the messages to it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import weakref
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from robo_reward.errors import RoboRewardError, UsageError
from robo_reward.policies.lerobot.child import BadFrame, pack_frame, read_frame

CHILD = Path(__file__).with_name("child.py")
START_TIMEOUT = 600.0  # [s] importing torch and lerobot for the first time compiles thousands of files
ANSWER_TIMEOUT = 300.0  # [s]
REQUIREMENT = "'lerobot[diffusion]>=0.6'"
DOWNLOAD_TIMEOUT = 3600.0  # [s]
LINES, LONGEST_LINE = 8, 300
"""Number and length of the last lines of the process's output that an error message shows."""
MOST_CAUSE = 2000  # longest cause of a failure [characters]


class LeRobotFailed(RoboRewardError):
    """The process of a LeRobot policy failed, ended or did not answer."""

    def __init__(self, python: Path, problem: str, lines: list[str] | None = None) -> None:
        said = "\n  ".join(lines or [])
        shown = f" The last lines of its output:\n  {said}" if said else ""
        super().__init__(f"LeRobot ({python}): {problem.rstrip('.')}.{shown}")


def find_python(value: str) -> Path:
    """Returns the interpreter that `python=` names: a virtual environment's folder, a file, or a program on the path.

    Raises:
        UsageError: there is no such interpreter.
    """
    given = Path(value).expanduser()
    choices = [given / "bin" / "python", given / "bin" / "python3"] if given.is_dir() else [given]
    found = next((path for path in choices if path.is_file() and os.access(path, os.X_OK)), None)
    if found is None and value and os.sep not in value:
        found = shutil.which(value)
    if not found:
        raise UsageError(
            f"python={value}: expected the folder of a virtual environment that has lerobot, or its interpreter. Make "
            "one with: uv venv --python 3.12 lerobot-env && uv pip install --python lerobot-env "
            "'lerobot[diffusion]>=0.6'"
        )
    return Path(os.path.abspath(found))  # a link stays one: it is how Python finds its virtual environment


class LeRobotProcess:
    """A process of another Python that answers one message at a time.

    It ends when this process closes it or ends itself.

    Args:
        python: an interpreter with lerobot.
        script: the program that it runs; None: `child.py`.
    """

    def __init__(self, python: Path, script: Path | None = None) -> None:
        self.python = python
        self._lines: deque[str] = deque(maxlen=LINES)
        self._problem = ""
        self._channel, theirs = socket.socketpair()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ROBO_REWARD"))}
        command = [str(python), str(script or CHILD), str(theirs.fileno()), str(os.getpid())]
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                # The folder of the script is no place to import from.
                env={**kept, "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"},
            )
        except OSError as error:
            self._channel.close()
            raise LeRobotFailed(python, f"it cannot be started: {error.strerror or error}") from error
        finally:
            theirs.close()
        stdout: Any = self.process.stdout
        reader = threading.Thread(target=_collect_lines, args=(stdout, self._lines), daemon=True)
        reader.start()
        # Not a method: the process also ends when nothing refers to this object any more.
        self._end = weakref.finalize(self, _end_process, self.process, self._channel, reader)

    def ask(
        self, head: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None, timeout: float = ANSWER_TIMEOUT
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Returns the answer to a message.

        Args:
            head: JSON values, with `kind`.
            arrays: float32, float64, int64 or uint8.
            timeout: the longest that the answer may take [s].

        Raises:
            LeRobotFailed: it answered with an error; or it ended, sent something else, or did not answer in time, and
                is ended.
        """
        if self._problem:
            raise LeRobotFailed(self.python, self._problem, list(self._lines))
        deadline = time.monotonic() + timeout
        try:
            self._channel.settimeout(timeout)
            self._channel.sendall(pack_frame(head, arrays))
            answer = read_frame(lambda size: self._receive(size, deadline))
        except TimeoutError:
            self._fail(f"it did not answer to {head.get('kind')!r} within {timeout:g} s, so it was ended")
        except BadFrame as error:
            self._fail(f"it sent {error}")
        except (EOFError, OSError):
            self._fail("")
        except KeyboardInterrupt:  # its answer is still to come and must not be taken for that of the next query
            self._problem = "a query was interrupted"
            self._end()
            raise
        if answer[0].get("kind") == "failed":
            raise LeRobotFailed(self.python, self._describe_cause(str(answer[0].get("cause"))[:MOST_CAUSE]))
        return answer

    def close(self) -> None:
        """Ends the process; closing twice is harmless."""
        self._problem = self._problem or "it was closed"
        self._end()

    def _describe_cause(self, cause: str) -> str:
        if not cause.startswith("ModuleNotFoundError"):
            return cause
        return f"{cause}. Install it there: uv pip install --python {self.python} {REQUIREMENT}"

    def _receive(self, size: int, deadline: float) -> bytes:
        parts, missing = [], size
        while missing:
            if (left := deadline - time.monotonic()) <= 0:
                raise TimeoutError
            self._channel.settimeout(left)
            part = self._channel.recv(min(missing, 1 << 20))
            if not part:
                raise EOFError
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _fail(self, problem: str) -> None:
        """Ends the process and raises the error that it stays with.

        Args:
            problem: what happened; empty: the process ended by itself.
        """
        if not problem:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(2)
            problem = _describe_exit(self.process.poll())
        self._problem = problem
        self._end()
        raise LeRobotFailed(self.python, problem, list(self._lines))


def download_checkpoint(python: Path, repository: str) -> Path:
    """Returns the folder of a policy of the Hugging Face hub, downloaded by the Python that will run it.

    Raises:
        UsageError: there is no such policy, or no connection to the hub.
    """
    process = LeRobotProcess(python)
    try:
        head, _ = process.ask({"kind": "download", "repository": repository}, timeout=DOWNLOAD_TIMEOUT)
    except LeRobotFailed as error:
        raise UsageError(
            f"{repository!r} is no folder here, and the Hugging Face hub does not give it. Copy the checkpoint to this "
            f"machine and give its folder. {error}"
        ) from error
    finally:
        process.close()
    return Path(str(head.get("path")))


def _describe_exit(code: int | None) -> str:
    if code is None:
        return "it closed its connection"
    return (
        f"its process was ended by {signal.Signals(-code).name}" if code < 0 else f"its process ended with code {code}"
    )


def _collect_lines(stream: IO[bytes], lines: deque[str]) -> None:
    """Keeps the last lines of a process's output until it ends."""
    with stream:
        for line in stream:
            if text := line.decode(errors="replace").strip():
                lines.append(text[:LONGEST_LINE])


def _end_process(process: subprocess.Popen[bytes], channel: socket.socket, reader: threading.Thread) -> None:
    """Closes the connection, at which the process ends, and kills it if it does not."""
    channel.close()
    try:
        process.wait(1)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    reader.join(1)  # a process that it started may hold its output open
