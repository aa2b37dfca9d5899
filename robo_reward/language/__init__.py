"""Rewards as programs: a small numerical language, its linter, its compiler and the validation of programs."""
