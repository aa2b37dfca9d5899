"""Rewrites calls of functions that the program does not define itself."""
