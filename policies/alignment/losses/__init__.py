"""Losses that align a policy with preferences, as functions of the squared errors of chunks."""
