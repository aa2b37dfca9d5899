"""Verbs that make or check rewards."""
