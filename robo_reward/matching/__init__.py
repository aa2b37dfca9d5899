"""From the distances between an episode's features and a demonstration's to a reward per step."""
