"""What every fault does to a deployment: `python -m benchmarks.faults --json FILE [--quick]`.

The emulator serves an FR3 (through franky) and a Panda (through franka-rs) over real sockets; a deployment in processes
of its own drives it. Every fault of the injection API, and every death of a process, comes while the arm is idle
(connected, nothing streamed), moving, or gripping. Per row: what the client saw, what the arm did by the emulator's own
log and in what time, the time stated for it, the largest share of any official limit that a command or the arm itself
used (`_fault_judge.py` says what is checked by what), whether the operator got a cause and a remedy, whether the
episode was saved, and how deployment went on. `--quick`: the moving FR3 only.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks._fault_judge import stop_of, used
from benchmarks._fault_list import FAULTS, Fault
from benchmarks._fault_stage import Stage, until
from benchmarks.output import arguments, report
from robo_reward.episode import EpisodeStore
from robo_reward.hardware.emulator.versions import RobotMode

HOSTS = {"fr3": "127.0.4.21", "panda": "127.0.4.22"}
SITUATIONS = ("idle", "moving", "gripping")
NOTICED = 0.5
"""An idle deployment is told to go on this long after the fault [s]."""
LATE, TRIES = 0.2, 5
"""Where the emulator's own clock falls behind by more than this until the arm stands, the row is repeated [s]."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        robot: `fr3` or `panda`.
        fault: its name.
        situation: `idle`, `moving` or `gripping`.
        seen: by the client: the fault, or why the episode ended.
        reaction: of the arm: `reflex NAME`, `user stop` or `guiding` of its own, `bridge` where that stopped it, or
            `goes on`; `stands` if it did not move.
        seconds: from the fault until the arm stood for good, by the emulator's log; none if it went on.
        late: how far the emulator's clock fell behind meanwhile [s]; above `LATE` a row says nothing.
        within: the time stated for it [s]; none if it may go on.
        used: the largest share of each limit, from the end of the row before to the next episode.
        to_tell: whether there is anything to tell: not where nothing came of the fault, nor where it killed an idle
            deployment, which leaves nothing behind.
        told: what the operator read of cause and remedy.
        saved: the episode is in the store; none where none was under way.
        went_on: `same` deployment or a `new` one ran another episode; empty if none did.
    """

    robot: str
    fault: str
    situation: str
    seen: str
    reaction: str
    seconds: float | None
    late: float
    within: float | None
    used: dict[str, float]
    to_tell: bool
    told: str
    saved: bool | None
    went_on: str

    @property
    def in_time(self) -> bool:
        """Whether the arm stood within the stated time, or went on if it could."""
        if self.within is None:
            return self.reaction in ("goes on", "stands")
        return self.seconds is not None and self.seconds <= self.within

    @property
    def inside(self) -> bool:
        """Whether all limits were kept."""
        return max(self.used.values()) <= 1.0

    @property
    def informed(self) -> bool:
        """Whether the operator knows what there is to know."""
        return bool(self.told) or not self.to_tell

    @property
    def fine(self) -> bool:
        """Whether nothing is left to wish."""
        return self.in_time and self.inside and self.informed and self.saved is not False and bool(self.went_on)


def rows_of(robot: str, situation: str, faults: tuple[Fault, ...] = FAULTS) -> list[Row]:
    """One fault after the other on the same arm; what one leaves behind is where the next begins."""
    with tempfile.TemporaryDirectory() as folder, Stage(robot, HOSTS[robot], situation, Path(folder)) as stage:
        rows = []
        for fault in faults:
            for _ in range(TRIES):
                row = (idle_row if situation == "idle" else running_row)(stage, fault)
                if row.late <= LATE:
                    break
            rows.append(row)
            print(table(rows[-1:]).splitlines()[1], flush=True)
        return rows


def running_row(stage: Stage, fault: Fault) -> Row:
    """The fault comes in the middle of an episode; another episode follows."""
    key, before = stage.ready(), set(stage.episodes())
    since, lines = stage.emulator.session.time, len(stage.said())
    fault.inject(stage)
    until(lambda: not stage.alive or not (stage.folder / "live" / key).exists())
    at_rest(stage)
    went_on = how(stage, stage.ready)
    return outcome(stage, fault, since, lines, before, key, went_on)


def idle_row(stage: Stage, fault: Fault) -> Row:
    """The fault comes before the first motion is confirmed."""
    stage.idle()
    before, since, lines = set(stage.episodes()), stage.emulator.session.time, len(stage.said())
    fault.inject(stage)
    until(lambda: not stage.alive, NOTICED)
    went_on = how(stage, lambda: stage.whole_episode(before))
    return outcome(stage, fault, since, lines, before, "", went_on)


def at_rest(stage: Stage) -> None:
    """Waits until a motion whose deployment is dead has ended."""
    until(lambda: stage.alive or stage.emulator.session.mode != RobotMode.MOVE, 5)


def how(stage: Stage, go_on: Any) -> str:
    """How deployment went on."""
    begun = stage.starts
    return ("same" if stage.starts == begun else "new") if go_on() else ""


def outcome(stage: Stage, fault: Fault, since: int, lines: int, before: set[str], key: str, went_on: str) -> Row:
    """What came of it."""
    cycles, episodes = stage.emulator.log.cycles(since), stage.episodes()
    new = [name for name in episodes if name not in before]
    store = EpisodeStore(stage.folder / "episodes")
    streams = [store.load(name, frames=False).meta["commands"]["joints"] for name in new]
    stop, said = stop_of(cycles, since), stage.said()[lines:]
    about = episodes.get(key, {})
    if fault.within is None and about.get("ending") == "horizon":
        stop = stop._replace(reaction="goes on", seconds=None, late=0.0)
    shares = used(cycles, stage.robot, [stream for stream in streams if len(stream)])
    return Row(
        stage.robot, fault.name, stage.situation, seen(about, said), *stop, fault.within, shares,
        to_tell(fault, key, went_on), told(said), key in episodes if key else None, went_on,
    )  # fmt: skip


def seen(about: dict[str, Any], said: list[str]) -> str:
    """What the client saw, in short."""
    text = str(about.get("fault") or about.get("text") or "")
    if not text:
        text = next((line for line in said if not line.endswith("?")), "nothing")
    return text.split(". ")[0][:100]


def to_tell(fault: Fault, key: str, went_on: str) -> bool:
    """Whether there is anything to tell."""
    return bool(fault.within) if key else went_on != "same" and not fault.mute


def told(said: list[str]) -> str:
    """The first thing that the operator read which has a cause and a remedy."""
    return next((line for line in said if not line.endswith("?") and ". " in line), "")


def table(rows: list[Row]) -> str:
    """The rows as aligned text."""
    head = ("robot", "fault", "when", "reaction", "s", "stated", "limits", "told", "saved", "goes on", "fine", "seen")
    yes = {True: "yes", False: "NO", None: "-"}
    body = [
        (
            r.robot, r.fault, r.situation, r.reaction, seconds(r.seconds), seconds(r.within),
            f"{max(r.used.values()):.2f}", yes[r.informed], yes[r.saved], r.went_on or "NO", yes[r.fine], r.seen,
        )
        for r in rows
    ]  # fmt: skip
    widths = [max(len(str(line[i])) for line in (head, *body)) for i in range(len(head))]
    lines = ["  ".join(str(cell).ljust(w) for cell, w in zip(line, widths, strict=True)) for line in (head, *body)]
    return "\n".join(line.rstrip() for line in lines)


def seconds(value: float | None) -> str:
    """A time in the table."""
    return "-" if value is None else f"{value:.2f}"


def main(argv: list[str] | None = None) -> None:
    """Prints the table and writes JSON."""
    args = arguments(__doc__, argv)
    robots = ("fr3",) if args.quick else tuple(HOSTS)
    situations = ("moving",) if args.quick else SITUATIONS
    rows = [row for robot in robots for situation in situations for row in rows_of(robot, situation)]
    print(f"\n{table(rows)}\n")
    slowest = max((r.seconds for r in rows if r.seconds is not None), default=0.0)
    values = {"rows": len(rows), "not_fine": sum(not r.fine for r in rows), "slowest_stop_s": slowest}
    values["largest_share_of_a_limit"] = max(max(r.used.values()) for r in rows)
    details = {"table": [{**asdict(r), "fine": r.fine} for r in rows]} if args.json else {}
    report(args, {**values, **details}, {"not_fine": "<= 0"})


if __name__ == "__main__":
    main()
