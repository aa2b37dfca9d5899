def compute_reward(state, action, previous):
    """RAPL's ground truth for its group task: -3 max|x - goal| - 3 |p1 - p2| - 0.5 d_left - 0.5 d_right
    - 0.01 |a|^2 - 0.5 [lifted] - 5 [arm touches].

    The two "fingers" are points of the board 4 cm to either side of its middle, where an open Franka hand has them;
    their distances are to the first (blue) cube. The arm's links touch nothing in this scene, so that term is zero.
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
    total = goal + group + fingers + effort + lifted
    return total, {"goal": goal, "group": group, "fingers": fingers, "effort": effort, "lifted": lifted}
