"""Reward programs without a language model: composed from goal and state, improved by evolution."""
