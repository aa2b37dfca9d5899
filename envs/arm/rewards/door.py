def compute_reward(state, action, previous):
    """Over the handle's end, press it down, push; the opening counts most, and every bit of progress."""
    offset = state.hand_position - state.handle_position
    aside = np.linalg.norm(offset[:, :2], axis=-1)
    closed = state.door_angle < 0.1
    over = np.where(closed, 1.0 - np.tanh(8.0 * aside), 1.0)
    low = np.exp(-((aside / 0.04) ** 2)) * (1.0 - np.tanh(8.0 * np.abs(offset[:, 2] - 0.009)))
    down = np.where(closed, low, 1.0)
    press = 2.0 * np.where(closed, np.clip(state.handle_angle / 0.7, 0.0, 1.0), 1.0)
    opened = np.clip(state.door_angle / 0.1, 0.0, 1.0) + 5.0 * np.clip(state.door_angle / 0.6, 0.0, 1.0)
    push = 30.0 * np.clip(state.door_angle - previous.door_angle, -0.1, 0.1)
    effort = -0.01 * np.sum(action**2, axis=-1)
    total = over + down + press + opened + push + effort
    return total, {"over": over, "down": down, "press": press, "opened": opened, "push": push, "effort": effort}
