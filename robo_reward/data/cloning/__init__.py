"""Demonstrations to clone a policy from: how they are recorded, loaded and checked."""
