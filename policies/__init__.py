"""Policies: training any algorithm on any task and reward, evaluation and export."""
