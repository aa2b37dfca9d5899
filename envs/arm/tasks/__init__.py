"""The tasks of an arm, one file each."""
