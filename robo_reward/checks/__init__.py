"""Statistics that show whether a reward can be trusted."""
