"""The world: what can be simulated, and what of it can be seen."""
