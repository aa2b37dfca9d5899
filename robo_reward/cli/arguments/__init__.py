"""From the typed arguments to a checked configuration, and the help."""
