def compute_reward(state, action, previous):
    """Over the handle's end, press it down, push; the opening counts most."""
    offset = state.handle_position - state.hand_position
    aside = np.linalg.norm(offset[:, :2], axis=-1)
    closed = state.door_angle < 0.1
    reach = np.where(closed, 1.0 - np.tanh(8.0 * np.linalg.norm(offset, axis=-1)), 1.0)
    press = 2.0 * np.where(closed, np.clip(state.handle_angle / 0.6, 0.0, 1.0), 1.0)
    opened = 5.0 * np.clip(state.door_angle / 0.7, 0.0, 1.0)
    effort = -0.01 * np.sum(action**2, axis=-1)
    total = reach + press + opened + effort
    return total, {"reach": reach, "press": press, "opened": opened, "effort": effort}
