def compute_reward(state, action, previous):
    """RAPL's ground truth for its clutter task: as for group (see `truth_group`), and -1 while a red cube's centre is
    within 4 cm of the strip's middle line.

    Source: the code of 2310.07932; distances in m.
    """
    line = state.strip_position[:, 0]
    worst = np.maximum(np.abs(state.blue_position[:, 0] - line), np.abs(state.yellow_position[:, 0] - line))
    goal = -3.0 * worst
    group = -3.0 * np.linalg.norm(state.blue_position - state.yellow_position, axis=-1)
    offset = state.blue_position - state.hand_position
    left = np.sqrt(offset[:, 0] ** 2 + (offset[:, 1] - 0.04) ** 2 + offset[:, 2] ** 2)
    right = np.sqrt(offset[:, 0] ** 2 + (offset[:, 1] + 0.04) ** 2 + offset[:, 2] ** 2)
    fingers = -0.5 * left - 0.5 * right
    effort = -0.01 * np.sum(action**2, axis=-1)
    lifted = -0.5 * np.where(state.blue_position[:, 2] > 0.03, 1.0, 0.0)
    near12 = np.minimum(np.abs(state.red1_position[:, 0] - line), np.abs(state.red2_position[:, 0] - line))
    near34 = np.minimum(np.abs(state.red3_position[:, 0] - line), np.abs(state.red4_position[:, 0] - line))
    red = -1.0 * np.where(np.minimum(near12, near34) < 0.04, 1.0, 0.0)
    total = goal + group + fingers + effort + lifted + red
    return total, {"goal": goal, "group": group, "fingers": fingers, "effort": effort, "lifted": lifted, "red": red}
