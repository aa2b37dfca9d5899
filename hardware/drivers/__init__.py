"""Drivers of arms: simulated, Franka, and in a process of its own."""
