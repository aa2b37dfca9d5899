def compute_reward(state, action, previous):
    """Get the stick below both squares, raise the lower one, keep them close, and reward both being inside."""
    pink, yellow = state.pink_position, state.yellow_position
    left_pink, left_yellow = np.maximum(0.9 - pink[:, 1], 0.0), np.maximum(0.9 - yellow[:, 1], 0.0)
    raised = -np.maximum(left_pink, left_yellow) - 0.5 * (left_pink + left_yellow)
    inside = 0.5 * np.where(pink[:, 1] > 0.88, 1.0, 0.0) + 0.5 * np.where(yellow[:, 1] > 0.88, 1.0, 0.0)
    together = -0.3 * np.linalg.norm(pink - yellow, axis=-1)
    x = 0.5 * (pink[:, 0] + yellow[:, 0])
    y = np.minimum(pink[:, 1], yellow[:, 1]) - 0.16
    away = np.sqrt((x - state.robot_position[:, 0]) ** 2 + (y - state.robot_position[:, 1]) ** 2)
    reach = -0.3 * np.minimum(away, 1.0)
    total = raised + inside + together + reach
    return total, {"raised": raised, "inside": inside, "together": together, "reach": reach}
