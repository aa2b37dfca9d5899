"""The trial of a program before it may train: work estimate, sample states and probes."""
