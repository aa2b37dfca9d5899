"""Mesh-free arm models (Franka Panda and FR3, UR5e) and their tasks."""
