"""Scores of the episodes of any data set by any reward."""
