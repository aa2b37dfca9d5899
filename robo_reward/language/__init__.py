"""Rewards as programs: a small numerical language, its sandbox, and those who write and search programs."""
