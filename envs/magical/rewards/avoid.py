def compute_reward(state, action, previous):
    """Get the stick below the square, raise it, bend its way around the disc, and reward being inside."""
    square, robot, disc = state.pink_position, state.robot_position, state.disc_position
    left = np.maximum(0.9 - square[:, 1], 0.0)
    raised = -1.5 * left
    inside = np.where(square[:, 1] > 0.88, 1.0, 0.0)
    away = np.sqrt((square[:, 0] - robot[:, 0]) ** 2 + (square[:, 1] - 0.16 - robot[:, 1]) ** 2)
    reach = -0.5 * np.minimum(away, 1.0)
    near_square = np.maximum(0.33 - np.linalg.norm(square - disc, axis=-1), 0.0)
    near_robot = np.maximum(0.33 - np.linalg.norm(robot - disc, axis=-1), 0.0)
    trespass = -8.0 * (near_square + near_robot)
    total = raised + inside + reach + trespass
    return total, {"raised": raised, "inside": inside, "reach": reach, "trespass": trespass}
