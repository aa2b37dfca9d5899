def compute_reward(state, action, previous):
    """Come close and grasp the red cube, raise it, bring it over the blue one, put it down, let go."""
    offset = state.red_position - state.hand_position
    distance = np.linalg.norm(offset, axis=-1)
    gap = state.red_position - state.blue_position
    aside = np.linalg.norm(gap[:, :2], axis=-1)
    stacked = (aside < 0.02) & (np.abs(gap[:, 2] - 0.04) < 0.008)
    reach = 1.0 - np.tanh(8.0 * distance)
    closed = np.clip((0.08 - state.gripper_opening) / 0.04, 0.0, 1.0)
    grasp = 0.5 * np.where(distance < 0.025, closed, 0.0)
    height = np.clip((state.red_position[:, 2] - 0.02) / 0.04, 0.0, 1.0)
    above = 1.0 - np.tanh(8.0 * np.sqrt(aside**2 + np.maximum(0.04 - gap[:, 2], 0.0) ** 2))
    carry = np.where(distance < 0.05, height, 0.0) * (1.0 + 2.0 * above)
    down = np.exp(-((aside / 0.02) ** 2)) * (1.0 - np.clip(np.abs(gap[:, 2] - 0.04) / 0.04, 0.0, 1.0))
    release = np.where(stacked, 3.5 + 4.0 * np.clip((state.gripper_opening - 0.04) / 0.015, 0.0, 1.0), 0.0)
    held = np.where(stacked, 5.0, reach + grasp + carry)
    effort = -0.01 * np.sum(action**2, axis=-1)
    total = held + 1.5 * down + release + effort
    return total, {"held": held, "down": 1.5 * down, "release": release, "effort": effort}
