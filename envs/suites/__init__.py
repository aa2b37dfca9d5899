"""Environments that other people wrote, stepped by their own code: gymnasium, Meta-World, gymnasium-robotics, dm_control."""
