"""The action convention `ee_delta` of a scene: it moves a site or body of an arm in space."""

from __future__ import annotations

import fnmatch

import msgspec
import mujoco
import numpy as np

from robo_reward.envs.arm.kinematics import Pose, compute_orientation_error, solve_damped_step
from robo_reward.envs.model.chain import KinematicChain
from robo_reward.envs.task import ActionSpec
from robo_reward.errors import UnknownName, UsageError
from robo_reward.scenes.actuators import ActuatorController, Servo

KINDS = ("native", "ee_delta")
ROTATIONS = ("fixed", "yaw", "full", "free")
MARGIN = 0.01
"""Targets keep this distance from the limits of a joint [rad or m]."""
LEAD = 1.5
"""A target is at most this many steps, and the sag of the servos under gravity, away from the measured position."""


SAG_SAMPLES = 32
"""Configurations for which the sag under gravity is computed."""
LONGEST_SAG = 0.3
"""Servos that sag more cannot hold the arm [m]."""


class ActionSettings(msgspec.Struct, forbid_unknown_fields=True):
    """The action convention as in a scene file.

    Args:
        kind: `native`, the model's actuators; or `ee_delta`, which moves a site or body in space.
        site: name of the site that moves.
        body: name of the body that moves, where there is no site.
        step: displacement of its target in one control step for an action of 1.0 [m].
        rotation: `fixed` keeps the orientation of the start pose, `yaw` also turns about the vertical, `full` turns
            about x, y and z, `free` leaves the orientation to the arm; empty: `fixed`, or `free` for an arm with
            fewer than six joints.
        turn: rotation of the target in one control step for an action of 1.0 [rad].
        joints: patterns of the joints that may move; empty: all between the world and the site that have servos.
        speed: fastest change of a joint's target [rad/s or m/s].
        workspace: two corners of a box that the target does not leave [m].
        gripper: actuators that the last component moves together: -1 is the lower end of their ranges, +1 the upper.
    """

    kind: str = "native"
    site: str = ""
    body: str = ""
    step: float = 0.02
    rotation: str = ""
    turn: float = 0.1
    joints: list[str] = []
    speed: float = 2.0
    workspace: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None
    gripper: list[str] = []


class SiteDelta:
    """Moves the target of a site or body by the action; batched inverse kinematics finds the joints.

    As `robo_reward.envs.arm.control.EndEffectorDelta`, for any model: each target is the previous one plus the action,
    within `lead` of the measured position. One step of damped least squares from the last targets of the joints
    gives the next; the null space pulls them towards the start pose. Actuators that are neither on these joints nor
    in the gripper hold their start.

    Attributes:
        rotation: one of `ROTATIONS`.
        sag: how far the site sinks below its target under gravity, at most [m].
        lead: how far the target may be from the measured position [m].

    Args:
        model: the compiled model.
        settings: of the scene file.
        home: the start pose (nq,).
        rate_hz: how often an action is chosen [Hz].

    Raises:
        UnknownName: a site, body, joint or actuator that the model does not have.
        UsageError: joints without position servos, or numbers that make no sense; names the remedy.
    """

    def __init__(self, model: mujoco.MjModel, settings: ActionSettings, home: np.ndarray, rate_hz: float) -> None:
        self._native = ActuatorController(model, rate_hz)
        self.unlimited, self.filtered_servos = self._native.unlimited, self._native.filtered_servos
        _check_settings(model, settings)
        self._chain = KinematicChain(model, settings.site, settings.body)
        self._servos = _choose_servos(model, self._chain, self._native.servos, settings)
        self._columns = [self._chain.joints.index(servo.joint) for servo in self._servos]
        self._actuators = [servo.actuator for servo in self._servos]
        self._addresses = [servo.address for servo in self._servos]
        self._scale = np.array([servo.scale for servo in self._servos])
        self._offset = np.array([servo.offset for servo in self._servos])
        self._low, self._high = _find_limits(model, self._servos, self._native)
        self._step, self._turn, self._max_step = settings.step, settings.turn, settings.speed / rate_hz
        self.rotation = settings.rotation or ("fixed" if len(self._servos) >= 6 else "free")
        self._workspace = (
            np.array(settings.workspace) if settings.workspace else np.array([[-np.inf] * 3, [np.inf] * 3])
        )
        names = self._native.spec.names
        self._gripper = [_find_actuator(names, name) for name in settings.gripper]
        self._home = home[self._addresses]
        self.sag = _measure_sag(model, self._chain, self._servos, home, (self._low, self._high))
        self.lead = LEAD * self._step + self.sag
        pose = self._chain.compute_pose(home[None])
        self._home_frame = np.stack([pose.x[:, 0], pose.y[:, 0], pose.z[:, 0]], axis=1)  # (3, 3), columns are axes
        turns = {"yaw": ("dyaw",), "full": ("droll", "dpitch", "dyaw")}.get(self.rotation, ())
        last = ("gripper",) if self._gripper else ()
        self.spec = ActionSpec(
            "ee_delta",
            ("dx", "dy", "dz", *turns, *last),
            (self._step,) * 3 + (self._turn,) * len(turns) + (1.0,) * len(last),
            ("m",) * 3 + ("rad",) * len(turns) + ("1",) * len(last),
            round(rate_hz, 6),
        )

    def start(self, qpos: np.ndarray) -> np.ndarray:
        """Returns the targets (n, nu) that hold the configuration `qpos` (n, nq)."""
        return self._native.start(qpos)

    def advance(self, ctrl: np.ndarray, qpos: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Returns the targets (n, nu) for actions (n, A) in [-1, 1]."""
        n, q = len(ctrl), (ctrl[:, self._actuators] - self._offset) / self._scale
        wanted_qpos = qpos.copy()
        wanted_qpos[:, self._addresses] = q
        # One batch for both: the pose of the last targets, then the measured pose.
        both = self._chain.compute_pose(np.concatenate([wanted_qpos, qpos]))
        target = Pose(*(part[..., :n] for part in both))
        actual = both.position[:, n:].T  # (n, 3)
        # A blocked hand must not let the target run ahead.
        wanted = target.position.T + action[:, :3] * self._step
        wanted = np.clip(np.clip(wanted, actual - self.lead, actual + self.lead), *self._workspace)
        error, jac = wanted - target.position.T, self._chain.compute_jacobian(target)[:, :, self._columns]
        if self.rotation == "free":
            jac = jac[:, :3]
        else:
            turn = compute_orientation_error(target, *self._compute_target_axes(target, action))
            error = np.concatenate([error, turn.T], axis=1)  # (n, 6) [m, rad]
        step = solve_damped_step(jac, error, self._home - q)
        joints = np.clip(q + np.clip(step, -self._max_step, self._max_step), self._low, self._high)
        ctrl = ctrl.copy()
        ctrl[:, self._actuators] = self._scale * joints + self._offset
        if self._gripper:
            low, high = self._native.low[self._gripper], self._native.high[self._gripper]
            ctrl[:, self._gripper] = low + (high - low) * (action[:, -1:] + 1) / 2
        return ctrl

    def _compute_target_axes(self, pose: Pose, action: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the wanted axes of the site (3, n)."""
        if self.rotation == "fixed":
            x, y, z = self._home_frame.T[..., None]
            return x, y, z
        frame = np.stack([pose.x, pose.y, pose.z], axis=1)  # (3, 3, n), columns are axes
        if self.rotation == "full":
            turn = _to_rotations(action[:, 3:6].T * self._turn)
        else:
            # The turn about the vertical that brings the start orientation closest to the present one.
            relative = np.einsum("ikn,jk->ijn", frame, self._home_frame)
            yaw = np.arctan2(relative[1, 0] - relative[0, 1], relative[0, 0] + relative[1, 1])
            vector = np.zeros((3, len(action)))
            vector[2] = yaw + action[:, 3] * self._turn
            turn, frame = _to_rotations(vector), np.broadcast_to(self._home_frame[..., None], frame.shape)
        wanted = np.einsum("ijn,jkn->ikn", turn, frame)
        return wanted[:, 0], wanted[:, 1], wanted[:, 2]


def _check_settings(model: mujoco.MjModel, settings: ActionSettings) -> None:
    """Raises an error for values that do not fit the model or make no sense."""
    sites = [model.site(i).name for i in range(model.nsite) if model.site(i).name]
    sites = [name for name in sites if not name.startswith("touch of ")]
    bodies = [model.body(i).name for i in range(1, model.nbody)]
    if not settings.site and not settings.body:
        raise UsageError(
            "action.kind=ee_delta needs a site or a body that moves: give action.site or action.body. Sites: "
            f"{', '.join(sites[:20]) or 'none'}. Bodies: {', '.join(bodies[-20:])}"
        )
    if settings.site and settings.site not in sites:
        raise UnknownName("action.site", settings.site, sites)
    if not settings.site and settings.body not in bodies:
        raise UnknownName("action.body", settings.body, bodies)
    if settings.rotation and settings.rotation not in ROTATIONS:
        raise UnknownName("action.rotation", settings.rotation, ROTATIONS)
    for name in ("step", "turn", "speed"):
        if not 0 < getattr(settings, name) < np.inf:
            raise UsageError(f"action.{name}={getattr(settings, name)}: expected a positive number")
    if settings.workspace and not np.less(*settings.workspace).all():
        raise UsageError(f"action.workspace={settings.workspace}: expected [LOWER CORNER, UPPER CORNER]")


def _choose_servos(
    model: mujoco.MjModel, chain: KinematicChain, servos: list[Servo], settings: ActionSettings
) -> list[Servo]:
    """Returns the servos of the joints that move the site, from the world outwards."""
    names = {joint: model.joint(joint).name for joint in chain.joints}
    for pattern in settings.joints:
        if not fnmatch.filter(names.values(), pattern):
            raise UnknownName("action.joints", pattern, list(names.values()))
    by_joint = {servo.joint: servo for servo in servos}
    patterns = settings.joints or ["*"]
    chosen = [j for j in chain.joints if any(fnmatch.fnmatch(names[j], pattern) for pattern in patterns)]
    driven = {int(model.actuator_trnid[i, 0]) for i in range(model.nu)
              if int(model.actuator_trntype[i]) == int(mujoco.mjtTrn.mjTRN_JOINT)}  # fmt: skip
    wrong = [names[j] for j in chosen if j not in by_joint and (j in driven or settings.joints)]
    found = [by_joint[j] for j in chosen if j in by_joint]
    if wrong or not found:
        which = ", ".join(wrong or (names[j] for j in chosen)) or "none on the way to the world"
        raise UsageError(
            f"action.kind=ee_delta of {settings.site or settings.body!r} needs position servos on its joints "
            f"({which}): "
            'use <position joint="..." kp="..." kv="..."/> in place of <motor>, give `actuators: {kind: position}` in '
            "the scene file, or choose joints with action.joints"
        )
    return found


def _find_limits(
    model: mujoco.MjModel, servos: list[Servo], native: ActuatorController
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the lowest and highest targets of the joints, inside of their limits and the servos' ranges."""
    low, high = np.empty(len(servos)), np.empty(len(servos))
    for row, servo in enumerate(servos):
        ends = (np.array([native.low[servo.actuator], native.high[servo.actuator]]) - servo.offset) / servo.scale
        limits = model.jnt_range[servo.joint] if model.jnt_limited[servo.joint] else np.array([-np.inf, np.inf])
        margin = min(MARGIN, float(np.ptp(limits)) / 4)
        low[row], high[row] = max(ends.min(), limits[0] + margin), min(ends.max(), limits[1] - margin)
    return low, high


def _measure_sag(
    model: mujoco.MjModel,
    chain: KinematicChain,
    servos: list[Servo],
    home: np.ndarray,
    limits: tuple[np.ndarray, np.ndarray],
) -> float:
    """Returns how far a site sinks under gravity [m]: J τ / k, at most over the start and other configurations."""
    rng, data = np.random.default_rng(0), mujoco.MjData(model)
    low, high = np.maximum(limits[0], -np.pi), np.minimum(limits[1], np.pi)
    qpos = np.repeat(home[None], SAG_SAMPLES, axis=0)
    qpos[1:, [s.address for s in servos]] = rng.uniform(low, np.maximum(low, high), (SAG_SAMPLES - 1, len(servos)))
    dofs = [int(model.jnt_dofadr[s.joint]) for s in servos]
    actuators = [s.actuator for s in servos]
    stiffness = -model.actuator_biasprm[actuators, 1] * model.actuator_gear[actuators, 0] ** 2
    sag = np.empty((SAG_SAMPLES, len(servos)))  # [rad or m]
    for row in range(SAG_SAMPLES):
        data.qpos[:] = qpos[row]
        mujoco.mj_fwdPosition(model, data)
        mujoco.mj_fwdVelocity(model, data)
        # Gravity less springs and compensation; what compensates in the actuator is not in qfrc_passive.
        load = data.qfrc_bias - data.qfrc_passive - data.qfrc_gravcomp * model.jnt_actgravcomp[model.dof_jntid]
        sag[row] = load[dofs] / stiffness
    jac = chain.compute_jacobian(chain.compute_pose(qpos))[:, :3, [chain.joints.index(s.joint) for s in servos]]
    return float(min(np.abs(np.einsum("nij,nj->ni", jac, sag)).max(), LONGEST_SAG))


def _find_actuator(names: tuple[str, ...], name: str) -> int:
    if name not in names:
        raise UnknownName("action.gripper", name, names)
    return names.index(name)


def _to_rotations(vectors: np.ndarray) -> np.ndarray:
    """Returns the rotations (3, 3, n) of rotation vectors (3, n) [rad], by Rodrigues' formula."""
    angle = np.linalg.norm(vectors, axis=0)
    x, y, z = vectors / np.maximum(angle, 1e-12)
    zero = np.zeros_like(x)
    cross = np.array([[zero, -z, y], [z, zero, -x], [-y, x, zero]])
    return np.eye(3)[..., None] + np.sin(angle) * cross + (1 - np.cos(angle)) * np.einsum("ijn,jkn->ikn", cross, cross)
