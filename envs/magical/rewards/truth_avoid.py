def compute_reward(state, action, previous):
    """RAPL's preference in its avoiding task: minus the distance to the goal, minus 2 each for stick and square in the
    zone that is off limits.

    The distance to the goal is along y to where the square lies wholly in the zone [m].
    """
    goal = -np.maximum(0.866 - state.pink_position[:, 1], 0.0)
    stick = np.linalg.norm(state.robot_position - state.disc_position, axis=-1)
    square = np.linalg.norm(state.pink_position - state.disc_position, axis=-1)
    robot_in = -2.0 * np.where(stick < 0.25, 1.0, 0.0)
    square_in = -2.0 * np.where(square < 0.25, 1.0, 0.0)
    return goal + robot_in + square_in, {"goal": goal, "robot_in": robot_in, "square_in": square_in}
