def compute_reward(state, action, previous):
    """Grasp the red cube, bring it down a cone onto the blue one, then open the fingers and keep still."""
    distance = np.linalg.norm(state.red_position - state.hand_position, axis=-1)
    gap = state.red_position - state.blue_position
    aside = np.linalg.norm(gap[:, :2], axis=-1)
    stacked = (aside < 0.02) & (np.abs(gap[:, 2] - 0.04) < 0.008)
    reach = 1.0 - np.tanh(8.0 * distance)
    closed = np.clip((0.08 - state.gripper_opening) / 0.04, 0.0, 1.0)
    grasp = 0.5 * np.where(distance < 0.025, closed, 0.0)
    height = np.clip((state.red_position[:, 2] - 0.02) / 0.04, 0.0, 1.0)
    cone = 0.04 + np.minimum(aside, 0.04)
    off = np.sqrt(aside**2 + (gap[:, 2] - cone) ** 2)
    close = 3.0 * (1.0 - np.tanh(8.0 * off)) + 2.0 * np.exp(-((off / 0.02) ** 2))
    carry = np.where(distance < 0.04, height, 0.0) * (1.0 + close)
    command = np.clip(0.5 * (1.0 + action[:, -1]), 0.0, 1.0)
    opened = np.clip((state.gripper_opening - 0.038) / 0.02, 0.0, 1.0)
    still = np.exp(-((np.linalg.norm(state.hand_velocity, axis=-1) / 0.1) ** 2))
    held = np.where(stacked, 0.0, reach + grasp + carry)
    released = np.where(stacked, 7.0 + 2.0 * command + 6.0 * opened + still, 0.0)
    effort = -0.01 * np.sum(action**2, axis=-1)
    total = held + released + effort
    return total, {"held": held, "released": released, "effort": effort}
