"""Whatever ends a stream, the arm comes to rest where it is: the emulator's log is the judge, from request to rest."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks._fault_judge import SHARE, Rest, rest_from
from robo_reward.envs.arm.base import ArmTask
from robo_reward.envs.arm.model import ARMS, get_arm_model
from robo_reward.envs.task import make_task
from robo_reward.hardware.arm import Mode, Target
from robo_reward.hardware.deployment.clock import WallClock
from robo_reward.hardware.deployment.control_loop import ControlContext, ControlLoop, EpisodeEnding
from robo_reward.hardware.deployment.journal import Journal, read_journal
from robo_reward.hardware.drivers.franka.base import FrankaArm
from robo_reward.hardware.drivers.franka.compliance import Compliance
from robo_reward.hardware.drivers.franka.fr3 import FrankyArm
from robo_reward.hardware.drivers.franka.panda import PandaArm
from robo_reward.hardware.drivers.mujoco import MujocoArm
from robo_reward.hardware.drivers.registry import make_arm
from robo_reward.hardware.emulator.emulator import Emulator
from robo_reward.hardware.emulator.world.plant import KinematicPlant
from robo_reward.hardware.perception.state_estimator import NoObjects, Observer
from robo_reward.hardware.policy.process import PolicyDied, PolicyReply
from robo_reward.hardware.policy.teleop import NoTeleop
from robo_reward.hardware.safety.filter import SafetyFilter
from robo_reward.hardware.safety.limits import policy_limits
from robo_reward.hardware.safety.trajectory.braking import compute_braking
from robo_reward.hardware.safety.watchdog import Watchdog
from robo_reward.policies.rollout.chunk import ChunkSpec
from tests.hardware.patience import eventually

pytest.importorskip("franky")
pytest.importorskip("franka")

HOSTS = {"fr3": "127.0.4.45", "panda": "127.0.4.46"}
DRIVERS: dict[str, Callable[..., FrankaArm]] = {"fr3": FrankyArm, "panda": PandaArm}
WAY = np.array((1.0, 0.0, 0.0, 0.7, 0.0, 0.0, 0.0))
LAG = 0.3
"""Of the arm behind its targets, as a deployment at half the tempo sets it [s]."""


@pytest.fixture(params=["fr3", "panda"])
def robot(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def emulator(robot: str) -> Iterator[Emulator]:
    """Not faster than the wall clock, so that a late test is not a late stop; the arm is where an episode begins."""
    plant = KinematicPlant(ARMS[robot])
    plant.reset(make_task(f"{robot}/lift").sample(np.random.default_rng(0), 1).qpos[0, :7])
    with Emulator(robot, HOSTS[robot], plant, lockstep=True, speed=0.7) as emulator:
        yield emulator


@pytest.fixture
def arm(robot: str, emulator: Emulator) -> Iterator[FrankaArm]:
    arm = DRIVERS[robot](HOSTS[robot], realtime="ignore", compliance=Compliance(lag=LAG), gripper=False)
    arm.connect()
    yield arm
    arm.close()


def rest_since(emulator: Emulator, request: int, share: float = SHARE) -> Rest:
    """Where the arm is once it has been at rest for a while."""

    def rests() -> bool:
        late = emulator.log.cycles(request)[-150:]
        return len(late) == 150 and float(np.abs(late["dq"]).max()) < 0.02

    assert eventually(lambda: emulator.session.time > request + 300 and rests())
    return rest_from(emulator.log.cycles(request), get_arm_model(emulator.robot), 0, share)


def led(arm: Any, way: np.ndarray, seconds: float) -> None:
    """Streams a smooth way from the present joints that ends at full speed."""
    begin, start = arm.state().q, time.monotonic()
    while (share := (time.monotonic() - start) / seconds) < 1.0:
        arm.stream(Target(joints=begin + way * share**2))
        time.sleep(0.004)


def test_an_arm_at_rest_far_from_the_begin_of_its_stream_stays_there(arm: FrankaArm, emulator: Emulator) -> None:
    arm.start_streaming()
    begin = arm.state().q
    led(arm, 0.35 * WAY, 0.6)
    assert eventually(lambda: np.abs(arm.state().dq).max() < 0.005)
    assert np.abs(arm.state().q - begin).max() > 0.3
    request = emulator.session.time
    arm.stop()
    assert arm.state().mode is Mode.IDLE
    assert rest_since(emulator, request).farthest < 2e-3
    assert emulator.log.errors() == []


def test_a_stop_in_full_motion_brakes_where_the_arm_is(arm: FrankaArm, emulator: Emulator) -> None:
    arm.start_streaming()
    led(arm, 0.25 * WAY, 1.2)
    assert np.abs(arm.state().dq).max() > 0.15
    request = emulator.session.time
    arm.stop()
    assert arm.state().mode is Mode.IDLE
    rest = rest_since(emulator, request)
    assert rest.distance <= rest.bound
    assert rest.farthest <= rest.bound + 0.02  # a Panda's library takes its time to turn its own target round
    assert emulator.log.errors() == []


def test_a_slow_motion_that_is_interrupted_ends_where_the_arm_is(robot: str, emulator: Emulator) -> None:
    arm: Any = make_arm(robot, HOSTS[robot], {"realtime": "ignore", "gripper": False})
    try:
        arm.connect()
        begin, asked = arm.state().q, []

        def stop_asked() -> bool:
            if np.abs(emulator.plant.state().q - begin).max() > 0.1 and not asked:
                asked.append(emulator.session.time)
            return bool(asked)

        arm.stop_asked = stop_asked
        with pytest.raises(KeyboardInterrupt):
            arm.move_to(begin + WAY, 0.1)
    finally:
        arm.close()
    rest = rest_since(emulator, asked[0], 0.1)
    assert rest.distance <= rest.bound
    assert emulator.log.errors() == []


class Driver:
    """A policy that moves the hand sideways until it does what its name says."""

    def __init__(self, task: ArmTask, kind: str) -> None:
        self.action, self.observation, self.meta = task.action, task.observation, {"task": task.id}
        self.kind, self.asked, self.horizons = kind, 0, ChunkSpec()
        self._tickets: list[int] = []

    def send_observation(self, ticket: int, observation: np.ndarray) -> None:
        self.asked += 1
        self._tickets.append(ticket)

    def receive_reply(self, timeout: float) -> PolicyReply | None:
        if self.asked > 14 and self.kind == "dies":
            raise PolicyDied("its process was ended by SIGKILL")
        if not self._tickets or (self.asked > 14 and self.kind == "stalls"):
            time.sleep(max(timeout, 0.0))
            return None
        action = np.zeros((1, self.action.dim))
        action[0, 1] = 0.6
        return PolicyReply(self._tickets.pop(0), action, 0.0)

    def reset(self) -> None:
        pass

    def close(self) -> None:
        pass


ENDINGS = {"end": "horizon", "stop": "stop", "dies": "policy", "stalls": "watchdog"}


@pytest.mark.parametrize(
    "kind", ["end", "stalls", *(pytest.param(k, marks=pytest.mark.slow) for k in ("stop", "dies"))]
)
def test_every_ending_of_an_episode_leaves_the_arm_where_it_is(
    kind: str, robot: str, arm: Any, emulator: Emulator, tmp_path: Path
) -> None:
    task = make_task(f"{robot}/lift")
    assert isinstance(task, ArmTask)
    policy = Driver(task, kind)
    rig = ControlContext(
        task=task,
        arm=arm,
        observer=Observer(task, NoObjects()),
        filter=SafetyFilter.from_task(task),
        watchdog=Watchdog(silent=0.4, state_age=5.0),
        clock=WallClock(1 / 200),
        policy=policy,
        teleop=NoTeleop(),
        stop=lambda: kind == "stop" and policy.asked > 14,
        horizon=15 if kind == "end" else 60,
    )
    rig.tempo = type(rig.tempo)(0.5, 0)
    journal = Journal(tmp_path / "live", task, {})
    live = ControlLoop(rig, journal)
    ending: EpisodeEnding = live.run()
    journal.close()
    assert ending.reason == ENDINGS[kind]
    cycles = emulator.log.cycles()
    request = int(np.searchsorted(cycles["wall"], live.stop_time))
    rest_since(emulator, int(cycles["message_id"][request]))
    rest = rest_from(emulator.log.cycles(), get_arm_model(robot), request)
    assert kind == "stalls" or rest.bound > 6e-3  # it moved
    assert rest.distance <= rest.bound
    episode = read_journal(tmp_path / "live")
    assert episode is not None
    last = np.array(episode.meta["measured"]["q"])[-1]
    assert np.abs(last - cycles["q"][request]).max() < 0.05  # the last state is from the end of the episode
    assert emulator.log.errors() == []


def test_the_arm_of_a_dead_deployment_comes_to_rest_where_it_is(robot: str, emulator: Emulator) -> None:
    arm: Any = make_arm(robot, HOSTS[robot], {"realtime": "ignore", "compliance": {"lag": LAG}, "gripper": False})
    try:
        arm.connect()
        arm.start_streaming()
        led(arm, 0.25 * WAY, 1.2)
        request = emulator.session.time
        arm._pipe.close()  # as the kernel does it for a process that was killed
        rest = rest_since(emulator, request)
        assert rest.bound > 6e-3 and rest.distance <= rest.bound
        assert emulator.log.errors() == []
    finally:
        arm.process.join(5)
        arm.process.kill()


def test_a_simulated_arm_stops_within_its_limits_of_acceleration() -> None:
    task = make_task("fr3/lift")
    assert isinstance(task, ArmTask)
    arm = MujocoArm(task)
    arm.connect()
    arm.start_streaming()
    begin, far = arm.state().q, arm.state().hand_position
    for k in range(300):
        arm.stream(Target(joints=begin + 0.002 * k * WAY))
    before = arm.state()
    braking = np.linalg.norm(before.hand_position - far)
    assert np.abs(before.dq).max() > 0.3 and braking > 0.05
    arm.stop()
    way = compute_braking(task.arm, policy_limits(task.arm), before.q, before.dq)
    goal = way.sample_at(way.duration)[0]
    assert np.abs(arm.state().q - goal).max() < 0.02
    assert np.abs(arm.state().dq).max() < 1e-3


def test_a_brake_ends_at_rest_and_keeps_the_tightest_limit() -> None:
    rng = np.random.default_rng(0)
    arm = ARMS["panda"]
    limits = policy_limits(arm)
    for _ in range(50):
        q = rng.uniform(limits.q_min, limits.q_max)
        dq = rng.uniform(-0.6, 0.6, 7) * rng.integers(0, 2, 7)
        way = compute_braking(arm, limits, q, dq)
        assert (np.abs(dq) <= way.duration * limits.ddq * (1 + 1e-9)).all()
        np.testing.assert_allclose(way.sample_at(0.0)[1], dq if dq.any() else 0.0)
        np.testing.assert_array_equal(way.sample_at(way.duration)[1], 0.0)
        times = np.linspace(0.0, way.duration, 201)
        path = np.array([way.sample_at(t)[0] for t in times])
        if way.duration > 0:
            speeds = np.gradient(path, times, axis=0)
            np.testing.assert_allclose(speeds[100], dq / 2, atol=1e-6)
