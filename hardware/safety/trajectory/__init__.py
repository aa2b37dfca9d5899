"""Trajectories inside the limits: planning, time profiles, braking and the check of each sample."""
