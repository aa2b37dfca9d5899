"""In the style of gymnasium's MuJoCo tasks and of answers of language models: numpy, one state at a time."""

from benchmarks.published_programs.program import PublishedProgram

PROGRAMS = [
    PublishedProgram(
        "gymnasium_ant_info",
        "walk",
        """\
import numpy as np

DT = 0.05
FORWARD_REWARD_WEIGHT = 1.0
CTRL_COST_WEIGHT = 0.5
HEALTHY_REWARD = 1.0
HEALTHY_Z_RANGE = (0.2, 1.0)


def compute_reward(state, action, previous):
    xy_velocity = (state.torso_position[:2] - previous.torso_position[:2]) / DT
    x_velocity, y_velocity = xy_velocity

    forward_reward = x_velocity * FORWARD_REWARD_WEIGHT
    min_z, max_z = HEALTHY_Z_RANGE
    is_healthy = min_z <= state.torso_position[2] <= max_z
    healthy_reward = is_healthy * HEALTHY_REWARD
    rewards = forward_reward + healthy_reward

    ctrl_cost = CTRL_COST_WEIGHT * np.sum(np.square(action))
    reward = rewards - ctrl_cost

    reward_info = {
        "reward_forward": forward_reward,
        "reward_ctrl": -ctrl_cost,
        "reward_survive": healthy_reward,
    }
    return reward, reward_info
""",
    ),
    PublishedProgram(
        "gymnasium_walker_helpers",
        "walk",
        """\
import numpy as np

HEALTHY_ANGLE = 0.8


def is_healthy(height, up):
    healthy_z = 0.3 < height < 1.1
    healthy_angle = up > 1.0 - HEALTHY_ANGLE
    return healthy_z and healthy_angle


def control_cost(action):
    return 1e-3 * np.square(action).sum()


def compute_reward(state, action, previous):
    x_position_before = previous.torso_position[0]
    x_position_after = state.torso_position[0]
    x_velocity = (x_position_after - x_position_before) / 0.008
    healthy = is_healthy(state.torso_position[2], state.up_direction[2])
    reward = x_velocity + float(healthy) - control_cost(action)
    info = {}
    info["speed"] = x_velocity
    info["healthy"] = float(healthy)
    info["control"] = -control_cost(action)
    return reward, info
""",
    ),
    PublishedProgram(
        "gymnasium_hopper_all",
        "walk",
        """\
import numpy as np

def compute_reward(state, action, previous):
    z = state.torso_position[2]
    angles = state.joint_position
    healthy_state = np.all(np.logical_and(-0.9 < angles, angles < 0.9))
    healthy = bool(healthy_state and z > 0.1)
    healthy_reward = 1.0 if healthy else 0.0
    forward = state.torso_velocity[0]
    ctrl = 1e-3 * np.sum(np.square(action))
    total = forward + healthy_reward - ctrl
    return float(total), {"forward": float(forward), "healthy": healthy_reward, "ctrl": float(-ctrl)}
""",
    ),
    PublishedProgram(
        "gymnasium_pusher",
        "push",
        """\
import numpy as np

def compute_reward(state, action, previous):
    vec_1 = state.puck_position - state.hand_position
    vec_2 = state.puck_position - state.goal_position

    reward_near = -np.linalg.norm(vec_1) * 0.5
    reward_dist = -np.linalg.norm(vec_2)
    reward_ctrl = -np.square(action).sum() * 0.1

    reward = reward_dist + reward_ctrl + reward_near
    return reward, dict(reward_dist=reward_dist, reward_ctrl=reward_ctrl, reward_near=reward_near)
""",
    ),
    PublishedProgram(
        "gymnasium_humanoid_contact",
        "walk",
        """\
import numpy as np

def compute_reward(state, action, previous):
    mass_velocity = state.torso_velocity[:2].copy()
    forward_reward = 1.25 * mass_velocity[0]
    quad_ctrl_cost = 0.1 * np.square(action).sum()
    contact = np.clip(state.foot_contact, 0.0, 10.0)
    contact_cost = min(5e-7 * np.square(contact).sum() * 1e6, 10)
    is_healthy = state.torso_position[2] > 0.3 and state.torso_position[2] < 1.0
    healthy_reward = 5.0 * int(is_healthy)
    terminated = not is_healthy
    reward = forward_reward + healthy_reward - quad_ctrl_cost - contact_cost
    if terminated:
        reward -= 1.0
    return reward
""",
    ),
    PublishedProgram(
        "fetch_sparse_dense",
        "push",
        """\
import numpy as np

def goal_distance(goal_a, goal_b):
    assert_shapes = goal_a.shape == goal_b.shape
    return np.linalg.norm(goal_a - goal_b, axis=-1)

def compute_reward(state, action, previous, reward_type="dense", distance_threshold=0.05):
    # Compute distance between goal and the achieved goal.
    d = goal_distance(state.puck_position, state.goal_position)
    if reward_type == "sparse":
        return -(d > distance_threshold).astype(np.float32)
    else:
        return -d
""",
    ),
    PublishedProgram(
        "llm_typed_stages",
        "lift",
        '''\
import math
import numpy as np
from typing import Any, Dict, Tuple


def compute_reward(state: Any, action: np.ndarray, previous: Any) -> Tuple[float, Dict[str, float]]:
    """
    Shaped reward of lifting.

    1) approach, 2) grasp, 3) lift
    """
    components: Dict[str, float] = {}

    ee: np.ndarray = state.hand_position
    cube: np.ndarray = state.cube_position

    # --- 1) approach -------------------------------------------------
    dist: float = float(np.linalg.norm(ee - cube))
    components["approach"] = math.exp(-5.0 * dist)

    # --- 2) grasp ----------------------------------------------------
    gripper_closed: bool = state.gripper_opening < 0.04
    near: bool = dist < 0.04
    components["grasp"] = 1.0 if (gripper_closed and near) else 0.0

    # --- 3) lift -----------------------------------------------------
    height: float = max(0.0, cube[2] - 0.02)
    components["lift"] = 5.0 * min(height / 0.2, 1.0)

    # --- penalties ---------------------------------------------------
    components["effort"] = -0.01 * float(np.sum(action ** 2))

    total: float = sum(components.values())
    return total, components
''',
    ),
    PublishedProgram(
        "llm_aug_dictionary",
        "push",
        """\
import numpy as np

def compute_reward(state, action, previous):
    rewards = {"reach": 0.0, "push": 0.0, "bonus": 0.0}
    puck = state.puck_position
    goal = state.goal_position
    d_reach = np.linalg.norm(state.hand_position - puck)
    d_goal = np.linalg.norm(puck[:2] - goal[:2])
    d_before = np.linalg.norm(previous.puck_position[:2] - goal[:2])
    rewards["reach"] += -d_reach
    rewards["push"] += 10.0 * (d_before - d_goal)
    rewards["push"] -= 0.1 * abs(puck[2] - 0.02)
    if d_goal < 0.1:
        rewards["bonus"] += 1.0
    if d_goal < 0.03:
        rewards["bonus"] += 4.0
    total = 0.0
    for key, value in rewards.items():
        total += value
    return total, rewards
""",
    ),
    PublishedProgram(
        "llm_ternaries",
        "push",
        """\
import numpy as np

def compute_reward(state, action, previous):
    offset = state.goal_position - state.puck_position
    dist = np.sqrt(offset[0] ** 2 + offset[1] ** 2)
    side = 1.0 if offset[0] > 0 else -1.0 if offset[0] < -0.1 else 0.0
    aim = state.puck_position + (np.array([-0.05, 0.0, 0.0]) if side > 0 else np.array([0.05, 0.0, 0.0]))
    reach = np.linalg.norm(state.hand_position - aim)
    shaped = (1 - np.tanh(3 * dist)) * (0.5 if reach > 0.2 else 1.0)
    return shaped - 0.2 * reach, {"shaped": shaped, "reach": -0.2 * reach}
""",
    ),
    PublishedProgram(
        "llm_unit_vectors",
        "push",
        """\
import numpy as np

def unit(v, eps=1e-8):
    return v / (np.linalg.norm(v) + eps)

def compute_reward(state, action, previous):
    to_goal = unit(state.goal_position - state.puck_position)
    to_puck = unit(state.puck_position - state.hand_position, eps=1e-6)
    alignment = to_goal @ to_puck
    speed = np.linalg.norm(state.puck_velocity)
    along = np.inner(state.puck_velocity, to_goal)
    lateral = np.linalg.norm(state.puck_velocity - along * to_goal)
    pos_xy, vel_xy = state.puck_position[:2], state.puck_velocity[0:2]
    future = pos_xy + 0.5 * vel_xy
    miss = np.hypot(*(future - state.goal_position[:2]))
    reward = alignment + along - 0.5 * lateral - miss
    return reward, {"alignment": alignment, "along": along, "lateral": -0.5 * lateral, "miss": -miss, "speed": 0.0 * speed}
""",
    ),
    PublishedProgram(
        "llm_lambda_and_lists",
        "lift",
        """\
import numpy as np

def compute_reward(state, action, previous):
    sigmoid = lambda x, k=10.0: 1.0 / (1.0 + np.exp(-k * x))
    gap = np.linalg.norm(state.hand_position - state.cube_position)
    parts = [
        1.0 - np.tanh(4.0 * gap),
        sigmoid(state.cube_position[2] - 0.1),
        sigmoid(0.04 - state.gripper_opening, k=100.0) * 0.2,
    ]
    weights = [1.0, 3.0, 0.5]
    total = sum(w * p for w, p in zip(weights, parts))
    return total
""",
    ),
    PublishedProgram(
        "llm_loop_over_joints",
        "lift",
        """\
import numpy as np

JOINT_LIMITS = [(-2.9, 2.9), (-1.8, 1.8), (-2.9, 2.9), (-3.1, -0.1), (-2.9, 2.9), (0.0, 3.7), (-2.9, 2.9)]

def compute_reward(state, action, previous):
    penalty = 0.0
    for i, (low, high) in enumerate(JOINT_LIMITS):
        q = state.joint_position[i]
        if q < low + 0.1:
            penalty += (low + 0.1 - q) ** 2
        elif q > high - 0.1:
            penalty += (q - high + 0.1) ** 2
    moved = 0.0
    for i in range(len(state.joint_position)):
        moved += abs(state.joint_position[i] - previous.joint_position[i])
    effort = 0.0
    for a in range(4):
        effort += action[a] ** 2
    total = -penalty - 0.1 * moved - 0.01 * effort
    return total, {"limits": -penalty, "moved": -0.1 * moved, "effort": -0.01 * effort}
""",
    ),
    PublishedProgram(
        "llm_guard_clauses",
        "push",
        """\
import numpy as np

def _safe_cos(a, b):
    na, nb = np.linalg.norm(a), np.linalg.norm(b)
    if na < 0.1 or nb < 0.1:
        return 0.0
    return float(np.dot(a, b) / (na * nb))

def compute_reward(state, action, previous):
    move = state.puck_position - previous.puck_position
    wanted = state.goal_position - previous.puck_position
    heading = _safe_cos(move, wanted)
    if state.puck_position[2] < 0.05:
        return -1.0, {"heading": 0.0, "fallen": -1.0}
    elif state.puck_position[2] > 0.55:
        return -2.0, {"heading": heading, "fallen": -1.0}
    closeness = np.exp(-np.linalg.norm(wanted))
    return heading + closeness, {"heading": heading, "closeness": closeness}
""",
    ),
    PublishedProgram(
        "llm_reserved_names",
        "lift",
        """\
import numpy as np

def compute_reward(state, action, previous):
    dist = np.linalg.norm(state.cube_position - state.hand_position)
    success = state.cube_position[2] > 0.3
    total = -dist + 5.0 * success
    info = {"distance reward": -dist, "success": success, "_bonus": 5.0 * success, "total": total}
    return total, info
""",
    ),
    PublishedProgram(
        "llm_np_select_and_masks",
        "walk",
        """\
import numpy as np

def compute_reward(state, action, previous):
    forces = np.maximum(state.foot_contact, 0)
    touching = forces > 0.5
    n = np.sum(touching)
    gait = 1.0 if n == 2 else (0.5 if n in (1, 3) else 0.0)
    if touching.any() and not touching.all():
        gait += 0.1
    balance = -np.std(forces) - 0.1 * np.var(state.joint_position)
    spread = np.max(forces) - np.min(forces)
    mean_height = np.mean([state.torso_position[2], previous.torso_position[2]])
    energy = np.abs(action * state.joint_velocity).mean()
    reward = gait + balance - 0.1 * spread + mean_height - 0.01 * energy
    return reward, {"gait": gait, "balance": balance, "spread": -0.1 * spread, "height": mean_height, "energy": -0.01 * energy}
""",
    ),
    PublishedProgram(
        "llm_torch_one_world",
        "push",
        """\
import torch

def compute_reward(state, action, previous):
    d = torch.norm(state.puck_position - state.goal_position)
    r = torch.norm(state.puck_position - state.hand_position).item()
    reward = torch.exp(-5 * d).item() - 0.3 * r
    if d < 0.1:
        reward += 1.0
    penalty = 0.05 * action.pow(2).sum().item()
    return reward - penalty
""",
        library="torch",
    ),
    PublishedProgram(
        "llm_walk_tracking",
        "walk",
        """\
from __future__ import annotations

import numpy as np

W = dict(track=1.0, yaw=0.5, upright=0.3, smooth=0.05)


def squared_error(a, b):
    return np.sum((a - b) ** 2)


def compute_reward(state, action, previous):
    track = W["track"] * np.exp(-squared_error(state.command[:2], state.torso_velocity[:2]) / 0.25)
    yaw = W["yaw"] * np.exp(-((state.command[2] - state.torso_spin[2]) ** 2) / 0.25)
    upright = W["upright"] * (1.0 if state.up_direction[2] > 0.9 else max(0.0, state.up_direction[2]))
    smooth = -W["smooth"] * squared_error(state.joint_position, previous.joint_position)
    reward_terms = {"track": track, "yaw": yaw, "upright": upright}
    reward_terms.update({"smooth": smooth})
    return sum(reward_terms.values()), reward_terms
""",
    ),
    PublishedProgram(
        "llm_self_methodless",
        "push",
        """\
import numpy as np

def compute_reward(self, action):
    eef = self.hand_position
    puck = self.puck_position
    goal = self.goal_position
    dist = np.linalg.norm(eef - puck)
    place = np.linalg.norm(puck - goal)
    reaching = np.exp(-3.0 * dist)
    placing = np.exp(-5.0 * place) if dist < 0.1 else 0.0
    action_cost = np.sum(np.abs(action)) * 0.01
    reward = reaching + 2 * placing - action_cost
    print("reward", reward)
    return reward
""",
    ),
    PublishedProgram(
        "llm_nested_conditions",
        "cabinet",
        """\
import numpy as np

def stage(opening, velocity, distance):
    if distance > 0.15:
        return 0
    if opening < 0.05:
        if velocity > 0.0:
            return 2
        return 1
    elif opening < 0.3:
        return 3
    else:
        return 4

def compute_reward(state, action, previous):
    distance = np.linalg.norm(state.hand_position - state.handle_position)
    s = stage(state.drawer_opening, state.drawer_velocity, distance)
    progress = state.drawer_opening - previous.drawer_opening
    bonus = 2.0 if s >= 3 and progress > 0 else 0.0
    reach = 1 - np.tanh(3.0 * distance)
    total = float(s) + reach + 10 * progress + bonus
    return total, {"stage": float(s), "reach": reach, "progress": 10 * progress, "bonus": bonus}
""",
    ),
    PublishedProgram(
        "llm_centre_of_points",
        "cabinet",
        """\
import numpy as np
from numpy.linalg import norm

def compute_reward(state, action, previous):
    centre = np.mean(state.finger_points, axis=0)
    handle = state.handle_points.mean(axis=0)
    gap = norm(centre - handle)
    nearest = np.min(np.linalg.norm(state.handle_points - state.hand_position, axis=1))
    spread = np.linalg.norm(state.finger_points[0] - state.finger_points[-1])
    reward = -gap - 0.5 * nearest + 0.1 * spread
    return reward, {"gap": -gap, "nearest": -0.5 * nearest, "spread": 0.1 * spread}
""",
    ),
    PublishedProgram(
        "llm_assignment_to_parts",
        "walk",
        """\
import numpy as np

def compute_reward(state, action, previous):
    target = np.zeros(3)
    target[0] = 1.0
    error = np.abs(state.torso_velocity - target)
    score = np.exp(-error)
    reward = score[0] + 0.2 * score[1] + 0.1 * score[2]
    return reward
""",
    ),
    PublishedProgram(
        "llm_smoothness",
        "walk",
        """\
import numpy as np

def compute_reward(state, action, previous):
    jumps = np.diff(state.joint_position)
    reward = -np.sum(np.abs(jumps)) * 0.01
    power = np.sum(np.abs(np.multiply(action, state.joint_velocity)))
    action = np.clip(action, -0.5, 0.5)
    reward -= 1e-3 * power + 1e-2 * np.linalg.norm(action, ord=1)
    reward += np.linalg.norm(state.torso_velocity[:2], 2) if state.up_direction[2] > 0 else -1
    return reward
""",
    ),
    PublishedProgram(
        "llm_median_and_sort",
        "walk",
        """\
import numpy as np

def compute_reward(state, action, previous):
    forces = np.sort(state.foot_contact)
    reward = np.median(state.joint_velocity) - 0.1 * (forces[-1] - forces[0])
    return reward
""",
    ),
]
