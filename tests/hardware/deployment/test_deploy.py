import errno
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robo_reward.data.episode import EpisodeStore
from robo_reward.envs.batch import BatchSim
from robo_reward.envs.task import make_task
from robo_reward.envs.video.files import VideoError
from robo_reward.errors import MissingExtra
from robo_reward.hardware.arm import ArmFault, ArmState, FaultKind, Mode, Target
from robo_reward.hardware.deployment.dry_run import dry_run
from robo_reward.hardware.deployment.journal import DiskFailed, EpisodeNotStored
from robo_reward.hardware.deployment.session import (
    MAX_CONFIRMATIONS,
    DeploymentSession,
    check_policy_compatibility,
)
from robo_reward.hardware.deployment.summary import DeploymentSummary
from robo_reward.hardware.deployment.time_scale import TimeScale
from robo_reward.hardware.drivers.mujoco import MujocoArm
from robo_reward.hardware.perception.cameras import Frame
from robo_reward.hardware.policy.process import PolicyReply
from robo_reward.hardware.policy.teleop import TeleopInput
from robo_reward.hardware.safety.fault_messages import make_fault
from robo_reward.hardware.safety.filter import SafetyFilter
from robo_reward.hardware.safety.limits import policy_limits
from robo_reward.hardware.safety.recovery import Phase
from robo_reward.language.language import compile_program
from robo_reward.policies.evaluate import wilson_interval
from tests.hardware.rigs import Inline, Person, closed, simulated


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[Any]:
    made: list[DeploymentSession] = []

    def make(**arguments: Any) -> DeploymentSession:
        made.append(simulated(tmp_path, **arguments))
        return made[-1]

    yield make
    for deployment in made:
        closed(deployment)


def simulated_arm(deployment: DeploymentSession) -> MujocoArm:
    arm = deployment.rig.arm
    assert isinstance(arm, MujocoArm)
    return arm


def test_episodes_are_recorded_with_everything(deployed: Any) -> None:
    deployment = deployed(episodes=2, frames=True)
    value = deployment.run().to_json()
    assert value["episodes"] == 2 and value["stopped"] == "" and value["faults"] == []
    assert [e["reason"] for e in value["each"]] == ["horizon", "horizon"]
    assert (value["low"], value["high"]) == wilson_interval(value["successes"], 2)
    for episode, each in zip(deployment.store, value["each"], strict=True):
        assert len(episode) == 12
        assert episode.frames is not None and episode.frames.shape == (13, 16, 16, 3)
        meta = episode.meta
        assert meta["verdicts"] == ["follow"] * 12 and meta["success_by"] == "task"
        wrench = np.array(meta["measured"]["wrench"])
        assert each["peak_force"] == pytest.approx(np.sqrt((wrench[:, :3] ** 2).sum(axis=1)).max(), abs=0.06)
        assert len(meta["commands"]["joints"]) >= 12 * 8
        assert len(meta["measured"]["q"]) == 13
        np.testing.assert_allclose(np.array(meta["measured"]["q"]), episode.states.joint_position, atol=1e-6)
        np.testing.assert_array_equal(episode.action[:5, 1], 0.5)
        assert meta["latency_ms"]["inference"]["count"] == 12
        assert json.loads(json.dumps(meta)) == meta
    assert value["latency_ms"]["step"]["count"] == 24
    assert list(deployment.folder.iterdir()) == []
    assert deployment.rig.machine.phase is Phase.IDLE


def test_at_full_tempo_and_without_limits_in_the_way_the_arm_goes_where_the_simulation_goes(deployed: Any) -> None:
    """The loop around the arm is the simulator's own control step, but for the smoothing of commands."""
    deployment = deployed(horizon=5)  # all in one direction
    task = deployment.rig.task
    wide = policy_limits(task.arm, speed=0.8, acceleration=0.8)
    deployment.rig.filter = SafetyFilter.from_task(task, wide)
    deployment.run()
    episode = next(iter(deployment.store))
    sim = BatchSim(task, 1, 0, threads=1)
    start = np.array(episode.meta["measured"]["q"][0])
    sim.qpos[0, :7] = start
    sim._controls[0, :7] = start
    for action in episode.action:
        sim.step(action[None])
    gone = sim.state.hand_position[0] - episode.states.hand_position[0]
    went = episode.states.hand_position[-1] - episode.states.hand_position[0]
    assert abs(gone[1]) > 0.02
    assert np.abs(gone - went).max() < 0.3 * abs(gone[1])


def test_the_same_seed_gives_the_same_starts_and_another_start_goes_on(deployed: Any) -> None:
    first = deployed(episodes=1).run().to_json()
    second = deployed(episodes=3)
    value = second.run().to_json()
    assert first["episodes"] == 1 and value["episodes"] == 3
    keys = second.store.keys()
    assert keys == ("episode-0000", "episode-0001", "episode-0002")
    starts = [e.state[0] for e in second.store]
    assert not np.allclose(starts[0], starts[1])
    again = deployed(episodes=3).run()
    assert len(again.episodes) == 3 and again.stopped == ""


def test_nothing_moves_before_a_person_says_so(deployed: Any) -> None:
    deployment = deployed(person=Person(yes=False))
    before = deployment.rig.arm.state().q
    summary = deployment.run()
    assert "was not confirmed" in summary.stopped and summary.episodes == []
    np.testing.assert_array_equal(deployment.rig.arm.state().q, before)


@pytest.mark.parametrize(
    ("kind", "reason", "words"),
    [
        ("nan", "safety", "not finite in dx"),
        ("dies", "policy", "ended with code 3"),
        ("raises", "policy", "ZeroDivisionError"),
        ("stalls", "watchdog", "the policy was silent"),
    ],
)
def test_whatever_the_policy_does_the_arm_rests_and_the_episode_is_kept(
    deployed: Any, kind: str, reason: str, words: str
) -> None:
    person = Person(yes=False)
    deployment = deployed(kind=kind, wall=True, horizon=60, person=person, retries=0)
    person.yes = True
    summary = deployment.run()
    assert summary.episodes[0].reason == reason and summary.episodes[0].outcome == "faulted"
    assert summary.stopped and summary.to_json()["success"] is None
    assert words in " ".join(person.messages)
    episode = next(iter(deployment.store))
    assert 5 <= len(episode) < 60 and np.isfinite(episode.state).all()
    assert np.abs(deployment.rig.arm.state().dq).max() < 1e-2
    assert np.isfinite(np.array(episode.meta["commands"]["joints"])).all()


def test_a_late_policy_makes_the_arm_rest_where_it_was_told_to_be(deployed: Any) -> None:
    deployment = deployed(kind="stalls", wall=True, horizon=60, retries=0)
    deployment.run()
    verdicts = next(iter(deployment.store)).meta["verdicts"]
    assert verdicts[:5] == ["follow"] * 5
    assert set(verdicts[5:]) == {"hold"} and len(verdicts) >= 8


@pytest.mark.parametrize("kind", ["inf", "one", "three", "seven", "text", "deep", "empty"])
def test_what_is_no_action_holds_and_then_stops_and_the_episode_is_kept_right(deployed: Any, kind: str) -> None:
    deployment = deployed(policy=Inline(f"fr3/lift {kind}"), horizon=30, retries=0)
    summary = deployment.run()
    assert [e.reason for e in summary.episodes] == ["safety"]
    assert "3 unusable actions in a row" in deployment.operator.messages[0]
    episode = deployment.store.load("episode-0000")
    assert episode.meta["verdicts"] == ["follow"] * 5 + ["hold", "hold", "stop"]
    assert episode.action.shape == (8, 4) and np.isfinite(episode.action).all()
    np.testing.assert_array_equal(episode.action[:5, 1], 0.5)
    q = np.array(episode.meta["measured"]["q"])
    assert q.shape == (9, 7) and np.abs(q - q[0]).max() < 0.2
    assert list(deployment.folder.iterdir()) == []


def damaged(deployment: DeploymentSession, what: str) -> None:
    """A journal as no deployment of this version leaves it."""
    folder = deployment.folder / "episode-0000"
    folder.mkdir(parents=True)
    rows = np.random.default_rng(0).normal(size=(5, 100)).tobytes()
    (folder / "rows").write_bytes(rows)
    head = {"task_id": "fr3/lift", "spec": deployment.rig.task.spec.to_json(), "actions": 4, "frame_shape": None}
    texts = {
        "another width": json.dumps({**head, "meta": {}}),
        "half a head": json.dumps(head)[:40],
        "huge frames": json.dumps({**head, "frame_shape": [10**9] * 3, "meta": {}}),
    }
    if what in texts:
        (folder / "head.json").write_text(texts[what])


@pytest.mark.parametrize("what", ["another width", "half a head", "huge frames", "no head"])
def test_a_journal_that_cannot_be_read_is_set_aside_and_the_deployment_goes_on(deployed: Any, what: str) -> None:
    person = Person()
    deployment = deployed(person=person)
    damaged(deployment, what)
    rows = (deployment.folder / "episode-0000" / "rows").read_bytes()
    value = deployment.run().to_json()
    assert value["episodes"] == 1 and value["made"] == 1
    kept = deployment.folder.parent / "set_aside" / "episode-0000"
    assert (kept / "rows").read_bytes() == rows and any(str(kept) in text for text in person.messages)
    assert list(deployment.folder.iterdir()) == []


def test_leftovers_of_kills_do_not_block_the_folder(deployed: Any, tmp_path: Path) -> None:
    """A folder that was just made, one with a head only, a half-written head, a file, and a link to somewhere else."""
    person = Person()
    deployment = deployed(person=person)
    live, elsewhere = deployment.folder, tmp_path / "elsewhere"
    for name in ("episode-0000", "episode-0001", "episode-0002"):
        (live / name).mkdir(parents=True)
    (live / "episode-0001" / "head.json").write_text("{}")
    (live / "episode-0002" / ".head.json.0123456789ab").write_text("{")
    (live / "notes").write_text("mine")
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("mine")
    (live / "episode-0003").symlink_to(elsewhere)
    assert deployment.run().to_json()["episodes"] == 1
    assert list(live.iterdir()) == [] and (elsewhere / "precious").exists()
    assert (tmp_path / "set_aside" / "notes").read_text() == "mine"


def test_a_damaged_episode_in_the_store_is_not_counted_and_keeps_its_name(deployed: Any) -> None:
    deployed(episodes=2).run()
    person = Person()
    again = deployed(episodes=2, person=person)
    file = again.store.folder / "episodes" / "episode-0001.npz"
    file.write_bytes(file.read_bytes()[:500])
    value = again.run().to_json()
    assert value["episodes"] == 2 and [e["key"] for e in value["each"]] == ["episode-0000", "episode-0002"]
    assert any("episode-0001 is not counted" in text for text in person.messages) and file.stat().st_size == 500


def test_a_full_disk_is_told_with_path_what_was_kept_and_what_to_do(
    deployed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from robo_reward.hardware.deployment.journal import Journal

    deployment, original = deployed(horizon=30), Journal._write_row

    def full(journal: Journal, *arguments: Any) -> None:
        if journal.steps >= 6:
            with journal._convert_disk_errors():
                raise OSError(errno.ENOSPC, "No space left on device")
        original(journal, *arguments)

    monkeypatch.setattr(Journal, "_write_row", full)
    with pytest.raises(DiskFailed, match=r"live/episode-0000 cannot be written: No space.*6 steps.*saved.*Free disk"):
        deployment.run()
    assert np.abs(deployment.rig.arm.state().dq).max() < 1e-2
    monkeypatch.setattr(Journal, "_write_row", original)
    again = deployed(episodes=1)
    value = again.run().to_json()
    assert value["outcomes"].get("stopped") == 1 and len(again.store.load("episode-0000")) == 5
    assert value["episodes"] == 1


def test_films_play_as_fast_as_the_robot_moved_and_each_frame_has_its_time(deployed: Any) -> None:
    deployment = deployed(frames=True, tempo=TimeScale(0.35, 0))
    deployment.run()
    meta = deployment.store.read_entry("episode-0000").meta
    step = np.diff(meta["measured"]["robot_time"][:-1])
    assert meta["fps"] == pytest.approx(1 / np.median(step), abs=1e-2) and 8 < meta["fps"] < 10
    times = np.array(meta["frame_times"])
    assert times.shape == (13,) and (np.diff(times) >= 0).all()


def test_an_episode_that_is_cut_short_again_and_again_ends_the_deployment(tmp_path: Path) -> None:
    arm = Failing(make_task("fr3/lift"))
    arm.fault = make_fault(FaultKind.REFLEX, ("cartesian_reflex",))
    arm.connect()

    def again() -> None:
        arm.countdown = 60

    deployment = simulated(tmp_path, episodes=2, person=Person(on_ask=again), arm=arm, retries=2)
    deployment.reset.arm = arm
    try:
        summary = deployment.run()
        assert summary.exhausted and "3 times in a row" in summary.stopped and "cartesian_reflex" in summary.stopped
        assert [e.outcome for e in summary.episodes] == ["faulted"] * 3
        assert summary.to_json()["success"] is None
    finally:
        closed(deployment)


def test_nothing_moves_while_a_camera_is_blind(deployed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robo_reward.hardware.deployment.session.REOPENING", 0.1)
    person = Person()
    deployment = deployed(person=person)
    deployment.rig.frames = Stuck(0, 10**9)
    before = deployment.rig.arm.state().q
    summary = deployment.run()
    np.testing.assert_array_equal(deployment.rig.arm.state().q, before)
    assert summary.episodes == [] and "newest camera frame is 0.6 s old" in summary.stopped
    assert sum("camera plugged in" in text for text in person.asked) == MAX_CONFIRMATIONS
    back = deployed(person=person)
    back.rig.frames = Stuck(0, 3)
    assert back.run().to_json()["episodes"] == 1


def test_most_actions_clipped_is_told(deployed: Any) -> None:
    person = Person()
    deployment = deployed(kind="steady", person=person, policy=Inline("fr3/lift wild"))
    deployment.run()
    assert any("changed 12 of 12 actions" in text for text in person.messages)
    assert deployment.store.read_entry("episode-0000").meta["clipped"] == 12


class Stuck:
    """A camera that stands still for some control steps; the last picture before is shown meanwhile."""

    shape = (16, 16, 3)

    def __init__(self, begin: int, end: int) -> None:
        self.begin, self.end, self.looks = begin, end, 0

    def read(self) -> Frame:
        self.looks += 1
        old = 0.6 if self.begin <= self.looks <= self.end else 0.0
        return Frame(time.monotonic() - old, np.zeros(self.shape, np.uint8))

    def describe_failures(self) -> str:
        return ""

    def lost_for_good(self) -> bool:
        return False

    def close(self) -> None:
        pass


def test_while_a_camera_stands_still_the_arm_holds_and_then_goes_on(deployed: Any) -> None:
    deployment = deployed(horizon=20)
    looks = 2  # before the reset and before its motion
    deployment.rig.frames = Stuck(6 + looks, 12 + looks)
    deployment.run()
    episode = next(iter(deployment.store))
    assert episode.meta["verdicts"] == ["follow"] * 5 + ["hold"] * 7 + ["follow"] * 8
    joints = np.array(episode.meta["commands"]["joints"])[: 20 * 8]
    speed = np.abs(np.diff(joints, axis=0)).max(axis=1)
    assert speed[11 * 8 : 12 * 8 - 1].max() < 1e-6 and speed[4 * 8 : 5 * 8].max() > 1e-4


class Failing(MujocoArm):
    """Fails once, in the middle."""

    fault: ArmFault | None = None
    countdown = 60

    def stream(self, target: Target) -> None:
        self.countdown -= 1
        if self.countdown == 0 and self.fault:
            self.inject_fault(self.fault)
        super().stream(target)


@pytest.mark.parametrize("kind", list(FaultKind))
def test_every_fault_is_told_recorded_and_recovered_from_only_as_the_rules_say(tmp_path: Path, kind: FaultKind) -> None:
    arm = Failing(make_task("fr3/lift"))
    arm.fault = make_fault(kind, recoverable=kind not in (FaultKind.VERSION, FaultKind.UNREACHABLE))
    arm.connect()
    person = Person(on_ask=lambda: arm.set_user_stop(False))
    deployment = simulated(tmp_path, episodes=2, person=person, arm=arm)
    deployment.reset.arm = arm
    try:
        value = deployment.run().to_json()
        if kind is FaultKind.GRIPPER:  # a simulated gripper fails when it is told something, not while targets stream
            assert value["episodes"] == 2
            return
        fault = value["faults"][0]
        assert fault["kind"] == kind.value and fault["cause"] and fault["remedy"]
        assert value["each"][0]["reason"] == "fault" and len(deployment.store) >= 1
        assert any(fault["cause"] in text for text in person.messages)
        asked = any("Is the arm free" in text for text in person.asked)
        if kind in (FaultKind.VERSION, FaultKind.UNREACHABLE):
            assert value["stopped"] and value["episodes"] == 0 and value["made"] == 1 and not asked
        else:
            assert value["episodes"] == value["judged"] == 2 and fault["recovered"] and not value["stopped"]
            assert value["made"] == 3 and value["outcomes"]["faulted"] == 1
            assert value["success_at_least"] == pytest.approx(value["successes"] / 3)
            starts = [entry.meta["episode"] for entry in deployment.store.list_entries()]
            assert starts == [0, 1, 2], "an episode that was cut short is made again from another start"
            assert asked == (kind is not FaultKind.COMMUNICATION)
    finally:
        closed(deployment)


def test_a_user_stop_that_stays_pressed_is_never_recovered_from(tmp_path: Path) -> None:
    arm = Failing(make_task("fr3/lift"))
    arm.fault = make_fault(FaultKind.USER_STOP)
    arm.connect()
    asked: list[float] = []

    def ask() -> None:
        asked.append(time.monotonic())
        if len(asked) == 3:  # the first question is the one before the first motion
            arm.set_user_stop(False)

    person = Person(on_ask=ask)
    deployment = simulated(tmp_path, episodes=2, person=person, arm=arm)
    deployment.reset.arm = arm
    original = arm.inject_fault

    def press(fault: ArmFault) -> None:
        arm._pressed = True
        original(fault)

    arm.inject_fault = press
    try:
        value = deployment.run().to_json()
        assert value["episodes"] == 2
        assert len(asked) >= 3
    finally:
        closed(deployment)


def test_unattended_a_reflex_ends_the_deployment(tmp_path: Path) -> None:
    arm = Failing(make_task("fr3/lift"))
    arm.fault = make_fault(FaultKind.REFLEX, ("cartesian_reflex",))
    arm.connect()
    deployment = simulated(tmp_path, episodes=3, arm=arm)
    deployment.reset.arm = arm
    object.__setattr__(deployment.settings, "confirm", False)
    try:
        value = deployment.run().to_json()
        assert value["outcomes"] == {"faulted": 1} and "cartesian_reflex" in value["stopped"]
        assert arm.state().mode.value == "reflex"
    finally:
        closed(deployment)


def test_a_request_to_stop_ends_the_episode_and_keeps_it(deployed: Any) -> None:
    asked = threading.Event()
    deployment = deployed(wall=True, horizon=500, episodes=5, stop=asked.is_set)
    threading.Timer(1.0, asked.set).start()
    begun = time.monotonic()
    summary = deployment.run()
    assert time.monotonic() - begun < 10
    assert summary.episodes[0].reason == "stop" and summary.stopped
    assert len(deployment.store) == 1 and len(next(iter(deployment.store))) > 3


class ScriptedTeleop:
    """Takes over at step 4 for three steps, ends at step 9."""

    def __init__(self, event: str = "success") -> None:
        self.step, self.event = 0, event

    def read(self) -> TeleopInput:
        self.step += 1
        if self.step == 10:
            return TeleopInput(None, self.event)
        return TeleopInput(np.array([1.0, 0.0, 0.0, 1.0]) if 4 <= self.step < 7 else None)

    def reset(self) -> None:
        self.step = 0

    def close(self) -> None:
        pass


def test_a_person_steps_in_and_says_what_came_of_it(deployed: Any) -> None:
    deployment = deployed(horizon=30, teleop=ScriptedTeleop())
    summary = deployment.run()
    assert asdict(summary.episodes[0]) | {"fault": "", "reward": None} == {
        "key": "episode-0000",
        "outcome": "success",
        "steps": 9,
        "reason": "end",
        "success": True,
        "interventions": 3,
        "fault": "",
        "peak_force": 0.0,
        "reward": None,
    }
    episode = next(iter(deployment.store))
    assert episode.meta["verdicts"] == ["follow"] * 3 + ["person"] * 3 + ["follow"] * 3
    assert (episode.action[3:6, 0] == 1.0).all()
    assert episode.is_successful and episode.meta["success_by"] == "person"


class BrokenDevice(ScriptedTeleop):
    """An input device that reports a broken action in every step."""

    def read(self) -> TeleopInput:
        return TeleopInput(np.full(4, np.nan))


def test_a_person_s_unusable_action_holds_the_whole_step_and_three_stop(deployed: Any) -> None:
    """The policy does not act between two unusable actions of a person: its good ones would hide the bad ones."""
    deployment = deployed(horizon=30, teleop=BrokenDevice(), retries=0)
    summary = deployment.run()
    assert summary.episodes[0].reason == "safety" and summary.episodes[0].steps == 3
    assert next(iter(deployment.store)).meta["verdicts"] == ["hold", "hold", "stop"]


def test_a_discarded_episode_leaves_nothing(deployed: Any) -> None:
    teleop = ScriptedTeleop("discard")
    deployment = deployed(horizon=30, teleop=teleop, episodes=1)

    def no_more(summary: DeploymentSummary) -> None:
        teleop.event = "success"

    deployment.report = no_more
    deployment.run()
    assert deployment.store.keys() == ("episode-0000",)
    assert next(iter(deployment.store)).is_successful


def test_what_nobody_measures_a_person_judges(deployed: Any) -> None:
    person = Person(success=True)
    deployment = deployed(person=person)
    deployment.judge.unknown = ("cube_position",)
    value = deployment.run().to_json()
    assert value["successes"] == 1 and value["judged"] == 1
    person.answer = None
    deployment.settings = type(deployment.settings)(episodes=2)
    value = deployment.run().to_json()
    assert value["judged"] == 1 and value["each"][-1]["success"] is None


def test_a_reward_traces_the_live_episode(deployed: Any) -> None:
    task = make_task("fr3/lift")
    reward = compile_program(task.expert_reward, task.spec, task.action.dim)
    deployment = deployed(reward=reward)
    deployment.run()
    episode = next(iter(deployment.store))
    assert episode.reward is not None
    np.testing.assert_allclose(episode.reward.total, reward(episode.to_transitions()).total)
    assert deployment.summary.episodes[0].reward == pytest.approx(float(episode.reward.total.sum()))


def test_an_episode_that_was_cut_off_is_taken_up_by_the_next_start(deployed: Any, tmp_path: Path) -> None:
    first = deployed(episodes=1)
    first.run()
    stored = first.store.load("episode-0000", frames=False)
    from robo_reward.hardware.deployment.journal import Journal, StepRecord

    journal = Journal(first.folder / "episode-0001", first.rig.task, {"fps": 25})
    arm = first.rig.arm.state()
    for t in range(4):
        journal.write_step(StepRecord(stored.state[t], arm, stored.action[t], "follow"))
    for file in journal._files.values():  # as the system does when it kills a process
        file.close()
    with (first.folder / "episode-0001" / "rows").open("ab") as file:
        file.write(b"half a row")
    person = Person()
    second = deployed(episodes=2, person=person)
    value = second.run().to_json()
    assert any("3 steps saved" in text for text in person.messages)
    assert value["episodes"] == 2 and value["outcomes"]["killed"] == 1 and value["each"][1]["reason"] == "cut off"
    np.testing.assert_array_equal(second.store.load("episode-0001").state, stored.state[:4])


def test_a_policy_of_another_convention_is_refused(deployed: Any) -> None:
    deployment = deployed()
    with pytest.raises(Exception, match="sees"):
        check_policy_compatibility(make_task("fr3/pick"), deployment.rig)
    with pytest.raises(Exception, match="commands"):
        check_policy_compatibility(make_task("fr3/lift", control="joint_delta"), deployment.rig)
    check_policy_compatibility(deployment.rig.task, deployment.rig)


def test_a_dry_run_reads_and_decides_but_moves_nothing(deployed: Any) -> None:
    deployment = deployed()
    arm = simulated_arm(deployment)
    deployment.reset(0)
    before, time_before = arm.data.qpos.copy(), arm.data.time
    messages: list[str] = []
    report = dry_run(deployment.rig, messages.append, steps=5)
    np.testing.assert_array_equal(arm.data.qpos, before)
    assert arm.data.time == time_before
    assert report["problem"] == "" and len(report["steps"]) == 5
    assert report["steps"][0]["action"][1] == 0.5
    moved = np.array(report["steps"][0]["joints"]) - report["state"]["q"]
    assert 0 < np.abs(moved).max() < 0.05
    json.dumps(report)


def test_an_arm_outside_the_workspace_does_not_start_and_says_why(deployed: Any) -> None:
    deployment = deployed()
    arm = simulated_arm(deployment)
    arm.data.qpos[1] = -1.5
    report = dry_run(deployment.rig, lambda _: None, steps=2)
    assert "start pose" in report["problem"] and report["steps"] == []


def test_the_store_is_one_that_the_labelling_page_reads(deployed: Any) -> None:
    from robo_reward.labelling.clips import find_clips

    deployment = deployed(episodes=2, frames=True)
    deployment.store.frames = "mp4"
    deployment.run()
    clips = find_clips(deployment.store.folder, deployment.store.folder / "videos")
    assert len(clips.videos) == 2 and not clips.refused
    assert EpisodeStore(deployment.store.folder).read_entry("episode-0000").task_id == "fr3/lift"


class Belated(Inline):
    """Gives the answers to all questions of earlier episodes once more, and one to no question, at every reset."""

    def __init__(self) -> None:
        super().__init__("fr3/lift steady")
        self.tickets: list[int] = []

    def send_observation(self, ticket: int, observation: np.ndarray) -> None:
        self.tickets.append(ticket)
        super().send_observation(ticket, observation)

    def reset(self) -> None:
        super().reset()
        self._replies = [PolicyReply(ticket, np.array([[0.9, 0, 0, 0]]), 0.0) for ticket in (*self.tickets, 10**9)]


def test_answers_to_questions_of_an_earlier_episode_are_not_followed(deployed: Any) -> None:
    policy = Belated()
    deployment = deployed(episodes=2, policy=policy)
    deployment.run()
    for episode in deployment.store:
        assert (episode.action[:, 0] == 0.0).all() and "follow" in episode.meta["verdicts"]
    assert len(set(policy.tickets)) == len(policy.tickets) >= 20


def test_a_yes_after_a_request_to_stop_moves_nothing(deployed: Any) -> None:
    asked = threading.Event()
    person = Person(on_ask=asked.set)
    deployment = deployed(person=person, stop=asked.is_set)
    before = deployment.rig.arm.state()
    summary = deployment.run()
    assert summary.stopped == "it was asked to stop" and summary.episodes == [] and len(person.asked) == 1
    np.testing.assert_array_equal(deployment.rig.arm.state().q, before.q)
    assert deployment.rig.arm.state().robot_time == before.robot_time


def test_nobody_is_asked_about_a_fault_after_a_request_to_stop(tmp_path: Path) -> None:
    asked, person = threading.Event(), Person()
    arm = Failing(make_task("fr3/lift"))
    arm.fault = make_fault(FaultKind.REFLEX, ("cartesian_reflex",))
    arm.connect()
    original = arm.inject_fault

    def inject(fault: ArmFault) -> None:
        asked.set()
        original(fault)

    arm.inject_fault = inject
    deployment = simulated(tmp_path, person=person, arm=arm, stop=asked.is_set)
    deployment.reset.arm = arm
    try:
        assert deployment.run().stopped and len(person.asked) == 1
        assert arm.state().mode.value == "reflex" and len(deployment.store) == 1
    finally:
        closed(deployment)


def test_nobody_is_asked_about_a_camera_that_cannot_come_back(deployed: Any) -> None:
    person = Person()
    deployment = deployed(person=person)
    deployment.rig.frames = Stuck(0, 10**9)
    deployment.rig.frames.lost_for_good = lambda: True
    summary = deployment.run()
    assert summary.episodes == [] and "Remove the cause" in summary.stopped
    assert not any("camera" in text for text in person.asked)


def film_error(why: str) -> Exception:
    if why == "no library":
        return MissingExtra("av", "", "writing videos")
    error = VideoError("write", "film.mp4", "No space left on device")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    return error


@pytest.mark.parametrize(
    ("why", "kind", "words"),
    [
        ("full disk", DiskFailed, r"No space.*12 steps.*saved in .*live/episode-0000.*Free disk space"),
        ("no library", EpisodeNotStored, r"needs 'av'.*12 steps.*saved in .*live/episode-0000.*Remove the cause"),
    ],
)
def test_an_episode_whose_film_cannot_be_written_stays_where_it_is(
    deployed: Any, monkeypatch: pytest.MonkeyPatch, why: str, kind: type[Exception], words: str
) -> None:
    deployment, original = deployed(), EpisodeStore.append

    def append(store: EpisodeStore, *arguments: Any) -> str:
        raise film_error(why)

    monkeypatch.setattr(EpisodeStore, "append", append)
    for _ in range(2):
        with pytest.raises(kind, match=words):
            deployment.run()
    monkeypatch.setattr(EpisodeStore, "append", original)
    value = deployed().run().to_json()
    assert value["episodes"] == value["made"] == 1 and len(deployment.store.load("episode-0000")) == 12
    assert not (deployment.folder.parent / "set_aside").exists()


def test_a_test_of_success_that_fails_costs_no_episode(deployed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = deployed()

    def success(state: Any) -> np.ndarray:
        raise ZeroDivisionError("a bug in the task")

    monkeypatch.setattr(type(deployment.rig.task), "success", lambda self, state: success(state))
    value = deployment.run().to_json()
    assert value["outcomes"] == {"unknown": 1} and value["each"][0]["success"] is None
    assert next(iter(deployment.store)).meta["success_by"] == "nobody"


class Blank(MujocoArm):
    """Tells joint angles that are no numbers from the sixth control step on."""

    reads = 0

    def state(self) -> ArmState:
        state = super().state()
        self.reads += self._mode is Mode.MOVING
        return replace(state, q=np.full(7, np.nan)) if self.reads > 10 else state


def test_the_steps_before_a_state_of_no_numbers_are_kept(tmp_path: Path) -> None:
    arm = Blank(make_task("fr3/lift"))
    arm.connect()
    deployment = simulated(tmp_path, arm=arm, retries=0, person=Person())
    deployment.reset.arm = arm
    try:
        value = deployment.run().to_json()
        assert value["each"][0]["reason"] == "safety" and value["each"][0]["outcome"] == "faulted"
        episode = deployment.store.load("episode-0000")
        assert len(episode) == value["each"][0]["steps"] >= 3 and np.isfinite(episode.state).all()
    finally:
        closed(deployment)
