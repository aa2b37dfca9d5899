"""Those who write reward programs: language models, the offline writer, recordings, people."""
