def compute_reward(state, action, previous):
    """Come close with open fingers, close them around the cube, bring it to the goal; progress counts too."""
    distance = np.linalg.norm(state.cube_position - state.hand_position, axis=-1)
    reach = 1.0 - np.tanh(8.0 * distance)
    closed = np.clip((0.08 - state.gripper_opening) / 0.04, 0.0, 1.0)
    grasp = 0.5 * np.where(distance < 0.025, closed, 0.0)
    height = np.clip((state.cube_position[:, 2] - 0.02) / 0.02, 0.0, 1.0)
    held = np.where(distance < 0.04, height, 0.0)
    gap = np.linalg.norm(state.goal_position - state.cube_position, axis=-1)
    before = np.linalg.norm(previous.goal_position - previous.cube_position, axis=-1)
    carry = held * (1.0 + 3.0 * (1.0 - np.tanh(4.0 * gap)))
    along = 60.0 * held * np.clip(before - gap, -0.03, 0.03)
    precise = 2.0 * held * np.exp(-((gap / 0.04) ** 2))
    effort = -0.01 * np.sum(action**2, axis=-1)
    total = reach + grasp + carry + along + precise + effort
    return total, {"reach": reach, "grasp": grasp, "carry": carry, "along": along, "precise": precise, "effort": effort}
