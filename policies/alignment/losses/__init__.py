"""Losses and weights of alignment as pure functions."""
