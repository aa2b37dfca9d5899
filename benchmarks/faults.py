"""What every fault does to a deployment: `python -m benchmarks.faults --json FILE [--quick]`.

The emulator serves an FR3 (through franky) and a Panda (through franka-rs) over real sockets, at the pace of the wall
clock but waiting for a client that is late, so that faults stop the arm and not the load of this machine; a deployment
in processes of its own drives it. Every fault of the injection API, every death of a process, and whatever else ends a
stream, comes while the arm is idle (connected, nothing streamed), moving, or gripping; some endings also with a hand as
slow as users report of the real one. Per row: what the client saw, what the arm did by the emulator's own log and in
what time, the time stated for it, how far the hand came to rest from where it was when the arm was to stop (its bound:
the braking distance at the measured speed + 5 mm), the largest share of any official limit that a command or the arm
itself used (`_fault_judge.py` says what is checked by what), whether the operator got a cause and a remedy, whether the
episode was saved, and how deployment went on. `--quick`: the moving FR3 only.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._fault_judge import OWN, Rest, rest_from, stop_of, used
from benchmarks._fault_list import ROBOT, SLOW_HAND, Fault, faults_in
from benchmarks._fault_stage import Stage, until
from benchmarks.output import arguments, report
from robo_reward.data.episode import EpisodeStore
from robo_reward.envs.arm.model import get_arm_model
from robo_reward.hardware.emulator.wire.versions import RobotMode

HOSTS = {"fr3": "127.0.4.21", "panda": "127.0.4.22"}
SITUATIONS = ("idle", "moving", "gripping", SLOW_HAND)
NOTICED = 0.5
"""Time after the fault at which an idle deployment is resumed [s]."""
LATE, TRIES = 0.2, 5
"""A row is repeated, up to `TRIES` times, if the emulator's clock fell behind by more than `LATE` [s] before the bridge
had stopped the arm, or if something other than the fault ended the episode. Both happen on a busy machine."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        robot: `fr3` or `panda`.
        fault: its name.
        situation: `idle`, `moving` or `gripping`.
        seen: by the client: the fault, or why the episode ended.
        reaction: of the arm: `reflex NAME`, `user stop` or `guiding` on its own, `robot` if it gave no name, `bridge`
            if the bridge stopped it, or `goes on`; `stands` if it did not move, `moves` if it moved and must not.
        seconds: from the fault until the arm stopped for good, by the emulator's log; None if it continued.
        late: how far the emulator's clock fell behind meanwhile [s]; above `LATE` the row is invalid.
        within: the stated time for the stop [s]; None if it may continue.
        optional: whether it may also continue.
        rest_from_request_mm: the hand's distance from its measured pose at the request to stop to the final one, of the
            stop in this row that came closest to its bound or passed it [mm]; None if no stop was requested.
        rest_bound_mm: the braking distance at the measured speed at that time, plus 5 mm [mm].
        farthest_mm: largest distance of the hand from its pose at the request meanwhile [mm].
        used: the largest share of each limit, from the end of the previous row to the next episode.
        must_inform: whether there is anything to report: not if the fault had no effect, nor if it killed an idle
            deployment, which leaves nothing behind.
        message: cause and remedy as shown to the operator.
        saved: whether the episode is in the store; None if none was running.
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
    optional: bool
    rest_from_request_mm: float | None
    rest_bound_mm: float | None
    farthest_mm: float | None
    used: dict[str, float]
    must_inform: bool
    message: str
    saved: bool | None
    went_on: str

    @property
    def in_time(self) -> bool:
        """True if the arm stopped within the stated time, or continued where it may."""
        if self.reaction == "goes on" and self.optional:
            return True
        if self.within is None:
            return self.reaction in ("goes on", "stands")
        return self.seconds is not None and self.seconds <= self.within

    @property
    def inside(self) -> bool:
        """True if all limits were respected."""
        return max(self.used.values()) <= 1.0

    @property
    def rests(self) -> bool:
        """True if the arm stopped within its braking distance."""
        if self.rest_from_request_mm is None or self.rest_bound_mm is None:
            return False
        return self.rest_from_request_mm <= self.rest_bound_mm

    @property
    def informed(self) -> bool:
        """True if the operator saw a cause and a remedy, or there was nothing to report."""
        return bool(self.message) or not self.must_inform

    @property
    def fine(self) -> bool:
        """True if the row passes all checks."""
        kept = self.in_time and self.rests and self.inside
        return kept and self.informed and self.saved is not False and bool(self.went_on)


def rows_of(robot: str, situation: str, faults: tuple[Fault, ...] | None = None) -> list[Row]:
    """Runs the faults one after another on the same arm; each starts from the state that the previous one left."""
    faults = faults_in(situation) if faults is None else faults
    with tempfile.TemporaryDirectory() as folder, Stage(robot, HOSTS[robot], situation, Path(folder)) as stage:
        rows = []
        for fault in faults:
            row = undisturbed(stage, fault)
            rows.append(row)
            print(table(rows[-1:]).splitlines()[1], flush=True)
        return rows


def undisturbed(stage: Stage, fault: Fault) -> Row:
    """Returns the first row that shows only the fault, or the last row."""
    for _ in range(TRIES):
        row = (idle_row if stage.situation == "idle" else running_row)(stage, fault)
        in_time = row.reaction != "bridge" or row.late <= LATE
        unhurt = fault.optional and row.reaction == "goes on"
        if in_time and (stage.situation == "idle" or unhurt or fault.sign in row.seen):
            break
    return row


def running_row(stage: Stage, fault: Fault) -> Row:
    """Injects the fault in the middle of an episode; another episode follows."""
    key, before = stage.ready(), set(stage.episodes())
    since, lines = stage.emulator.session.time, len(stage.said())
    fault.inject(stage)
    until(lambda: not stage.alive or not (stage.folder / "live" / key).exists())
    at_rest(stage)
    went_on = find_continuation(stage, stage.ready)
    return outcome(stage, fault, since, lines, before, key, went_on)


def idle_row(stage: Stage, fault: Fault) -> Row:
    """Injects the fault before the first motion is confirmed."""
    stage.idle()
    before, since, lines = set(stage.episodes()), stage.emulator.session.time, len(stage.said())
    fault.inject(stage)
    until(lambda: not stage.alive, NOTICED)
    went_on = find_continuation(stage, lambda: stage.whole_episode(before))
    return outcome(stage, fault, since, lines, before, "", went_on)


def at_rest(stage: Stage) -> None:
    """Waits until a motion whose deployment is dead has ended."""
    until(lambda: stage.alive or stage.emulator.session.mode != RobotMode.MOVE, 5)


def find_continuation(stage: Stage, go_on: Any) -> str:
    """Returns how the deployment continued: `same` process, `new` process, or empty."""
    begun = stage.starts
    return ("same" if stage.starts == begun else "new") if go_on() else ""


def outcome(stage: Stage, fault: Fault, since: int, lines: int, before: set[str], key: str, went_on: str) -> Row:
    """Returns the resulting row."""
    cycles, episodes = stage.emulator.log.cycles(since), stage.episodes()
    new = [name for name in episodes if name not in before]
    store = EpisodeStore(stage.folder / "episodes")
    streams = [store.load(name, frames=False).meta["commands"]["joints"] for name in new]
    asked = [episodes[name].get("stop_time") for name in new]
    rest = worst_rest(cycles, stage.robot, requests(cycles, since, fault.unseen, asked))
    stop, said = stop_of(cycles, since), stage.said()[lines:]
    about = episodes.get(key, {})
    if (fault.within is None or fault.optional) and about.get("ending") == "horizon":
        stop = stop._replace(reaction="goes on", seconds=None, late=0.0)
    if fault.within == ROBOT and stop.reaction == "bridge":
        stop = stop._replace(reaction="robot")
    if fault.still:
        before_cleared = cycles[cycles["message_id"] < stage.cleared]
        moved = bool((before_cleared["robot_mode"] == RobotMode.MOVE).any())
        stop = stop._replace(reaction="moves" if moved else "stands")
    shares = used(cycles, stage.robot, [stream for stream in streams if len(stream)])
    return Row(
        stage.robot, fault.name, stage.situation, seen(about, said), *stop, fault.within, fault.optional,
        *millimetres(rest), shares,
        must_inform(fault, key, went_on, stop.reaction), find_fault_message(said),
        key in episodes if key else None, went_on,
    )  # fmt: skip


def requests(cycles: np.ndarray, since: int, unseen: float | None, asked: list[float | None]) -> list[int]:
    """Returns the indices of the cycles with a stop request, by the bridge or by the robot itself.

    Args:
        cycles: of the emulator's log, from the fault on.
        since: robot time of the fault [ms].
        unseen: delay until the bridge notices a fault that no process can record [s], or None.
        asked: when the bridge requested a stop, by the wall clock [s]; None if it did not record that.
    """
    found = [int(np.searchsorted(cycles["wall"], when)) for when in asked if when is not None]
    moves = cycles["robot_mode"] == RobotMode.MOVE
    for mode in OWN:
        own = cycles["robot_mode"] == mode
        found.extend(int(i) + 1 for i in np.flatnonzero(own[1:] & moves[:-1]))
    if unseen is not None:
        found.append(int(np.searchsorted(cycles["message_id"], since + round(1000 * unseen))))
    return [i for i in found if i < len(cycles)]


def worst_rest(cycles: np.ndarray, robot: str, places: list[int]) -> Rest | None:
    """Returns the stop that is worst relative to its bound, or None if no stop was requested."""
    rests = [rest_from(cycles, get_arm_model(robot), place) for place in places]
    return max(rests, key=lambda rest: rest.distance / rest.bound, default=None)


def millimetres(rest: Rest | None) -> tuple[float | None, float | None, float | None]:
    """Returns distance, bound and farthest of a stop [mm]."""
    if rest is None:
        return None, None, None
    return round(1000 * rest.distance, 2), round(1000 * rest.bound, 2), round(1000 * rest.farthest, 2)


def seen(about: dict[str, Any], said: list[str]) -> str:
    """Returns a short form of what the client saw."""
    text = str(about.get("fault") or about.get("text") or "")
    if not text:
        text = next((line for line in said if not line.endswith("?")), "nothing")
    return text.split(". ")[0][:100]


def must_inform(fault: Fault, key: str, went_on: str, reaction: str) -> bool:
    """Returns whether there is anything to report."""
    if fault.asked or (fault.optional and reaction == "goes on"):
        return False
    if fault.still:
        return True
    return bool(fault.within) if key else went_on != "same" and not fault.mute


def find_fault_message(said: list[str]) -> str:
    """Returns the operator's first message with a cause and a remedy."""
    return next((line for line in said if not line.endswith("?") and ". " in line), "")


def table(rows: list[Row]) -> str:
    """Returns the rows as aligned text."""
    yes = {True: "yes", False: "NO", None: "-"}
    head = ("robot", "fault", "when", "reaction", "s", "stated", "rest mm", "bound mm")
    head += ("limits", "informed", "saved", "goes on", "fine", "seen")
    body = [
        (
            r.robot, r.fault, r.situation, r.reaction, number(r.seconds), number(r.within),
            number(r.rest_from_request_mm), number(r.rest_bound_mm), number(max(r.used.values())),
            yes[r.informed], yes[r.saved], r.went_on or "NO", yes[r.fine], r.seen,
        )
        for r in rows
    ]  # fmt: skip
    widths = [max(len(str(line[i])) for line in (head, *body)) for i in range(len(head))]
    lines = ["  ".join(str(cell).ljust(w) for cell, w in zip(line, widths, strict=True)) for line in (head, *body)]
    return "\n".join(line.rstrip() for line in lines)


def number(value: float | None) -> str:
    """Formats a number of the table."""
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
    values["farthest_rest_mm"] = max((r.rest_from_request_mm for r in rows if r.rest_from_request_mm), default=0.0)
    values["rests_not_where_it_was"] = sum(not r.rests for r in rows)
    values["largest_share_of_a_limit"] = max(max(r.used.values()) for r in rows)
    details = {"table": [{**asdict(r), "fine": r.fine} for r in rows]} if args.json else {}
    report(args, {**values, **details}, {"not_fine": "<= 0"})


if __name__ == "__main__":
    main()
