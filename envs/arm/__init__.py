"""Franka arms (Panda and FR3), mesh-free, and the tasks set before them."""
