"""Tasks from scene files: any MJCF or URDF model with a goal sentence and rules for success and failure."""
