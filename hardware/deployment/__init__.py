"""A deployment: episode after episode on an arm, its control loop, reset, operator, journal and checks."""
