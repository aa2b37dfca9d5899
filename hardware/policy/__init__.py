"""Policies in other processes and on other machines, their queue of actions, and teleoperation."""
