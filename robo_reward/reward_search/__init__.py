"""Strategies that turn a goal into a reward program: propose, lint, probe, train in rungs, reflect, propose again."""
