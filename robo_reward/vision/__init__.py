"""Encoders: frames in, features out, computed once."""
