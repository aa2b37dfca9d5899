def compute_reward(state, action, previous):
    """Over the gap behind the handle, never low beside it, down into it, and pull; the opening counts most."""
    offset = state.hand_position - state.handle_position
    aside = np.sqrt((offset[:, 0] - 0.021) ** 2 + (0.5 * offset[:, 1]) ** 2)
    over = 1.0 - np.tanh(8.0 * aside)
    low = -2.0 * np.clip((0.06 - offset[:, 2]) / 0.05, 0.0, 1.0) * np.clip((aside - 0.012) / 0.01, 0.0, 1.0)
    down = np.exp(-((aside / 0.02) ** 2)) * (1.0 - np.tanh(8.0 * np.abs(offset[:, 2] + 0.016)))
    begun = 1.0 * np.clip(state.drawer_opening / 0.02, 0.0, 1.0)
    opened = 5.0 * np.clip(state.drawer_opening / 0.14, 0.0, 1.0)
    pull = 4.0 * np.clip(state.drawer_velocity / 0.2, -1.0, 1.0)
    effort = -0.01 * np.sum(action**2, axis=-1)
    total = over + low + down + begun + opened + pull + effort
    return total, {
        "over": over,
        "low": low,
        "down": down,
        "begun": begun,
        "opened": opened,
        "pull": pull,
        "effort": effort,
    }
