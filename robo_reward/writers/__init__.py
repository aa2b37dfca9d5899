"""Writers of reward programs: language models, the offline writer, recordings, people."""
