"""Published parameters of the arms: one table each for Panda (FER), FR3 and UR5e.

All chains are in Craig's modified Denavit-Hartenberg convention: frame i is reached from frame i-1 by
RotX(alpha) TransX(a) RotZ(q) TransZ(d). `to_modified_dh` converts a table of the standard convention.

Franka, kinematics and limits: Franka Robotics, "Robot and interface specifications" (frankarobotics/docs).
Inertial parameters: Panda, C. Gaz et al., "Dynamic identification of the Franka Emika Panda robot with retrieval
of feasible parameters", RA-L 2019, as in MuJoCo Menagerie (`gaz2019`), or as in franka_description 1.0.1 by Franka
Robotics, which has other masses since (`franka_description`, see `with_inertia`); FR3, franka_description,
principal axes. The hand is Desk's, 0.73 kg with the fingers; the scenes add 0.1 kg a finger, where
franka_description has 0.6544 and 0.0291 kg.
Universal Robots: "DH parameters for calculations of kinematics and dynamics" (support article 45257) for
kinematics, masses and centres of mass; Universal_Robots_ROS2_Description by Universal Robots for inertias (turned
into our frames), joint limits (UR5e user manual 5.8) and torques ("Max. joint torques"). It publishes no limits of
acceleration or jerk.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import pi
from typing import Any

import numpy as np

from robo_reward.errors import UnknownName, UsageError


@dataclass(frozen=True)
class Link:
    """Mass properties of one link in its Denavit-Hartenberg frame.

    Args:
        mass: [kg].
        com: centre of mass [m].
        inertia: about the centre of mass [kg m²]: `xx yy zz xy xz yz`, or the three principal moments with `quat`.
        quat: orientation (w, x, y, z) of the principal axes, or none.
    """

    mass: float
    com: tuple[float, float, float]
    inertia: tuple[float, ...]
    quat: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class ArmModel:
    """An arm of n joints with the tool at its flange.

    Args:
        name: `panda`, `fr3` or `ur5e`.
        dh: n rows (a [m], d [m], alpha [rad]).
        q_min: lower joint limits [rad].
        q_max: upper joint limits [rad].
        dq_max: joint speed limits [rad/s].
        tau_max: joint torque limits [N m].
        links: mass properties of links 1 to n.
        stiffness: gains of the position servos in our simulation [N m/rad].
        home: the ready pose [rad], tool pointing down.
        flange: from the last joint's frame to the flange along z [m].
        tool: `hand` (Franka's, two fingers) or `pusher` (a rigid board).
        tcp: from the flange to the tool centre point [m]: between the finger tips, or the middle of the board.
        hand_yaw: the tool's rotation about the flange's z [rad].
        ddq_max: joint acceleration limits [rad/s²], empty where the maker publishes none, as all below.
        dddq_max: joint jerk limits [rad/s³].
        max_translation: Cartesian limits: speed [m/s], acceleration [m/s²], jerk [m/s³].
        max_rotation: Cartesian limits: speed [rad/s], acceleration [rad/s²], jerk [rad/s³].
        max_elbow: elbow limits: speed [rad/s], acceleration [rad/s²], jerk [rad/s³].
        dq_offset: of the limits of speed that shrink towards a joint's end [rad/s]; with `ddq_dec`, FR3 only.
        ddq_dec: the deceleration [rad/s²] in them: |dq| <= max(0, sqrt(2 ddq_dec distance to the end) -
            dq_offset).
        box: lower and upper angles [rad] and speeds [rad/s] of a box in which all limits of the FR3 always hold.
    """

    name: str
    dh: tuple[tuple[float, float, float], ...]
    q_min: tuple[float, ...]
    q_max: tuple[float, ...]
    dq_max: tuple[float, ...]
    tau_max: tuple[float, ...]
    links: tuple[Link, ...]
    stiffness: tuple[float, ...]
    home: tuple[float, ...]
    flange: float
    tool: str = "hand"
    tcp: float = 0.1034
    hand_yaw: float = 0.0
    ddq_max: tuple[float, ...] = ()
    dddq_max: tuple[float, ...] = ()
    max_translation: tuple[float, ...] = ()
    max_rotation: tuple[float, ...] = ()
    max_elbow: tuple[float, ...] = ()
    dq_offset: tuple[float, ...] = ()
    ddq_dec: tuple[float, ...] = ()
    box: tuple[tuple[float, ...], ...] = ()

    @property
    def joint_count(self) -> int:
        """n, the number of joints."""
        return len(self.dh)

    @property
    def finger_count(self) -> int:
        """The number of finger joints of the tool; they follow the arm's own in `qpos` and among the actuators."""
        return 2 if self.tool == "hand" else 0


def to_modified_dh(rows: tuple[tuple[float, float, float], ...]) -> tuple[tuple[float, float, float], ...]:
    """Converts a standard table (RotZ(q) TransZ(d) TransX(a) RotX(alpha) per row) to the modified convention.

    a and alpha move one row down, since TransX and RotX commute. Those of the last row must be zero: they would move
    the flange, not a joint.

    Args:
        rows: (a [m], d [m], alpha [rad]) of the standard convention.
    """
    if rows[-1][0] or rows[-1][2]:
        raise UsageError(
            "the last row of a standard Denavit-Hartenberg table must have a = alpha = 0 to be turned over"
        )
    before = ((0.0, 0.0, 0.0), *rows[:-1])  # row i of the result takes a and alpha of row i - 1
    return tuple((a, d, alpha) for (a, _, alpha), (_, d, _) in zip(before, rows, strict=True))


DH = (
    (0.0, 0.333, 0.0),
    (0.0, 0.0, -pi / 2),
    (0.0, 0.316, pi / 2),
    (0.0825, 0.0, pi / 2),
    (-0.0825, 0.384, -pi / 2),
    (0.0, 0.0, pi / 2),
    (0.088, 0.0, pi / 2),
)
FRANKA: dict[str, Any] = {
    "dh": DH,
    "tau_max": (87.0,) * 4 + (12.0,) * 3,
    "stiffness": (4500.0, 4500.0, 3500.0, 3500.0, 2000.0, 2000.0, 2000.0),
    "home": (0.0, -pi / 4, 0.0, -3 * pi / 4, 0.0, pi / 2, pi / 4),
    "flange": 0.107,
    "hand_yaw": -pi / 4,
}

PANDA = ArmModel(
    name="panda",
    **FRANKA,
    q_min=(-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973),
    q_max=(2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973),
    dq_max=(2.175,) * 4 + (2.61,) * 3,
    ddq_max=(15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0),
    dddq_max=(7500.0, 3750.0, 5000.0, 6250.0, 7500.0, 10000.0, 10000.0),
    max_translation=(1.7, 13.0, 6500.0),
    max_rotation=(2.5, 25.0, 12500.0),
    max_elbow=(2.175, 10.0, 5000.0),
    links=(
        Link(4.970684, (0.003875, 0.002081, -0.04762), (0.70337, 0.70661, 0.009117, -0.000139, 0.006772, 0.019169)),
        Link(0.646926, (-0.003141, -0.02872, 0.003495), (0.007962, 0.02811, 0.025995, -0.003925, 0.010254, 0.000704)),
        Link(3.228604, (0.027518, 0.039252, -0.066502), (0.037242, 0.036155, 0.01083, -0.004761, -0.011396, -0.012805)),
        Link(3.587895, (-0.05317, 0.104419, 0.027454), (0.025853, 0.019552, 0.028323, 0.007796, -0.001332, 0.008641)),
        Link(
            1.225946, (-0.011953, 0.041065, -0.038437), (0.035549, 0.029474, 0.008627, -0.002117, -0.004037, 0.000229)
        ),
        Link(1.666555, (0.060149, -0.014117, -0.010517), (0.001964, 0.004354, 0.005433, 0.000109, -0.001158, 0.000341)),
        Link(
            0.735522, (0.010517, -0.004252, 0.061597), (0.012516, 0.010027, 0.004815, -0.000428, -0.001196, -0.000741)
        ),
    ),
)

FR3 = ArmModel(
    name="fr3",
    **FRANKA,
    q_min=(-2.9007, -1.8361, -2.9007, -3.0770, -2.8763, 0.4398, -3.0508),
    q_max=(2.9007, 1.8361, 2.9007, -0.1169, 2.8763, 4.6216, 3.0508),
    dq_max=(2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26),
    ddq_max=(10.0,) * 7,
    dddq_max=(5000.0,) * 7,
    max_translation=(3.0, 9.0, 4500.0),
    max_rotation=(2.5, 17.0, 8500.0),
    max_elbow=(2.62, 10.0, 5000.0),
    dq_offset=(0.6599, 0.2517, 0.2, 0.3533, 0.5757, 0.4878, 0.4628),
    ddq_dec=(6.0, 2.585, 3.5, 4.0, 17.0, 5.5, 17.0),
    box=(
        (-2.3476, -1.5454, -2.4937, -2.7714, -2.51, 0.7773, -2.7045),
        (2.3476, 1.5454, 2.4937, -0.4226, 2.51, 4.2841, 2.7045),
        (2.0, 1.0, 1.5, 1.25, 3.0, 1.5, 3.0),
    ),
    links=(
        Link(
            2.92747,
            (4.128e-07, -0.0181251, -0.0386036),
            (0.0239286, 0.0227246, 0.00610634),
            (0.998098, -0.0605364, 0.00380499, 0.0110109),
        ),
        Link(
            2.93554,
            (0.00318289, -0.0743222, 0.00881461),
            (0.0629567, 0.0411924, 0.0246371),
            (0.502599, 0.584437, -0.465998, 0.434366),
        ),
        Link(
            2.2449,
            (0.0407016, -0.00482006, -0.0289731),
            (0.0267409, 0.0189869, 0.0171587),
            (0.921025, -0.244161, 0.155272, 0.260745),
        ),
        Link(
            2.6156,
            (-0.0459101, 0.0630493, -0.00851879),
            (0.05139, 0.0372717, 0.0160047),
            (0.438018, 0.803311, 0.00937812, 0.403414),
        ),
        Link(
            2.32712,
            (-0.00160396, 0.0292536, -0.0972966),
            (0.0579335, 0.0449144, 0.0130634),
            (0.919031, 0.125604, 0.0751531, -0.366003),
        ),
        Link(
            1.81704,
            (0.0597131, -0.0410295, -0.0101693),
            (0.0175039, 0.0161123, 0.00193529),
            (0.621301, 0.552665, 0.510011, 0.220081),
        ),
        Link(
            0.627143,
            (0.00452258, 0.00862619, -0.0161633),
            (0.000223836, 0.000223642, 5.64132e-07),
            (0.727579, 0.0978688, -0.24906, 0.63168),
        ),
    ),
)

UR5E = ArmModel(
    name="ur5e",
    dh=to_modified_dh(
        (
            (0.0, 0.1625, pi / 2),
            (-0.425, 0.0, 0.0),
            (-0.3922, 0.0, 0.0),
            (0.0, 0.1333, pi / 2),
            (0.0, 0.0997, -pi / 2),
            (0.0, 0.0996, 0.0),
        )
    ),
    q_min=(-2 * pi, -2 * pi, -pi, -2 * pi, -2 * pi, -2 * pi),
    q_max=(2 * pi, 2 * pi, pi, 2 * pi, 2 * pi, 2 * pi),
    dq_max=(pi,) * 6,
    tau_max=(150.0,) * 3 + (28.0,) * 3,
    links=(
        Link(3.761, (0.0, -0.00193, -0.02561), (0.0070021, 0.00657286, 0.00648091, 1.053e-5, 7.3e-7, -0.00049994)),
        Link(8.058, (-0.2125, 0.0, 0.11336), (0.01505885, 0.33388086, 0.33247207, -5.4e-5, 5.63e-6, -1.81e-6)),
        Link(2.846, (-0.2422, 0.0, 0.0265), (0.00399632, 0.07879254, 0.0784851, -1.365e-5, 0.00137272, -6.6e-6)),
        Link(1.37, (0.0, -0.01634, -0.0018), (0.00165491, 0.00126279, 0.00135962, 4.38e-6, -2.82e-6, -0.00010157)),
        Link(1.3, (0.0, 0.01634, -0.0018), (0.00135617, 0.00096614, 0.00127827, 4.44e-6, 2.74e-6, 5.048e-5)),
        Link(0.365, (0.0, 0.0, -0.001159), (0.00018694, 0.00018908, 0.00025756, 6e-8, -1.7e-7, -9.2e-7)),
    ),
    stiffness=(4500.0, 4500.0, 3500.0, 2000.0, 2000.0, 2000.0),
    home=(2.87, -1.44, 2.02, 1.44 - 2.02 - pi / 2, -pi / 2, 2.87 - pi),
    flange=0.0,
    hand_yaw=-pi / 2,
)

PANDA_LINKS = (
    Link(
        2.7907,
        (0.00033, -0.02204, -0.04762),
        (0.01564782655, 0.01439883526, 0.00500443991, 0.00000531236, -0.00003676721, -0.00248480843),
    ),
    Link(
        2.5420,
        (0.00038, -0.09211, 0.01908),
        (0.01662427728, 0.00462501261, 0.01545124526, 0.00003086077, 0.00000835940, 0.00355899830),
    ),
    Link(
        2.2513,
        (0.05152, 0.01696, -0.02971),
        (0.00631741992, 0.00866285493, 0.00657804051, 0.00097309955, 0.00292525834, 0.00093469224),
    ),
    Link(
        2.2037,
        (-0.05113, 0.05825, 0.01698),
        (0.00784585566, 0.00649543136, 0.01003079917, -0.00339591957, 0.00158704074, -0.00181477884),
    ),
    Link(
        2.2855,
        (-0.00005, 0.03730, -0.09280),
        (0.02297014781, 0.02095060919, 0.00430606551, -0.00000949345, -0.00002063156, 0.00382345782),
    ),
    Link(
        1.353,
        (0.06572, -0.00371, 0.00153),
        (0.00087964522, 0.00277796968, 0.00286701969, -0.00021487814, -0.00011911662, 0.00001274322),
    ),
    Link(
        0.35973,
        (0.00089, -0.00044, 0.05491),
        (0.00019541063, 0.00019210361, 0.00017936256, 0.00000165231, 0.00000148826, -0.00000131132),
    ),
)
"""franka_description 1.0.1, `robots/fer/inertials.yaml`."""
INERTIAS = {
    "panda": {"gaz2019": PANDA.links, "franka_description": PANDA_LINKS},
    "fr3": {"franka_description": FR3.links},
}
"""Mass tables, per arm and by name; the first is the default."""

ARMS = {arm.name: arm for arm in (PANDA, FR3, UR5E)}
TOOL_LENGTHS = {"hand": 0.1034, "pusher": 0.17}
"""From the flange to the tool centre point [m]."""


def get_arm_model(name: str, tool: str = "") -> ArmModel:
    """Returns the model of one arm.

    Args:
        name: one of `ARMS`.
        tool: one of `TOOL_LENGTHS`, or the arm's usual one.

    Raises:
        UnknownName: no such arm or tool.
    """
    if name not in ARMS:
        raise UnknownName("arm", name, ARMS)
    arm = ARMS[name]
    if not tool:
        return arm
    if tool not in TOOL_LENGTHS:
        raise UnknownName("tool", tool, TOOL_LENGTHS)
    return replace(arm, tool=tool, tcp=TOOL_LENGTHS[tool])


def with_inertia(arm: ArmModel, table: str = "") -> ArmModel:
    """Returns the arm with the masses of another published table.

    Link 4 of the Panda in franka_description has principal moments 0.0037, 0.0080 and 0.0127 kg m², which no rigid body
    has (A + B >= C is violated by 9 %), and MuJoCo refuses it: its largest moment is lowered to the sum of the others.

    Args:
        arm: `panda` or `fr3`.
        table: one of `INERTIAS`, or empty for the arm's usual one.

    Raises:
        UnknownName: the arm has no such table.
    """
    if not table:
        return arm
    known = INERTIAS.get(arm.name, {})
    if table not in known:
        raise UnknownName(f"inertia of {arm.name}", table, known)
    return replace(arm, links=tuple(map(_make_inertia_physical, known[table])))


def _make_inertia_physical(link: Link) -> Link:
    """Returns the link with a physically possible inertia."""
    if link.quat is not None:
        return link
    xx, yy, zz, xy, xz, yz = link.inertia
    # Principal moments in ascending order, and the principal axes as columns.
    moments, axes = np.linalg.eigh(np.array(((xx, xy, xz), (xy, yy, yz), (xz, yz, zz))))
    if moments[0] + moments[1] >= moments[2]:
        return link
    moments[2] = moments[0] + moments[1]
    full = axes @ np.diag(moments) @ axes.T
    inertia = tuple(float(full[i, j]) for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)))
    return replace(link, inertia=inertia)
