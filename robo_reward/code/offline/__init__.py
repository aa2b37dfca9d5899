"""Reward programs without a language model: composed from the goal sentence and the state, improved by evolution."""
