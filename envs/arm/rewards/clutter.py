def beyond(position, line):
    """How far a red cube has come into the 12 cm before the strip's middle line [m]."""
    return np.maximum(position[:, 0] - line + 0.10, 0.0)


def compute_reward(state, action, previous):
    """As for group, and keep every red cube where it stands."""
    x_blue, x_yellow = state.blue_position[:, 0], state.yellow_position[:, 0]
    y_blue, y_yellow = state.blue_position[:, 1], state.yellow_position[:, 1]
    back = np.minimum(x_blue, x_yellow) - 0.031 - state.hand_position[:, 0]
    aside = 0.5 * (y_blue + y_yellow) - state.hand_position[:, 1]
    above = state.hand_position[:, 2] - 0.035
    behind = 0.5 * (1.0 - np.tanh(8.0 * np.sqrt(back**2 + np.maximum(np.abs(aside) - 0.05, 0.0) ** 2 + above**2)))
    line = state.strip_position[:, 0]
    worst = np.maximum(np.abs(x_blue - line), np.abs(x_yellow - line))
    near = 2.0 * (1.0 - np.tanh(6.0 * worst))
    precise = np.exp(-((worst / 0.06) ** 2))
    left = beyond(state.red1_position, line) + beyond(state.red2_position, line)
    right = beyond(state.red3_position, line) + beyond(state.red4_position, line)
    red = -20.0 * (left + right)
    effort = -0.01 * np.sum(action**2, axis=-1)
    total = behind + near + precise + red + effort
    return total, {"behind": behind, "near": near, "precise": precise, "red": red, "effort": effort}
