"""Verbs for arms and their emulator."""
