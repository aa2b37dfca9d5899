"""Rewards from demonstrations: the steps of a task found in a few videos."""
