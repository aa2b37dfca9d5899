"""Reward programs in the styles in which they are published, with the states that they read."""

from benchmarks.published_programs import eureka, gymnasium, metaworld, mixed, outside

INSIDE = [*eureka.PROGRAMS, *metaworld.PROGRAMS, *gymnasium.PROGRAMS, *mixed.PROGRAMS]
"""Programs that mean something in the language."""
OUTSIDE = outside.PROGRAMS
"""Programs that must be refused."""
