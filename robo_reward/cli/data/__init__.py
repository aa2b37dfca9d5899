"""The verbs that bring data in and out."""
