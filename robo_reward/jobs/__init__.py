"""A job is a folder: run, resume, stop."""
