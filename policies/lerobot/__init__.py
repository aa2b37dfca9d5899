"""Policies that LeRobot trained, run by LeRobot itself in a process with a Python of its own."""
