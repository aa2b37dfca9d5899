def compute_reward(state, action, previous):
    """Come close with open fingers, close them around the cube, raise it."""
    distance = np.linalg.norm(state.cube_position - state.hand_position, axis=-1)
    reach = 1.0 - np.tanh(8.0 * distance)
    near = distance < 0.025
    closed = np.clip((0.08 - state.gripper_opening) / 0.04, 0.0, 1.0)
    grasp = 0.5 * np.where(near, closed, 0.0)
    ready = 0.2 * np.where(near, 0.0, 1.0 - closed)
    height = np.clip((state.cube_position[:, 2] - 0.02) / 0.12, 0.0, 1.0)
    lift = 3.0 * np.where(distance < 0.04, height, 0.0)
    effort = -0.01 * np.sum(action**2, axis=-1)
    total = reach + ready + grasp + lift + effort
    return total, {"reach": reach, "ready": ready, "grasp": grasp, "lift": lift, "effort": effort}
