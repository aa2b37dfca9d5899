"""In the style of IsaacGym tasks and of programs that Eureka writes: torch, batches, TorchScript annotations."""

from benchmarks.published_programs.program import PublishedProgram


def _program(name: str, state: str, source: str) -> PublishedProgram:
    return PublishedProgram(name, state, source, "batch", "torch")


PROGRAMS = [
    _program(
        "eureka_lift_temperatures",
        "lift",
        """\
from typing import Dict, Tuple

import torch
from torch import Tensor


@torch.jit.script
def compute_reward(hand_position: Tensor, cube_position: Tensor, gripper_opening: Tensor) -> Tuple[Tensor, Dict[str, Tensor]]:
    # Temperature parameters for the transformed components
    reach_temp: float = 0.1
    lift_temp: float = 0.05

    # Distance between the hand and the cube
    distance = torch.norm(hand_position - cube_position, p=2, dim=-1)
    reach_reward = torch.exp(-distance / reach_temp)

    # Height of the cube above the table
    height = cube_position[:, 2] - 0.02
    lift_reward = torch.exp(torch.clamp(height, min=0.0, max=0.2) / lift_temp) - 1.0

    closed = (gripper_opening < 0.045).float()
    grasp_reward = closed * reach_reward

    total_reward = reach_reward + 2.0 * lift_reward + 0.5 * grasp_reward

    reward_components = {
        "reach_reward": reach_reward,
        "lift_reward": lift_reward,
        "grasp_reward": grasp_reward,
    }
    return total_reward, reward_components
""",
    ),
    _program(
        "eureka_push_where",
        "push",
        """\
import torch
from typing import Tuple, Dict

@torch.jit.script
def compute_reward(puck_position: torch.Tensor, goal_position: torch.Tensor, hand_position: torch.Tensor, puck_velocity: torch.Tensor) -> Tuple[torch.Tensor, Dict[str, torch.Tensor]]:
    device = puck_position.device
    goal_dist = torch.norm(puck_position - goal_position, dim=-1)
    hand_dist = torch.norm(puck_position - hand_position, dim=-1)

    goal_temperature = torch.tensor(10.0, device=device)
    goal_reward = torch.exp(-goal_temperature * goal_dist)
    approach = 1.0 / (1.0 + hand_dist ** 2)
    bonus = torch.where(goal_dist < 0.05, torch.ones_like(goal_dist), torch.zeros_like(goal_dist))
    speed_penalty = -0.1 * torch.sum(puck_velocity ** 2, dim=-1)

    reward = goal_reward + approach + 5.0 * bonus + speed_penalty
    return reward, {"goal_reward": goal_reward, "approach": approach, "bonus": bonus, "speed_penalty": speed_penalty}
""",
    ),
    _program(
        "isaacgym_franka_cabinet",
        "cabinet",
        """\
from typing import Tuple
import torch

@torch.jit.script
def compute_franka_reward(hand_position, handle_position, drawer_opening, actions, dist_reward_scale: float = 2.0, open_reward_scale: float = 7.5, action_penalty_scale: float = 0.01):
    # type: (Tensor, Tensor, Tensor, Tensor, float, float, float) -> Tensor
    # distance from hand to the drawer
    d = torch.norm(hand_position - handle_position, p=2, dim=-1)
    dist_reward = 1.0 / (1.0 + d ** 2)
    dist_reward *= dist_reward
    dist_reward = torch.where(d <= 0.02, dist_reward * 2, dist_reward)

    # regularization on the actions (summed for each environment)
    action_penalty = torch.sum(actions ** 2, dim=-1)

    # how far the cabinet has been opened out
    open_reward = drawer_opening * 1.0 + drawer_opening

    rewards = dist_reward_scale * dist_reward + open_reward_scale * open_reward - action_penalty_scale * action_penalty

    # bonus for opening drawer properly
    rewards = torch.where(drawer_opening > 0.01, rewards + 0.5, rewards)
    rewards = torch.where(drawer_opening > 0.2, rewards + 1.0, rewards)
    rewards = torch.where(drawer_opening > 0.39, rewards + 2.0, rewards)
    return rewards
""",
    ),
    _program(
        "isaacgym_ant",
        "walk",
        """\
import torch


def compute_reward(state, actions, previous):
    up_weight = 0.1
    heading_weight = 0.5
    actions_cost_scale = 0.005
    energy_cost_scale = 0.05
    termination_height = 0.31
    death_cost = -2.0

    # reward from the direction
    heading_proj = state.torso_velocity[:, 0] / torch.clamp(torch.norm(state.torso_velocity, dim=1), min=1e-6)
    heading_weight_tensor = torch.ones_like(heading_proj) * heading_weight
    heading_reward = torch.where(heading_proj > 0.8, heading_weight_tensor, heading_weight * heading_proj / 0.8)

    # aligning the up axis of the ant and the environment
    up_reward = torch.zeros_like(heading_reward)
    up_reward = torch.where(state.up_direction[:, 2] > 0.93, up_reward + up_weight, up_reward)

    # energy penalty for movement
    actions_cost = torch.sum(actions ** 2, dim=-1)
    electricity_cost = torch.sum(torch.abs(actions * state.joint_velocity), dim=-1)

    # reward for duration of staying alive
    alive_reward = torch.ones_like(heading_reward) * 0.5
    progress_reward = state.torso_position[:, 0] - previous.torso_position[:, 0]

    total_reward = progress_reward + alive_reward + up_reward + heading_reward - \\
        actions_cost_scale * actions_cost - energy_cost_scale * electricity_cost

    # adjust reward for fallen agents
    total_reward = torch.where(state.torso_position[:, 2] < termination_height, torch.ones_like(total_reward) * death_cost, total_reward)
    return total_reward
""",
    ),
    _program(
        "legged_gym_terms",
        "walk",
        """\
import torch

TRACKING_SIGMA = 0.25
SCALES = {"lin_vel": 1.0, "ang_vel": 0.5, "lin_vel_z": -2.0, "orientation": -1.0, "torques": -0.0001, "action_rate": -0.01}


def _reward_tracking_lin_vel(command, velocity):
    # Tracking of linear velocity commands (xy axes)
    lin_vel_error = torch.sum(torch.square(command[:, :2] - velocity[:, :2]), dim=1)
    return torch.exp(-lin_vel_error / TRACKING_SIGMA)


def _reward_tracking_ang_vel(command, spin):
    ang_vel_error = torch.square(command[:, 2] - spin[:, 2])
    return torch.exp(-ang_vel_error / TRACKING_SIGMA)


def compute_reward(state, action, previous):
    rewards = {}
    rewards["lin_vel"] = _reward_tracking_lin_vel(state.command, state.torso_velocity) * SCALES["lin_vel"]
    rewards["ang_vel"] = _reward_tracking_ang_vel(state.command, state.torso_spin) * SCALES["ang_vel"]
    rewards["lin_vel_z"] = torch.square(state.torso_velocity[:, 2]) * SCALES["lin_vel_z"]
    rewards["orientation"] = torch.sum(torch.square(state.up_direction[:, :2]), dim=1) * SCALES["orientation"]
    rewards["torques"] = torch.sum(torch.square(state.joint_velocity), dim=1) * SCALES["torques"]
    rewards["action_rate"] = torch.sum(torch.square(action), dim=1) * SCALES["action_rate"]
    total = torch.zeros_like(rewards["lin_vel"])
    for name in rewards.keys():
        total += rewards[name]
    return torch.clip(total, min=0.0), rewards
""",
    ),
    _program(
        "dog_contacts",
        "walk",
        """\
import torch

def compute_reward(state, action, previous):
    contact = state.foot_contact > 1.0
    diagonal = torch.logical_and(contact[:, 0], contact[:, 3]) | torch.logical_and(contact[:, 1], contact[:, 2])
    trot = diagonal.float()
    n_feet = torch.sum(contact.float(), dim=1)
    stance = 1.0 - torch.abs(n_feet - 2.0) / 2.0
    speed = torch.clamp(state.torso_velocity[:, 0], max=1.5)
    upright = torch.sigmoid(5.0 * state.up_direction[:, 2])
    joint_acc = torch.sum(((state.joint_velocity - previous.joint_velocity) / 0.02) ** 2, dim=-1)
    smooth = -2.5e-7 * joint_acc
    terms = {"trot": 0.2 * trot, "stance": 0.1 * stance, "speed": speed, "upright": upright, "smooth": smooth}
    return sum(terms.values()), terms
""",
    ),
    _program(
        "eureka_unsqueeze",
        "push",
        """\
import torch
import torch.nn.functional as F

def compute_reward(state, action, previous):
    to_goal = state.goal_position - state.puck_position
    direction = to_goal / (torch.norm(to_goal, dim=-1, keepdim=True) + 1e-6)
    speed_along = (state.puck_velocity * direction).sum(dim=-1)
    wanted = state.puck_position - 0.04 * direction
    behind = torch.linalg.norm(state.hand_position - wanted, dim=-1)
    behind_reward = F.relu(1.0 - behind / 0.3)
    weight = torch.exp(-3.0 * behind).unsqueeze(-1)
    pulled = (weight * state.puck_velocity).norm(dim=-1)
    reward = speed_along + behind_reward + 0.1 * pulled
    return reward, {"speed": speed_along, "behind": behind_reward, "pulled": pulled}
""",
    ),
    _program(
        "eureka_max_values",
        "walk",
        """\
import torch
from torch import Tensor
from typing import Dict, Tuple

@torch.jit.script
def compute_reward(joint_position: Tensor, joint_velocity: Tensor, torso_velocity: Tensor, prev_joint_position: Tensor) -> Tuple[Tensor, Dict[str, Tensor]]:
    worst = torch.max(torch.abs(joint_velocity), dim=-1)[0]
    best = torch.min(torch.abs(joint_position), dim=-1).values
    moved = torch.mean(torch.abs(joint_position - prev_joint_position), dim=-1)
    capped = torch.min(torso_velocity[:, 0], torch.ones_like(torso_velocity[:, 0]) * 1.0)
    floor = torch.max(capped, torch.tensor(-0.5))
    total = floor - 0.01 * worst - 0.1 * best + moved
    return total, {"speed": floor, "worst": -0.01 * worst, "best": -0.1 * best, "moved": moved}
""",
    ),
    _program(
        "eureka_numbers_of_environments",
        "lift",
        """\
import torch

def compute_reward(state, action, previous):
    num_envs = state.cube_position.shape[0]
    reward = torch.zeros(num_envs, device=state.cube_position.device)
    dist = (state.cube_position - state.hand_position).pow(2).sum(dim=-1).sqrt()
    reward += 1.0 - torch.tanh(10.0 * dist)
    lifted = state.cube_position[:, 2] > 0.1
    reward[lifted] += 2.0
    return reward
""",
    ),
    _program(
        "eureka_script_branch",
        "lift",
        """\
@torch.jit.script
def compute_reward(hand_position: torch.Tensor, cube_position: torch.Tensor, cube_velocity: torch.Tensor, use_speed: bool = True) -> Tuple[torch.Tensor, Dict[str, torch.Tensor]]:
    reach = torch.exp(-4.0 * torch.norm(hand_position - cube_position, dim=-1))
    height = torch.clamp((cube_position[..., 2] - 0.02) / 0.2, 0.0, 1.0)
    speed = torch.zeros_like(reach)
    if use_speed:
        speed = -0.05 * torch.norm(cube_velocity, dim=-1)
    total = reach + 3.0 * height + speed
    return total, {"reach": reach, "height": 3.0 * height, "speed": speed}
""",
    ),
    _program(
        "eureka_stages",
        "cabinet",
        '''\
import torch

def compute_reward(state, action, previous):
    """Stages with masks as numbers."""
    d = torch.norm(state.hand_position - state.handle_position, dim=-1)
    near = (d < 0.1).to(torch.float32)
    opened = (state.drawer_opening > 0.2).float()
    stage1 = 1.0 - torch.tanh(5.0 * d)
    stage2 = near * (1.0 + 2.0 * state.drawer_opening / 0.4)
    stage3 = opened * (2.0 - torch.abs(state.drawer_velocity) * 4.0)
    reward = stage1 + (1.0 - opened) * stage2 + stage3
    alignment = (state.hand_axes[:, 2] * state.hand_axes[:, 0]).sum(-1)
    reward = reward - 0.1 * alignment.abs()
    return reward, dict(stage1=stage1, stage2=stage2, stage3=stage3)
''',
    ),
]
