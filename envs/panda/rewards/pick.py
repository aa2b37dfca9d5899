def compute_reward(state, action, previous):
    """Come close with open fingers, close them around the cube, bring it to the goal."""
    distance = np.linalg.norm(state.cube_position - state.hand_position, axis=-1)
    reach = 1.0 - np.tanh(8.0 * distance)
    near = distance < 0.025
    closed = np.clip((0.08 - state.gripper_opening) / 0.04, 0.0, 1.0)
    grasp = 0.5 * np.where(near, closed, 0.0)
    height = np.clip((state.cube_position[:, 2] - 0.02) / 0.04, 0.0, 1.0)
    held = np.where(distance < 0.04, height, 0.0)
    gap = np.linalg.norm(state.goal_position - state.cube_position, axis=-1)
    carry = held * (1.0 + 3.0 * (1.0 - np.tanh(6.0 * gap)) + np.exp(-((gap / 0.03) ** 2)))
    effort = -0.01 * np.sum(action**2, axis=-1)
    total = reach + grasp + carry + effort
    return total, {"reach": reach, "grasp": grasp, "carry": carry, "effort": effort}
