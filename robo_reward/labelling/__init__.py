"""Answers of people about clips: the store, queries, agreement between people, and the labelling page."""
