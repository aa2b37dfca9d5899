"""Loggers: where the curves and results of a run are sent besides its folder."""
