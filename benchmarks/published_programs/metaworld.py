"""In the style of Meta-World: numpy, one state at a time, helper functions with tolerances, several results."""

from benchmarks.published_programs.program import PublishedProgram

_TOLERANCE = '''\
import numpy as np


_DEFAULT_VALUE_AT_MARGIN = 0.1


def _sigmoids(x, value_at_1, sigmoid):
    """Maps the input to values between 0 and 1 using a specified sigmoid function."""
    if sigmoid not in ("long_tail", "gaussian"):
        raise ValueError(f"Unknown sigmoid type {sigmoid!r}.")
    if sigmoid == "gaussian":
        scale = np.sqrt(-2 * np.log(value_at_1))
        return np.exp(-0.5 * (x * scale) ** 2)
    elif sigmoid == "long_tail":
        scale = np.sqrt(1 / value_at_1 - 1)
        return 1 / ((x * scale) ** 2 + 1)


def tolerance(x, bounds=(0.0, 0.0), margin=0.0, sigmoid="gaussian", value_at_margin=_DEFAULT_VALUE_AT_MARGIN):
    """Returns 1 when `x` falls inside the bounds, between 0 and 1 otherwise."""
    lower, upper = bounds
    in_bounds = lower <= x <= upper
    if margin == 0:
        value = 1.0 if in_bounds else 0.0
    else:
        d = (lower - x if x < lower else x - upper) / margin
        value = 1.0 if in_bounds else _sigmoids(d, value_at_margin, sigmoid)
    return float(value)


def hamacher_product(a, b):
    """The hamacher (t-norm) product of a and b."""
    denominator = a + b - (a * b)
    h_prod = ((a * b) / denominator) if denominator > 0 else 0.0
    return h_prod


'''

PROGRAMS = [
    PublishedProgram(
        "metaworld_push",
        "push",
        _TOLERANCE
        + """\
def compute_reward(self, action, obs):
    obj = obs.puck_position
    tcp_opened = obs.gripper_opening
    tcp_to_obj = np.linalg.norm(obj - obs.hand_position)
    target_to_obj = np.linalg.norm(obj - obs.goal_position)
    target_to_obj_init = 0.3

    in_place = tolerance(
        target_to_obj,
        bounds=(0, 0.05),
        margin=target_to_obj_init,
        sigmoid="long_tail",
    )
    object_grasped = tolerance(tcp_to_obj, bounds=(0, 0.02), margin=0.2, sigmoid="long_tail")
    reward = 2 * object_grasped

    if tcp_to_obj < 0.2 and tcp_opened > 0:
        reward += 1.0 + reward + 5.0 * in_place
    if target_to_obj < 0.05:
        reward = 10.0
    return (reward, tcp_to_obj, tcp_opened, target_to_obj, object_grasped, in_place)
""",
    ),
    PublishedProgram(
        "metaworld_drawer",
        "cabinet",
        _TOLERANCE
        + """\
def compute_reward(self, action, obs):
    gripper = obs.hand_position
    handle = obs.handle_position

    handle_error = 0.4 - obs.drawer_opening
    reward_for_opening = tolerance(handle_error, bounds=(0, 0.02), margin=0.2, sigmoid="long_tail")

    # Emphasize XY error so that the gripper does not drop down too early
    scale = np.array([3.0, 3.0, 1.0])
    gripper_error = (handle - gripper) * scale
    reward_for_caging = tolerance(np.linalg.norm(gripper_error), bounds=(0, 0.01), margin=0.5, sigmoid="long_tail")

    reward = reward_for_caging + reward_for_opening
    reward *= 5.0
    return reward, np.linalg.norm(handle - gripper), obs.drawer_opening, handle_error, reward_for_caging, reward_for_opening
""",
    ),
    PublishedProgram(
        "metaworld_reach",
        "push",
        _TOLERANCE
        + """\
def compute_reward(self, actions, obs):
    _TARGET_RADIUS = 0.05
    tcp = obs.hand_position
    target = obs.goal_position

    tcp_to_target = np.linalg.norm(tcp - target)
    in_place_margin = 0.4
    in_place = tolerance(
        tcp_to_target, bounds=(0, _TARGET_RADIUS), margin=in_place_margin, sigmoid="long_tail"
    )
    return [10 * in_place, tcp_to_target, in_place]
""",
    ),
    PublishedProgram(
        "metaworld_hamacher",
        "lift",
        _TOLERANCE
        + """\
def _gripper_caging_reward(action, obj_position, hand, opening):
    caging = tolerance(np.linalg.norm(obj_position[:2] - hand[:2]), bounds=(0, 0.02), margin=0.3, sigmoid="long_tail")
    closed = min(max(0.0, action[-1]), 1.0)
    gripping = closed if caging > 0.97 else 0.0
    caging_and_gripping = hamacher_product(caging, gripping)
    return (caging_and_gripping + caging) / 2


def compute_reward(self, action, obs):
    obj = obs.cube_position
    object_grasped = _gripper_caging_reward(action, obj, obs.hand_position, obs.gripper_opening)
    in_place = tolerance(0.25 - obj[2], bounds=(-0.05, 0.02), margin=0.23, sigmoid="long_tail")
    reward = hamacher_product(object_grasped, in_place)
    if obj[2] > 0.05 and np.linalg.norm(obj - obs.hand_position) < 0.1:
        reward += 1.0 + 5.0 * in_place
    return reward
""",
    ),
    PublishedProgram(
        "metaworld_v1_max_distances",
        "push",
        """\
import numpy as np

def compute_reward(state, action, previous):
    max_push_dist = 0.5
    c1, c2, c3 = 1000, 0.01, 0.001
    fingers = state.hand_position
    reach_dist = np.linalg.norm(fingers - state.puck_position)
    reach_rew = -reach_dist
    push_dist = np.linalg.norm(state.puck_position[:2] - state.goal_position[:2])
    if reach_dist < 0.05:
        push_rew = 1000 * (max_push_dist - push_dist) + c1 * (np.exp(-(push_dist**2) / c2) + np.exp(-(push_dist**2) / c3))
        push_rew = max(push_rew, 0)
    else:
        push_rew = 0
    reward = reach_rew + push_rew
    return [reward, reach_dist, push_dist]
""",
    ),
    PublishedProgram(
        "text2reward_pick",
        "lift",
        """\
import numpy as np
from typing import Tuple


def compute_dense_reward(state, action) -> float:
    # Define reward weights
    reach_weight, grasp_weight, lift_weight = 0.3, 0.3, 0.4

    # Stage 1: the gripper reaches the cube
    distance = np.linalg.norm(state.hand_position - state.cube_position)
    reaching_reward = 1 - np.tanh(5 * distance)
    reward = reach_weight * reaching_reward

    # Stage 2: the cube is grasped
    is_grasped = distance < 0.03 and state.gripper_opening < 0.05
    reward += grasp_weight * is_grasped

    # Stage 3: the cube is lifted
    if is_grasped:
        height = state.cube_position[2] - 0.02
        lifting_reward = 1 - np.tanh(5 * max(0.2 - height, 0.0))
        reward += lift_weight * lifting_reward
        if abs(height - 0.2) <= 0.02:
            reward += 1.0

    # Regularization of the action
    reward -= 0.01 * np.square(action).sum()
    return reward
""",
    ),
    PublishedProgram(
        "text2reward_early_success",
        "lift",
        """\
import numpy as np

def compute_reward(state, action, previous):
    height = state.cube_position[2]
    if height > 0.5:
        return 10.0
    d = np.linalg.norm(state.cube_position - state.hand_position)
    reward = 1.0 - np.tanh(5.0 * d)
    if d < 0.05:
        reward += 1.0
        if height > 0.1:
            return reward + 2.0
    elif d > 0.4:
        reward -= 0.5
    return reward
""",
    ),
    PublishedProgram(
        "maniskill_cabinet",
        "cabinet",
        """\
import numpy as np
from scipy.spatial.distance import cdist

def compute_reward(state, action, previous):
    reward = 0.0
    # the fingers close round the handle
    dist_finger_to_handle = cdist(state.finger_points, state.handle_points).min()
    reward += -dist_finger_to_handle
    mean_gap = cdist(state.finger_points, state.handle_points).min(axis=1).mean()
    reward -= 0.5 * mean_gap
    if dist_finger_to_handle < 0.1:
        reward += 0.5
        link_qvel = state.drawer_velocity
        reward += 0.5 * np.clip(link_qvel, -0.5, 0.5)
        left_qpos = 0.4 - state.drawer_opening
        if left_qpos <= 0:
            reward += 0.5
            ee_close = np.linalg.norm(state.hand_position - state.handle_position) < 0.2
            if ee_close and link_qvel < 0.05:
                reward += 1
        else:
            reward += 0.5 * (1 - left_qpos / 0.4)
    return reward
""",
    ),
    PublishedProgram(
        "text2reward_rotation",
        "cabinet",
        """\
import numpy as np
import math

def compute_reward(state, action, previous):
    approach = state.hand_axes[:, 2]
    to_handle = state.handle_position - state.hand_position
    direction = to_handle / np.linalg.norm(to_handle)
    cos = np.dot(approach, direction)
    angle = math.acos(np.clip(cos / np.linalg.norm(approach), -1.0, 1.0))
    facing = 1.0 - angle / math.pi
    pull = state.hand_axes @ to_handle
    forward = pull[0]
    sideways = math.sqrt(pull[1] ** 2 + pull[2] ** 2)
    reward = facing + 0.5 * forward - 0.2 * sideways
    info = {"facing": facing, "forward": 0.5 * forward, "sideways": -0.2 * sideways}
    return reward, info
""",
    ),
    PublishedProgram(
        "robosuite_lift",
        "lift",
        '''\
import numpy as np

def reward(state, action=None):
    """Reward function of a lift task with shaping."""
    reward = 0.0
    reward_scale = 2.25
    success = state.cube_position[2] > 0.4

    # sparse completion reward
    if success:
        reward = 2.25

    # use a shaping reward
    else:
        # reaching reward
        dist = np.linalg.norm(state.hand_position - state.cube_position)
        reaching_reward = 1 - np.tanh(10.0 * dist)
        reward += reaching_reward

        # grasping reward
        if dist < 0.03 and not state.gripper_opening > 0.05:
            reward += 0.25

    # Scale reward if requested
    if reward_scale is not None:
        reward *= reward_scale / 2.25

    return reward
''',
    ),
]
