"""A session's state as the record that goes to the client every millisecond, and as a line of the log."""

from __future__ import annotations

import numpy as np

from robo_reward.hardware.emulator.codec import blank, state_layout
from robo_reward.hardware.emulator.cycle_log import CYCLE
from robo_reward.hardware.emulator.model import HAND, elbow
from robo_reward.hardware.emulator.reflex import ERRORS
from robo_reward.hardware.emulator.session import Session
from robo_reward.hardware.emulator.versions import Controller, Generator


class Telemetry:
    """Fills one record again and again.

    Args:
        session: whose state.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.record = blank(state_layout(session.version))
        self._cycle = blank(CYCLE)
        self._fields = {name: self.record[name] for name in self.record.dtype.names or () if self.record[name].ndim}
        self._tau_before = np.zeros(7)
        self._errors: tuple[frozenset[str], frozenset[str]] | None = None
        self._settings = -1

    def _frames(self) -> None:
        """What changes only by request: frames and masses."""
        model, fields = self._session.model, self._fields
        for name in ("F_T_EE", "F_T_NE", "NE_T_EE", "EE_T_K"):
            fields[name][:] = getattr(model, name).T.ravel()
        self.record["m_ee"], self.record["m_load"] = HAND.mass, model.load.mass
        fields["F_x_Cee"][:], fields["F_x_Cload"][:] = HAND.com, model.load.com
        for name, link in (("I_ee", HAND), ("I_load", model.load)):
            xx, yy, zz, xy, xz, yz = link.inertia
            fields[name][:] = (xx, xy, xz, xy, yy, yz, xz, yz, zz)
        fields["O_ddP_O"][:] = (0.0, 0.0, -9.81)

    def fill(self) -> bytes:
        """The state as it goes on the wire."""
        session, fields, record = self._session, self._fields, self.record
        state, motion = session.state, session.motion
        if self._settings != session.settings:
            self._settings = session.settings
            self._frames()
        pose, pose_d = session.model.pose(state.q), session.model.pose(session.q_d)
        record["message_id"] = session.time
        fields["O_T_EE"][:], fields["O_T_EE_d"][:] = pose.T.ravel(), pose_d.T.ravel()
        reference = motion.reference if motion is not None else None
        if reference is not None and reference.pose is not None:
            fields["O_T_EE_c"][:] = reference.pose.T.ravel()
            fields["O_dP_EE_c"][:] = fields["O_dP_EE_d"][:] = reference.twist
            fields["O_ddP_EE_c"][:] = reference.acceleration
        else:
            fields["O_T_EE_c"][:] = fields["O_T_EE_d"]
            fields["O_dP_EE_c"][:] = fields["O_dP_EE_d"][:] = fields["O_ddP_EE_c"][:] = 0.0
        fields["elbow"][:] = elbow(state.q)
        fields["elbow_d"][:] = fields["elbow_c"][:] = elbow(session.q_d)
        fields["tau_J"][:], fields["dtau_J"][:] = state.tau_J, (state.tau_J - self._tau_before) * 1e3
        self._tau_before = state.tau_J
        fields["tau_J_d"][:] = (
            session.tau_c if motion is not None and motion.controller == Controller.EXTERNAL else session.tau
        )
        fields["q"][:], fields["dq"][:], fields["theta"][:], fields["dtheta"][:] = state.q, state.dq, state.q, state.dq
        fields["q_d"][:], fields["dq_d"][:], fields["ddq_d"][:] = session.q_d, session.dq_d, session.ddq_d
        self._contacts(pose)
        self._modes()
        return record.tobytes()

    def _contacts(self, pose: np.ndarray) -> None:
        observer, fields = self._session.observer, self._fields
        fields["joint_contact"][:], fields["cartesian_contact"][:] = observer.joint_contact, observer.cartesian_contact
        fields["joint_collision"][:] = observer.joint_collision
        fields["cartesian_collision"][:] = observer.cartesian_collision
        fields["tau_ext_hat_filtered"][:], fields["O_F_ext_hat_K"][:] = observer.tau, observer.wrench
        turn = (pose[:3, :3] @ self._session.model.EE_T_K[:3, :3]).T
        fields["K_F_ext_hat_K"][:3], fields["K_F_ext_hat_K"][3:] = (
            turn @ observer.wrench[:3],
            turn @ observer.wrench[3:],
        )

    def _modes(self) -> None:
        session, motion, record = self._session, self._session.motion, self.record
        record["motion_generator_mode"] = motion.generator if motion is not None else Generator.IDLE
        record["controller_mode"] = motion.controller if motion is not None else Controller.OTHER
        record["robot_mode"] = session.mode
        record["control_command_success_rate"] = session.success_rate
        if self._errors != (session.errors, session.last_errors):
            self._errors = (session.errors, session.last_errors)
            self._fields["errors"][:] = [name in session.errors for name in ERRORS]
            self._fields["reflex_reason"][:] = [name in session.last_errors for name in ERRORS]

    def cycle(self, command: np.ndarray | None, wall: float, lateness: float) -> np.ndarray:
        """The same state as a line of the log, after `fill`."""
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
