"""Labels per minute through the labelling page's server: `python -m benchmarks.labels --json FILE [--quick]`.

Eight annotators at once answer as fast as they are asked, over HTTP, with SQLite and with PostgreSQL behind. In the
middle the server is killed by SIGKILL and restarted; then PostgreSQL is shut down without warning and restarted. Every
annotator repeats unacknowledged answers under the same uuid. At the end the store is compared with the acknowledged
answers.
"""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cluster import MISSING, Cluster, binaries
from benchmarks.output import arguments, report
from robo_reward.envs.video.files import write_video
from robo_reward.labelling.answers import new_uuid
from robo_reward.labelling.store import PreferenceStore
from robo_reward.web.server import listen

ANNOTATORS = 8
CLIPS = 64
TARGETS = {
    **{f"{kind}_labels_per_minute": ">= 500" for kind in ("sqlite", "postgres")},
    **{f"{kind}_lost": "<= 0" for kind in ("sqlite", "postgres")},
    **{f"{kind}_counted_twice": "<= 0" for kind in ("sqlite", "postgres")},
}


class Page:
    """Runs `robo-reward label` as a process, always on the same port."""

    def __init__(self, folder: Path, where: str) -> None:
        with listen("127.0.0.1", 0) as probe:
            self.port = probe.getsockname()[1]
        self._command = [sys.executable, "-m", "robo_reward.cli", "label", str(folder)]
        self._command += [f"preferences='{where}'", f"port={self.port}", "target=100000"]
        self.start()

    def start(self) -> None:
        """Starts the server and waits for its address."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := re.search(r"http://[^/]*(/\S+)", line):
                self.path = found.group(1)
                return
        raise RuntimeError(f"{' '.join(self._command)} ended with {self._process.wait()}")

    def kill(self) -> None:
        """Kills the server with SIGKILL."""
        self._process.kill()
        self._process.communicate()


@dataclass
class Annotator:
    """One client: asks, answers, and repeats what was not acknowledged.

    Args:
        name: of the annotator.
        page: the server to ask.
        stop: ends the client when set.
        acknowledged: uuids that the server confirmed to be on disk.
        seconds: the time that each of them took [s].
    """

    name: str
    page: Page
    stop: threading.Event
    acknowledged: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    _connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        """Answers until asked to stop; the left clip is always better."""
        while not self.stop.is_set():
            for query in self._insist("GET", f"api/queries?annotator={self.name}&tab={self.name}&count=5"):
                clips = [clip["id"] for clip in query["clips"]]
                said = {"clips": clips, "ranking": [[clip] for clip in clips], "text": "", "seconds": 0.1}
                event = {"uuid": new_uuid(), "annotator": self.name, "source": query["source"], **said}
                begun = time.perf_counter()
                self._insist("POST", "api/events", event)
                self.acknowledged.append(event["uuid"])
                self.seconds.append(time.perf_counter() - begun)
        self._hang_up()

    def _hang_up(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None

    def _insist(self, method: str, path: str, value: Any = None) -> Any:
        """Repeats a request until it succeeds."""
        while True:
            try:
                return self._ask(method, path, value)
            except (OSError, http.client.HTTPException):
                self._hang_up()
                time.sleep(0.1)

    def _ask(self, method: str, path: str, value: Any) -> Any:
        self._connection = self._connection or http.client.HTTPConnection("127.0.0.1", self.page.port, timeout=30)
        body = None if value is None else json.dumps(value)
        self._connection.request(method, self.page.path + path, body, {"content-type": "application/json"})
        reply = self._connection.getresponse()
        content = reply.read()
        if reply.status >= 500:
            raise OSError(reply.status)
        if reply.status != 200:
            raise RuntimeError(f"{method} {path}: {reply.status} {content[:200]}")
        return json.loads(content)


def measure(folder: Path, where: str, seconds: float, disturb: list[Callable[[Page], None]]) -> dict[str, float]:
    """Lets all annotators answer, with disturbances at regular intervals; counts lost answers."""
    page, stop = Page(folder, where), threading.Event()
    people = [Annotator(f"person{i}", page, stop) for i in range(ANNOTATORS)]
    threads = [threading.Thread(target=person.run) for person in people]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    away = 0.0
    for disturbance in disturb:
        time.sleep(seconds / (len(disturb) + 1))
        down = time.perf_counter()
        disturbance(page)
        away += time.perf_counter() - down
    time.sleep(seconds / (len(disturb) + 1))
    stop.set()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - begun
    page.kill()
    acknowledged = [uuid for person in people for uuid in person.acknowledged]
    with PreferenceStore(where) as store:
        stored = [answer.uuid for answer in store.load_answers()]
        pairs = [(answer.annotator, frozenset(answer.clips)) for answer in store.load_answers()]
    waits = np.array([s for person in people for s in person.seconds])
    return {
        "labels_per_minute": 60 * len(acknowledged) / took,
        "acknowledged": len(acknowledged),
        "stored": len(stored),
        "lost": len(set(acknowledged) - set(stored)),
        "counted_twice": len(stored) - len(set(pairs)),
        "away_s": away,
        "median_ms": 1000 * float(np.median(waits)),
        "p99_ms": 1000 * float(np.quantile(waits, 0.99)),
    }


def kill_and_restart(page: Page) -> None:
    """Kills the server with SIGKILL and restarts it."""
    page.kill()
    page.start()


def make_clips(folder: Path) -> Path:
    """Writes small videos, all different."""
    for i in range(CLIPS):
        frames = np.full((4, 32, 32, 3), (4 * i % 256, 90, 160), np.uint8)
        frames[:, 8:16, i % 24 : i % 24 + 8] = 255 - i
        write_video(folder / f"clip{i:02}.mp4", frames, fps=20)
    return folder


def main() -> None:
    """Measures, prints and writes."""
    args = arguments(__doc__)
    seconds = 10.0 if args.quick else 60.0
    values: dict[str, Any] = {"annotators": ANNOTATORS}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        clips = make_clips(folder / "clips")
        found = measure(clips, str(folder / "preferences.db"), seconds, [kill_and_restart])
        values |= {f"sqlite_{name}": value for name, value in found.items()}
        if binaries() is None:
            print(MISSING, file=sys.stderr)
        else:
            cluster = stack.enter_context(Cluster())

            def power_cut(page: Page) -> None:
                cluster.stop()
                cluster.start()

            found = measure(clips, cluster.database(), seconds, [kill_and_restart, power_cut])
            values |= {f"postgres_{name}": value for name, value in found.items()}
    report(args, values, {name: target for name, target in TARGETS.items() if name in values})


if __name__ == "__main__":
    main()
