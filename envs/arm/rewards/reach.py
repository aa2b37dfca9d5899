def compute_reward(state, action, previous):
    """The closer the better, most of all in the last centimetres; a little less for large actions."""
    distance = np.linalg.norm(state.goal_position - state.hand_position, axis=-1)
    reach = 1.0 - np.tanh(5.0 * distance)
    precise = np.exp(-((distance / 0.02) ** 2))
    effort = -0.02 * np.sum(action**2, axis=-1)
    return reach + precise + effort, {"reach": reach, "precise": precise, "effort": effort}
