"""Video files: read, written, and put beside each other."""
