"""The environments of all worlds: in this process, or in worker processes that share their numbers with it.

A worker ends when its pipe is closed, which also happens when the process that started it is gone. Ctrl-C in a terminal
reaches the whole process group; workers leave it to the process that started them.
"""

from __future__ import annotations

import atexit
import multiprocessing
import signal
import traceback
import weakref
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from robo_reward.envs.suites.reader import EnvironmentFailed, EnvironmentReader
from robo_reward.envs.suites.source import EnvironmentSource

PATIENCE = 5.0
"""Time that a worker gets to end by itself [s]."""


class Rows:
    """The numbers of N worlds in one block of memory, one row per world.

    Args:
        sizes: length of a row of `action`, `state`, `qpos` and `mocap`.
        n: number of worlds N.
        memory: the block, of `count` doubles; None: new memory of this process.

    Attributes:
        action: in the environment's units (N, A).
        state: after the last reset or step (N, D).
        qpos: (N, nq).
        mocap: what a camera sees besides (N, M).
        terminated: 1.0 where the environment ended the episode (N, 1).
        truncated: 1.0 where it cut the episode off (N, 1).
    """

    action: np.ndarray
    state: np.ndarray
    qpos: np.ndarray
    mocap: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray

    def __init__(self, sizes: Mapping[str, int], n: int, memory: Any = None) -> None:
        flat = np.zeros(self.count(sizes, n)) if memory is None else np.frombuffer(memory, np.float64)
        at = 0
        for name, size in _add_flags(sizes).items():
            setattr(self, name, flat[at : at + n * size].reshape(n, size))
            at += n * size

    @staticmethod
    def count(sizes: Mapping[str, int], n: int) -> int:
        """Returns how many doubles N rows need."""
        return n * sum(_add_flags(sizes).values())

    def store(self, world: int, reader: EnvironmentReader) -> None:
        """Writes what an environment shows into the row of its world."""
        self.state[world] = reader.state
        self.qpos[world], self.mocap[world] = reader.data.qpos, reader.read_picture()
        self.terminated[world], self.truncated[world] = reader.terminated, reader.truncated


def _add_flags(sizes: Mapping[str, int]) -> dict[str, int]:
    return {**sizes, "terminated": 1, "truncated": 1}


class LocalWorker:
    """Steps all environments in this process.

    Args:
        source: the environment.
        sizes: as for `Rows`.
        n: number of worlds.
        spare: environments of earlier worlds that are used again; they come back when these worlds are closed.
    """

    def __init__(
        self, source: EnvironmentSource, sizes: Mapping[str, int], n: int, spare: list[EnvironmentReader]
    ) -> None:
        self.rows, self._spare = Rows(sizes, n), spare
        self._readers = [spare.pop() if spare else EnvironmentReader(source) for _ in range(n)]

    def reset(self, worlds: list[int], seeds: list[int]) -> None:
        """Begins an episode in some worlds."""
        _reset(self._readers, self.rows, 0, worlds, seeds)

    def step(self, worlds: list[int]) -> None:
        """Steps some worlds with their actions in `rows`."""
        _step(self._readers, self.rows, 0, worlds)

    def close(self) -> None:
        """Gives the environments back."""
        self._spare += self._readers
        self._readers = []


class ProcessWorkers:
    """Steps the environments in several processes.

    Args:
        source: the environment.
        sizes: as for `Rows`.
        n: number of worlds.
        processes: number of processes.

    Raises:
        PermissionError: this process may not start others.
        EnvironmentFailed: a process ended, or the environment's code raised an error.
    """

    def __init__(self, source: EnvironmentSource, sizes: Mapping[str, int], n: int, processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        memory = context.RawArray("d", Rows.count(sizes, n))
        self.rows, self._id = Rows(sizes, n, memory), source.id
        self._bounds = np.linspace(0, n, processes + 1).astype(int).tolist()
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []
        _open.add(self)
        for first, end in zip(self._bounds[:-1], self._bounds[1:], strict=True):
            pipe, theirs = context.Pipe()
            arguments = (theirs, source, dict(sizes), n, memory, first, end)
            process = context.Process(target=_run_worker, args=arguments, name=f"{source.id} {first}", daemon=True)
            try:
                process.start()
            except PermissionError:  # a confined job may start no process
                self.close()
                raise
            except Exception as error:  # a source that cannot be sent to another process
                self.close()
                raise EnvironmentFailed(
                    f"{source.id} cannot run in other processes: {error}. Define it in a module, or give threads=1"
                ) from error
            theirs.close()
            self._pipes.append(pipe)
            self._processes.append(process)
        self._receive_answers(range(processes))

    def reset(self, worlds: list[int], seeds: list[int]) -> None:
        """Begins an episode in some worlds."""
        self._send_to_owners("reset", worlds, seeds)

    def step(self, worlds: list[int]) -> None:
        """Steps some worlds with their actions in `rows`."""
        self._send_to_owners("step", worlds, [0] * len(worlds))

    def close(self) -> None:
        """Ends the processes; one that does not end in time is killed."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(PATIENCE)
            if process.is_alive():
                process.kill()
                process.join()
        self._pipes, self._processes = [], []
        _open.discard(self)

    def _send_to_owners(self, order: str, worlds: list[int], seeds: list[int]) -> None:
        """Sends an order to the workers of some worlds, and waits until all have done it."""
        asked = []
        for index, pipe in enumerate(self._pipes):
            first, end = self._bounds[index], self._bounds[index + 1]
            mine = [(world, seed) for world, seed in zip(worlds, seeds, strict=True) if first <= world < end]
            if mine:
                asked.append(index)
                try:
                    pipe.send((order, [world for world, _ in mine], [seed for _, seed in mine]))
                except OSError:
                    break  # its answer says why
        self._receive_answers(asked)

    def _receive_answers(self, asked: Any) -> None:
        failures = []
        for index in asked:
            try:
                problem = self._pipes[index].recv()
            except (EOFError, OSError):
                problem = self._describe_end(index)
            failures += [problem] if problem else []
        if failures:
            self.close()
            raise EnvironmentFailed(failures[0])

    def _describe_end(self, index: int) -> str:
        process = self._processes[index]
        process.join(PATIENCE)
        first, end = self._bounds[index], self._bounds[index + 1]
        code = process.exitcode
        why = {
            -signal.SIGKILL: "it was killed; if memory ran out, use fewer worlds (policy.params.worlds=...)",
            1: "it could not start: a script that makes worlds must do so under `if __name__ == '__main__':`",
        }
        return (
            f"{self._id}: the process of worlds {first} to {end - 1} ended with exit code {code}: "
            f"{why.get(code, 'its own code, or that of its simulator, ended it')}. threads=1 uses no other process"
        )


_open: weakref.WeakSet[ProcessWorkers] = weakref.WeakSet()


@atexit.register  # before multiprocessing's own handler, which waits for processes that still listen
def _close_all() -> None:
    for workers in list(_open):
        workers.close()


def _run_worker(
    pipe: Connection,
    source: EnvironmentSource,
    sizes: dict[str, int],
    n: int,
    memory: Any,
    first: int,
    end: int,
) -> None:
    """Obeys orders until the pipe is closed. Each answer is empty, or says what went wrong."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    rows, orders = Rows(sizes, n, memory), {"reset": _reset, "step": lambda *given: _step(*given[:-1])}
    readers: list[EnvironmentReader] = []
    order, worlds, seeds = "make", [], []
    while True:
        problem = ""
        try:
            if order == "make":
                readers = [EnvironmentReader(source) for _ in range(first, end)]
            else:
                orders[order](readers, rows, first, worlds, seeds)
        except EnvironmentFailed as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001 (told to the process that asked)
            problem = f"{source.id}: {type(error).__name__}: {error}\n{traceback.format_exc()}"
        try:
            pipe.send(problem)
            order, worlds, seeds = pipe.recv()
        except (EOFError, OSError):
            return


def _reset(readers: list[EnvironmentReader], rows: Rows, first: int, worlds: list[int], seeds: list[int]) -> None:
    for world, seed in zip(worlds, seeds, strict=True):
        readers[world - first].reset(seed)
        rows.store(world, readers[world - first])


def _step(readers: list[EnvironmentReader], rows: Rows, first: int, worlds: list[int]) -> None:
    for world in worlds:
        readers[world - first].step(rows.action[world])
        rows.store(world, readers[world - first])
