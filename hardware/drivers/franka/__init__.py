"""Drivers of Franka's arms: an FR3 through franky, a Panda through franka-rs."""
