"""The arm's state machine, cycle by cycle, without a socket."""

import numpy as np
import pytest

from robo_reward.configs.emulation import Checks
from robo_reward.envs.arm.model import FR3, PANDA
from robo_reward.hardware.emulator.robot.session import GRACE, RobotSession
from robo_reward.hardware.emulator.robot.settings import ContactObserver
from robo_reward.hardware.emulator.tools.faults import Faults
from robo_reward.hardware.emulator.tools.telemetry import Telemetry
from robo_reward.hardware.emulator.wire.codec import (
    command_layout,
    decode_record,
    make_blank_record,
    request_layout,
    state_layout,
)
from robo_reward.hardware.emulator.wire.versions import VERSIONS, RobotMode
from robo_reward.hardware.emulator.world.plant import KinematicPlant

JPOS, JVEL, CPOS, CVEL, NONE = range(5)
JOINT, CARTESIAN, EXTERNAL = range(3)


class Client:
    """What a client and the network do, in a few words.

    Args:
        number: the version of the protocol.
        checks: as for `Session`.
    """

    def __init__(self, number=10, checks=None):
        arm = FR3 if number == 10 else PANDA
        self.version, self.plant, self.faults = VERSIONS[number], KinematicPlant(arm), Faults()
        self.session = RobotSession(self.plant, self.version, checks, self.faults)
        self.telemetry, self.answers, self._id = Telemetry(self.session), [], 0
        self.state = self.read()

    def read(self):
        self.state = decode_record(state_layout(self.version), self.telemetry.fill_record())
        self.answers += [(a.command, self.version.statuses[a.command][a.body[0]]) for a in self.session.outbox]
        self.session.outbox = []
        return self.state

    def ask(self, command, **values):
        """The answer's name, or none if it comes later."""
        body = make_blank_record(request_layout(self.version, command))
        for name, value in values.items():
            body[name] = value
        self._id += 1
        answer = self.session.handle_request(command, self._id, body)
        return None if answer is None else self.version.statuses[command][answer.body[0]]

    def move(self, generator, controller=JOINT, **values):
        return self.ask("Move", motion_generator_mode=generator, controller_mode=controller, **values)

    def send(self, answered=None, **values):
        """One command, in time unless told otherwise, and the state that follows."""
        command = make_blank_record(command_layout(self.version))
        command["message_id"] = self.session.time if answered is None else answered
        for name, value in values.items():
            command[name] = value
        self.session.tick(command)
        return self.read()

    def idle(self, cycles=1):
        """Milliseconds without a command."""
        for _ in range(cycles):
            self.session.tick(None)
        return self.read()

    @property
    def mode(self):
        return RobotMode(int(self.state["robot_mode"]))

    @property
    def errors(self):
        return set(self.session.errors)


def wave(t, amplitude=0.05, period=1.0):
    """A smooth way there and back: value and rate at `t` seconds."""
    s = 2 * np.pi * min(t, period) / period
    return amplitude * (s - np.sin(s)) / (2 * np.pi), amplitude * (1 - np.cos(s)) / period


@pytest.mark.parametrize("number", [5, 10])
def test_joint_positions_are_followed_to_the_end(number):
    client = Client(number)
    begun = client.state["q_d"].astype(float)
    assert client.move(JPOS) == "started"
    client.idle(3)
    assert client.mode == RobotMode.MOVE
    assert (client.state["motion_generator_mode"], client.state["controller_mode"]) == (1, 0)
    for k in range(1, 1001):
        client.send(q_c=begun + wave(k / 1000)[0], motion_generation_finished=k == 1000)
    assert client.answers == [("Move", "success")]
    assert client.mode == RobotMode.IDLE
    assert (client.state["motion_generator_mode"], client.state["controller_mode"]) == (0, 3)
    client.idle(200)
    assert np.abs(client.state["q"] - begun - 0.05).max() < 1e-4
    assert client.state["control_command_success_rate"] == 0 and not client.errors


def test_joint_velocities_are_integrated():
    client = Client()
    begun = client.state["q_d"].astype(float)
    assert client.move(JVEL) == "started"
    for k in range(1, 1001):
        client.send(dq_c=np.full(7, wave(k / 1000)[1]), motion_generation_finished=k == 1000)
    client.idle(200)
    assert np.abs(client.state["q"] - begun - 0.05).max() < 1e-4
    assert client.answers == [("Move", "success")]


@pytest.mark.parametrize("generator", [CPOS, CVEL])
@pytest.mark.parametrize("controller", [JOINT, CARTESIAN])
def test_the_hand_goes_where_it_is_told(generator, controller):
    client = Client()
    begun = client.session.model.pose(client.session.q_d)
    assert client.move(generator, controller) == "started"
    for k in range(1, 1001):
        path, speed = wave(k / 1000)
        pose, twist = begun.copy(), np.zeros(6)
        pose[2, 3] -= path
        twist[2] = -speed
        client.send(O_T_EE_c=pose.T.ravel(), O_dP_EE_c=twist, motion_generation_finished=k == 1000)
    client.idle(300)
    moved = client.state["O_T_EE"].reshape(4, 4).T - begun
    assert np.abs(moved[:3, 3] - (0, 0, -0.05)).max() < 3e-4
    assert np.abs(moved[:3, :3]).max() < 1e-3
    assert client.answers == [("Move", "success")]


def test_torques_move_the_arm_and_stop_it():
    client = Client()
    assert client.move(NONE, EXTERNAL) == "started"
    tau = np.zeros(7)
    client.send(tau_J_d=tau)
    for _ in range(50):
        tau[0] = min(tau[0] + 0.5, 5.0)
        client.send(tau_J_d=tau)
    assert client.state["dq"][0] > 0.05
    assert client.state["tau_J_d"][0] == 5.0
    client.send(tau_J_d=tau, torque_command_finished=True)
    assert client.answers == [("Move", "success")]
    client.idle(500)
    assert np.abs(client.state["dq"]).max() < 1e-3


def test_version_5_controls_torques_beside_still_joints():
    client = Client(5)
    assert client.move(JVEL, EXTERNAL) == "started"
    for _ in range(10):
        client.send(tau_J_d=np.full(7, 0.1))
    assert client.session.tau.tolist() == [0.1] * 7
    client.send(motion_generation_finished=True)
    assert client.answers == [("Move", "success")]
    assert client.move(NONE, EXTERNAL) == "invalid_argument"  # v5 has no pure torque control


def test_a_torque_step_is_a_reflex():
    client = Client()
    client.move(NONE, EXTERNAL)
    client.send(tau_J_d=np.zeros(7))
    client.send(tau_J_d=np.full(7, 3.0))
    assert client.errors == {"controller_torque_discontinuity"}


def test_a_reflex_stays_until_recovery():
    client = Client()
    client.move(JPOS)
    q = client.session.q_d.copy()
    client.send(q_c=q)
    q = q + 0.01
    client.send(q_c=q)
    assert client.answers == [("Move", "reflex_aborted")]
    assert client.mode == RobotMode.REFLEX
    assert client.errors == {"joint_motion_generator_velocity_limits_violation"}
    assert client.state["errors"].nonzero()[0].tolist() == [13] == client.state["reflex_reason"].nonzero()[0].tolist()
    client.session.lose_client()
    client.idle(1000)
    assert client.mode == RobotMode.REFLEX
    assert client.move(JPOS) == "not_possible"
    assert client.ask("AutomaticErrorRecovery") == "success"
    client.idle()
    assert client.mode == RobotMode.IDLE and not client.errors
    assert client.state["reflex_reason"].any()  # what ended the last motion is still told
    assert client.move(JPOS) == "started"
    client.idle()
    assert not client.state["reflex_reason"].any()


def test_a_reflex_in_mid_motion_brakes_within_the_limits():
    client = Client()
    begun = client.session.q_d.copy()
    client.move(JPOS)
    for k in range(1, 501):
        client.send(q_c=begun + wave(k / 1000, 0.3)[0])
    assert client.session.dq_d[0] > 0.5
    client.faults.reflex("cartesian_reflex")
    client.send(q_c=begun + wave(0.501, 0.3)[0])
    assert client.mode == RobotMode.REFLEX
    path = []
    for _ in range(200):
        client.idle()
        path.append(client.session.dq_d.copy())
    assert not path[-1].any()
    assert np.abs(np.diff(path, axis=0)).max() <= 10.0 * 1e-3 + 1e-12  # the FR3's acceleration limit
    assert sum(any(v) for v in path) * 1e-3 < 0.1  # 0.6 rad/s at 10 rad/s²


def test_finishing_in_mid_motion_is_a_reflex():
    client = Client()
    begun = client.session.q_d.copy()
    client.move(JPOS)
    for k in range(1, 501):
        client.send(q_c=begun + wave(k / 1000, 0.3)[0], motion_generation_finished=k == 500)
    assert client.errors == {"joint_motion_generator_velocity_discontinuity"}


@pytest.mark.parametrize(("lost", "reflex"), [(19, False), (20, True)])
def test_twenty_lost_packets_in_a_row_stop_the_arm(lost, reflex):
    client = Client()
    begun = client.session.q_d.copy()
    client.move(JPOS)
    for k in range(1, 401):
        client.send(q_c=begun + wave(k / 1000)[0])
    assert client.state["control_command_success_rate"] == 1
    client.idle(lost)
    assert (client.mode == RobotMode.REFLEX) == reflex
    assert client.errors == ({"communication_constraints_violation"} if reflex else set())
    if not reflex:
        assert client.state["control_command_success_rate"] == pytest.approx(0.81)
        # constant acceleration has carried it along
        assert np.abs(client.session.q_d - begun - wave(0.419)[0]).max() < 1e-4
        for k in range(420, 1001):
            client.send(q_c=begun + wave(k / 1000)[0], motion_generation_finished=k == 1000)
        assert client.answers == [("Move", "success")]


def test_a_late_command_is_a_lost_one():
    client = Client()
    q = client.session.q_d.copy()
    client.move(JPOS)
    client.send(q_c=q)
    for _ in range(25):
        client.send(answered=client.session.time - 1, q_c=q)
    assert client.errors == {"communication_constraints_violation"}


def test_a_client_has_time_before_its_first_command():
    client = Client()
    client.move(JPOS)
    client.idle(GRACE)
    assert client.mode == RobotMode.MOVE
    client.idle(30)
    assert client.errors == {"communication_constraints_violation"}


def test_checks_can_be_disarmed_one_by_one():
    client = Client(checks=Checks(communication=False, limits=False, discontinuity=False, start_pose=False))
    q = client.session.q_d.copy()
    client.move(JPOS)
    client.send(q_c=q + 0.1)
    client.idle(50)
    client.send(q_c=q + 0.2)
    assert client.mode == RobotMode.MOVE


@pytest.mark.parametrize("generator", [JPOS, CPOS])
def test_stop_brakes_and_answers_both(generator):
    client = Client()
    begun, pose = client.session.q_d.copy(), client.session.model.pose(client.session.q_d)
    client.move(generator)
    for k in range(1, 501):
        there = pose.copy()
        there[2, 3] -= wave(k / 1000, 0.1)[0]
        client.send(q_c=begun + wave(k / 1000, 0.3)[0], O_T_EE_c=there.T.ravel())
    assert client.ask("StopMove") is None
    assert client.mode == RobotMode.MOVE
    client.idle(200)
    assert client.answers == [("Move", "preempted"), ("StopMove", "success")]
    assert client.mode == RobotMode.IDLE
    assert not client.session.dq_d.any()
    assert client.ask("StopMove") == "success"  # nothing left to stop


def test_the_user_stop_ends_motions_and_refuses_all_others():
    client = Client()
    q = client.session.q_d.copy()
    client.move(JPOS)
    client.send(q_c=q)
    client.faults.user_stop(True)
    client.send(q_c=q)
    assert client.mode == RobotMode.USER_STOPPED
    assert client.answers == [("Move", "emergency_aborted")]
    assert not client.errors  # as on the arm: only the mode tells
    assert client.move(JPOS) == "not_possible"
    assert client.ask("AutomaticErrorRecovery") == "not_possible"
    client.faults.user_stop(False)
    client.idle()
    assert client.mode == RobotMode.IDLE
    assert client.move(JPOS) == "started"


def test_guiding_lets_the_arm_be_pushed_and_takes_no_motion():
    client = Client()
    client.faults.guiding(True)
    client.idle()
    assert client.mode == RobotMode.GUIDING
    assert client.move(JPOS) == "not_possible"
    begun = client.state["q"][0]
    client.plant.external[0] = 1.0
    client.idle(200)
    client.plant.external[0] = 0.0
    client.faults.guiding(False)
    client.idle(500)
    assert client.mode == RobotMode.IDLE
    assert client.state["q"][0] - begun > 0.01
    assert client.state["q_d"][0] == pytest.approx(client.state["q"][0], abs=1e-3)


def test_a_push_beyond_the_thresholds_is_a_collision():
    client = Client()
    q = client.session.q_d.copy()
    client.move(JPOS)
    client.send(q_c=q)
    client.plant.external[1] = 15.0
    for _ in range(100):
        client.send(q_c=q)
    assert client.mode == RobotMode.MOVE and client.state["tau_ext_hat_filtered"][1] == pytest.approx(15, abs=0.1)
    client.plant.external[1] = 25.0  # 20 N m are allowed
    for _ in range(100):
        client.send(q_c=q)
    assert client.errors == {"joint_reflex"}
    client.plant.external[:] = 0


def test_the_thresholds_are_the_clients():
    client = Client()
    wide = {f"{side}_{kind}_{phase}": np.full(7 if kind == "torque" else 6, value)
            for side, value in (("lower", 10.0), ("upper", 50.0)) for kind in ("torque", "force")
            for phase in ("acceleration", "nominal")}  # fmt: skip
    assert client.ask("SetCollisionBehavior", **wide) == "success"
    q = client.session.q_d.copy()
    client.move(JPOS)
    client.plant.wrench[2] = -40.0
    for _ in range(100):
        client.send(q_c=q)
    assert client.mode == RobotMode.MOVE
    assert client.state["cartesian_contact"].tolist() == [0, 0, 1, 0, 0, 0]
    client.plant.wrench[2] = -60.0
    for _ in range(100):
        client.send(q_c=q)
    assert client.errors == {"cartesian_reflex"}
    assert client.ask("SetCollisionBehavior", **{**wide, "upper_force_nominal": np.full(6, -1.0)}) == "invalid_argument"


def test_settings_reach_the_state_and_bad_ones_are_refused():
    client = Client()
    frame = np.eye(4)
    frame[2, 3] = 0.05
    assert client.ask("SetNEToEE", NE_T_EE=frame.T.ravel()) == "success"
    assert client.ask("SetEEToK", EE_T_K=frame.T.ravel()) == "success"
    assert client.ask("SetLoad", m_load=0.5, F_x_Cload=(0, 0, 0.1), I_load=np.eye(3).ravel() * 1e-3) == "success"
    before = client.state["O_T_EE"].reshape(4, 4).T
    client.idle()
    after = client.state["O_T_EE"].reshape(4, 4).T
    assert np.allclose(after[:3, 3] - before[:3, 3], 0.05 * before[:3, 2], atol=1e-6)
    assert client.state["NE_T_EE"].reshape(4, 4).T[2, 3] == pytest.approx(0.05)
    assert client.state["m_load"] == 0.5 and client.state["F_x_Cload"][2] == pytest.approx(0.1)
    assert client.state["F_T_EE"].reshape(4, 4).T[2, 3] == pytest.approx(0.1534)
    assert client.ask("SetJointImpedance", K_theta=np.full(7, 1000.0)) == "success"
    assert client.ask("SetGuidingMode", guiding_mode=[True] * 6) == "success"
    assert client.ask("SetJointImpedance", K_theta=np.full(7, -1.0)) == "invalid_argument"
    assert client.ask("SetCartesianImpedance", K_x=np.full(6, np.nan)) == "invalid_argument"
    assert client.ask("SetNEToEE", NE_T_EE=np.zeros(16)) == "invalid_argument"
    assert client.ask("SetLoad", m_load=-1.0) == "invalid_argument"
    client.move(JPOS)
    assert client.ask("SetJointImpedance", K_theta=np.full(7, 1000.0)) == "not_possible"


def test_moves_that_cannot_be_are_refused():
    client = Client()
    assert client.move(NONE, JOINT) == "invalid_argument"
    assert client.move(9) == "invalid_argument"
    assert client.move(JPOS, 7) == "invalid_argument"
    assert client.move(CPOS, use_async_motion_generator=True) == "invalid_argument"
    assert client.move(JPOS) == "started"
    assert client.move(JPOS) == "not_possible"


def test_asynchronous_targets_are_reached_within_the_velocity():
    pytest.importorskip("ruckig")
    client = Client()
    begun = client.session.q_d.copy()
    assert client.move(JPOS, use_async_motion_generator=True, maximum_velocity=np.full(7, 0.3)) == "started"
    fastest = 0.0
    for k in range(2000):
        if k % 20 == 0:
            client.send(q_c=begun + 0.2)
        else:
            client.idle()
        fastest = max(fastest, np.abs(client.session.dq_d).max())
    assert client.mode == RobotMode.MOVE and not client.errors  # rare commands are no lost ones here
    assert np.abs(client.session.q_d - begun - 0.2).max() < 1e-6
    assert fastest == pytest.approx(0.3, abs=1e-6)
    client.send(q_c=np.zeros(7), motion_generation_finished=True)  # how libfranka ends it
    assert client.answers == [("Move", "success")] and not client.errors
    assert client.move(JPOS, use_async_motion_generator=True) == "started"
    client.send(q_c=np.array(FR3.q_max) + 0.1)
    assert client.errors == {"joint_motion_generator_position_limits_violation"}


@pytest.mark.parametrize("number", [5, 10])
def test_elbow_and_frames_are_told_as_by_the_arm(number):
    client = Client(number)
    assert client.state["elbow"].tolist() == [0.0, -1.0]
    turn = client.state["O_T_EE"].reshape(4, 4).T
    # home: x 0.3069 and z 0.5903 at the flange (Franka's table by hand), the hand's TCP 0.1034 below, pointing down
    assert np.allclose(turn[:3, 3], (0.30689, 0, 0.48688), atol=1e-4)
    assert np.allclose(turn[:3, :3], np.diag((1, -1, -1)), atol=1e-6)


@pytest.mark.parametrize("number", [5, 10])
def test_every_number_of_a_state_stands_under_its_name(number):
    client = Client(number)
    session, plant, rng = client.session, client.plant, np.random.default_rng(2)
    client.ask("SetEEToK", EE_T_K=np.eye(4).ravel())
    client.move(JPOS)
    begun = client.state["q_d"].astype(float)
    before = np.zeros(7)
    for k in range(1, 40):
        plant.external[:], plant.wrench[:] = rng.normal(0, 3, 7), rng.normal(0, 3, 6)
        before = session.state.tau_J
        client.send(q_c=begun + wave(k / 1000)[0])
    state, body, observer, model = client.state, session.state, session.observer, session.model
    pose, pose_d = model.pose(body.q), model.pose(session.q_d)
    turn = pose[:3, :3].T
    expected = {
        "O_T_EE": pose.T.ravel(), "O_T_EE_d": pose_d.T.ravel(), "O_T_EE_c": pose_d.T.ravel(), "q": body.q,
        "dq": body.dq, "q_d": session.q_d, "dq_d": session.dq_d, "ddq_d": session.ddq_d, "theta": body.q,
        "dtheta": body.dq, "tau_J": body.tau_J, "dtau_J": (body.tau_J - before) * 1e3, "tau_J_d": session.tau,
        "tau_ext_hat_filtered": observer.tau, "O_F_ext_hat_K": observer.wrench,
        "K_F_ext_hat_K": [*(turn @ observer.wrench[:3]), *(turn @ observer.wrench[3:])],
        "joint_contact": observer.joint_contact, "cartesian_contact": observer.cartesian_contact,
        "joint_collision": observer.joint_collision, "cartesian_collision": observer.cartesian_collision,
        "elbow": [body.q[2], -1.0], "elbow_d": [session.q_d[2], -1.0], "elbow_c": [session.q_d[2], -1.0],
        "O_ddP_O": [0, 0, -9.81], "F_T_EE": model.F_T_EE.T.ravel(), "delbow_c": [0, 0], "ddelbow_c": [0, 0],
        "O_dP_EE_c": np.zeros(6), "O_dP_EE_d": np.zeros(6), "O_ddP_EE_c": np.zeros(6),
    }  # fmt: skip
    assert np.abs(observer.wrench).max() > 0.1
    for name, values in expected.items():
        np.testing.assert_allclose(state[name], values, rtol=1e-5, atol=1e-5, err_msg=name)
    assert state["message_id"] == session.time and state["robot_mode"] == RobotMode.MOVE


def test_what_is_felt_in_joints_and_hand_at_once_raises_both_flags():
    client = Client(10)
    client.move(JPOS)
    begun = client.state["q_d"].astype(float)
    client.send(q_c=begun)
    client.plant.external[:], client.plant.wrench[:] = 500.0, 500.0
    for _ in range(100):
        client.send(q_c=begun)
        if client.errors:
            break
    assert {"joint_reflex", "cartesian_reflex"} <= client.errors
    assert client.state["errors"].sum() == client.state["reflex_reason"].sum() == len(client.errors)


def test_an_earlier_contact_fades_and_is_felt_again():
    observer = ContactObserver()
    push, wrench, nothing = np.full(7, 5.0), np.full(6, 5.0), np.zeros(7)
    for _ in range(100):
        assert observer.update(push, wrench, False) == ()
    assert np.abs(observer.tau - 5.0).max() < 1e-6
    for _ in range(300):
        observer.update(nothing, nothing[:6], False)
    assert not observer.tau.any() and not observer.wrench.any() and not observer.joint_contact.any()
    observer.update(push, wrench, False)
    share = 1 - np.exp(-2 * np.pi * 30 * 1e-3)
    np.testing.assert_allclose(observer.tau, share * push)
