"""Environments of other packages, stepped by their own code: gymnasium, Meta-World, gymnasium-robotics, dm_control."""
