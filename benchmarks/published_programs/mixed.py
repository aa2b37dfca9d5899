"""Programs of several styles, written after the others as a check of the rewriting."""

from benchmarks.published_programs.program import PublishedProgram

PROGRAMS = [
    PublishedProgram(
        "metaworld_inner_tolerance",
        "push",
        """\
import numpy as np
def compute_reward(self, action, obs):
    _TARGET_RADIUS: float = 0.05
    tcp = obs.hand_position
    obj = obs.puck_position
    tcp_opened = obs.gripper_opening
    target = obs.goal_position

    obj_to_target = np.linalg.norm(obj - target)
    tcp_to_obj = np.linalg.norm(obj - tcp)
    in_place_margin = np.linalg.norm(np.array([0.0, 0.6, 0.02]) - target)

    def tolerance(x, bounds, margin):
        lower, upper = bounds
        assert_ok = lower <= upper
        if lower <= x <= upper:
            return 1.0
        d = (lower - x if x < lower else x - upper) / margin
        return 1 / (1 + (d * 3.0) ** 2)

    in_place = tolerance(obj_to_target, bounds=(0, _TARGET_RADIUS), margin=in_place_margin)
    reward = 2.0 * in_place
    if tcp_to_obj < 0.02 and (tcp_opened > 0) and (obj[2] - 0.01 > 0.02):
        reward += 1.0 + 5.0 * in_place
    if obj_to_target < _TARGET_RADIUS:
        reward = 10.0
    return [reward, tcp_to_obj, tcp_opened, obj_to_target, in_place]
""",
    ),
    PublishedProgram(
        "weights_as_arrays",
        "walk",
        """\
import numpy as np
from typing import Dict, Any, Tuple

class Cfg:
    pass

def compute_reward(state, action, previous):
    r = np.array([state.torso_velocity[0], -np.sum(action ** 2) * 0.1])
    weights = np.array([1.0, 0.5])
    return float(np.dot(weights, r))
""",
    ),
    PublishedProgram(
        "feet_in_a_comprehension",
        "walk",
        """\
import numpy as np
def compute_reward(state, action, previous):
    velocity = state.torso_velocity
    vx, vy, vz = velocity[0], velocity[1], velocity[2]
    target = np.concatenate([state.command[:2], [0.0]])
    err = np.linalg.norm(velocity - target)
    lin = np.exp(-err ** 2 / 0.25)
    roll_pitch = np.abs(state.up_direction[:-1]).sum()
    penalties = {
        "z": -2.0 * vz ** 2,
        "orientation": -0.5 * roll_pitch,
        "torque": -1e-4 * np.linalg.norm(action) ** 2,
    }
    feet = [f > 1.0 for f in state.foot_contact]
    n = sum(feet)
    bonus = 0.2 if 1 <= n <= 2 else -0.1
    reward = lin + bonus + sum(v for k, v in penalties.items())
    info = {"lin": lin, "bonus": bonus, **penalties}
    return reward, info
""",
    ),
    PublishedProgram(
        "distances_of_math",
        "lift",
        """\
def compute_reward(state, action, previous):
    import numpy as np
    import math
    # distances
    d_now = math.dist(state.hand_position, state.cube_position)
    d_before = math.dist(previous.hand_position, previous.cube_position)
    reward = 0
    reward += (d_before - d_now) * 10
    reward -= 0.001 * sum(a * a for a in action)
    lifted = state.cube_position[2] >= 0.12
    reward += 5 if lifted else 0
    if not lifted and d_now > 0.3: reward -= 1
    done = bool(lifted)
    return reward, done, {"distance": d_now, "lifted": lifted}
""",
    ),
    PublishedProgram(
        "franka_axes",
        "cabinet",
        """\
import torch
from torch import Tensor

def quat_axis(v: Tensor, axis: int = 0) -> Tensor:
    return v[:, axis]

@torch.jit.script
def compute_reward(hand_axes: Tensor, hand_position: Tensor, handle_position: Tensor, drawer_opening: Tensor, actions: Tensor, num_envs: int = 200):
    # type: (...) -> Tuple[Tensor, Dict[str, Tensor]]
    axis1 = hand_axes[:, 0]
    axis2 = hand_axes[:, 1]
    dot1 = torch.bmm(axis1.view(num_envs, 1, 3), axis2.view(num_envs, 3, 1)).squeeze(-1).squeeze(-1)
    rot_reward = 0.5 * (torch.sign(dot1) * dot1 ** 2)
    d = torch.norm(hand_position - handle_position, p=2, dim=-1)
    around = torch.zeros_like(rot_reward)
    around = torch.where(hand_position[:, 2] > handle_position[:, 2],
                         torch.where(hand_position[:, 1] < handle_position[:, 1], around + 0.5, around), around)
    rewards = rot_reward + around - d
    return rewards, {"rot": rot_reward}
""",
        "batch",
        "torch",
    ),
    PublishedProgram(
        "maniskill_push",
        "push",
        """\
import torch
def compute_reward(state, action, previous):
    tcp_to_push_pose = state.puck_position.clone()
    tcp_to_push_pose[:, 0] -= 0.05
    d = torch.linalg.norm(tcp_to_push_pose - state.hand_position, axis=1)
    reaching_reward = 1 - torch.tanh(5 * d)
    reward = reaching_reward
    reached = d < 0.1
    obj_to_goal = torch.linalg.norm(state.puck_position[..., :2] - state.goal_position[..., :2], axis=1)
    place_reward = 1 - torch.tanh(5 * obj_to_goal)
    reward += place_reward * reached
    z_deviation = torch.abs(state.puck_position[..., 2] - 0.02)
    z_reward = 1 - torch.tanh(5 * z_deviation)
    reward += place_reward * z_reward * reached
    reward[obj_to_goal < 0.1] = 4
    return reward / 4.0
""",
        "batch",
        "torch",
    ),
    PublishedProgram(
        "parts_of_functions",
        "lift",
        """\
import numpy as np
REWARD_WEIGHTS = {"reach": 1.0, "lift": 4.0}

def reach(state):
    return 1 - np.tanh(5 * np.linalg.norm(state.hand_position - state.cube_position))

def lift(state, target=0.2):
    return np.clip(state.cube_position[2] / target, 0, 1)

def compute_reward(state, action, previous):
    parts = {"reach": reach(state), "lift": lift(state)}
    total = sum(REWARD_WEIGHTS[k] * v for k, v in parts.items())
    return total, parts
""",
    ),
    PublishedProgram(
        "angles_of_a_quaternion",
        "walk",
        """\
import numpy as np
def compute_reward(state, action, previous):
    w, x, y, z = state.torso_rotation
    roll = np.arctan2(2 * (w * x + y * z), 1 - 2 * (x ** 2 + y ** 2))
    sinp = 2 * (w * y - z * x)
    pitch = np.arcsin(np.clip(sinp, -1.0, 1.0)) if abs(sinp) < 1 else np.sign(sinp) * np.pi / 2
    upright = np.exp(-(roll ** 2 + pitch ** 2))
    phase = np.sin(2 * np.pi * state.torso_position[0])
    lo, hi = -0.5, 0.5
    over = np.sum(np.maximum(state.joint_position - hi, 0) + np.maximum(lo - state.joint_position, 0))
    slow = np.sum(np.where(np.abs(state.joint_velocity) > 5.0, 1, 0))
    total = upright + 0.1 * phase - 0.1 * over - 0.01 * slow
    return np.float32(total) if False else total, {}
""",
    ),
    PublishedProgram(
        "points_and_matrices",
        "cabinet",
        """\
import numpy as np
def compute_reward(state, action, previous):
    gap = state.finger_points.mean(0) - state.handle_position
    dist = np.sqrt((gap ** 2).sum())
    per_finger = np.sqrt(((state.finger_points - state.handle_position) ** 2).sum(axis=-1))
    best, worst = per_finger.min(), per_finger.max()
    align = abs(state.hand_axes[2] @ np.array([0.0, 0.0, -1.0]))
    R = state.hand_axes.T
    proj = R @ gap
    opening_gain = (state.drawer_opening - previous.drawer_opening) / 0.05
    reward = -dist - 0.1 * (worst - best) + 0.2 * align - 0.05 * np.abs(proj).sum() + opening_gain
    reward += {True: 1.0, False: 0.0}[True]
    return reward
""",
    ),
    PublishedProgram(
        "unit_vectors_and_lists",
        "push",
        """\
import numpy as np
EPS = 1e-6
def compute_reward(state, action, previous):
    puck_xy = state.puck_position[:2]
    goal_xy = state.goal_position[:2]
    delta = goal_xy - puck_xy
    dist = np.linalg.norm(delta)
    dirn = delta / (dist + EPS)
    vel = np.dot(state.puck_velocity[:2], dirn)
    perp = np.array([-dirn[1], dirn[0]])
    side = abs(np.dot(state.puck_velocity[:2], perp))
    behind = puck_xy - 0.05 * dirn
    reach = np.linalg.norm(np.append(behind, 0.02) - state.hand_position)
    contact = reach < 0.02
    r = {
        'vel': np.clip(vel, -1, 1),
        'side': -0.5 * side,
        'reach': -reach,
        'goal': 1.0 / (1.0 + 10 * dist),
        'success': 10.0 * (dist < 0.03),
    }
    r['contact'] = 0.5 if contact else 0.0
    total = float(np.sum(list(r.values())))
    return total, r
""",
    ),
    PublishedProgram(
        "legged_limits",
        "walk",
        """\
import torch
def compute_reward(state, action, previous):
    base_height = torch.mean(state.torso_position[:, 2].unsqueeze(1) - torch.zeros_like(state.joint_position), dim=1)
    rew_height = torch.square(base_height - 0.5)
    out_of_limits = -(state.joint_position - (-0.5)).clip(max=0.)
    out_of_limits += (state.joint_position - 0.5).clip(min=0.)
    lim = torch.sum(out_of_limits, dim=1)
    stumble = torch.any(torch.norm(state.foot_contact.unsqueeze(-1), dim=2) > 2.5, dim=1)
    stand = torch.sum(torch.abs(state.joint_position), dim=1) * (torch.norm(state.command[:, :2], dim=1) < 0.1)
    single = torch.sum(1. * (state.foot_contact > 0.1), dim=1) == 1
    rew = -rew_height - lim - 1.0 * stumble - stand + 1. * single
    return rew
""",
        "batch",
        "torch",
    ),
]
