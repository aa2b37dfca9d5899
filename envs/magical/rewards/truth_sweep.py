def compute_reward(state, action, previous):
    """X-MAGICAL's dense reward of SweepToTop: minus the mean distance of the debris to y = 1, none beyond y = 0.88."""
    y1, y2, y3 = state.debris1_position[:, 1], state.debris2_position[:, 1], state.debris3_position[:, 1]
    left = np.where(y1 > 0.88, 0.0, np.abs(1.0 - y1)) + np.where(y2 > 0.88, 0.0, np.abs(1.0 - y2))
    left = left + np.where(y3 > 0.88, 0.0, np.abs(1.0 - y3))
    return -left / 3.0, {"distance": -left / 3.0}
