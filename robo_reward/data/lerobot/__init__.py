"""LeRobot data sets: read in versions 2.0, 2.1 and 3, written in version 3."""
