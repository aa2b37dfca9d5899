def compute_reward(state, action, previous):
    """Bring every square up into the goal zone, the lagging ones too, and stay below the nearest that is not there."""
    y1, y2, y3 = state.debris1_position[:, 1], state.debris2_position[:, 1], state.debris3_position[:, 1]
    left1, left2, left3 = np.maximum(0.9 - y1, 0.0), np.maximum(0.9 - y2, 0.0), np.maximum(0.9 - y3, 0.0)
    raised = -(left1 + left2 + left3) / 3.0
    inside = tolerance(y1, lower=0.88, upper=1.1) + tolerance(y2, lower=0.88, upper=1.1)
    inside = (inside + tolerance(y3, lower=0.88, upper=1.1)) / 3.0
    below1 = np.linalg.norm(state.debris1_position[:, :2] - state.robot_position[:, :2], axis=-1) + 4.0 * (left1 <= 0.0)
    below2 = np.linalg.norm(state.debris2_position[:, :2] - state.robot_position[:, :2], axis=-1) + 4.0 * (left2 <= 0.0)
    below3 = np.linalg.norm(state.debris3_position[:, :2] - state.robot_position[:, :2], axis=-1) + 4.0 * (left3 <= 0.0)
    reach = -0.2 * np.minimum(np.minimum(np.minimum(below1, below2), below3), 1.0)
    total = 2.0 * raised + inside + reach
    return total, {"raised": 2.0 * raised, "inside": inside, "reach": reach}
