"""MuJoCo models: generated names, parts of MJCF, and the state of their physics."""
