def compute_reward(state, action, previous):
    """Get the board behind both cubes, bring the farther one to the strip's middle line, keep them together."""
    x_blue, x_yellow = state.blue_position[:, 0], state.yellow_position[:, 0]
    y_blue, y_yellow = state.blue_position[:, 1], state.yellow_position[:, 1]
    back = np.minimum(x_blue, x_yellow) - 0.031 - state.hand_position[:, 0]
    aside = 0.5 * (y_blue + y_yellow) - state.hand_position[:, 1]
    above = state.hand_position[:, 2] - 0.035
    behind = 0.5 * (1.0 - np.tanh(8.0 * np.sqrt(back**2 + aside**2 + above**2)))
    line = state.strip_position[:, 0]
    worst = np.maximum(np.abs(x_blue - line), np.abs(x_yellow - line))
    near = 2.0 * (1.0 - np.tanh(6.0 * worst))
    precise = np.exp(-((worst / 0.06) ** 2))
    apart = -1.0 * np.linalg.norm(state.blue_position - state.yellow_position, axis=-1)
    effort = -0.01 * np.sum(action**2, axis=-1)
    total = behind + near + precise + apart + effort
    return total, {"behind": behind, "near": near, "precise": precise, "apart": apart, "effort": effort}
