"""Verbs that search, train, evaluate and report."""
