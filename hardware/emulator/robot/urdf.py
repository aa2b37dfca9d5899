"""The URDF of the robot, which version 10 sends on request, from the arm's table of official numbers."""

from __future__ import annotations

from functools import cache

import mujoco
import numpy as np

from robo_reward.envs.arm.model import ArmModel, Link

LIMIT = (
    '<limit effort="{effort}" lower="{lower}" upper="{upper}" velocity="{velocity}"/>'
    '<position_based_velocity_limits velocity_offset="{offset}" deceleration_limit="{deceleration}"/>'
)


@cache
def robot_urdf(arm: ArmModel) -> str:
    """Returns the URDF of the arm up to its flange, which libfranka looks for as `link8`; without meshes, hand or load.

    A client adds those itself, from the masses in each state.

    Args:
        arm: `panda` or `fr3`. An arm without position-based velocity limits gets ones that never bind.
    """
    parts = ['<link name="link0"/>']
    for i, ((a, d, alpha), link) in enumerate(zip(arm.dh, arm.links, strict=True), start=1):
        # Craig's convention: RotX(alpha) TransX(a) TransZ(d), then the joint's rotation.
        y, z = -d * _sine(alpha), d * _cosine(alpha)
        limit = LIMIT.format(
            effort=arm.tau_max[i - 1],
            lower=arm.q_min[i - 1],
            upper=arm.q_max[i - 1],
            velocity=arm.dq_max[i - 1],
            offset=arm.dq_offset[i - 1] if arm.dq_offset else 0.0,
            deceleration=arm.ddq_dec[i - 1] if arm.ddq_dec else 1e6,
        )
        parts.append(
            f'<joint name="joint{i}" type="revolute"><origin rpy="{alpha!r} 0 0" xyz="{a} {y} {z}"/>'
            f'<parent link="link{i - 1}"/><child link="link{i}"/><axis xyz="0 0 1"/>{limit}</joint>'
            f'<link name="link{i}">{_inertial_xml(link)}</link>'
        )
    parts.append(
        f'<joint name="joint8" type="fixed"><origin rpy="0 0 0" xyz="0 0 {arm.flange}"/>'
        f'<parent link="link7"/><child link="link8"/></joint><link name="link8"/>'
    )
    return f'<?xml version="1.0" ?>\n<robot name="{arm.name}">\n' + "\n".join(parts) + "\n</robot>\n"


def _sine(alpha: float) -> int:
    """Returns the sine of a multiple of a right angle, as an integer."""
    return round(alpha / 1.5707963267948966)


def _cosine(alpha: float) -> int:
    return 1 - abs(_sine(alpha))


def _inertial_xml(link: Link) -> str:
    xx, yy, zz, xy, xz, yz = inertia_tensor(link)
    com = " ".join(map(repr, link.com))
    return (
        f'<inertial><origin rpy="0 0 0" xyz="{com}"/><mass value="{link.mass!r}"/>'
        f'<inertia ixx="{xx!r}" iyy="{yy!r}" izz="{zz!r}" ixy="{xy!r}" ixz="{xz!r}" iyz="{yz!r}"/></inertial>'
    )


def inertia_tensor(link: Link) -> tuple[float, ...]:
    """Returns `xx yy zz xy xz yz` [kg m²] in the link's own axes."""
    if link.quat is None:
        return link.inertia
    turn = np.zeros(9)
    mujoco.mju_quat2Mat(turn, np.array(link.quat) / np.linalg.norm(link.quat))
    axes = turn.reshape(3, 3)
    full = axes @ np.diag(link.inertia) @ axes.T
    return tuple(float(full[i, j]) for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)))
