def compute_reward(state, action, previous):
    """Get both fingers against the puck's near side, bring the puck closer to the goal, be precise at the end."""
    behind = state.puck_position - state.hand_position
    aside = np.sqrt((behind[:, 0] - 0.037) ** 2 + behind[:, 1] ** 2 + (behind[:, 2] - 0.006) ** 2)
    touch = 0.3 * (1.0 - np.tanh(10.0 * aside))
    gap = np.linalg.norm((state.goal_position - state.puck_position)[:, :2], axis=-1)
    near = 2.0 * (1.0 - np.tanh(8.0 * gap))
    precise = np.exp(-((gap / 0.03) ** 2))
    effort = -0.01 * np.sum(action**2, axis=-1)
    return touch + near + precise + effort, {"touch": touch, "near": near, "precise": precise, "effort": effort}
