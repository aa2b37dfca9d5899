"""Policies of chunks on the simulated arm: what they are shown, when they are asked, and what the arm then does."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robo_reward.envs.rendering.frames import FrameSpec
from robo_reward.envs.task import Observable, ObservationSpec, make_task
from robo_reward.errors import UnknownName, UsageError
from robo_reward.hardware.deployment.build import choose_cameras
from robo_reward.hardware.deployment.clock import SteppedClock
from robo_reward.hardware.deployment.dry_run import dry_run
from robo_reward.hardware.deployment.session import DeploymentSession, check_policy_compatibility
from robo_reward.hardware.deployment.time_scale import TimeScale
from robo_reward.hardware.drivers.mujoco import MujocoArm
from robo_reward.hardware.perception.camera_stream import SimulatedFrames
from robo_reward.hardware.perception.cameras import Frame
from robo_reward.hardware.perception.state_estimator import NoObjects, Observer
from robo_reward.hardware.policy.observation import match_cameras
from robo_reward.hardware.policy.process import PolicyProcess, PolicyReply
from robo_reward.hardware.policy.teleop import TeleopInput
from robo_reward.policies.policy import PolicyMismatch
from robo_reward.policies.rollout.chunk import ChunkSpec
from tests.hardware.rigs import Inline, closed, simulated
from tests.policies import chunks

TASK: Any = make_task("fr3/lift")
FRONT = FrameSpec(("front",), 16)
STEADY = TimeScale(1.0, 0)


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[Any]:
    made: list[DeploymentSession] = []

    def make(**arguments: Any) -> DeploymentSession:
        made.append(simulated(tmp_path, **{"tempo": STEADY, **arguments}))
        return made[-1]

    yield make
    for deployment in made:
        closed(deployment)


class InlineChunks(Inline):
    """A `LinearChunks` in this process, which answers at once."""

    def __init__(self, **changes: Any) -> None:
        self.own = chunks.linear_chunks(TASK, **changes)
        self.action, self.observation, self.meta = self.own.action, self.own.observation, self.own.meta
        self.horizons = ChunkSpec.from_policy(self.own)
        self._replies: list[PolicyReply] = []
        self.resets = 0

    def send_observation(self, ticket: int, observation: Any) -> None:
        self._replies.append(PolicyReply(ticket, self.ask(observation), 0.0))

    def ask(self, observation: Any) -> np.ndarray:
        """Returns the chunk for an observation, which comes over the same message as to another process."""
        from robo_reward.hardware.policy.messages import answer, pack_query, read_reply

        said = answer(self.own, pack_query(1, observation))
        assert said is not None
        return read_reply(said).actions

    def reset(self) -> None:
        self._replies.clear()
        self.resets += 1


class Timed:
    """Answers a query of step k after some steps with actions that say it, 0.001 k, and their own step, k + row."""

    action, observation, meta = TASK.action, TASK.observation, {"task": "fr3/lift"}

    def __init__(
        self, clock: SteppedClock, latency: float, chunk: int, execute: int, losing: Sequence[int] = ()
    ) -> None:
        self.clock, self.latency, self.losing = clock, latency * TASK.control_dt, losing
        self.horizons = ChunkSpec(history=2, chunk=chunk, execute=execute)
        self.asked: list[int] = []
        self.waiting: list[tuple[float, PolicyReply]] = []
        self.resets = 0

    def send_observation(self, ticket: int, observation: Any) -> None:
        now = self.clock.read_time()
        step = round(now / TASK.control_dt)
        self.asked.append(step)
        actions = np.zeros((self.horizons.chunk, 4))
        actions[:, 0] = 0.001 * step
        actions[:, 1] = 0.001 * (step + np.arange(self.horizons.chunk))
        if len(self.asked) - 1 not in self.losing:
            self.waiting.append((now + self.latency, PolicyReply(ticket, actions, self.latency)))

    def receive_reply(self, timeout: float) -> PolicyReply | None:
        if self.waiting and self.waiting[0][0] <= self.clock.read_time() + 1e-9:
            return self.waiting.pop(0)[1]
        return None

    def reset(self) -> None:
        self.waiting.clear()
        self.resets += 1

    def close(self) -> None:
        pass


class Numbered:
    """A camera whose pictures count up; it stands still, and its picture is old, for some of them."""

    shape = (16, 16, 3)

    def __init__(self, begin: int = 10**9, end: int = 0) -> None:
        self.begin, self.end, self.looks = begin, end, 0

    def read(self) -> Frame:
        self.looks += 1
        old = 0.6 if self.begin <= self.looks <= self.end else 0.0
        return Frame(time.monotonic() - old, np.full(self.shape, self.looks, np.uint8))

    def describe_failures(self) -> str:
        return ""

    def lost_for_good(self) -> bool:
        return False

    def close(self) -> None:
        pass


def test_an_immediate_policy_is_shown_and_does_the_same_as_in_simulation(deployed: Any) -> None:
    policy = InlineChunks(history=3, chunk=6, execute=4, noise=0.0)
    deployment = deployed(policy=policy, horizon=11)
    deployment.run()
    episode = next(iter(deployment.store))
    shown = TASK.observation(episode.states.rows(slice(0, 11)))
    asked = [observations[0] for observations in policy.own.asked]
    steps = [(0, 0, 0), (2, 3, 4), (6, 7, 8)]
    np.testing.assert_allclose(np.stack(asked), shown[np.array(steps)], atol=1e-6)
    rows = [policy.own.act(observation[None])[0][:4] for observation in asked]
    np.testing.assert_allclose(episode.action, np.concatenate(rows)[:11], atol=1e-6)
    assert episode.meta["verdicts"] == ["follow"] * 11


@pytest.mark.parametrize(("latency", "chunk", "execute"), [(1.4, 8, 4), (2.0, 4, 4), (0.6, 4, 4)])
def test_the_next_chunk_is_there_before_the_last_runs_dry(
    deployed: Any, latency: float, chunk: int, execute: int
) -> None:
    clock = SteppedClock(1 / 200)
    policy = Timed(clock, latency, chunk, execute)
    deployment = deployed(policy=policy, clock=clock, horizon=22)
    deployment.run()
    episode = next(iter(deployment.store))
    followed = np.array(episode.meta["verdicts"]) == "follow"
    # Every action is that of its own step, whichever query it came from.
    np.testing.assert_allclose(episode.action[followed, 1], 0.001 * np.flatnonzero(followed), atol=1e-9)
    # Nothing is there at the start; a chunk without spare actions runs dry once, after which it is asked earlier.
    waited = np.flatnonzero(~followed)
    dry = [*range(execute, execute + int(latency))] if chunk == execute else []
    assert set(waited) <= {*range(int(np.ceil(latency))), *dry}, waited
    assert np.diff(policy.asked)[1:].max() <= execute  # and never less often than it was trained for
    if chunk > execute:
        assert set(np.diff(policy.asked)[1:]) == {execute}


@pytest.mark.parametrize(("latency", "steps"), [(0.2, 0), (0.6, 1)])
def test_a_prompt_reply_is_acted_upon_in_the_step_whose_observation_it_answers(
    deployed: Any, latency: float, steps: int
) -> None:
    """The arm waits a quarter of a step for it, rather than act on older pictures for a whole step; and no longer."""
    clock = SteppedClock(1 / 200)
    deployment = deployed(policy=Timed(clock, latency, 8, 4), clock=clock, horizon=12)
    deployment.run()
    episode = next(iter(deployment.store))
    asked = np.round(episode.action[:, 0] / 0.001)
    np.testing.assert_array_equal(asked, [0] * (4 + steps) + [4] * 4 + [8] * (4 - steps))
    assert episode.meta["verdicts"] == ["follow"] * 12


def test_a_lost_query_is_repeated_once_its_whole_reply_would_be_late(deployed: Any) -> None:
    clock = SteppedClock(1 / 200)
    policy = Timed(clock, 0.0, 4, 2, losing=[2])
    deployment = deployed(policy=policy, clock=clock, horizon=16)
    deployment.run()
    assert policy.asked == [0, 2, 4, 8, 10, 12, 14]
    verdicts = next(iter(deployment.store)).meta["verdicts"]
    assert verdicts == ["follow"] * 6 + ["hold"] * 2 + ["follow"] * 8


def test_a_silent_policy_moves_the_arm_no_longer_than_the_watchdog_allows(deployed: Any) -> None:
    clock = SteppedClock(1 / 200)
    policy = Timed(clock, 0.0, 100, 2, losing=range(2, 100))
    deployment = deployed(policy=policy, clock=clock, horizon=20)
    assert deployment.rig.watchdog.silent == pytest.approx(0.4)  # ten control steps
    deployment.run()
    verdicts = next(iter(deployment.store)).meta["verdicts"]
    assert verdicts[:14] == ["follow"] * 14 and verdicts[14:] == ["hold"] * 6


def test_a_stale_camera_holds_and_then_the_history_and_the_queue_start_again(deployed: Any) -> None:
    policy = InlineChunks(frames=FRONT, history=2, chunk=8, execute=4)
    looks = 2  # before the reset and before its motion
    deployment = deployed(policy=policy, horizon=16, frames=Numbered(7 + looks, 9 + looks), cameras=("front",))
    check_policy_compatibility(TASK, deployment.rig)
    deployment.rig.frames = Numbered(7 + looks, 9 + looks)
    deployment.run()
    verdicts = next(iter(deployment.store)).meta["verdicts"]
    assert verdicts == ["follow"] * 6 + ["hold"] * 3 + ["follow"] * 7
    seen = [observation["front"][0, :, 0, 0, 0] - looks - 1 for observation in policy.own.asked]
    # Asked at steps 0 and 4, and anew at step 9, of whose history the stale pictures are no part.
    np.testing.assert_array_equal(seen[:3], [[0, 0], [3, 4], [9, 9]])


def test_after_a_person_drove_the_policy_begins_anew(deployed: Any) -> None:
    class Hand:
        """A person who drives in steps 2 and 3."""

        step = -1

        def read(self) -> TeleopInput:
            self.step += 1
            return TeleopInput(np.zeros(4) if self.step in (2, 3) else None, "")

        def reset(self) -> None:
            self.step = -1

        def close(self) -> None:
            pass

    clock = SteppedClock(1 / 200)
    policy = Timed(clock, 0.0, 8, 6)
    deployment = deployed(policy=policy, clock=clock, horizon=12, teleop=Hand())
    deployment.run()
    verdicts = next(iter(deployment.store)).meta["verdicts"]
    assert verdicts == ["follow"] * 2 + ["person"] * 2 + ["hold"] + ["follow"] * 7
    assert policy.asked == [0, 5, 11]
    assert policy.resets == 2  # at the start, and once when the person took over, though no query was open


def test_a_policy_that_looks_needs_no_tracker(deployed: Any) -> None:
    parts = [Observable("hand_position", 0.3), Observable("gripper_opening", 0.04)]
    policy = InlineChunks(frames=FRONT, history=2, chunk=4, execute=2)
    policy.own.observation = policy.observation = ObservationSpec(TASK.spec, parts)
    policy.own.__post_init__()
    deployment = deployed(policy=policy, horizon=5)
    rig = deployment.rig
    assert isinstance(rig.arm, MujocoArm)
    rig.observer, rig.frames, rig.cameras = (
        Observer(TASK, NoObjects()),
        SimulatedFrames(rig.arm, ("front",), 16),
        ("front",),
    )
    check_policy_compatibility(TASK, rig)
    deployment.run()
    episode = next(iter(deployment.store))
    assert episode.meta["verdicts"] == ["follow"] * 5 and len(policy.own.asked) == 3
    np.testing.assert_allclose(policy.own.asked[1]["state"][0, 1, :3], episode.states.hand_position[2] / 0.3, atol=1e-5)
    np.testing.assert_array_equal(policy.own.asked[1]["front"][0, 1], episode.frames[2])
    said = dry_run(rig, lambda _: None, steps=2)
    assert said["problem"] == "" and len(said["steps"]) == 2
    # With the cube in its view it does; and a field that the robot's state lacks is named.
    policy.observation = TASK.observation
    with pytest.raises(UsageError, match="cube_position"):
        check_policy_compatibility(TASK, rig)
    policy.observation = make_task("fr3/drawer").observation
    with pytest.raises(PolicyMismatch, match=r"observation\.drawer\w+, which the robot's state does not have"):
        check_policy_compatibility(TASK, rig)


def test_cameras_that_do_not_fit_are_refused_before_the_arm_moves(deployed: Any) -> None:
    both = FrameSpec(("front", "wrist"), 96)
    assert match_cameras(both, ("wrist", "side", "front"), 96) == (2, 0)
    assert match_cameras(both, ("uvc:0", "realsense:12"), 96) == (0, 1)
    for cameras, size in ((("front",), 96), (("uvc:0", "front"), 96), ((), 96), (("front", "wrist"), 112)):
        with pytest.raises(UsageError, match=r"cameras=\[front,wrist\].*size=96"):
            match_cameras(both, cameras, size)
    policy = InlineChunks(frames=FRONT)
    deployment = deployed(policy=policy)
    with pytest.raises(UsageError, match="the robot's cameras are none"):
        check_policy_compatibility(TASK, deployment.rig)
    assert isinstance(deployment.rig.arm, MujocoArm)
    with pytest.raises(UnknownName, match="camera"):
        SimulatedFrames(deployment.rig.arm, ("nowhere",), 16)


def test_a_simulated_robot_has_the_policys_own_cameras() -> None:
    from robo_reward.configs.deployment import DeployConfig

    chosen = choose_cameras(DeployConfig(robot={"kind": "mujoco"}), FRONT)
    assert (chosen.cameras, chosen.size) == (("front",), 16)
    assert choose_cameras(DeployConfig(robot={"kind": "fr3"}, host="127.0.0.1"), FRONT).cameras == ("front",)
    with pytest.raises(UsageError, match=r"cameras=\[uvc:0\].*size=16"):
        choose_cameras(DeployConfig(robot={"kind": "fr3"}, host="172.16.0.2"), FRONT)
    with pytest.raises(UsageError, match="size=112"):
        choose_cameras(DeployConfig(robot={"kind": "mujoco"}, cameras=("front",)), FRONT)


def test_a_policy_that_hangs_over_large_pictures_does_not_stop_the_commands(deployed: Any) -> None:
    """Two queries are more than a pipe holds, and nobody reads them."""
    policy = PolicyProcess("fr3/lift front 128 4 3 3 hangs", chunks.load)
    try:
        for number in range(4):
            begun = time.monotonic()
            observation = {"state": np.zeros((4, policy.observation.dim), np.float32)}
            policy.send_observation(number, {**observation, "front": np.zeros((4, 128, 128, 3), np.uint8)})
            assert time.monotonic() - begun < 0.5
        assert policy.receive_reply(0.01) is None
    finally:
        policy.process.kill()
        policy.close()


def test_a_policy_of_single_steps_on_chosen_fields_needs_no_tracker_either(deployed: Any) -> None:
    chosen = type(TASK.spec)([TASK.spec[name] for name in ("gripper_opening", "hand_position")])
    policy = Inline("fr3/lift steady")
    policy.observation = ObservationSpec(chosen, [Observable("hand_position", 0.3)])
    shown: list[np.ndarray] = []
    send = policy.send_observation
    policy.send_observation = lambda ticket, observation: (shown.append(observation), send(ticket, observation))[1]
    deployment = deployed(policy=policy, horizon=3)
    deployment.rig.observer = Observer(TASK, NoObjects())
    check_policy_compatibility(TASK, deployment.rig)
    deployment.run()
    episode = next(iter(deployment.store))
    np.testing.assert_allclose(np.stack(shown), episode.states.hand_position[:3] / 0.3, atol=1e-6)
    # The same view of another task is a mistake, not a choice.
    policy.meta = {"task": "fr3/push"}
    with pytest.raises(PolicyMismatch, match="'fr3/push'"):
        check_policy_compatibility(TASK, deployment.rig)
