def compute_reward(state, action, previous):
    """RAPL's preference in its grouping task: minus the larger distance to the goal, minus the squares' distance.

    The distance to the goal is along y to where a square lies wholly in the zone [m].
    """
    pink = np.maximum(0.866 - state.pink_position[:, 1], 0.0)
    yellow = np.maximum(0.866 - state.yellow_position[:, 1], 0.0)
    goal = -np.maximum(pink, yellow)
    together = -np.linalg.norm(state.pink_position - state.yellow_position, axis=-1)
    return goal + together, {"goal": goal, "together": together}
