"""Rewards that are Python functions of the user: how they are found, called and checked."""
