"""A session's state as the record that goes to the client every millisecond, and as a record of the log."""

from __future__ import annotations

from typing import Any

import numpy as np

from robo_reward.hardware.emulator.robot.model import HAND, elbow_configuration
from robo_reward.hardware.emulator.robot.reflex import ERRORS
from robo_reward.hardware.emulator.robot.session import RobotSession
from robo_reward.hardware.emulator.tools.cycle_log import CYCLE
from robo_reward.hardware.emulator.wire.codec import make_blank_record, state_layout
from robo_reward.hardware.emulator.wire.versions import ControllerMode, GeneratorMode

LAST = {5: "motion_generator_mode", 10: "accelerometer_top"}
"""Per protocol version, the field that follows the last real number that changes every cycle."""
ZERO, STILL_ELBOW = np.zeros(6), np.zeros(4)
GRAVITY, NO_TURN = np.array((0.0, 0.0, -9.81)), np.eye(3)


class Telemetry:
    """Builds the state record, reusing one buffer.

    Args:
        session: the session whose state is sent.

    Attributes:
        record: the last state record.
    """

    def __init__(self, session: RobotSession) -> None:
        self._session = session
        self.record = make_blank_record(state_layout(session.version))
        self._cycle = make_blank_record(CYCLE)
        self._fields = {name: self.record[name] for name in self.record.dtype.names or () if self.record[name].ndim}
        self._frames_now, self._rest = (
            self._flat_view("O_T_EE", "F_T_EE"),
            self._flat_view("elbow", LAST[session.version.number]),
        )
        self._tau_before = np.zeros(7)
        self._errors: tuple[frozenset[str], frozenset[str]] | None = None
        self._settings = -1

    def _flat_view(self, first: str, behind: str) -> np.ndarray:
        """Returns the real numbers from one field up to another as one array, since forty assignments are slow."""
        places: Any = self.record.dtype.fields
        begin, end, real = places[first][1], places[behind][1], self._session.version.real
        return np.ndarray(((end - begin) // np.dtype(real).itemsize,), real, self.record.data, begin)

    def _update_frames(self) -> None:
        """Updates the fields that only a request changes: frames and masses."""
        model, fields = self._session.model, self._fields
        for name in ("F_T_EE", "F_T_NE", "NE_T_EE", "EE_T_K"):
            fields[name][:] = getattr(model, name).T.ravel()
        self.record["m_ee"], self.record["m_load"] = HAND.mass, model.load.mass
        fields["F_x_Cee"][:], fields["F_x_Cload"][:] = HAND.com, model.load.com
        for name, link in (("I_ee", HAND), ("I_load", model.load)):
            xx, yy, zz, xy, xz, yz = link.inertia
            fields[name][:] = (xx, xy, xz, xy, yy, yz, xz, yz, zz)

    def fill_record(self) -> bytes:
        """Updates the record; returns the state as bytes for the wire."""
        session, record = self._session, self.record
        state, motion, observer = session.state, session.motion, session.observer
        if self._settings != session.settings:
            self._settings = session.settings
            self._update_frames()
        pose = session.model.pose(state.q)
        here, there = pose.T.ravel(), session.model.pose(session.q_d).T.ravel()
        record["message_id"] = session.time
        reference = motion.reference if motion is not None else None
        if reference is not None and reference.pose is not None:
            commanded, twist, change = reference.pose.T.ravel(), reference.twist, reference.acceleration
        else:
            commanded, twist, change = there, ZERO, ZERO
        external = motion is not None and motion.controller == ControllerMode.EXTERNAL
        elbow_d, tau_J = elbow_configuration(session.q_d), state.tau_J
        turn = (pose[:3, :3] @ session.model.EE_T_K[:3, :3]).T if observer.wrench.any() else NO_TURN
        self._frames_now[:16], self._frames_now[16:] = here, there
        self._rest[:] = np.concatenate(
            (
                elbow_configuration(state.q), elbow_d, tau_J, session.tau_c if external else session.tau,
                (tau_J - self._tau_before) * 1e3, state.q, session.q_d, state.dq, session.dq_d, session.ddq_d,
                observer.joint_contact, observer.cartesian_contact, observer.joint_collision,
                observer.cartesian_collision, observer.tau, observer.wrench, turn @ observer.wrench[:3],
                turn @ observer.wrench[3:], twist, GRAVITY, elbow_d, STILL_ELBOW, commanded, twist, change, state.q,
                state.dq,
            )
        )  # fmt: skip
        self._tau_before = tau_J
        self._update_modes()
        return record.tobytes()

    def _update_modes(self) -> None:
        session, motion, record = self._session, self._session.motion, self.record
        record["motion_generator_mode"] = motion.generator if motion is not None else GeneratorMode.IDLE
        record["controller_mode"] = motion.controller if motion is not None else ControllerMode.OTHER
        record["robot_mode"] = session.mode
        record["control_command_success_rate"] = session.success_rate
        if self._errors != (session.errors, session.last_errors):
            self._errors = (session.errors, session.last_errors)
            self._fields["errors"][:] = [name in session.errors for name in ERRORS]
            self._fields["reflex_reason"][:] = [name in session.last_errors for name in ERRORS]

    def fill_cycle(self, command: np.ndarray | None, wall: float, lateness: float) -> np.ndarray:
        """Returns the same state as a record of the log; to be called after `fill_record`."""
        session, cycle, record = self._session, self._cycle, self.record
        state, motion = session.state, session.motion
        cycle["message_id"], cycle["wall"], cycle["lateness"] = session.time, wall, lateness
        cycle["received"] = command is not None
        if command is not None:
            cycle["command_id"], cycle["finished"] = command["message_id"], command["motion_generation_finished"]
            for name in ("q_c", "dq_c", "O_T_EE_c", "O_dP_EE_c"):
                cycle[name] = command[name]
            cycle["tau_c"] = command["tau_J_d"]
        cycle["lost"] = motion.lost if motion is not None else 0
        for name in ("robot_mode", "motion_generator_mode", "controller_mode", "errors"):
            cycle[name] = record[name]
        cycle["q"], cycle["dq"], cycle["q_d"], cycle["dq_d"] = state.q, state.dq, session.q_d, session.dq_d
        cycle["O_T_EE"], cycle["tau"], cycle["tau_ext"], cycle["wrench"] = (
            record["O_T_EE"], session.tau, state.tau_ext, state.wrench,
        )  # fmt: skip
        cycle["gripper_width"], cycle["contact"] = state.gripper_width, state.contact
        return cycle
