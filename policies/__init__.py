"""Observation in, action out: training any algorithm on any task and reward."""
