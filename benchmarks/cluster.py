"""A private PostgreSQL cluster for tests and measurements: on loopback, in a temporary folder, unprivileged."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

MISSING = "no PostgreSQL server on this machine: apt-get install postgresql"


def binaries() -> Path | None:
    """Returns the folder with `initdb` and `postgres`; Debian does not put it on the path."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next(
        (folder for folder in folders if (folder / "initdb").is_file() and (folder / "postgres").is_file()), None
    )


class Cluster:
    """A cluster that runs during a `with` statement; commits are written to disk as usual.

    PostgreSQL refuses to run as root; then it runs as the user `postgres` or `nobody`.
    """

    def __enter__(self) -> Cluster:
        folder = binaries()
        if folder is None:
            raise RuntimeError(MISSING)
        self._binaries, self._password = folder, secrets.token_hex(16)
        self._folder = Path(tempfile.mkdtemp(prefix="robo-reward-postgres-"))
        self.port = _free_port()
        self._as = _somebody()
        try:
            self._make()
            self.start()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, database: str = "postgres") -> str:
        """URL for `PreferenceStore`."""
        return f"postgresql://robo:{self._password}@127.0.0.1:{self.port}/{database}"

    def database(self) -> str:
        """The URL of a new, empty database."""
        import psycopg

        name = f"robo_{secrets.token_hex(6)}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        command = [self._binaries / "postgres", "-D", self._folder / "data", "-p", str(self.port)]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        log = (self._folder / "log").open("ab")
        self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", **self._as)
        log.close()
        end = time.monotonic() + 60
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"PostgreSQL did not start: {(self._folder / 'log').read_text()[-500:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Kills the server, like a power cut: committed data is there after the next `start`."""
        self._process.send_signal(signal.SIGQUIT)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _make(self) -> None:
        secret = self._folder / "password"
        secret.write_text(self._password)
        if "user" in self._as:
            for path in (self._folder, secret):
                os.chown(path, self._as["user"], self._as["group"])
        command = [self._binaries / "initdb", "-D", self._folder / "data", "-U", "robo", "--pwfile", secret]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync"]
        subprocess.run(command, check=True, capture_output=True, cwd="/", **self._as)

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


def _somebody() -> dict[str, Any]:
    """Returns arguments of `subprocess` that drop root privileges; none for other users."""
    if os.geteuid() != 0:
        return {}
    names = [entry.pw_name for entry in pwd.getpwall()]
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
