def compute_reward(state, action, previous):
    """Over the gap behind the handle, down into it, and pull; the opening counts most."""
    offset = state.hand_position - state.handle_position
    aside = np.sqrt((offset[:, 0] - 0.027) ** 2 + (0.5 * offset[:, 1]) ** 2)
    high = np.clip((aside - 0.008) / 0.015, 0.0, 1.0)
    height = np.abs(offset[:, 2] + 0.006 - 0.05 * high)
    over = 1.0 - np.tanh(8.0 * aside)
    hook = 1.0 - np.tanh(12.0 * height + 8.0 * aside)
    opened = 5.0 * np.clip(state.drawer_opening / 0.14, 0.0, 1.0)
    effort = -0.01 * np.sum(action**2, axis=-1)
    return over + hook + opened + effort, {"over": over, "hook": hook, "opened": opened, "effort": effort}
