"""Networks that map a noisy chunk, its time and a condition to a prediction of the chunk's shape."""
